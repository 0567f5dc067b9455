"""What the stem makes of every picture's views, computed once and kept on disk by content hash.

One file a picture: ``<cache>/<key>/<sha256>.npy``, float16, shape (views, *shape). View 0, the identity view, is the
picture as serving sees it; the others are random augmentations, and depend on the picture's content, the seed and the
view's number alone. So a dataset that grows, shrinks or is split anew computes its new pictures only, in any order and
on any number of threads.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.images.preprocessing import Preprocessing
from retrieval.system.files import os_errors, replacing, require_space
from retrieval.system.progress import Progress, Silent
from trainer.data.augment import Views, make_views
from trainer.data.dataset import Pictures
from trainer.networks.stem import Runner

_SLACK = 256 << 20
"""Bytes that stay free beside the cache."""


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """Which views of each picture are cached.

    Attributes:
        count: random views a picture, beside the identity view.
        views: how far they may go.
        seed: of the run.
        source: side of the pictures that views are cut from, relative to the network's input.
    """

    count: int
    views: Views
    seed: int
    source: float = 8 / 7


class FeatureStore:
    """Features of pictures on disk.

    Attributes:
        folder: where they lie, one for each combination of stem, preprocessing and plan.
    """

    def __init__(
        self,
        cache: Path,
        runner: Runner,
        preprocessing: Preprocessing,
        plan: ViewPlan,
        *,
        fewer: int | None = None,
        of: frozenset[str] = frozenset(),
    ) -> None:
        """Open the part of a cache that belongs to a stem and a plan; nothing is written yet.

        Args:
            cache: on disk.
            runner: of the stem.
            preprocessing: what its pictures go through.
            plan: of the views.
            fewer: random views of some pictures, where that is not the plan's count.
            of: those pictures, by their SHA-256.
        """
        self._runner, self._preprocessing, self._plan = runner, preprocessing, plan
        self._of = of if fewer is not None else frozenset()
        self._few = plan if fewer is None else replace(plan, count=fewer)
        self._cache = cache
        self.folder = self._folder(plan)

    @property
    def count(self) -> int:
        """Random views of each picture, beside the identity view."""
        return self._plan.count

    def missing(self, pictures: Pictures) -> list[int]:
        """Which pictures have to be computed; the same picture twice in a dataset counts once."""
        absent = {name: i for i, name in enumerate(pictures.hashes) if not self._file(name).is_file()}
        return sorted(absent.values())

    def fill(self, pictures: Pictures, *, progress: Progress = Silent(), stage: str = "Computing features") -> int:
        """Compute what is missing.

        Args:
            pictures: that will be asked for.
            progress: told how far it is, where there is something to do.
            stage: what the progress calls it.

        Returns:
            How many pictures were computed.

        Raises:
            DiskFullError: there is not enough room; nothing was written.
            StoreError: the cache cannot be written.
            ImageError: a picture changed since it was listed.
        """
        missing = self.missing(pictures)
        if not missing:
            return 0
        with os_errors("keep features", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._folder(self._few).mkdir(parents=True, exist_ok=True)
        views = sum(1 + self._plan_of(pictures.hashes[i]).count for i in missing)
        need = views * int(np.prod(self._runner.shape)) * 2
        require_space(self.folder, need + _SLACK, f"keep the features of {len(missing):,} pictures")
        progress.stage(stage, len(missing))
        for i, features in zip(missing, self._runner.run(self._jobs(pictures, missing)), strict=True):
            file = self._file(pictures.hashes[i])
            staging = file.with_suffix(f".{os.getpid()}.part")
            with (
                os_errors("keep features", self.folder),
                replacing(file, staging=staging, durable=False) as new,
                new.open("wb") as stream,
            ):
                np.save(stream, features.astype(np.float16))
            progress.advance()
        return len(missing)

    def seconds_each(self, pictures: Pictures, missing: Sequence[int]) -> float:
        """How long one of the missing pictures takes, from a sample of them."""
        sample = missing[:: max(1, len(missing) // 8)][:8]
        list(self._runner.run(self._jobs(pictures, sample[:2])))
        started = time.perf_counter()
        list(self._runner.run(self._jobs(pictures, sample)))
        return (time.perf_counter() - started) / len(sample)

    def _jobs(self, pictures: Pictures, rows: Sequence[int]) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        return (partial(self._pixels, pictures, i) for i in rows)

    def identity_views(self, pictures: Pictures, rows: Sequence[int] | None = None) -> NDArray[np.float16]:
        """The features of pictures as serving sees them, float16, shape (n, *shape)."""
        numbers = range(len(pictures)) if rows is None else rows
        return np.stack([self._open(pictures.hashes[i])[0] for i in numbers])

    def views(self, pictures: Pictures, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.float16]:
        """One view of each of some pictures.

        Args:
            pictures: that were filled in.
            rows: numbers of the pictures, shape (n,).
            views: number of the view of each, from 1 to the plan's count; 0 is the identity view, shape (n,). Pictures
                with fewer views count around.

        Returns:
            float16, shape (n, *shape).
        """
        out = np.empty((len(rows), *self._runner.shape), np.float16)
        for place, (row, view) in enumerate(zip(rows.tolist(), views.tolist(), strict=True)):
            kept = self._open(pictures.hashes[row])
            out[place] = kept[view % len(kept)]
        return out

    def batches(self, pictures: Pictures, *, size: int = 64) -> Iterator[NDArray[np.float16]]:
        """The features of the identity views of all pictures, a batch at a time."""
        for start in range(0, len(pictures), size):
            yield self.identity_views(pictures, range(start, min(start + size, len(pictures))))

    def _pixels(self, pictures: Pictures, number: int) -> NDArray[np.uint8]:
        """The identity view and the random ones, uint8, shape (1 + count, height, width, 3)."""
        plan, wanted = self._plan_of(pictures.hashes[number]), self._preprocessing
        plain = pictures.read(number, wanted)
        if plan.count == 0:
            return plain[None]
        source = pictures.read(number, enlarged(wanted, plan.source))
        rng = np.random.default_rng([plan.seed, int(pictures.hashes[number][:16], 16)])
        many = np.broadcast_to(source, (plan.count, *source.shape))
        return np.concatenate([plain[None], make_views(many, size=wanted.height, rng=rng, views=plan.views)])

    def _open(self, name: str) -> NDArray[np.float16]:
        return np.load(self._file(name), mmap_mode="r")  # type: ignore[no-any-return]

    def _file(self, name: str) -> Path:
        return (self._folder(self._few) if name in self._of else self.folder) / f"{name}.npy"

    def _plan_of(self, name: str) -> ViewPlan:
        return self._few if name in self._of else self._plan

    def _folder(self, plan: ViewPlan) -> Path:
        text = f"{self._runner.key} {self._preprocessing!r} {plan!r}"
        return self._cache / hashlib.sha256(text.encode()).hexdigest()[:24]


def enlarged(preprocessing: Preprocessing, factor: float) -> Preprocessing:
    """The same preprocessing for pictures that views are cut from: somewhat larger than the network's input."""
    height, width = (round(side * factor) for side in (preprocessing.height, preprocessing.width))
    return replace(preprocessing, height=height, width=width)
