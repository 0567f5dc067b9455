"""Trainings without a fold of the products: what the recipe is worth for products that no training saw."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.models.bundle import Bundle, read_bundle, write_bundle
from retrieval.system.files import os_errors, replace_file
from trainer.data.dataset import Pictures
from trainer.learn import export_without, learn_without
from trainer.material import TrainingData
from trainer.places import RunPaths
from trainer.presets import stored
from trainer.progress import TrainingProgress
from trainer.starter import recipe
from trainer.starter.first_day import Embedded, Shop, fold
from trainer.starter.mixture import RealPhotos

_KEPT = "embeddings.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A training of the recipe that did not see some of the products.

    Attributes:
        held_out: those products.
        shop: the real pictures, all products', as its network embeds them.
    """

    held_out: tuple[str, ...]
    shop: Shop


def train_fold(number: int, data: TrainingData, real: RealPhotos, cache: Path, progress: TrainingProgress) -> Fold:
    """Train without a fold of the real products, and embed all real pictures.

    What an earlier call left in the cache, finished or interrupted, is used again.

    Args:
        number: of the fold, 0 to 4.
        data: what the shipped model learns from.
        real: the real pictures in it.
        cache: keeps features and runs.
        progress: told how far it is.
    """
    held_out = fold(real.photos.products, number)
    paths = run_paths(data, cache, f"fold-{number}")
    file = paths.run / _KEPT
    if not file.is_file():
        without = dataclasses.replace(data, held_out=(held_out,))
        found = learn_without(without, paths, recipe.PLAN, progress, resume=True).embeddings
        content = io.BytesIO()
        np.savez(content, **{name: _of(part, found) for name, part in _parts(real).items()})  # type: ignore[arg-type]
        with os_errors("keep embeddings", file):
            replace_file(file, content.getvalue())
    with np.load(file) as kept:
        return Fold(held_out, Shop(**{name: Embedded(kept[name], part.names()) for name, part in _parts(real).items()}))


def fold_bundle(number: int, data: TrainingData, real: RealPhotos, cache: Path, progress: TrainingProgress) -> Bundle:
    """The model of `train_fold` as a bundle, kept with its run: the built-in one as it would be without these products.

    Args: as there.
    """
    held_out = fold(real.photos.products, number)
    paths = run_paths(data, cache, f"fold-{number}")
    place = paths.run / "bundle"
    if place.is_dir():
        return read_bundle(place)
    without = dataclasses.replace(data, held_out=(held_out,))
    model, preprocessing, dimension = export_without(without, paths, recipe.PLAN, progress, weights=recipe.WEIGHTS)
    return write_bundle(
        place,
        name=f"{recipe.NAME}-without-fold-{number}",
        encoder=model,
        runtime="litert",
        preprocessing=preprocessing,
        dimension=dimension,
        source="python -m trainer.starter",
        license="Apache-2.0",
    )


def run_paths(data: TrainingData, cache: Path, name: str) -> RunPaths:
    """Where a training of the recipe keeps its checkpoint; another place for anything that changes what is learned."""
    mixture = data.mixture.to_json() if data.mixture is not None else None
    text = json.dumps([stored(recipe.PLAN), mixture, data.pictures.hashes], sort_keys=True)
    run = cache / "runs" / hashlib.sha256(text.encode()).hexdigest()[:16] / name
    return RunPaths(cache, None, run, cache / "features")


def _parts(real: RealPhotos) -> dict[str, Pictures]:
    return {"photos": real.photos, "asked": real.asked, "studio": real.studio}


def _of(part: Pictures, embeddings: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack([embeddings[name] for name in part.hashes])
