"""Drift: told when and since when it begins, and not more often than claimed where nothing changed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from retrieval.inbox.drift import _odds, find_change, find_drift
from retrieval.inbox.inbox import Inbox
from retrieval.types import Match, Recognition
from tests.retrieval.inbox.shop import scene


def test_a_change_is_told_with_its_moment() -> None:
    lot = np.random.default_rng(0)
    distances = np.concatenate([lot.gamma(4.0, 0.1, 300), lot.gamma(4.0, 0.2, 150)]).tolist()
    change = find_change(distances)
    assert change.evidence >= change.limit == 45_000
    assert change.at is not None
    assert 270 <= change.at <= 330
    assert find_change(distances) == change
    smaller = find_change([*distances[:300], *(lot.gamma(4.0, 0.05, 150)).tolist()])
    assert smaller.at is not None


def test_alarms_where_nothing_changed_are_as_rare_as_claimed() -> None:
    lot = random.Random(1)
    runs, alarms = 200, 0
    for run in range(runs):
        share = lot.random()
        change = find_change([float(lot.random() < share) for _ in range(100)], seed=run)
        alarms += change.at is not None
    assert alarms <= 6  # at most 1 % each: 7 of 200 or more have a probability of .005


def test_no_bet_pays_more_than_it_costs_where_ranks_are_uniform() -> None:
    paid = np.mean([_odds((n + 0.5) / 10_000) for n in range(10_000)], axis=0)
    assert np.allclose(paid, 1.0, atol=1e-4)


@pytest.mark.parametrize("values", [[], [1.0], [0.0] * 3000, [float(n) for n in range(3000)]])
def test_any_numbers_give_finite_evidence(values: list[float]) -> None:
    change = find_change(values)
    assert np.isfinite(change.evidence)
    assert (change.at is not None) == (len(values) == 3000 and values[-1] > 0)


def test_stacks_count_once_and_the_time_of_the_change_is_said(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    match = Match("p1", 0.5, 1, 1.0, 0.2, (), {}, 0.9)
    with Inbox(tmp_path / "inbox", clock=lambda: now[0]) as inbox:
        inbox.keep(scene(0), Recognition("a", "match", (match,), 0.3, "f" * 64), request="r")
        rows = inbox.database.rows("SELECT * FROM questions")
        columns = [key for key in rows[0].keys() if key != "n"]  # noqa: SIM118 (a row is no mapping)
        added = []
        for place in range(400):
            row = dict(rows[0])
            unknown = place >= 250 and place % 2
            row |= {"photo": f"{place:024}", "asked": now[0] + 60 * place, "first": 1}
            row |= {"verdict": "unknown" if unknown else "match", "distance": 0.2 + 0.001 * (place * 7919 % 97)}
            added.append([row[key] for key in columns])
        with inbox.database.write() as connection:
            connection.executemany(
                f"INSERT INTO questions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", added
            )
        unknown_share, distance = find_drift(inbox)
    assert (unknown_share.of, unknown_share.photos, distance.since) == ("unknown", 401, None)
    assert unknown_share.since is not None
    assert abs(unknown_share.since - (now[0] + 250 * 60)) < 20 * 60
    assert unknown_share.before is not None
    assert unknown_share.after is not None
    assert unknown_share.before < 0.05 < 0.4 < unknown_share.after
    assert unknown_share.to_json()["drifted"] is True
