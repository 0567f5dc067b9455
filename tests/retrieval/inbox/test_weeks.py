"""Shares by week, confusions and products never found; and calibrating with confirmed photos."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrieval.errors import UsageError
from retrieval.inbox import confirmed
from retrieval.inbox.confirmed import calibrate_confirmed
from retrieval.inbox.entries import NewLabel
from retrieval.inbox.inbox import Inbox
from retrieval.inbox.labels import label
from retrieval.inbox.weeks import how_good
from retrieval.index.open import open_index
from retrieval.types import Match, Recognition, Verdict
from tests.fakes import use_pixel_encoder
from tests.retrieval.inbox.shop import make_shop, scene

WEEK = 7 * 86_400.0


def answer(verdict: Verdict, product_id: str) -> Recognition:
    match = Match(product_id, 0.5, 1, 1.0, 0.2, (), {}, 0.9)
    some = (match,) if verdict != "unknown" else ()
    return Recognition("a.jpg", verdict, some, 0.3, "f" * 64, nearest=() if some else (match,))


def test_first_answers_are_counted_by_week_against_what_was_said_later(tmp_path: Path) -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
    with Inbox(tmp_path / "inbox", clock=lambda: now) as inbox:
        asked: list[tuple[Verdict, str, NewLabel | None]] = [
            ("match", "p1", NewLabel("", "product", "p1")),  # right
            ("match", "p1", NewLabel("", "product", "p2")),  # wrong
            ("ambiguous", "p1", NewLabel("", "product", "p2")),  # wrong
            ("unknown", "p1", NewLabel("", "not-ours")),  # right
            ("match", "p3", NewLabel("", "not-ours")),  # wrong
            ("unknown", "p1", NewLabel("", "new", "p9")),  # right
            ("unknown", "p1", NewLabel("", "product", "p2")),  # wrong, and no confusion
            ("unknown", "p1", NewLabel("", "skip")),
            ("match", "p1", None),
        ]
        for number, (verdict, product_id, said) in enumerate(asked):
            ident = inbox.keep(scene(number), answer(verdict, product_id), request="r")
            inbox.keep(scene(number), answer("match", "p2"), request="later")  # what it taught finds it
            if said is not None:
                one = NewLabel(ident, said.kind, said.product_id)
                label(inbox, [one], exists=lambda product_id: product_id != "p9")
        with inbox.database.write() as rows:
            rows.execute("UPDATE questions SET asked = asked - ? WHERE photo = ?", (WEEK, ident))
        found = how_good(inbox, ["p1", "p2", "p4"], weeks=2)
    before, this = found.weeks
    assert (before.begins, this.begins) == ("2026-11-16", "2026-11-23")
    assert (before.unknown.part, before.unknown.whole, before.right.whole) == (0, 1, 0)
    assert (this.unknown.part, this.unknown.whole) == (4, 8)
    assert (this.right.part, this.right.whole) == (3, 7)
    assert this.right.interval.low <= 3 / 7 <= this.right.interval.high
    assert before.right.to_json()["share"] is None
    assert [(c.said, c.shows, c.count) for c in found.confusions] == [("p1", "p2", 2), ("p3", "", 1)]
    assert found.never_found == ("p4",)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inbox with sixty known and twenty unknown held-out photos, and their vectors at hand."""
    use_pixel_encoder(monkeypatch)
    make_shop(tmp_path)
    with Inbox(tmp_path / "inbox") as inbox:
        for number in range(80):
            ident = inbox.keep(scene(number), answer("unknown", "p001"), request="r")
            kind = NewLabel(ident, "product", f"p00{number % 3}") if number < 60 else NewLabel(ident, "not-ours")
            label(inbox, [kind], exists=lambda _: True)
        with inbox.database.write() as rows:
            rows.execute("UPDATE photos SET held_out = 1")
    monkeypatch.setattr(confirmed, "LEAST_ANSWERS", 60)
    monkeypatch.setattr("retrieval.evaluation.sureness_fit.LEAST_ANSWERS", 30)
    return tmp_path


def test_confirmed_photos_calibrate_the_index_with_before_and_after(asked: Path) -> None:
    index = asked / "index"
    with Inbox(asked / "inbox") as inbox:
        tried = calibrate_confirmed(inbox, index, dry=True)
        assert (tried.known, tried.unknown, tried.before, tried.index) == (60, 20, None, "")
        manifest = open_index(str(index)).manifest()
        assert manifest is not None
        assert manifest.calibration is None
        found = calibrate_confirmed(inbox, index)
        assert found.index == str(index)
        assert [group.photos for group in found.after.groups if group.group == "known"] == [60]
        again = calibrate_confirmed(inbox, index, dry=True)
        assert again.before is not None
        assert again.to_json()["schema"] == "itemrec.inbox-calibration/1"
        manifest = open_index(str(index)).manifest()
        assert manifest is not None
        assert manifest.calibration is not None
        assert manifest.calibration["threshold"] == 0.05  # as it was


def test_taught_photos_are_not_used_to_calibrate(asked: Path) -> None:
    with Inbox(asked / "inbox") as inbox:
        with inbox.database.write() as rows:
            rows.execute("UPDATE photos SET held_out = 0")
        with pytest.raises(UsageError, match="none of them taught, received 0"):
            calibrate_confirmed(inbox, asked / "index")
