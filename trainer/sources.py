"""What a network learns from, as it takes it: cached features, or pictures where nothing is frozen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.images.preprocessing import Preprocessing
from trainer.data.augment import Views, make_views
from trainer.data.batches import Array, Batches, BatchSampler, FeatureBatches, PixelBatches
from trainer.data.dataset import Pictures
from trainer.data.features import FeatureStore, ViewPlan, enlarged
from trainer.networks.assemble import Network, in_batches
from trainer.networks.stem import Runner
from trainer.presets import Plan
from trainer.progress import TrainingProgress

_BATCH = 64
_SAMPLE = 16


class LabeledBatches(Batches, Protocol):
    """Batches that know how many products and pictures they are of."""

    products: int

    @property
    def size(self) -> int:
        """Pictures in a batch."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds, measured on a sample.

    Attributes:
        fill: of `Source.fill`.
        read: to read one picture as serving sees it.
        look: the same, and to run the stem on it; 0 more for a stem that has looked at everything already.
        draw: to draw the inputs of a batch.
    """

    fill: float
    read: float
    look: float
    draw: float


class Source(Protocol):
    """Training pictures as a network's input."""

    @property
    def batches(self) -> LabeledBatches:
        """What is learned from."""

    def fill(self, progress: TrainingProgress) -> None:
        """Compute what has to be there first."""

    def outputs(self, model: Any, pictures: Pictures | None = None) -> NDArray[np.float32]:
        """What a model makes of training pictures as serving sees them, shape (n, d).

        Args:
            model: of the network's input.
            pictures: its own by default; of others, what has to be there is computed first, where it is not.
        """

    def inputs(self, pictures: Pictures, progress: TrainingProgress) -> Array:
        """The network's input for other pictures, shape (m, ...)."""

    def costs(self) -> Costs:
        """How long what it does takes, from a sample."""


def open_source(
    network: Network,
    pictures: Pictures,
    repeats: NDArray[np.int64],
    plan: Plan,
    cache: Path,
    sampler: BatchSampler,
    *,
    fewer_views: tuple[int | None, frozenset[str]] = (None, frozenset()),
) -> Source:
    """Cached features where the network has a stem, else pictures; an ensemble shares views and differs in batches."""
    if network.stem is None:
        return _Pixels(network, pictures, repeats, plan, sampler)
    return _Features(network, pictures, repeats, plan, sampler, cache, fewer_views)


class _Features:
    def __init__(
        self,
        network: Network,
        pictures: Pictures,
        repeats: NDArray[np.int64],
        plan: Plan,
        sampler: BatchSampler,
        cache: Path,
        fewer_views: tuple[int | None, frozenset[str]],
    ) -> None:
        self._pictures, self._network, self._cache = pictures, network, cache
        self._runner = Runner(network.stem, network.preprocessing)
        fewer, of = fewer_views
        views = ViewPlan(plan.cached_augmentations, plan.augmentation, plan.seed)
        self._store = FeatureStore(cache, self._runner, network.preprocessing, views, fewer=fewer, of=of)
        self.batches = FeatureBatches(self._store, pictures, sampler, repeats=repeats, shape=network.shape)

    def fill(self, progress: TrainingProgress) -> None:
        stage = f"Caching features of {1 + self._store.count} views a picture"
        self._store.fill(self._pictures, progress=progress, stage=stage)

    def outputs(self, model: Any, pictures: Pictures | None = None) -> NDArray[np.float32]:
        if pictures is not None:
            self._store.fill(pictures)
        return in_batches(model, self._store.batches(self._pictures if pictures is None else pictures))

    def inputs(self, pictures: Pictures, progress: TrainingProgress) -> Array:
        store = FeatureStore(self._cache, self._runner, self._network.preprocessing, ViewPlan(0, Views(), 0))
        store.fill(pictures, progress=progress, stage="Caching features of val")
        return store.identity_views(pictures)

    def costs(self) -> Costs:
        missing = self._store.missing(self._pictures)
        read = _seconds_to_read(self._pictures, self._network.preprocessing)
        if not missing:  # to convert the stem for a sample would take longer than all that is left for it to do
            return Costs(0.0, read, read, 0.0)
        each = self._store.seconds_each(self._pictures, missing)
        return Costs(len(missing) * each, read, max(read, each / (1 + self._store.count)), 0.0)


class _Pixels:
    def __init__(
        self, network: Network, pictures: Pictures, repeats: NDArray[np.int64], plan: Plan, sampler: BatchSampler
    ) -> None:
        self._pictures, self._preprocessing = pictures, network.preprocessing
        rows = np.repeat(np.arange(len(pictures)), repeats)
        source = enlarged(network.preprocessing, ViewPlan(0, plan.augmentation, 0).source)

        def draw(number: int, rng: np.random.Generator) -> NDArray[np.uint8]:
            picture = pictures.read(int(rows[number]), source)
            view = make_views(picture[None], size=network.preprocessing.height, rng=rng, views=plan.augmentation)
            return np.asarray(view[0])

        self.batches = PixelBatches(draw, network.preprocessing.tensor, pictures.labels[rows], sampler)

    def fill(self, progress: TrainingProgress) -> None:
        pass

    def outputs(self, model: Any, pictures: Pictures | None = None) -> NDArray[np.float32]:
        return in_batches(model, self._tensors(self._pictures if pictures is None else pictures))

    def inputs(self, pictures: Pictures, progress: TrainingProgress) -> Array:
        progress.stage("Reading val")
        return np.concatenate(list(self._tensors(pictures)))

    def costs(self) -> Costs:
        started = time.perf_counter()
        next(self.batches.epoch(0))
        draw = time.perf_counter() - started
        read = _seconds_to_read(self._pictures, self._preprocessing)
        return Costs(0.0, read, read, draw)

    def _tensors(self, pictures: Pictures) -> Iterator[Array]:
        for start in range(0, len(pictures), _BATCH):
            rows = range(start, min(start + _BATCH, len(pictures)))
            yield self._preprocessing.tensor(pictures.pixels(self._preprocessing, rows))


def _seconds_to_read(pictures: Pictures, preprocessing: Preprocessing) -> float:
    """For one picture, from a sample of them."""
    sample = pictures.spread(_SAMPLE)
    started = time.perf_counter()
    pictures.pixels(preprocessing, sample)
    return (time.perf_counter() - started) / len(sample)
