"""How good the answers are, by week: right and unknown shares with intervals, confusions, and products never found.

A photo counts with its first answer: later ones may come from what it taught. *Right* is over labeled photos. Which
photos people label is not which come in: unknown ones are looked at first, so the right share is rather too low.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from retrieval.inbox.inbox import Inbox
from retrieval.metrics.intervals import Interval, by_product, rate_interval

MOST_WEEKS = 53
MOST_CONFUSIONS = 20
_SHOWN = 4
_RESAMPLES = 500
_WEEK = 7 * 86_400.0
_FIRST_MONDAY = 4 * 86_400.0


@dataclass(frozen=True, slots=True)
class Share:
    """A part of some photos.

    Attributes:
        part: photos of which it holds.
        whole: all of them.
        interval: of the share, at 95 %, by resampling stacks or products: near-equal shots are no independent trials.
    """

    part: int
    whole: int
    interval: Interval

    @classmethod
    def of(cls, holds: Sequence[bool], groups: Sequence[str]) -> Share:
        """Count, with the interval over groups."""
        if not holds:
            return cls(0, 0, rate_interval(np.zeros(0), np.zeros(0)))
        parts, wholes = by_product(np.array(holds), np.array(groups))
        return cls(int(sum(holds)), len(holds), rate_interval(parts, wholes, resamples=_RESAMPLES))

    def to_json(self) -> dict[str, Any]:
        """``share`` is null where there are no photos."""
        return {
            "share": self.part / self.whole if self.whole else None,
            "part": self.part,
            "whole": self.whole,
            "interval": self.interval.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Week:
    """One week.

    Attributes:
        begins: Monday, ISO 8601.
        unknown: of all photos those that were unknown.
        right: of labeled photos those whose first answer was right: the right product first, or unknown for what is
            none of the catalog's.
    """

    begins: str
    unknown: Share
    right: Share

    def to_json(self) -> dict[str, Any]:
        """One of ``weeks``."""
        return {"begins": self.begins, "unknown": self.unknown.to_json(), "right": self.right.to_json()}


@dataclass(frozen=True, slots=True)
class Confusion:
    """A product that photos of another got the name of.

    Attributes:
        said: the product that came first.
        shows: the product that they show; empty for what is not ours.
        count: photos.
        photos: ids of some of them that are kept.
    """

    said: str
    shows: str
    count: int
    photos: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """One of ``confusions``."""
        return {"said": self.said, "shows": self.shows or None, "count": self.count, "photos": list(self.photos)}


@dataclass(frozen=True, slots=True)
class HowGood:
    """What an inbox says of the answers.

    Attributes:
        weeks: oldest first; those without photos are there, too.
        all: the same over all of these weeks.
        confusions: the commonest first.
        never_found: products that came first in no answer, sorted.
    """

    weeks: tuple[Week, ...]
    all: Week
    confusions: tuple[Confusion, ...]
    never_found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    asked: float
    stack: str
    photo: str
    unknown: bool
    said: str
    shows: str | None
    right: bool


def how_good(inbox: Inbox, products: Collection[str], *, weeks: int = 12, tenant: str | None = None) -> HowGood:
    """Count the last weeks, this one included.

    Args:
        inbox: where photos and labels are.
        products: those of the catalog, to tell which were never found.
        weeks: how many, at most `MOST_WEEKS`.
        tenant: whose photos; None for everybody's.

    Raises:
        StoreError: the inbox cannot be read.
    """
    monday = _monday(inbox.now())
    begins = [monday - n * _WEEK for n in reversed(range(min(max(weeks, 1), MOST_WEEKS)))]
    rows = _first_answers(inbox, begins[0], tenant)
    by_week: dict[float, list[_Asked]] = defaultdict(list)
    for row in rows:
        by_week[_monday(row.asked)].append(row)
    found = {
        row["product_id"]
        for row in inbox.database.rows(
            "SELECT DISTINCT product_id FROM questions WHERE product_id IS NOT NULL AND (? IS NULL OR tenant = ?)",
            (tenant, tenant),
        )
    }
    return HowGood(
        tuple(_week(begin, by_week[begin]) for begin in begins),
        _week(begins[0], rows),
        _confusions(inbox, rows),
        tuple(sorted(set(products) - found)),
    )


def _first_answers(inbox: Inbox, since: float, tenant: str | None) -> list[_Asked]:
    rows = inbox.database.rows(
        "SELECT questions.*, COALESCE(photos.stack, questions.photo) stack, labels.kind, labels.product_id shows"
        " FROM questions LEFT JOIN photos ON photos.photo = questions.photo"
        " LEFT JOIN labels ON labels.n ="
        " (SELECT MAX(n) FROM labels WHERE labels.photo = questions.photo AND undone IS NULL)"
        " WHERE first = 1 AND questions.asked >= ? AND (? IS NULL OR questions.tenant = ?) ORDER BY questions.n",
        (since, tenant, tenant),
    )
    found = []
    for row in rows:
        unknown = row["verdict"] == "unknown"
        kind, said = row["kind"], row["product_id"] or ""
        shows = None if kind in (None, "skip") else row["shows"]
        # A product that is new was none of the catalog's when it was asked about, unless it was taught meanwhile.
        right = said == shows if said else shows == "" or kind == "new"
        found.append(_Asked(row["asked"], row["stack"], row["photo"], unknown, said, shows, bool(right)))
    return found


def _week(begins: float, rows: Sequence[_Asked]) -> Week:
    labeled = [row for row in rows if row.shows is not None]
    return Week(
        datetime.fromtimestamp(begins, UTC).date().isoformat(),
        Share.of([row.unknown for row in rows], [row.stack for row in rows]),
        Share.of([row.right for row in labeled], [row.shows or row.stack for row in labeled]),
    )


def _confusions(inbox: Inbox, rows: Sequence[_Asked]) -> tuple[Confusion, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    photos: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.said and row.shows is not None and not row.right:
            counts[row.said, row.shows] += 1
            photos[row.said, row.shows].append(row.photo)
    found = []
    for (said, shows), count in counts.most_common(MOST_CONFUSIONS):
        kept = [photo for photo in photos[said, shows] if inbox.entry(photo) is not None]
        found.append(Confusion(said, shows, count, tuple(kept[:_SHOWN])))
    return tuple(found)


def _monday(seconds: float) -> float:
    """When the week of a time began, in UTC."""
    return (seconds - _FIRST_MONDAY) // _WEEK * _WEEK + _FIRST_MONDAY
