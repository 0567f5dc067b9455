"""What a training is worth beside the built-in model: on photos of val, by the rule that is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.evaluation import Photos, gather_folder
from retrieval.evaluation.answers import first_by_votes
from retrieval.models.installed import STARTER, find_model
from retrieval.system.progress import Progress
from trainer.held_out import HeldOutEmbeddings
from trainer.report import Comparison, Found


def compare(
    photos: Photos,
    gallery: Photos,
    dataset: Path,
    held_out: Sequence[HeldOutEmbeddings],
    progress: Progress,
) -> Comparison:
    """Look for photos of val with the trained model, with those that did not see some products, and with the built-in.

    Args:
        photos: of val, embedded by the trained model.
        gallery: the pictures of train, likewise.
        dataset: the folder that has both.
        held_out: what trainings without some of the products make of all those.
        progress: told how far it is.
    """
    built_in = find_model(STARTER)
    theirs = gather_folder(dataset / "val", built_in, progress=progress, stage="Comparing with the built-in model")
    their_gallery = gather_folder(dataset / "train", built_in, progress=progress, stage="The built-in model's gallery")
    new, built_in_new = Found(0, 0), Found(0, 0)
    for one in held_out:
        (asked, _), (kept, _) = one.of(photos), one.of(gallery)
        new += found(asked, kept, sorted(one.products))
        built_in_new += found(theirs, their_gallery, sorted(one.products))
    return Comparison(found(photos, gallery), found(theirs, their_gallery), new, built_in_new)


def found(photos: Photos, gallery: Photos, products: Sequence[str] | None = None) -> Found:
    """How many photos find their product first, by votes as queries do; of some products, or of all in the gallery."""
    there = gallery.products if products is None else np.intersect1d(gallery.products, products)
    asked = photos.only(np.flatnonzero(np.isin(photos.labels, there)))
    if not len(asked):
        return Found(0, 0)
    first = first_by_votes(asked.vectors, gallery.vectors, gallery.labels)
    return Found(int((first == asked.labels).sum()), len(asked))
