"""What `itemrec evaluate` prints of the rule that queries go by: verdicts by probability, and how far those hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import render
from cli.rate_text import bracketed, counted, ends_of, percent, plain, plain_bracketed
from cli.verdict_text import GROUPS, print_table

if TYPE_CHECKING:
    from retrieval.evaluation.document import EvaluationDoc, RateDoc, ServedDoc

_SPOKEN = {"first": "P(right)", "in_catalog": "P(in catalog)"}


def print_served(document: EvaluationDoc) -> None:
    """Nothing where queries go by the threshold."""
    from retrieval.calibration.verdict_table import VerdictTable

    served, held_out = document.get("served"), document.get("probabilities")
    if served is None:
        return
    print_table(
        VerdictTable.from_json(served["verdicts"]),
        "By probability, as queries of this gallery go; unknown: the product taken out of it",
    )
    render.emit()
    answers: list[tuple[str, RateDoc]] = [
        ("accuracy of the verdict match", served["match"]),
        ("coverage: photos with the verdict match", served["coverage_of_match"]),
        ("verdict ambiguous: right product in the list", served["candidates"]),
        ("unknown products with the verdict match", served["unknown_match"]),
    ]
    render.table(("", "rate", "photos", "95 %"), [(name, *counted(rate)) for name, rate in answers], right=(1, 2))
    render.emit()
    _reliability(served)
    if held_out and held_out["verdicts"]:
        print_table(
            VerdictTable.from_json(held_out["verdicts"]),
            "The same with unknown products of the calibration, which no training saw",
        )
        render.emit()


def _reliability(served: ServedDoc) -> None:
    for key, name in _SPOKEN.items():
        found = served["reliability"][key]
        render.emit(
            f"Does {name} hold: expected calibration error {percent(found['ece'])} (by chance alone "
            f"{percent(found['ece_by_chance'])}), Brier score {plain(found['brier'])}"
            f"{plain_bracketed(found['brier_ci'])}, where {percent(served['share'])} of the photos show unknown "
            "products."
        )
        render.table(
            ("claimed", "mean", "true", "95 %", "photos"),
            [
                (
                    f"{100.0 * b['low']:.0f} to {100.0 * b['high']:.0f} %",
                    percent(b["claimed"]),
                    percent(b["true"]),
                    ends_of(b["ci"]),
                    f"{b['photos']:,}",
                )
                for b in found["bins"]
                if b["photos"]
            ],
            right=(0, 1, 2, 4),
        )
        render.emit()
    render.table(
        ("photos of", "P(right), mean", "are right", "P(in catalog), mean", "are", "photos"),
        [
            (
                GROUPS[c["group"]],
                percent(c["first"]),
                f"{percent(c['right']['rate'])}{bracketed(c['right']['ci']) if c['is_in_catalog'] else ''}",
                percent(c["in_catalog"]),
                "all" if c["is_in_catalog"] else "none",
                f"{c['photos']:,}",
            )
            for c in served["claimed"]
        ],
        right=(1, 3, 5),
    )
    render.emit()
