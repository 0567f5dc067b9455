"""The built-in model: it learned from a shop's photos and from drawn products, and ships with itemrec.

python -m trainer.starter GROCERY                     draw, train, train without each fold, calibrate, write the bundle
python -m trainer.starter GROCERY fold-3              a part of that, beside others
"""
