"""Where batches come from: cached features of a stem, or pictures themselves where nothing is frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.system.threads import ordered_map
from trainer.data.dataset import Pictures
from trainer.data.features import FeatureStore
from trainer.data.sampling import pk_batches, random_batches, shared_batches

Array = NDArray[Any]
_AHEAD = 3


class Batches(Protocol):
    """Where a training gets its pictures from; a function of the epoch, so that a resumed run sees the same."""

    def steps(self, epoch: int) -> int:
        """How many batches an epoch (from 0) has."""

    def epoch(self, epoch: int) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        """The batches: network inputs (n, ...) and the product of each, shape (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchSampler:
    """Which pictures meet in a batch.

    Attributes:
        kind: ``pk`` for P products with K pictures each, ``random`` for shuffled pictures.
        products: P.
        views: K; a random batch has P x K pictures.
        seed: of the run.
        families: of each product, products that look alike, shape (c,); see `trainer.data.sampling.pk_batches`.
        twin_share: part of the families whose products are kept in one batch.
        reserved: which products have a share of every batch to themselves, shape (c,); None for no such share.
        share: that share, in (0, 1); see `trainer.data.sampling.shared_batches`.
    """

    kind: Literal["pk", "random"] = "pk"
    products: int = 16
    views: int = 4
    seed: int = 0
    families: NDArray[np.int64] | None = None
    twin_share: float = 0.0
    reserved: NDArray[np.bool_] | None = None
    share: float = 0.0

    @property
    def size(self) -> int:
        """Pictures in a batch."""
        return self.products * self.views

    def fitted(self, products: int) -> BatchSampler:
        """With no more products in a batch than there are."""
        return replace(self, products=min(self.products, products))

    def indices(self, labels: NDArray[np.int64], epoch: int) -> Iterator[NDArray[np.int64]]:
        """The batches of an epoch, as numbers of pictures; see `trainer.data.sampling`."""
        if self.kind == "random":
            size = min(self.products * self.views, len(labels))
            return random_batches(labels, size=size, seed=self.seed, epoch=epoch)
        if self.reserved is not None:
            return shared_batches(
                labels,
                self.reserved,
                self.share,
                products=self.products,
                views=self.views,
                seed=self.seed,
                epoch=epoch,
                families=self.families,
                twin_share=self.twin_share,
            )
        return pk_batches(
            labels,
            products=self.products,
            views=self.views,
            seed=self.seed,
            epoch=epoch,
            families=self.families,
            twin_share=self.twin_share,
        )


class _Batches:
    """What both kinds of batches are: an epoch's choices, made into inputs a few steps ahead on another thread."""

    def __init__(self, labels: NDArray[np.int64], products: int, sampler: BatchSampler) -> None:
        self.labels, self.products = labels, products
        self._mix = sampler.fitted(products)

    @property
    def size(self) -> int:
        """Pictures in a batch."""
        return self._mix.size

    def steps(self, epoch: int) -> int:
        """How many batches an epoch has."""
        return sum(1 for _ in self._mix.indices(self.labels, epoch))

    def epoch(self, epoch: int) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        """The batches of an epoch: inputs (n, ...) float32, and the product of each, shape (n,)."""

        def make(job: tuple[int, NDArray[np.int64]]) -> tuple[Array, NDArray[np.int64]]:
            step, chosen = job
            # Its own stream of chance a step, so that threads cannot change what is drawn.
            rng = np.random.default_rng([self._mix.seed, epoch, step])
            return self._inputs(chosen, rng), self.labels[chosen]

        return ordered_map(make, enumerate(self._mix.indices(self.labels, epoch)), 1, ahead=_AHEAD)

    def _inputs(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Array:
        raise NotImplementedError


class FeatureBatches(_Batches):
    """Batches of cached features: inputs (n, ...) float32."""

    def __init__(
        self,
        store: FeatureStore,
        pictures: Pictures,
        sampler: BatchSampler,
        *,
        repeats: NDArray[np.int64] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Make batches.

        Args:
            store: of the pictures; filled before an epoch is asked for.
            pictures: n labeled pictures.
            sampler: which meet.
            repeats: how often each counts, shape (n,); once by default.
            shape: of what is seen of each, where that is a random crop of its maps; all of it by default.
        """
        self._rows = np.arange(len(pictures)) if repeats is None else np.repeat(np.arange(len(pictures)), repeats)
        self._store, self._pictures, self._shape = store, pictures, shape
        super().__init__(pictures.labels[self._rows], len(pictures.products), sampler)

    def _inputs(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Array:
        views = rng.integers(0, 1 + self._store.count, len(chosen))
        features = self._store.views(self._pictures, self._rows[chosen], views)
        return _crops(features, self._shape or features.shape[1:], rng).astype(np.float32)


def _crops(features: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """A random crop of that shape of each, from (n, ...)."""
    if features.shape[1:] == shape:
        return features
    room = np.subtract(features.shape[1:], shape)
    starts = rng.integers(0, room + 1, (len(features), len(room)))
    parts = zip(features, starts.tolist(), strict=True)
    return np.stack([part[tuple(slice(a, a + n) for a, n in zip(at, shape, strict=True))] for part, at in parts])


class PixelBatches(_Batches):
    """Batches of fresh views, cut from the pictures anew each time: inputs (n, height, width, 3) float32."""

    def __init__(
        self,
        draw: Callable[[int, np.random.Generator], NDArray[np.uint8]],
        tensor: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
        labels: NDArray[np.int64],
        sampler: BatchSampler,
    ) -> None:
        """Make batches.

        Args:
            draw: one view of a picture by its number, uint8, shape (height, width, 3); called in a thread.
            tensor: the network's input of views, see `Preprocessing.tensor`.
            labels: the product of each picture, 0..c-1, shape (n,).
            sampler: which meet.
        """
        super().__init__(labels, int(labels.max()) + 1, sampler)
        self._draw, self._tensor = draw, tensor

    def _inputs(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Array:
        return self._tensor(np.stack([self._draw(i, rng) for i in chosen.tolist()]))
