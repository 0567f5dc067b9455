"""What probabilities do, in one small table: of known photos, of look-alikes, of other unknown products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import render
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from retrieval.calibration.points import Calibration
    from retrieval.calibration.verdict_table import GroupVerdicts, VerdictTable

GROUPS = {"known": "known products", "look_alikes": "look-alikes of one", "others": "other unknown products"}
"""Of whom photos are, as people say it."""

_SHOWN_PAIRS = 3


def print_verdicts(calibration: Calibration) -> None:
    """The table of every kind of gallery that was calibrated for; nothing where none was."""
    from retrieval.calibration.galleries import spoken_kind

    if calibration.verdicts is not None:
        fitted = calibration.sureness
        own = fitted is None or fitted.fitted_on == calibration.measured_on
        print_table(calibration.verdicts, "In this catalog" if own else "In catalogs that the model was measured with")
    for one in calibration.galleries:
        if one.calibration.verdicts is not None:
            print_table(one.calibration.verdicts, f"In a catalog of {spoken_kind(one.kind)}")


def print_table(table: VerdictTable, where: str) -> None:
    """One table."""
    from retrieval.evaluation.numbers import in_percent

    render.emit(
        f"{where}, of 100 photos (a match from P(right) {in_percent(table.sure)} on, else ambiguous from "
        f"P(in catalog) {in_percent(table.in_catalog)} on):"
    )
    render.table(
        ("photos of", "match, right", "match, wrong", "ambiguous, shown", "ambiguous, not shown", "unknown", "photos"),
        [(GROUPS[group.group], *_of_hundred(group), f"{group.photos:,}") for group in table.groups],
        right=range(1, 7),
    )
    if table.look_alikes:
        pairs = [f"{printable(p.product)} for {printable(p.taken_for)}" for p in table.look_alikes[:_SHOWN_PAIRS]]
        more = len(table.look_alikes) - len(pairs)
        rest = f", and {plural(more, 'more pair')}" if more > 0 else ""
        render.emit(f"Look-alikes: {', '.join(pairs)}{rest}.")


def _of_hundred(group: GroupVerdicts) -> tuple[str, ...]:
    counts = (
        group.match_right,
        group.match_wrong,
        group.ambiguous_right,
        group.ambiguous_wrong,
        group.unknown,
    )
    known = group.group == "known"
    return tuple(
        # What is unknown has no right product to be shown.
        "-" if not known and place in (0, 2) else f"{100.0 * count / max(group.photos, 1):.0f}"
        for place, count in enumerate(counts)
    )
