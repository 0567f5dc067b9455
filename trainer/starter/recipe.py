"""How the starter is made: every number of it. Chosen by measurement on the validation drawings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from retrieval.images.preprocessing import Preprocessing
from trainer.networks.export import Weights
from trainer.starter.drawings import Drawings
from trainer.starter.fit import Recipe

NAME = "starter"
SEED = 1
SIZE = 112
# Cut-outs are enlarged: at equal sizes things would look larger in training than in use (Touvron et al. 2019,
# "Fixing the train-test resolution discrepancy"). A smaller training size removes that and a third of the work.
TRAINED_SIZE = 96
DIMENSION = 128
WIDTH = 32

PREPROCESSING = Preprocessing(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
TRAINED = replace(PREPROCESSING, height=TRAINED_SIZE, width=TRAINED_SIZE)
# Training pictures are kept a little larger than the input: views are cut out of them.
KEPT = Preprocessing(144, 144)

TRAIN = Drawings(products=1600, seed=1, photos=7, studio=1, difficulty=(0.1, 0.8))
VALIDATION = Drawings(products=400, seed=2, photos=8, studio=2, difficulty=(0.2, 0.7))
TEST = Drawings(products=400, seed=3, photos=8, studio=2, difficulty=(0.2, 0.7))

RECIPE = Recipe(epochs=20, seed=SEED)
WEIGHTS: Weights = "float16"


def build_network(size: int = SIZE) -> Any:
    """The network for one input size, with weights that follow `keras.utils.set_random_seed` and fit any size."""
    from trainer.networks.small_cnn import small_cnn

    return small_cnn(size=size, dimension=DIMENSION, width=WIDTH)
