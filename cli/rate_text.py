"""Rates as people read them in tables of the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.evaluation.document import RateDoc


def percent(value: float | None) -> str:
    """A rate in percent, with as many digits as it deserves."""
    if value is None:
        return "-"
    return f"{100.0 * value:.1f} %" if value >= 0.00995 or value == 0.0 else f"{100.0 * value:.2g} %"


def counted(rate: RateDoc) -> tuple[str, str, str]:
    """A rate, what it was counted from, and its interval."""
    return percent(rate["rate"]), f"{rate['part']:,} / {rate['whole']:,}", ends_of(rate["ci"])


def ends_of(ends: list[float] | None) -> str:
    """An interval of a rate; nothing without one."""
    return f"{percent(ends[0])} to {percent(ends[1])}" if ends else ""


def bracketed(ends: list[float] | None) -> str:
    """The same behind a rate."""
    return f" ({ends_of(ends)})" if ends else ""


def plain(value: float | None) -> str:
    """A number that is no rate."""
    return "-" if value is None else f"{value:.4f}"


def plain_bracketed(ends: list[float] | None) -> str:
    """The interval of such a number, behind it."""
    return f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
