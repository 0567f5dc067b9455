"""Training from pictures in memory, with everything trained: what the starter is made by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.images.preprocessing import Preprocessing
from trainer.data.augment import Views, make_views
from trainer.data.batches import BatchSampler, PixelBatches
from trainer.loop.loop import Schedule, train
from trainer.losses import build_losses
from trainer.progress import EpochLog
from trainer.starter.photo_set import PhotoSet


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run besides the photos and the network.

    Attributes:
        epochs: passes over the photos.
        products: P, products in a batch.
        views: K, pictures of each product in a batch.
        twin_share: part of the families whose look-alikes are kept in one batch.
        learning_rate: the highest; reached after the warm-up, then a cosine to 0.
        warmup: part of all steps in which the rate rises from 0.
        weight_decay: of AdamW; norms and biases have none.
        clip: largest global norm of a gradient.
        supcon_temperature: of the contrastive loss.
        classifier_temperature: of the normalized softmax.
        classifier_weight: of the normalized softmax beside the contrastive loss.
        seed: of batches and views.
        augmentation: how far views may be from their pictures.
    """

    epochs: int = 10
    products: int = 32
    views: int = 4
    twin_share: float = 0.5
    learning_rate: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 0.02
    clip: float = 5.0
    supcon_temperature: float = 0.1
    classifier_temperature: float = 0.05
    classifier_weight: float = 0.5
    seed: int = 0
    augmentation: Views = field(default_factory=Views)


def fit(
    encoder: Any,
    photos: PhotoSet,
    recipe: Recipe,
    preprocessing: Preprocessing,
    *,
    on_epoch: Callable[[EpochLog], None] | None = None,
) -> list[EpochLog]:
    """Train an encoder in place on fresh views of photos that are in memory.

    Args:
        encoder: a Keras model from (n, height, width, 3) to unit embeddings (n, d).
        photos: what to learn from.
        recipe: how.
        preprocessing: of the bundle-to-be; gives the input size and normalization.
        on_epoch: called after each epoch.

    Returns:
        One log an epoch.

    Raises:
        UsageError: the photos cannot fill a batch of the recipe.
        CollapseError: all embeddings have become one.
    """

    def draw(number: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        picture = photos.pixels[number : number + 1]
        views = make_views(picture, size=preprocessing.height, rng=rng, views=recipe.augmentation)
        return np.asarray(views[0])

    sampler = BatchSampler("pk", recipe.products, recipe.views, recipe.seed, photos.families, recipe.twin_share)
    losses = build_losses(
        "supcon+softmax",
        {
            "temperature": recipe.supcon_temperature,
            "classifier_temperature": recipe.classifier_temperature,
            "classifier_weight": recipe.classifier_weight,
        },
    )
    schedule = Schedule(
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        warmup=recipe.warmup,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
    )
    batches = PixelBatches(draw, preprocessing.tensor, photos.labels, sampler)
    return train(encoder, batches, losses, schedule, products=len(photos.products), on_epoch=on_epoch)
