"""How reports write numbers: short, with the interval in brackets, a dash where nothing could be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.evaluation.document import RateDoc


def in_percent(rate: float | None, digits: int = 0) -> str:
    """``0.831`` -> ``83 %``."""
    return "–" if rate is None else f"{rate * 100:.{digits}f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A distance, a threshold or an area."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(ends: list[float] | None, digits: int = 0) -> str:
    """``[0.79, 0.87]`` -> ``[79, 87]``, in percent; empty without one."""
    return f"[{ends[0] * 100:.{digits}f}, {ends[1] * 100:.{digits}f}]" if ends else ""


def plain_interval(ends: list[float] | None) -> str:
    """The same of a number that is no rate."""
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def ends(rate: RateDoc) -> str:
    """The interval of a rate."""
    return interval(rate["ci"])


def counts(rate: RateDoc) -> str:
    """What a rate was counted from."""
    return f"{rate['part']:,} / {rate['whole']:,}"
