"""Synthetic products and their photographs: drawn, never downloaded, the same for the same seed.

`draw_products` makes up products: packages of many shapes with brand, words, logo and picture,
and loose produce. They come in *families*: variants share brand, package and layout and differ
in a color, a word, a picture or a stripe, as real variants do. `studio_picture` shows one as a
web shop would, `photograph` as a phone in a shop would.

Everything is derived from integer keys, so that a picture depends on its product and its seed,
never on process, order or what was drawn before. (Pillow draws the text: another release of it
may move a pixel.)

Seed spaces, kept apart so that nobody is tested on what the network learned from:

=====  ==============================================
seed   used for
=====  ==============================================
1      training the starter model
2      validation: choices and thresholds
3      test: reported figures
7      the demo
=====  ==============================================

Products of different seeds share the vocabulary of words, shapes and palettes, but no design.
"""

from __future__ import annotations

from trainer.synthetic.camera import photograph, studio_picture
from trainer.synthetic.demo import DemoLayout, write_demo
from trainer.synthetic.products import SyntheticProduct, draw_products
from trainer.synthetic.writing import write_catalog, write_photos

__all__ = [
    "DemoLayout",
    "SyntheticProduct",
    "draw_products",
    "photograph",
    "studio_picture",
    "write_catalog",
    "write_demo",
    "write_photos",
]
