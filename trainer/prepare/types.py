"""What travels through a preparation: options, pictures, and what was decided about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from retrieval.errors import UsageError
from retrieval.images.perceptual_hash import NEAR_BITS
from retrieval.types import SPLITS

By = Literal["image", "product"]
Kind = Literal["same-file", "same-pixels", "near"]
"""Equal bytes; equal pixels once prepared; nearly the same picture."""

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Ratios:
    """How large the splits are, in proportion to each other."""

    train: Fraction
    val: Fraction
    test: Fraction

    @classmethod
    def parse(cls, text: str) -> Ratios:
        """Read ``train:val:test``, such as ``8:1:1`` or ``0.7:0.3:0``.

        Raises:
            UsageError: it is not three numbers from 0 on, or all are 0.
        """
        parts = [part.strip() for part in text.split(":")]
        if len(parts) != len(SPLITS) or not all(map(_NUMBER.fullmatch, parts)) or not any(map(Fraction, parts)):
            raise UsageError(
                f"expected ratios train:val:test, received {text!r}", hint="For example 8:1:1, or 8:2:0 without a test."
            )
        return cls(*map(Fraction, parts))

    def __str__(self) -> str:
        return ":".join(f"{float(part):.12g}" for part in self.parts)

    @property
    def parts(self) -> tuple[Fraction, Fraction, Fraction]:
        """As given, in the order of the splits."""
        return self.train, self.val, self.test

    @property
    def shares(self) -> dict[str, Fraction]:
        """The part of the whole that each split gets; they add up to 1."""
        return {split: part / sum(self.parts) for split, part in zip(SPLITS, self.parts, strict=True)}


EIGHT_ONE_ONE = Ratios(Fraction(8), Fraction(1), Fraction(1))


@dataclass(frozen=True, slots=True)
class Options:
    """What a dataset is made by. The same pictures and options give the same dataset.

    Attributes:
        by: ``image`` divides the pictures of every product, ``product`` the products.
        ratios: of the splits.
        seed: of the division.
        max_side: the longer side of a picture at most, pixels.
        near_bits: perceptual hashes that differ in at most so many bits are near duplicates.
        keep_conflicts: keep pictures that lie under several products.
        keep_splits: the source is divided already; by, ratios and seed do not matter.
        min_views: products with fewer pictures are named.
    """

    by: By = "image"
    ratios: Ratios = EIGHT_ONE_ONE
    seed: int = 0
    max_side: int = 1024
    near_bits: int = NEAR_BITS
    keep_conflicts: bool = False
    keep_splits: bool = False
    min_views: int = 4

    def __post_init__(self) -> None:
        if self.by not in ("image", "product"):
            raise UsageError(f"expected to split by image or product, received {self.by!r}")
        if not 32 <= self.max_side <= 65_500:
            raise UsageError(f"expected a longest side of 32 to 65500 pixels, received {self.max_side}")
        if not 0 <= self.near_bits <= 16:
            raise UsageError(
                f"expected near duplicates within 0 to 16 bits, received {self.near_bits}",
                hint="Of 64 bits unrelated pictures differ in about 32.",
            )
        if self.min_views < 1:
            raise UsageError(f"expected at least 1 view, received {self.min_views}")


@dataclass(frozen=True, slots=True)
class Converted:
    """A picture as it lies in the dataset.

    Attributes:
        sha256: of the JPEG that was made of it.
        size: width and height, pixels.
        bytes: of that JPEG.
        perceptual_hash: of that JPEG, see `retrieval.images.perceptual_hash`: what an evaluation compares.
        source_size: width and height as stored in the source, pixels.
    """

    sha256: str
    size: tuple[int, int]
    bytes: int
    perceptual_hash: int
    source_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """A readable picture of the source.

    Attributes:
        product_id: what it shows.
        source: its path relative to the source's root, with forward slashes.
        name: the same without product folder and split.
        split: where it lies, when the source is divided already.
        source_sha256: of the file.
        source_bytes: of the file.
        made: what becomes of it.
        taken: when it was taken, in seconds, by the camera's clock; None where the file does not say.
    """

    product_id: str
    source: str
    name: str
    split: str | None
    source_sha256: str
    source_bytes: int
    made: Converted
    taken: int | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A picture that is left out, and the one that is kept instead."""

    picture: Picture
    kept: Picture
    kind: Kind
    bits: int

    @property
    def leak(self) -> bool:
        """Whether it lies in another split of a divided source."""
        return self.picture.split != self.kept.split


@dataclass(frozen=True, slots=True)
class Conflict:
    """One picture under several products: at most one label can be right."""

    pictures: tuple[Picture, ...]
    kind: Kind
    bits: int
    kept: bool


@dataclass(frozen=True, slots=True)
class LookAlike:
    """Two pictures of different products that look nearly the same and are not copies. Both are kept."""

    one: Picture
    other: Picture
    bits: int


@dataclass(frozen=True, slots=True)
class Findings:
    """The pictures without duplicates, in groups, and what was left out.

    Attributes:
        groups: pictures that must not lie in different splits; most are alone.
        duplicates: left out, with the picture that is kept instead.
        conflicts: the same picture under several products.
        look_alikes: kept, and worth a look.
    """

    groups: tuple[tuple[Picture, ...], ...]
    duplicates: tuple[Duplicate, ...]
    conflicts: tuple[Conflict, ...]
    look_alikes: tuple[LookAlike, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture of the dataset: where it lies, with forward slashes, relative to the dataset."""

    picture: Picture
    split: str
    path: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole dataset, decided.

    Attributes:
        images: in the order of their paths.
        findings: what was left out, and why.
        tables: content of the files with the products' metadata, by path.
        few_views: pictures of each product that has fewer than `Options.min_views`.
        single: products with one picture, which is in train.
    """

    images: tuple[Placed, ...]
    findings: Findings
    tables: Mapping[str, bytes] = field(default_factory=dict)
    few_views: Mapping[str, int] = field(default_factory=dict)
    single: tuple[str, ...] = ()

    def wanted(self) -> dict[str, str]:
        """The SHA-256 of every picture of the dataset, by path."""
        return {image.path: image.picture.made.sha256 for image in self.images}
