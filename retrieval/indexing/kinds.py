"""What kinds of pictures an index holds: how much of it is from a studio, and how far that lies from its photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retrieval.calibration.gap import measure_gap, studio_part
from retrieval.images.studio import SAMPLE, studio_share
from retrieval.index.protocols import VectorStore
from retrieval.types import IndexedImage, Point

_ASKED = 400
"""Pictures that a store is asked for."""


class Kinds(NamedTuple):
    """See `retrieval.index.manifest.Manifest`; None leaves what the generation before said."""

    studio: float | None
    gap: float | None


NOBODY_LOOKED = Kinds(None, None)


def look_at_kinds(store: VectorStore, root: Path, further: Iterable[Point] = ()) -> Kinds:
    """Look at a sample of an index.

    Args:
        store: its pictures.
        root: the catalog's, for pictures that releases of before wrote without their kind.
        further: pictures of it that tell how far the kinds lie apart, and of which a sample has too few.
    """
    sample = store.sample(_ASKED)
    known = {point.record.image_id: point for point in (*sample, *further) if point.record.kind is not None}.values()
    studio = _studio([point.record for point in sample], root)
    if not known:
        return Kinds(studio, None)
    gap = measure_gap(
        np.stack([point.vector for point in known]),
        np.array([point.record.product_id for point in known], str),
        np.array([point.record.kind == "studio" for point in known], bool),
    )
    return Kinds(studio, gap)


def _studio(records: Sequence[IndexedImage], root: Path) -> float | None:
    told = [record for record in records if record.kind is not None]
    if told:
        products = np.array([record.product_id for record in told], str)
        return studio_part(products, np.array([record.kind == "studio" for record in told], bool))
    one_each = {record.product_id: record.image for record in records}
    images = [one_each[product] for product in sorted(one_each)[:SAMPLE]]
    return studio_share((root / image, root) for image in images)
