"""Labeled photos with their vectors: what an evaluation measures, whether probes or gallery."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.gap import measure_gap, scales, studio_part
from retrieval.catalog.read import Refusal
from retrieval.types import Metadata


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Photos of known products, n of them.

    Attributes:
        root: the folder that ``sources`` are relative to.
        sources: path of each photo, with forward slashes.
        labels: product of each, shape (n,).
        vectors: unit vectors, float32, shape (n, d).
        content_hashes: SHA-256 of each file.
        picture_hashes: perceptual hash of each, see `retrieval.images.perceptual_hash`, shape (n,).
        hashed: whether the perceptual hash is known (a gallery's pictures may be gone), shape (n,).
        metadata: what the products' table says, by product.
        refused: files that could not be read.
        factors: what squared distances to each are multiplied by in a gallery of two kinds of pictures, see
            `retrieval.calibration.gap`, shape (n,); None for 1.
        notes: what was understood of their folders and a person may want to know, a line each.
    """

    root: Path
    sources: tuple[str, ...]
    labels: NDArray[np.str_]
    vectors: NDArray[np.float32]
    content_hashes: tuple[str, ...]
    picture_hashes: NDArray[np.uint64]
    hashed: NDArray[np.bool_]
    metadata: Mapping[str, Metadata] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    factors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.sources)
        sizes = {len(self.labels), len(self.vectors), len(self.content_hashes), len(self.picture_hashes)}
        if sizes | {len(self.hashed)} != {n}:
            raise ValueError(f"expected everything once for each of {n} photos, received {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def products(self) -> NDArray[np.str_]:
        """The distinct products, sorted."""
        return np.unique(self.labels)

    def digest(self) -> str:
        """Hex SHA-256 that is equal for equal sets of photos, whatever their names and order."""
        return hashlib.sha256("\n".join(sorted(self.content_hashes)).encode()).hexdigest()

    def joined(self, other: Photos) -> Photos:
        """These and then the others, with what else is known of these."""
        return replace(
            self,
            sources=self.sources + other.sources,
            labels=np.concatenate([self.labels, other.labels]),
            vectors=np.concatenate([self.vectors, other.vectors]),
            content_hashes=self.content_hashes + other.content_hashes,
            picture_hashes=np.concatenate([self.picture_hashes, other.picture_hashes]),
            hashed=np.concatenate([self.hashed, other.hashed]),
            factors=None
            if self.factors is None and other.factors is None
            else np.concatenate([_factors(self), _factors(other)]),
        )

    def only(self, rows: Sequence[int] | NDArray[np.integer]) -> Photos:
        """Some of them, by number, in that order."""
        chosen = np.asarray(rows, np.int64)
        return Photos(
            self.root,
            tuple(self.sources[i] for i in chosen),
            self.labels[chosen],
            self.vectors[chosen],
            tuple(self.content_hashes[i] for i in chosen),
            self.picture_hashes[chosen],
            self.hashed[chosen],
            self.metadata,
            self.refused,
            self.notes,
            None if self.factors is None else self.factors[chosen],
        )

    def as_gallery(self, studio: NDArray[np.bool_]) -> Photos:
        """These as a gallery, with the `factors` that an index of them would have.

        Args:
            studio: which are studio pictures, shape (n,).
        """
        found = scales(studio_part(self.labels, studio), measure_gap(self.vectors, self.labels, studio))
        if found is None:
            return replace(self, factors=None)
        return replace(self, factors=np.where(studio, *found).astype(np.float32))


def _factors(photos: Photos) -> NDArray[np.float32]:
    return np.ones(len(photos), np.float32) if photos.factors is None else photos.factors
