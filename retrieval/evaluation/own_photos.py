"""What a model is worth on photos of one's own, in one line: to choose among models before anything is indexed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.support import support
from retrieval.errors import UsageError
from retrieval.evaluation.answers import nearest_distances
from retrieval.evaluation.calibrate import open_set_distances
from retrieval.evaluation.gallery import gather_gallery
from retrieval.evaluation.gather import gather_folder, split_folder
from retrieval.evaluation.leakage import find_twins
from retrieval.evaluation.photos import Photos
from retrieval.metrics import identification, open_set
from retrieval.models.bundle import Bundle
from retrieval.models.measurement import Measurement, keep, seconds_each
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable

FPIR = 0.1


def measure_model(
    bundle: Bundle, data: str | Path, *, gallery: str | Path | None = None, progress: Progress = Silent()
) -> Measurement:
    """Measure how often a model finds the product of a photo, and how long it takes; the result is remembered.

    Args:
        bundle: the model.
        data: a dataset (its ``test`` photos are asked about, or else those of ``val``), or a folder of product folders:
            then every other picture of a product is asked about.
        gallery: what they are compared with: ``train``, ``catalog`` (both in ``data``), or a folder; by default
            ``train``, or the other half of the pictures.
        progress: told how far it is.

    Raises:
        UsageError, CatalogError: there are no photos, or none of a product in the gallery.
        EncoderError: the model failed.
        StoreError: what was measured cannot be written.
    """
    folder = Path(data)
    split = next((name for name in ("test", "val") if (folder / name).is_dir()), None)
    if split is None and (folder / "train").is_dir():
        split_folder(folder, "val")  # says what is missing
    if not folder.is_dir():
        raise UsageError(f"expected --data to be a folder, received nothing at {printable(folder)}")
    photos = gather_folder(
        folder if split is None else folder / split, bundle, progress=progress, stage=f"Embedding {split or 'photos'}"
    )
    if split is None and gallery is None:
        asked = _every_other(photos)
        against, photos = photos.only(np.flatnonzero(~asked)), photos.only(np.flatnonzero(asked))
    else:
        against = gather_gallery(gallery or "train", folder, None, bundle, indexed=False, progress=progress).photos
    photos = photos.only(find_twins(photos, against).kept)
    if not np.isin(photos.labels, against.products).any():
        raise UsageError(
            f"expected photos of products in the gallery in {printable(folder)}, received {len(photos)} photos and "
            "none of such a product",
            hint="Measuring takes two pictures or more of a product, in one folder, or in train/ and val/.",
        )
    progress.stage("Measuring", len(photos), "photos")
    found = identification(photos.vectors, photos.labels, against.vectors, against.labels).outcomes
    known, unknown = open_set_distances(*nearest_distances(photos, against))
    enough = not support("FPIR", FPIR, len(unknown), "photos of unknown products", len(photos.products))
    measurement = Measurement(
        model=bundle.name,
        fingerprint=bundle.fingerprint,
        encoder_sha256=bundle.encoder_sha256,
        data=str(folder if split is None else folder / split),
        photos=len(photos),
        products=len(against.products),
        pictures=len(against),
        ms_a_picture=round(1000 * seconds_each(bundle), 2),
        top1=found.top(1),
        top5=found.top(5),
        dir_at_fpir=open_set(known, unknown, (FPIR,))[0].found if enough else None,
        fpir=FPIR,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        projected=bundle.projected is not None,
    )
    keep(measurement)
    progress.advance(len(photos))
    return measurement


def _every_other(photos: Photos) -> NDArray[np.bool_]:
    """Which are asked about: the second picture of each product, the fourth, and so on, shape (n,)."""
    asked = np.zeros(len(photos), bool)
    for product in photos.products:
        asked[np.flatnonzero(photos.labels == product)[1::2]] = True
    return asked
