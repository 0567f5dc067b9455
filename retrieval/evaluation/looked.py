"""The section ``closer_look``: what looking closer at close calls does to the photos measured."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE
from retrieval.evaluation.answers import rank_all
from retrieval.evaluation.document import LookedDoc
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.rate_docs import rate_of
from retrieval.images import pictures
from retrieval.recognition import closer
from retrieval.recognition.looker import Looker
from retrieval.system.threads import default_threads, ordered_map
from retrieval.types import Match

_MOST = 2_000
"""Photos that are asked at most, evenly over all: a close call takes as long as embedding."""


def looked_section(photos: Photos, gallery: Photos, looker: Looker) -> LookedDoc | None:
    """How often the right product comes first, without a look and with it; all other sections leave looks out.

    Args:
        photos: of the split.
        gallery: of the index.
        looker: looks with the index's keypoints.

    Returns:
        None where no photo shows a product of the gallery.
    """
    known = photos.only(np.flatnonzero(np.isin(photos.labels, gallery.labels)))
    asked = known.only(range(0, len(known), -(-len(known) // _MOST))) if len(known) else known
    if not len(asked):
        return None
    ranked = rank_all(asked, gallery)
    close = np.array([bool(closer.candidates(products)) for products in ranked])
    before = np.array([products[0].product_id for products in ranked])
    after = before.copy()
    rows = np.flatnonzero(close).tolist()
    first = partial(_first, asked, ranked, looker, str(gallery.root))
    for row, product in zip(rows, ordered_map(first, rows, default_threads()), strict=True):
        after[row] = product
    was, now = before == asked.labels, after == asked.labels
    return LookedDoc(
        photos=len(asked),
        close=rate_of(close, asked.labels),
        top1={"before": rate_of(was, asked.labels), "after": rate_of(now, asked.labels)},
        mended=int((now & ~was).sum()),
        spoiled=int((was & ~now).sum()),
    )


def _first(photos: Photos, ranked: list[list[Match]], looker: Looker, catalog: str, row: int) -> str:
    """The product that comes first after a look."""

    def photo() -> tuple[NDArray[np.uint8], float]:
        from retrieval.verification.keypoints import SIDE

        data = pictures.read_file(photos.root / photos.sources[row], root=photos.root)
        return np.asarray(pictures.thumbnail(data, SIDE)), 1.0

    wanted = closer.candidates(ranked[row])
    seen = closer.best_of(looker.look(wanted, photos=[("", photo)], catalog=catalog))
    if not closer.tells(wanted, seen):
        return ranked[row][0].product_id
    return closer.weighed(ranked[row], seen, threshold=MAX_DISTANCE)[0].product_id
