"""Probabilities from confirmed photos: fitted to those that were labeled and never taught, with before and after.

What a photo was taught makes its own answer too good. So only photos that are held out, or have a badge, are used:
those of products in the catalog, and those of what is not ours, which are photos of unknown products as they really
come in. *After* is cross-checked: each photo is judged by probabilities that were fitted without its product.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.calibration.points import Calibration
from retrieval.calibration.verdict_table import VerdictTable
from retrieval.errors import UsageError
from retrieval.evaluation.confidence_fit import LEAST_ANSWERS
from retrieval.evaluation.gather import gather_folder, gather_index
from retrieval.evaluation.leakage import find_twins
from retrieval.evaluation.sureness_fit import cross_checked, fit_sureness, try_all, verdict_table
from retrieval.inbox.inbox import Inbox
from retrieval.inbox.labeled_photos import labeled
from retrieval.index.open import open_index
from retrieval.models.installed import resolve_model
from retrieval.recognition.recognizer import calibration_in_force
from retrieval.system.files import os_errors
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import plural

LEAST_UNKNOWN = 20
"""Photos of what is not ours, at least, to fit probabilities with."""


@dataclass(frozen=True, slots=True)
class ConfirmedCalibration:
    """What confirmed photos say of the probabilities.

    Attributes:
        known: photos of products in the catalog that were used.
        unknown: photos of what is not.
        before: what the verdicts in force do to them; None where no probabilities are in force.
        after: what verdicts by the new ones do, each photo by a fit without its product.
        index: where they are in force from now on; empty where they are not.
        left_out: photos that the catalog has by now, or that cannot be read.
    """

    known: int
    unknown: int
    before: VerdictTable | None
    after: VerdictTable
    index: str
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.inbox-calibration/1`` document."""
        return {
            "schema": "itemrec.inbox-calibration/1",
            "known": self.known,
            "unknown": self.unknown,
            "left_out": self.left_out,
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json(),
            "index": self.index or None,
        }


def calibrate_confirmed(
    inbox: Inbox,
    index: str | Path,
    *,
    model: str | Path | None = None,
    dry: bool = False,
    progress: Progress = Silent(),
) -> ConfirmedCalibration:
    """Fit the probabilities that verdicts follow to confirmed photos; the index goes by them from its next query on.

    The threshold on distances stays as it was.

    Args:
        inbox: where the photos are.
        index: a directory, or the URL of a collection on a Qdrant server.
        model: as in `retrieval.recognition.api.Recognizer`.
        dry: only say what they would do.
        progress: told how far it is.

    Raises:
        UsageError: there are too few photos, or the model has no threshold.
        EncoderError: the model failed.
        StoreError: the index cannot be read or written.
    """
    photos = [one for one in labeled(inbox) if one.entry.held_out or one.entry.badges]
    place = open_index(str(index))
    manifest = place.manifest()
    bundle = resolve_model(None if model is None else str(model), index_model=manifest.model if manifest else None)
    found = calibration_in_force(bundle, manifest)
    if found is None:
        raise UsageError("expected a model with a threshold, received one without", hint="itemrec calibrate --data DIR")
    if len(photos) < LEAST_ANSWERS + LEAST_UNKNOWN:
        raise _too_few(len(photos), 0, 0)
    gallery = gather_index(place, bundle, progress=progress)
    with tempfile.TemporaryDirectory(prefix="itemrec-") as made:
        with os_errors("write photos to calibrate with", Path(made)):
            for one in photos:
                file = Path(made) / one.product_id / f"{one.entry.photo}.jpg"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(inbox.picture(one.entry.photo))
        probes = gather_folder(Path(made), bundle, progress=progress, stage="Embedding confirmed photos")
    probes = probes.only(find_twins(probes, gallery).kept)
    ours = np.isin(probes.labels, gallery.labels)
    known = try_all(probes.only(np.flatnonzero(ours)), gallery)
    unknown = try_all(probes.only(np.flatnonzero(~ours)), gallery)
    if len(known) < LEAST_ANSWERS or len(unknown) < LEAST_UNKNOWN:
        raise _too_few(len(photos), len(known), len(unknown))
    products = {trial.product for trial in known}
    fitted_on = f"the inbox: {plural(len(known), 'photo')} of ours, {len(unknown):,} of others"
    sureness = fit_sureness(known, unknown, fitted_on=fitted_on)
    after = cross_checked(known, unknown)
    if sureness is None or after is None:
        # A fold of products may hold many of the photos.
        raise UsageError(
            f"expected {LEAST_ANSWERS} confirmed photos of the catalog also without any fifth of its products, to try "
            f"the probabilities on those, received {len(known):,} of {plural(len(products), 'product')}",
            hint="One labeled photo in five is held out for this: label more, of other products.",
        )
    in_use = found.calibration.sureness if found.fits is not False else None
    before = verdict_table(known, unknown, in_use) if in_use is not None else None
    chosen = _with(found.calibration, sureness=sureness, verdicts=after)
    if not dry:
        place.set_calibration(chosen.to_json())
    stored = "" if dry else place.location
    return ConfirmedCalibration(len(known), len(unknown), before, after, stored, len(photos) - len(probes))


def _with(calibration: Calibration, **probabilities: Any) -> Calibration:
    """The same threshold and operating points, with other probabilities; they hold for this index alone."""
    return replace(calibration, confidence=None, galleries=(), **probabilities)


def _too_few(photos: int, known: int, unknown: int) -> UsageError:
    counted = f", {known:,} of products of the catalog and {unknown:,} of others" if known or unknown else ""
    return UsageError(
        f"expected {LEAST_ANSWERS} confirmed photos of products of the catalog and {LEAST_UNKNOWN} of what is not ours,"
        f" none of them taught, received {photos:,}{counted}",
        hint="One labeled photo in five is held out for this: label more.",
    )
