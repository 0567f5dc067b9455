"""The starter model: a small network trained from scratch on drawings, which ships with itemrec.

python -m trainer.starter --out retrieval/starter     draw, train, export, calibrate, measure
python -m trainer.starter measure --bundle DIR        the figures of its card, again
"""
