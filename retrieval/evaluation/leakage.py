"""Probes that would make rates optimistic: their picture is in the gallery too, or twice among the probes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.evaluation.photos import Photos
from retrieval.images.perceptual_hash import NEAR_BITS, near_duplicates


@dataclass(frozen=True, slots=True)
class Twin:
    """A probe and the picture that it repeats.

    Attributes:
        probe: its number among all probes.
        image: path of the other picture.
        image_product: where the other picture lies.
        reason: ``same-hash``, ``near-duplicate`` or ``repeated``.
        bits: how many bits of the perceptual hashes differ.
    """

    probe: int
    image: str
    image_product: str
    reason: str
    bits: int


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Which probes stay.

    Attributes:
        kept: numbers of the probes that stay, ascending.
        twins: those that go, and why.
        look_alikes: probes nearly the same as a picture of another product, which stay: excluding hard
            photos would be optimistic too, and the perceptual hash cannot tell two similar packs apart.
        unchecked: gallery pictures without a perceptual hash.
    """

    kept: tuple[int, ...]
    twins: tuple[Twin, ...]
    look_alikes: tuple[Twin, ...]
    unchecked: int


def find_twins(probes: Photos, gallery: Photos, *, max_bits: int = NEAR_BITS) -> Exclusion:
    """Find the probes to exclude.

    Equal bytes go whatever product they lie under. Near duplicates go when the gallery's picture is of the
    same product. Of photos that are in the split twice, the first stays.

    Args:
        probes: the split.
        gallery: what they are compared with.
        max_bits: perceptual hashes that differ in at most so many bits are near duplicates.
    """
    in_gallery = {content: i for i, content in reversed(list(enumerate(gallery.content_hashes)))}
    near, alike = _near(probes, gallery, max_bits)
    seen: dict[str, int] = {}
    kept: list[int] = []
    twins: list[Twin] = []
    look_alikes: list[Twin] = []
    for i, content in enumerate(probes.content_hashes):
        if content in in_gallery:
            j = in_gallery[content]
            twins.append(Twin(i, gallery.sources[j], str(gallery.labels[j]), "same-hash", 0))
        elif i in near:
            j, bits = near[i]
            twins.append(Twin(i, gallery.sources[j], str(gallery.labels[j]), "near-duplicate", bits))
        elif content in seen:
            j = seen[content]
            twins.append(Twin(i, probes.sources[j], str(probes.labels[j]), "repeated", 0))
        else:
            seen[content] = i
            kept.append(i)
            if i in alike:
                j, bits = alike[i]
                look_alikes.append(Twin(i, gallery.sources[j], str(gallery.labels[j]), "near-duplicate", bits))
    return Exclusion(tuple(kept), tuple(twins), tuple(look_alikes), int((~gallery.hashed).sum()))


def _near(
    probes: Photos, gallery: Photos, max_bits: int
) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
    """The nearest near duplicate of each probe under its own product, and under another."""
    # Hash 0 stands for pictures without structure, which are alike without being the same.
    rows = np.flatnonzero(probes.picture_hashes != 0)
    columns = np.flatnonzero(gallery.hashed & (gallery.picture_hashes != 0))
    own: dict[int, tuple[int, int]] = {}
    other: dict[int, tuple[int, int]] = {}
    for r, c, bits in near_duplicates(probes.picture_hashes[rows], gallery.picture_hashes[columns], max_bits):
        i, j = int(rows[r]), int(columns[c])
        found = own if probes.labels[i] == gallery.labels[j] else other
        if i not in found or bits < found[i][1]:
            found[i] = j, bits
    return own, other
