"""The training loop: batches of views in, a trained encoder out. Reads from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from retrieval.preprocessing import Preprocessing
from trainer.augment import Views, make_views
from trainer.logs import EpochLog
from trainer.losses import (
    anchor_negative,
    anchor_positive,
    cosine_classifier,
    embedding_spread,
    normalized_softmax,
    supcon,
)
from trainer.photos import PhotoSet
from trainer.sampling import pk_batches

_BATCHES_AHEAD = 3


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
    """Train an encoder in place.

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
    """
    steps = sum(1 for _ in _index_batches(photos, recipe, epoch=0))
    trainee = _trainee(encoder, len(photos.products), recipe, total_steps=steps * recipe.epochs)
    logs = []
    for epoch in range(recipe.epochs):
        started = time.perf_counter()
        trainee.reset_metrics()
        values: dict[str, Any] = {}
        for pictures, labels in _batches(photos, recipe, preprocessing, epoch):
            # pictures (P*K, height, width, 3) float32, labels (P*K,)
            targets = {"embeddings": labels, "cosines": labels}
            values = trainee.train_on_batch(pictures, targets, return_dict=True)
        log = EpochLog(
            epoch=epoch + 1,
            loss=float(values["loss"]),
            anchor_positive=float(values["embeddings_anchor_positive"]),
            anchor_negative=float(values["embeddings_anchor_negative"]),
            spread=float(values["embeddings_embedding_spread"]),
            seconds=time.perf_counter() - started,
        )
        logs.append(log)
        if on_epoch is not None:
            on_epoch(log)
    return logs


def embed(encoder: Any, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Embeddings of prepared pictures by the Keras model: uint8 (n, h, w, 3) -> float32 (n, d)."""
    rows = [
        keras.ops.convert_to_numpy(encoder(preprocessing.tensor(pixels[i : i + 64]), training=False))
        for i in range(0, len(pixels), 64)
    ]
    return np.concatenate(rows).astype(np.float32, copy=False)


def _trainee(encoder: Any, products: int, recipe: Recipe, total_steps: int) -> Any:
    """The encoder with both losses, compiled."""
    embeddings = encoder.output  # (n, d)
    cosines = cosine_classifier(products)(embeddings)  # (n, products)
    trainee = keras.Model(encoder.input, {"embeddings": embeddings, "cosines": cosines})
    warmup_steps = max(1, round(recipe.warmup * total_steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(1, total_steps - warmup_steps),
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    trainee.compile(
        optimizer=optimizer,
        loss={
            "embeddings": supcon(recipe.supcon_temperature),
            "cosines": normalized_softmax(recipe.classifier_temperature),
        },
        loss_weights={"embeddings": 1.0, "cosines": recipe.classifier_weight},
        metrics={"embeddings": [anchor_positive, anchor_negative, embedding_spread]},
        jit_compile=False,  # XLA's convolutions are several times slower on CPUs
    )
    return trainee


def _index_batches(photos: PhotoSet, recipe: Recipe, epoch: int) -> Iterator[NDArray[np.int64]]:
    return pk_batches(
        photos.labels,
        products=recipe.products,
        views=recipe.views,
        seed=recipe.seed,
        epoch=epoch,
        families=photos.families,
        twin_share=recipe.twin_share,
    )


def _batches(
    photos: PhotoSet, recipe: Recipe, preprocessing: Preprocessing, epoch: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Batches of fresh views, made on another thread while the network works on the last one."""

    def make(step: int, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        # Its own stream of chance a step, so that threads cannot change what is drawn.
        rng = np.random.default_rng([recipe.seed, epoch, step])
        views = make_views(photos.pixels[indices], size=preprocessing.height, rng=rng, views=recipe.augmentation)
        return preprocessing.tensor(views), photos.labels[indices]

    steps = enumerate(_index_batches(photos, recipe, epoch))
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="views") as pool:
        ahead: list[Future[tuple[NDArray[np.float32], NDArray[np.int64]]]] = [
            pool.submit(make, *item) for item in islice(steps, _BATCHES_AHEAD)
        ]
        while ahead:
            ready = ahead.pop(0)
            ahead.extend(pool.submit(make, *item) for item in islice(steps, 1))
            yield ready.result()
