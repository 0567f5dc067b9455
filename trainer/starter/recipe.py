"""How the built-in model is made: every number of it. Chosen by products that trainings did not see."""

from __future__ import annotations

from trainer.loop.loop import Schedule
from trainer.networks.assemble import NetworkSpec
from trainer.networks.export import Weights
from trainer.presets import Plan
from trainer.starter.drawings import Drawings

NAME = "starter"
SEED = 1

DRAWN = Drawings(products=1200, seed=SEED, photos=4, difficulty=(0.1, 0.8))

SHARE = 0.5
"""The share of every batch that products with real photos have, however many are drawn."""

TWIN_SHARE = 0.3
"""Part of the families, drawn ones and categories of real ones, whose products meet in one batch."""

DRAWN_VIEWS = 2
"""Cached random views of a drawn picture: there are so many of them."""

PLAN = Plan(
    NetworkSpec(backbone="EfficientNetLite0", size=256, feature_crop=0.625, principal=256),
    Schedule(epochs=3, learning_rate=1e-3, backbone_rate=0.5),
    cached_augmentations=3,
)

WEIGHTS: Weights = "float16"
