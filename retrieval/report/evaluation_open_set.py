"""The evaluation page on unknown products: what a threshold does to photos of products not in the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.calibration.support import percent
from retrieval.evaluation.numbers import counts, ends, in_percent, interval, number
from retrieval.report import plots
from retrieval.report.evaluation_pictures import Album, false_positives
from retrieval.report.page import Markup, Section, plot_row, table, wide_figure
from retrieval.system.text import plural

if TYPE_CHECKING:
    from retrieval.evaluation.document import AmbiguousDoc, AtFarDoc, EvaluationDoc, OpenSetPointDoc

_SHORT = 40
"""Characters that a cell of a table shows without growing tall."""


def open_set_section(document: EvaluationDoc, probes: Album, gallery: Album) -> Section:
    """What photos of unknown products get, and what the verdict *ambiguous* is worth."""
    unknown, threshold = document["open_set"], document["threshold"]["value"]
    verdicts = unknown["verdicts"]
    rows = [
        ["photos of known products"]
        + [
            f"{verdicts['known'].get(k, 0):,}"
            for k in ("match_right", "match_wrong", "ambiguous_right", "ambiguous_wrong", "unknown")
        ],
        ["photos of unknown products", "–", f"{verdicts['strangers'].get('match', 0):,}", "–"]
        + [f"{verdicts['strangers'].get(k, 0):,}" for k in ("ambiguous", "unknown")],
    ]
    parts = [
        Markup("<p>{}</p>").format(
            f"Leave-one-out unknowns: every photo is tried once more with its own product taken out of the gallery, "
            f"{plural(unknown['strangers'], 'photo')} against {plural(unknown['gallery'], 'product')}."
        ),
        plot_row(
            wide_figure(plots.open_set(unknown, threshold), "DIR and FPIR against the threshold."),
            _ambiguous(unknown["ambiguous"]),
        ),
        _operating_points(document),
        table(
            ["verdict", "match, right", "match, wrong", "ambiguous, right first", "ambiguous, wrong first", "unknown"],
            rows,
            numeric=(1, 2, 3, 4, 5),
            label="Verdicts",
        ),
    ]
    parts.append(false_positives(document, probes, gallery))
    return Section("open-set", "Open set: is it in the gallery at all", Markup("").join(parts))


def _ambiguous(found: AmbiguousDoc) -> Markup:
    every, clear, listed = found["all"], found["match"], found["candidates"]
    if not every["whole"]:
        return Markup("<p>{}</p>").format("No photo gets a match at this threshold.")
    about = (
        f"Accuracy against coverage. All answers: {in_percent(every['rate'])} right ({counts(every)}) "
        f"{ends(every)}. Only the verdict match: {in_percent(clear['rate'])} right ({counts(clear)}) {ends(clear)}, "
        f"given to {in_percent(found['coverage_of_match']['rate'])} of the photos. Ambiguous answers list the right "
        f"product in {in_percent(listed['rate'])} ({counts(listed)})."
    )
    return wide_figure(plots.coverage(found), about)


def _operating_points(document: EvaluationDoc) -> Markup:
    unknown, use = document["open_set"], document["threshold"]
    found, fpir = unknown["rates"]["dir"], unknown["rates"]["fpir"]
    rows = [
        [
            "the threshold in use",
            number(use["value"]),
            f"{in_percent(found['rate'])} {ends(found)}",
            counts(found),
            f"{in_percent(fpir['rate'], 1)} {interval(fpir['ci'], 1)}",
            counts(fpir),
            chosen_on(document["pairs"]["at_threshold"]),
        ]
    ]
    points = [(f"FAR {percent(float(k))}", p) for k, p in unknown["dir_at_far"].items()]
    points += [(f"FPIR {percent(float(k))}", p) for k, p in unknown["at_fpir"].items()]
    rows += [
        [
            name,
            number(p["threshold"]),
            f"{in_percent(p['dir'])} {interval(p['dir_ci'])}",
            f"{p['found']:,} / {p['probes']:,}",
            f"{in_percent(p['fpir'], 1)} {interval(p['fpir_ci'], 1)}",
            f"{p['named']:,} / {p['strangers']:,}",
            chosen_on(p),
        ]
        for name, p in points
    ]
    return table(
        ["", "threshold", "DIR", "known photos", "FPIR", "unknown photos", "chosen on"],
        rows,
        numeric=(1, 2, 3, 4, 5),
        label="Operating points",
    )


def chosen_on(at: AtFarDoc | OpenSetPointDoc) -> str:
    """Which photos a threshold was chosen on, and whether those measured support the claim."""
    # A model's card has whole sentences, which the warnings quote once.
    at_length = "these very photos" if at["same_photos"] else "other photos"
    where = at["chosen_on"] if len(at["chosen_on"]) <= _SHORT else at_length
    where = f"{where} (optimistic)" if at["same_photos"] else where or "by hand"
    # Without a target the refusal is a remark about the threshold, which is among the warnings.
    return f"{where}; not enough data here" if at["refusal"] and at["target"] is not None else where
