"""The section ``probabilities``: what verdicts by probability do to the photos measured, and to unknown products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.calibration.in_force import InForce
from retrieval.evaluation.document import ProbabilitiesDoc
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.sureness_fit import try_all, verdict_table

_MOST = 1_000
"""Photos that are tried at most."""


def probabilities_section(photos: Photos, gallery: Photos, found: InForce | None) -> ProbabilitiesDoc | None:
    """Known photos as measured here, and unknown ones as the calibration measured them; None where nobody looked.

    Args:
        photos: of the split.
        gallery: what they are compared with.
        found: what the calibration says of a gallery like it.
    """
    if found is None:
        return None
    table, sureness = found.calibration.verdicts, found.calibration.sureness
    if table is not None and sureness is not None and found.fits:
        rows = np.flatnonzero(np.isin(photos.labels, gallery.labels))
        known = try_all(photos.only(rows[:: max(1, len(rows) // _MOST)]), gallery)
        here = verdict_table(known, [], sureness).groups[0]
        table = replace(table, groups=(here, *(group for group in table.groups if group.group != "known")))
    return ProbabilitiesDoc(
        gallery=found.kind,
        fits=found.fits,
        why_not=found.why_not,
        fitted_on=sureness.fitted_on if sureness is not None else "",
        verdicts=None if table is None or not found.fits else table.to_json(),
    )
