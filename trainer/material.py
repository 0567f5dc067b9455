"""What there is to learn from: a dataset's photos, the catalog's pictures, and photos to validate on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import Refusal
from retrieval.errors import UsageError
from retrieval.system.text import printable
from trainer.data.batches import BatchSampler
from trainer.data.dataset import Pictures, read_pictures
from trainer.held_out import FEWEST_PRODUCTS, choose_held_out
from trainer.presets import Plan
from trainer.progress import TrainingProgress
from trainer.validation import can_validate


@dataclass(frozen=True, slots=True)
class Mixture:
    """How products of two kinds share the batches.

    Attributes:
        reserved: the products that have a share of every batch to themselves.
        share: that share, in (0, 1).
        families: of products, those that look alike; one that is not named is a family of its own.
        twin_share: part of the families whose products are kept in one batch.
        views: cached random views of each picture of the others, which are many; None for as many as the recipe has.
    """

    reserved: frozenset[str]
    share: float
    families: Mapping[str, str] = field(default_factory=dict)
    twin_share: float = 0.0
    views: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object of all that decides what is drawn."""
        return asdict(self) | {"reserved": sorted(self.reserved), "families": dict(self.families)}

    def applied(self, sampler: BatchSampler, products: Sequence[str]) -> BatchSampler:
        """A sampler of these products that keeps the shares."""
        names = [self.families.get(product, product) for product in products]
        return replace(
            sampler,
            families=np.unique(names, return_inverse=True)[1],
            twin_share=self.twin_share,
            reserved=np.isin(products, sorted(self.reserved)),
            share=self.share,
        )


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What there is to learn from.

    Attributes:
        pictures: the dataset's photos, then the catalog's pictures.
        repeats: how often each counts, shape (n,).
        validation: photos to validate on, or None.
        held_out: held-out products, which further networks do not see, for each time that some are; none without such
            networks.
        refused: files that could not be read.
        mixture: how products of two kinds share the batches; None where there is one kind.
    """

    pictures: Pictures
    repeats: NDArray[np.int64]
    validation: Pictures | None
    held_out: tuple[tuple[str, ...], ...]
    refused: tuple[Refusal, ...]
    mixture: Mixture | None = None

    def sampler(self, plan: Plan, number: int) -> BatchSampler:
        """Which pictures meet in the batches of a network; those of an ensemble differ in it."""
        sampler = BatchSampler(plan.batches, plan.products, plan.views, plan.seed + number)
        return sampler if self.mixture is None else self.mixture.applied(sampler, self.pictures.products)

    def fewer_views(self) -> tuple[int | None, frozenset[str]]:
        """How many random views some pictures have, and which, by their SHA-256; see `FeatureStore`."""
        if self.mixture is None or self.mixture.views is None:
            return None, frozenset()
        others = ~np.isin(self.pictures.names(), sorted(self.mixture.reserved))
        return self.mixture.views, frozenset(self.pictures.hashes[i] for i in np.flatnonzero(others))

    def shown(self) -> Pictures:
        """The pictures that say in which directions products differ: those of the reserved ones, where there are."""
        if self.mixture is None:
            return self.pictures
        rows = np.flatnonzero(np.isin(self.pictures.names(), sorted(self.mixture.reserved)))
        return self.pictures.only(rows.tolist())

    def seen(self, held_out: Collection[str]) -> NDArray[np.bool_]:
        """Which pictures the networks that do not see those products learn from, shape (n,)."""
        return ~np.isin(np.array(self.pictures.products)[self.pictures.labels], list(held_out))

    def without(self, held_out: Collection[str]) -> TrainingData:
        """What those networks learn from."""
        validation = self.validation.without(held_out) if self.validation is not None else None
        return replace(
            self,
            pictures=self.pictures.without(held_out),
            repeats=self.repeats[self.seen(held_out)],
            validation=validation if validation is not None and len(validation) else None,
            held_out=(),
        )


def read_training_data(dataset: Path, catalog: Path | None, plan: Plan, progress: TrainingProgress) -> TrainingData:
    """Read everything once, and say what is missing.

    Args:
        dataset: a folder with train/ and, better, val/; or of product folders, which is all training then.
        catalog: catalog pictures that join the training, or None.
        plan: the recipe.
        progress: told how far it is, and what was left out.

    Raises:
        CatalogError, UsageError: there is nothing to learn from.
    """
    folder, has_splits = dataset / "train", True
    if not folder.is_dir():
        if not dataset.is_dir():
            raise UsageError(
                f"expected a dataset, a folder with train/ and val/, received nothing at {printable(dataset)}",
                hint="itemrec prepare RAW OUT makes one from product folders.",
            )
        folder, has_splits = dataset, False
        progress.note(f"{dataset} has no train/: all of it is trained on, and nothing is left to validate on.")
    pictures = photos = _pictures(folder, "Reading train", progress)
    refused = pictures.refused
    repeats = np.ones(len(pictures), np.int64)
    if catalog is not None:
        studio = _pictures(catalog, "Reading the catalog", progress)
        pictures, refused = pictures.joined(studio), refused + studio.refused
        repeats = np.concatenate([repeats, np.full(len(studio), plan.studio_repeats)])
    if len(pictures.products) < 2:
        raise UsageError(
            f"expected at least 2 products to tell apart, received {len(pictures.products)} in {printable(folder)}",
            hint="A split is a folder that holds one folder of pictures a product.",
        )
    few = int((np.bincount(pictures.labels) < 2).sum())
    if few:
        progress.note(
            f"{few:,} of {len(pictures.products):,} products have a single picture: views of it stand in for photos. "
            "Expect less than with five photos or more of each."
        )
    validation = None
    if has_splits and (dataset / "val").is_dir():
        validation = _pictures(dataset / "val", "Reading val", progress)
        refused += validation.refused
        if not can_validate(validation):
            progress.note("val holds no two photos of one product, or no two products: nothing is validated.")
    held_out: tuple[tuple[str, ...], ...] = ()
    if plan.hold_out and validation is not None:
        held_out = choose_held_out(photos.products, plan.hold_out, plan.hold_out_times, plan.seed)
        if not held_out:
            progress.note(
                f"With fewer than {FEWEST_PRODUCTS} products none is held out: how often unknown products are matched "
                "is not measured on products that no training saw."
            )
    return TrainingData(pictures, repeats, validation, held_out, refused)


def _pictures(folder: Path, stage: str, progress: TrainingProgress) -> Pictures:
    found = read_pictures(folder, progress=progress, stage=stage)
    for note in found.notes:
        progress.note(f"{printable(folder)}: {note}")
    for refusal in found.refused:
        progress.note(f"left out {printable(refusal.path)}: {refusal.reason}")
    return found
