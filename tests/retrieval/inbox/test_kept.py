"""What an inbox keeps: restarts, caps, stacks, pages, two processes, full disks, and words of strangers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from retrieval.errors import DiskFullError, ImageError, StoreError, UsageError
from retrieval.images import pictures
from retrieval.inbox import inbox as inbox_module
from retrieval.inbox.entries import UNDO_SECONDS, NewLabel, Wanted, seconds_of
from retrieval.inbox.inbox import Caps, Inbox
from retrieval.inbox.labels import label, undo
from retrieval.types import Match, Recognition, Verdict
from tests.retrieval.inbox.shop import scene

DAY = 86_400.0


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(tmp_path: Path, clock: Clock) -> Iterator[Inbox]:
    with Inbox(tmp_path / "inbox", clock=clock) as inbox:
        yield inbox


def answer(verdict: Verdict = "unknown", product_id: str = "p001", distance: float = 0.5) -> Recognition:
    match = Match(product_id, 0.5, 1, 1.0, distance, (), {"name": "One"}, 0.4)
    some = (match,) if verdict != "unknown" else ()
    return Recognition("a.jpg", verdict, some, 0.3, "f" * 64, nearest=() if some else (match,))


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path, inbox: Inbox) -> None:
    ident = inbox.keep(scene(1), answer(), request="r1", name="<img onerror=x>.jpg")
    label(inbox, [NewLabel(ident, "product", "p001")], exists=lambda _: True)
    inbox.close()
    with Inbox(tmp_path / "inbox", make=False) as again:
        entry = again.entry(ident)
        assert entry is not None
        assert (entry.verdict, entry.name, entry.times) == ("unknown", "<img onerror=x>.jpg", 1)
        assert entry.answer["nearest"][0]["confidence"] == 0.4
        assert entry.label is not None
        assert entry.label.state == "waiting"
        assert again.asked_in("r1") == ident
        assert pictures.decode(again.picture(ident)).size == (200, 200)


def test_a_photo_keeps_no_metadata_and_is_small(inbox: Inbox, tmp_path: Path) -> None:
    im = Image.effect_noise((2000, 1000), 40).convert("RGB")
    exif = im.getexif()
    exif[0x010F] = "camera"
    im.save(tmp_path / "large.jpg", exif=exif)
    kept_picture = inbox.picture(inbox.keep((tmp_path / "large.jpg").read_bytes(), answer(), request="r"))
    assert b"camera" not in kept_picture
    assert pictures.decode(kept_picture).size == (1024, 512)


def test_the_same_photo_is_one_and_remembers_its_last_answer(inbox: Inbox, clock: Clock) -> None:
    first = inbox.keep(scene(1), answer("unknown"), request="r1")
    clock.now += 60
    assert inbox.keep(scene(1), answer("match"), request="r2") == first
    entry = inbox.entry(first)
    assert entry is not None
    assert (entry.times, entry.verdict, entry.request, entry.asked - entry.first_asked) == (2, "match", "r2", 60)
    assert [row["first"] for row in inbox.database.rows("SELECT first FROM questions ORDER BY n")] == [1, 0]


def test_near_equal_shots_are_one_stack_and_on_one_side_of_the_held_out_line(inbox: Inbox) -> None:
    shots = [scene(1, held_out=False), scene(1, side=240), scene(1, held_out=True), scene(5)]
    idents = [inbox.keep(data, answer(), request="r") for data in shots]
    entries = [entry for ident in idents if (entry := inbox.entry(ident))]
    assert [entry.stack == idents[0] for entry in entries] == [True, True, True, False]
    assert [entry.held_out for entry in entries[:3]] == [False] * 3
    sizes = sorted(stack.count for stack in inbox.page().stacks)
    assert sizes == [1, 3]


def test_pages_list_everything_once_unknown_and_ambiguous_first(inbox: Inbox, clock: Clock) -> None:
    verdicts: list[Verdict] = ["match", "unknown", "ambiguous", "match", "unknown"]
    idents = []
    for number, verdict in enumerate(verdicts):
        clock.now += 60
        idents.append(inbox.keep(scene(10 + number), answer(verdict), request=f"r{number}"))
    seen, after = list[str](), ""
    while True:
        page = inbox.page(limit=2, after=after)
        seen += [entry.photo for stack in page.stacks for entry in stack.photos]
        if not (after := page.after):
            break
    assert seen == [idents[n] for n in (4, 2, 1, 3, 0)]
    assert [e.photo for e in inbox.entries(Wanted(verdicts=["ambiguous"]))] == [idents[2]]
    assert len(inbox.entries(Wanted(since=clock.now - 60))) == 2
    assert inbox.entries(Wanted(labeled=True)) == []
    with pytest.raises(UsageError, match="cursor"):
        inbox.page(after="nonsense")
    with pytest.raises(UsageError, match="verdict"):
        Wanted(verdicts=["odd"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="ISO 8601"):
        seconds_of("yesterday")


def test_caps_remove_the_oldest_without_a_label_first(inbox: Inbox, clock: Clock) -> None:
    idents = []
    for number in range(4):
        clock.now += 60
        idents.append(inbox.keep(scene(10 + number), answer(), request="r"))
    label(inbox, [NewLabel(idents[0], "skip")], exists=lambda _: True)
    with inbox.database.write() as rows:
        rows.execute("DELETE FROM todo")
    inbox.caps = Caps(photos=2)
    assert inbox.make_room().photos == 2
    assert [inbox.entry(ident) is not None for ident in idents] == [True, False, False, True]
    assert sorted(f.stem for f in inbox.folder.glob("pictures/*/*.jpg")) == sorted([idents[0], idents[3]])
    inbox.caps = Caps(bytes=1)
    inbox.make_room()
    assert inbox.held().photos == 0


def test_what_waits_for_the_catalog_is_never_removed_and_old_photos_go(inbox: Inbox, clock: Clock) -> None:
    waits, old = (inbox.keep(scene(n), answer(), request="r") for n in (10, 11))
    label(inbox, [NewLabel(waits, "product", "p001")], exists=lambda _: True)
    clock.now += 91 * DAY
    inbox.caps = Caps(photos=0)
    assert inbox.sweep().photos == 1
    assert inbox.entry(waits) is not None
    assert inbox.entry(old) is None


def test_a_label_that_cannot_be_kept_says_why_and_the_others_are(inbox: Inbox, clock: Clock) -> None:
    ident, other = (inbox.keep(scene(n), answer(), request="r") for n in (10, 11))
    said = label(
        inbox,
        [
            NewLabel(ident, "product", "p001"),
            NewLabel("../../etc/passwd", "skip"),
            NewLabel(other, "product", "nobody"),
            NewLabel(other, "new", "p001"),
            NewLabel(other, "new", "../up"),
            NewLabel(other, "new", ""),
            NewLabel(other, "new", "fine", gtin="4006381333930"),
            NewLabel(other, "odd"),  # type: ignore[arg-type]
        ],
        exists=lambda product_id: product_id == "p001",
    )
    assert [item.code for item in said.items] == [
        "",
        "no-photo",
        "no-product",
        "product-exists",
        *["wrong-usage"] * 4,
    ]
    with pytest.raises(UsageError, match="at most 1,000"):
        label(inbox, [NewLabel(ident, "skip")] * 1001, exists=lambda _: True)
    assert [i.code for i in undo(inbox, photos=[other]).items] == ["no-label"]
    clock.now += UNDO_SECONDS + 1
    assert [i.code for i in undo(inbox, photos=[ident]).items] == ["too-late"]


def test_tenants_see_their_own(inbox: Inbox) -> None:
    mine = inbox.keep(scene(1), answer(), request="r", tenant="brand=A")
    theirs = inbox.keep(scene(1), answer(), request="r", tenant="brand=B")
    assert mine != theirs
    assert inbox.entry(theirs, tenant="brand=A") is None
    assert inbox.asked_in("r", tenant="brand=A") == mine
    assert [e.photo for e in inbox.entries(tenant="brand=B")] == [theirs]
    said = label(inbox, [NewLabel(theirs, "skip")], exists=lambda _: True, tenant="brand=A")
    assert said.items[0].code == "no-photo"


def test_two_processes_keep_and_label_at_once(inbox: Inbox, tmp_path: Path) -> None:
    with Inbox(tmp_path / "inbox") as other:
        first = inbox.keep(scene(1), answer(), request="r1")
        second = other.keep(scene(1, side=240), answer(), request="r2")
        found = other.entry(second)
        assert found is not None
        assert found.stack == first  # it learned of the hash that the other wrote
        label(other, [NewLabel(first, "skip")], exists=lambda _: True)
        entry = inbox.entry(first)
        assert entry is not None
        assert entry.label is not None


def test_a_full_disk_keeps_what_was_kept(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    ident = inbox.keep(scene(1), answer(), request="r")
    [row] = inbox.database.rows("PRAGMA page_count")
    inbox.database.rows(f"PRAGMA max_page_count = {row[0]}")
    with pytest.raises(DiskFullError):
        label(inbox, [NewLabel(ident, "not-ours", note="x" * 200)] * 500, exists=lambda _: True)
    entry = inbox.entry(ident)
    assert entry is not None
    assert entry.label is None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inbox_module, "replace_file", full)
    with pytest.raises(DiskFullError):
        inbox.keep(scene(2), answer(), request="r")
    assert inbox.held().photos == 1


def test_what_is_no_inbox_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="received nothing"):
        Inbox(tmp_path / "none", make=False)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "inbox.sqlite").write_text("no database at all, but long enough to be read as one" * 20)
    with pytest.raises(UsageError, match="another file"):
        Inbox(tmp_path / "text")
    (tmp_path / "other").mkdir()
    with sqlite3.connect(tmp_path / "other" / "inbox.sqlite") as other:
        other.execute("CREATE TABLE mine (a)")
    with pytest.raises(UsageError, match="another file"):
        Inbox(tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Inbox(tmp_path / "file")


def test_broken_photos_are_not_kept(inbox: Inbox) -> None:
    with pytest.raises(ImageError):
        inbox.keep(b"no picture", answer(), request="r")
    assert inbox.held().photos == 0
    for hostile in ("../../etc/passwd", "a" * 23, "A" * 24, ""):
        with pytest.raises(UsageError, match="id of a photo"):
            inbox.picture(hostile)
