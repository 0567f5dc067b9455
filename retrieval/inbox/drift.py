"""Have the answers left their usual range, and since when? Told of the unknown share, and of distances.

Each photo is ranked among those before it: as long as nothing changes, any order of them is as likely as another, and
the ranks are uniform, whatever the distances are like (conformal p-values; Vovk, Gammerman and Shafer, "Algorithmic
Learning in a Random World"). A gambler bets against that, with money that jumps between few ways to bet (as the Simple
Jumper of Vovk, "Testing randomness online", 2021), and owns more only where the ranks are not uniform. The evidence is
what he won, summed over all moments he could have begun at (Shiryaev and Roberts); since when is his poorest moment.

The false alarm rate is bounded, not estimated: the sum is a submartingale with mean N after N photos, so that by Doob's
inequality it reaches N / a within N photos with a probability of at most a. That is why these lines and no library: a
two-sample test that is repeated at every photo has no such bound. `benchmarks/drift.py` prints the rate that is
measured, and after how many photos a change is told.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrieval.inbox.entries import moment
from retrieval.inbox.inbox import Inbox

FALSE_ALARMS = 0.01
"""Probability of an alarm, at most, over the photos looked at, where nothing changed."""
MOST = 2_000
"""The latest photos that are looked at, one of each stack."""
LEAST = 50
"""Photos that tell what is usual, at least."""

_POWERS = (2, 4, 8)
_JUMP = 0.01
_ENOUGH = 1e12


@dataclass(frozen=True, slots=True)
class Change:
    """What a sequence of numbers says of itself.

    Attributes:
        evidence: won, summed over all beginnings; an alarm at ``limit``.
        limit: the number of values over `FALSE_ALARMS`.
        at: the first value after the change, from 0; None where there is no alarm.
    """

    evidence: float
    limit: float
    at: int | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether something has left its usual range.

    Attributes:
        of: ``unknown`` or ``distance``.
        photos: looked at.
        since: when it changed, seconds since 1970; None where it did not.
        before: mean before the change, or of all; None without photos.
        after: mean since; None where it did not change.
        evidence: see `Change`.
        limit: see `Change`.
    """

    of: str
    photos: int
    since: float | None
    before: float | None
    after: float | None
    evidence: float
    limit: float

    def to_json(self) -> dict[str, Any]:
        """One of ``drift``."""
        return {
            "of": self.of,
            "drifted": self.since is not None,
            "since": moment(self.since) if self.since is not None else None,
            "before": self.before,
            "after": self.after,
            "photos": self.photos,
            "evidence": round(self.evidence, 3),
            "limit": self.limit,
            "false_alarms": FALSE_ALARMS,
        }


def find_change(values: Sequence[float], *, seed: int = 0) -> Change:
    """Whether later values are like earlier ones.

    Args:
        values: in the order in which they came; equal ones are ranked by lot.
        seed: of the lot: the same values give the same result.
    """
    lot = random.Random(seed)
    before: list[float] = []
    ways = 1 + 2 * len(_POWERS)
    owned = [1.0 / ways] * ways
    owns, poorest, poorest_at = 0.0, 0.0, 0
    since_all, most, most_at = 0.0, 0.0, 0
    for place, value in enumerate(values):
        # The value itself is one of its equals: that is what makes the rank exactly uniform.
        below, through = bisect_left(before, value), bisect_right(before, value)
        rank = (below + lot.random() * (through - below + 1)) / (place + 1)
        insort(before, value)
        # Parts of what is owned, which itself may be more than a float holds: its logarithm is kept.
        won = [((1.0 - _JUMP) * part + _JUMP / ways) * odds for part, odds in zip(owned, _odds(rank), strict=True)]
        gain = sum(won)
        owned = [part / gain for part in won]
        owns += math.log(gain)
        since_all = min((since_all + 1.0) * gain, _ENOUGH)
        if since_all > most:
            most, most_at = since_all, poorest_at
        if owns < poorest:
            poorest, poorest_at = owns, place + 1
    limit = max(len(values), 1) / FALSE_ALARMS
    return Change(most, limit, most_at if most >= limit else None)


def _odds(rank: float) -> list[float]:
    """What each way to bet pays for a rank in [0, 1]: a density with mean 1 over ranks that are uniform.

    Half of each stake is held back: no single rank ruins anybody.
    """
    up = [0.5 + 0.5 * power * rank ** (power - 1) for power in _POWERS]
    down = [0.5 + 0.5 * power * (1.0 - rank) ** (power - 1) for power in _POWERS]
    return [1.0, *up, *down]


def find_drift(inbox: Inbox, *, tenant: str | None = None) -> tuple[Drift, ...]:
    """The unknown share, and the distances of nearest pictures, of the latest photos of the model that answered last.

    Each stack counts once, with its first answer: near-equal shots are no new evidence.

    Args:
        inbox: where the answers are.
        tenant: whose; None for everybody's.

    Raises:
        StoreError: the inbox cannot be read.
    """
    rows = inbox.database.rows(
        "SELECT questions.asked, questions.verdict, questions.distance, questions.fingerprint,"
        " COALESCE(photos.stack, questions.photo) stack"
        " FROM questions LEFT JOIN photos ON photos.photo = questions.photo"
        " WHERE first = 1 AND (? IS NULL OR questions.tenant = ?) ORDER BY questions.n DESC LIMIT ?",
        (tenant, tenant, 2 * MOST),
    )
    first: dict[str, Any] = {}
    for row in rows:  # latest first: of each stack the first answer stays
        if row["fingerprint"] == rows[0]["fingerprint"]:
            first[row["stack"]] = row
    latest = sorted(first.values(), key=lambda row: row["asked"])[-MOST:]
    times = [row["asked"] for row in latest]
    near = [(row["asked"], row["distance"]) for row in latest if row["distance"] is not None]
    return (
        _drift("unknown", times, [float(row["verdict"] == "unknown") for row in latest]),
        _drift("distance", [at for at, _ in near], [distance for _, distance in near]),
    )


def _drift(of: str, times: Sequence[float], values: Sequence[float]) -> Drift:
    change = find_change(values)
    at = change.at if change.at is not None and change.at >= LEAST else None
    usual = values if at is None else values[:at]
    return Drift(
        of,
        len(values),
        times[at] if at is not None else None,
        sum(usual) / len(usual) if usual else None,
        sum(values[at:]) / len(values[at:]) if at is not None else None,
        change.evidence,
        change.limit,
    )
