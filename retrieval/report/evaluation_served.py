"""The evaluation page on the rule that queries go by: verdicts by probability, and how far those probabilities hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.calibration.verdict_table import VerdictTable
from retrieval.evaluation.numbers import counts, ends, in_percent, interval, number, plain_interval
from retrieval.report import plots
from retrieval.report.page import Markup, Section, Tile, plot_row, table, wide_figure
from retrieval.system.text import plural

if TYPE_CHECKING:
    from retrieval.evaluation.document import EvaluationDoc, ReliabilityDoc, ServedDoc

_GROUPS = {"known": "known products", "look_alikes": "look-alikes of one", "others": "other unknown products"}
_SHOWN_PAIRS = 5


def served_tiles(document: EvaluationDoc) -> list[Tile]:
    """The figures on top; none where queries go by the threshold."""
    served = document.get("served")
    if served is None:
        return []
    unknown = served["unknown_match"]
    return [
        Tile(in_percent(served["match"]["rate"]), f"of the verdicts match are right {ends(served['match'])}"),
        Tile(
            in_percent(served["coverage_of_match"]["rate"]),
            f"of known photos get that verdict {ends(served['coverage_of_match'])}",
        ),
        Tile(
            in_percent(unknown["rate"]),
            f"of unknown photos get it, too {ends(unknown)}",
            "bad" if (unknown["rate"] or 0) > 0.2 else "plain",
        ),
    ]


def served_section(document: EvaluationDoc) -> Section | None:
    """Verdicts, and both probabilities against what is true; None where queries go by the threshold."""
    served, held_out = document.get("served"), document.get("probabilities")
    if served is None:
        return None
    listed = served["candidates"]
    about = (
        "Queries of this gallery go by probability; the sections below also say what its threshold alone would do. "
        "Leave-one-out unknowns: every photo is tried once more with its own product taken out of the gallery. Where "
        "training saw that product, such a photo is refused more easily than one of a product that is really new. "
        f"Ambiguous answers list the right product in {in_percent(listed['rate'])} ({counts(listed)})."
    )
    parts = [
        Markup("<p>{}</p>").format(about),
        _verdicts(VerdictTable.from_json(served["verdicts"]), "Photos measured here"),
    ]
    if held_out and held_out["verdicts"]:
        parts.append(
            _verdicts(
                VerdictTable.from_json(held_out["verdicts"]),
                "The same with unknown products of the calibration, which no training saw",
            )
        )
    share = in_percent(served["share"])
    first, inside = served["reliability"]["first"], served["reliability"]["in_catalog"]
    parts += [
        plot_row(
            _plot(first, f"P(right), where {share} of the photos show unknown products."),
            _plot(inside, f"P(in catalog), where {share} of the photos show unknown products."),
            _bins(first, "P(right)"),
            _bins(inside, "P(in catalog)"),
        ),
        _claimed(served),
    ]
    return Section("served", "What queries get, and how sure they are", Markup("").join(parts))


def _verdicts(found: VerdictTable, title: str) -> Markup:
    rows = []
    for group in found.groups:
        known, photos = group.group == "known", max(group.photos, 1)
        shares = [
            group.match_right,
            group.match_wrong,
            group.ambiguous_right,
            group.ambiguous_wrong,
            group.unknown,
        ]
        rows.append(
            [
                _GROUPS[group.group],
                *("–" if not known and at in (0, 2) else in_percent(n / photos) for at, n in enumerate(shares)),
                f"{group.photos:,}",
                f"{group.products:,}",
            ]
        )
    pairs = [f"{p.product} for {p.taken_for} ({p.nearest} of {p.photos})" for p in found.look_alikes[:_SHOWN_PAIRS]]
    more = len(found.look_alikes) - len(pairs)
    named = f" Look-alikes: {', '.join(pairs)}{f', and {more} more' if more > 0 else ''}." if pairs else ""
    headings = ["photos of", "match, right", "match, wrong", "ambiguous, shown", "not shown", "unknown", "photos"]
    about = (
        f"{title}: a match from P(right) {in_percent(found.sure)} on, else ambiguous from P(in catalog) "
        f"{in_percent(found.in_catalog)} on.{named}"
    )
    return table([*headings, "products"], rows, numeric=range(1, 8), caption=about)


def _plot(found: ReliabilityDoc, title: str) -> Markup:
    points = [
        plots.ReliabilityPoint(b["claimed"], b["true"], b["ci"])
        for b in found["bins"]
        if b["claimed"] is not None and b["true"] is not None
    ]
    about = (
        f"{title} Expected calibration error {in_percent(found['ece'], 1)}, of which so few photos make "
        f"{in_percent(found['ece_by_chance'], 1)} by chance; Brier score {number(found['brier'])} "
        f"{plain_interval(found['brier_ci'])}; {plural(found['photos'], 'photo')}."
    )
    return wide_figure(plots.reliability(points, f"Reliability of {title.partition(',')[0]}"), about)


def _bins(found: ReliabilityDoc, name: str) -> Markup:
    rows = [
        [
            f"{100 * b['low']:.0f} to {100 * b['high']:.0f} %",
            in_percent(b["claimed"]),
            in_percent(b["true"]),
            interval(b["ci"]),
            f"{b['photos']:,}",
        ]
        for b in found["bins"]
        if b["photos"]
    ]
    return table(["claimed", "mean", "true", "95 %", "photos"], rows, numeric=(1, 2, 3, 4), caption=name, compact=True)


def _claimed(served: ServedDoc) -> Markup:
    rows = [
        [
            _GROUPS[c["group"]],
            in_percent(c["first"]),
            f"{in_percent(c['right']['rate'])} {ends(c['right']) if c['is_in_catalog'] else ''}",
            number(c["first_brier"]),
            in_percent(c["in_catalog"]),
            "all" if c["is_in_catalog"] else "none",
            number(c["in_catalog_brier"]),
            f"{c['photos']:,}",
        ]
        for c in served["claimed"]
    ]
    headings = ["photos of", "P(right), mean", "are right", "Brier", "P(in catalog), mean", "are", "Brier", "photos"]
    return table(headings, rows, numeric=(1, 2, 3, 4, 6, 7), caption="What is claimed of whom, beside what is true.")
