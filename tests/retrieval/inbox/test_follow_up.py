"""The catalog follows labels: taught, refused, held out, taken back byte for byte, and finished after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrieval.inbox import follow_up
from retrieval.inbox.entries import NewLabel, Wanted
from retrieval.inbox.follow_up import follow, shelf_of
from retrieval.inbox.inbox import Inbox
from retrieval.inbox.labels import label, undo
from retrieval.recognition.api import Recognizer
from tests.fakes import use_pixel_encoder
from tests.retrieval.inbox.shop import ask, make_shop, photo, tree


@pytest.fixture(autouse=True)
def _pixel_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    use_pixel_encoder(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_shop(tmp_path)


@pytest.fixture
def shop(place: Path) -> Iterator[Recognizer]:
    with Recognizer(place / "index", linger=5.0) as shop:
        yield shop


@pytest.fixture
def inbox(place: Path) -> Iterator[Inbox]:
    with Inbox(place / "inbox") as inbox:
        yield inbox


def has(shop: Recognizer) -> Callable[[str], bool]:
    return {record.product_id for record in shop.records()}.__contains__


def say(inbox: Inbox, shop: Recognizer, *labels: NewLabel) -> list[str | None]:
    said = label(inbox, labels, exists=has(shop))
    follow(inbox, shop, lambda: shelf_of(shop))
    return [item.state for item in said.items]


def state(inbox: Inbox, ident: str) -> str | None:
    entry = inbox.entry(ident)
    return entry.label.state if entry and entry.label else None


def test_a_new_product_a_known_one_and_none_of_ours_are_taught_and_taken_back(
    place: Path, shop: Recognizer, inbox: Inbox
) -> None:
    before = tree(place / "catalog")
    photos = [photo(7), photo(8), photo(9)]
    new, known, strange = ask(inbox, shop, photos)
    hostile = "<img src=x onerror=alert(1)>"
    states = say(
        inbox,
        shop,
        NewLabel(new, "new", "p7", name=hostile),
        NewLabel(known, "product", "p001"),
        NewLabel(strange, "not-ours", note="the rival's"),
    )
    assert states == ["waiting"] * 3
    assert [state(inbox, ident) for ident in (new, known, strange)] == ["taught", "taught", "refused"]
    assert [shop.recognize(p).matches[0].product_id for p in photos[:2]] == ["p7", "p001"]
    assert shop.recognize(photos[0]).matches[0].metadata["name"] == hostile
    assert [r.note for r in shop.refusals()] == ["the rival's"]
    gone = undo(inbox, photos=[new, known, strange])
    assert [item.state for item in gone.items] == ["waiting"] * 3
    follow(inbox, shop, lambda: shelf_of(shop))
    assert tree(place / "catalog") == before
    assert shop.refusals() == []
    assert shop.recognize(photos[0]).verdict == "unknown"
    assert inbox.database.rows("SELECT * FROM todo") == inbox.database.rows("SELECT * FROM taught") == []


def test_a_new_products_barcode_goes_into_the_column_that_the_catalog_has(
    place: Path, shop: Recognizer, inbox: Inbox
) -> None:
    (place / "catalog" / "products.csv").write_text("product_id,name,ean\np000,Zero,\n", encoding="utf-8")
    before = tree(place / "catalog")
    [ident] = ask(inbox, shop, [photo(7)])
    say(inbox, shop, NewLabel(ident, "new", "p7", name="Seven", gtin="4006381333931"))
    assert b"p7,Seven,4006381333931\n" in (place / "catalog" / "products.csv").read_bytes()
    assert shop.recognize(photo(7)).matches[0].metadata["ean"] == "4006381333931"
    undo(inbox, photos=[ident])
    follow(inbox, shop, lambda: shelf_of(shop))
    assert tree(place / "catalog") == before


def test_what_is_held_out_is_measured_and_never_taught(place: Path, shop: Recognizer, inbox: Inbox) -> None:
    before = tree(place / "catalog")
    [ident] = ask(inbox, shop, [photo(8, held_out=True)])
    assert say(inbox, shop, NewLabel(ident, "product", "p001")) == ["measured"]
    assert tree(place / "catalog") == before
    [strange] = ask(inbox, shop, [photo(9, held_out=True)])
    assert say(inbox, shop, NewLabel(strange, "not-ours")) == ["measured"]
    assert shop.refusals() == []


def test_the_photo_that_makes_a_product_is_taught_even_where_its_hash_says_otherwise(
    shop: Recognizer, inbox: Inbox
) -> None:
    founder, second = ask(inbox, shop, [photo(7, held_out=True), photo(7, view=4, held_out=True)])
    assert say(inbox, shop, NewLabel(founder, "new", "p7"), NewLabel(second, "product", "p7")) == [
        "waiting",
        "measured",
    ]
    assert has(shop)("p7")


def test_a_poor_photo_is_labeled_and_not_taught(place: Path, shop: Recognizer, inbox: Inbox) -> None:
    before = tree(place / "catalog")
    [ident] = ask(inbox, shop, [photo(8, side=60)])
    assert say(inbox, shop, NewLabel(ident, "product", "p001")) == ["kept"]
    assert inbox.entries(Wanted(quality=["small"]))[0].badges == ("small",)
    assert tree(place / "catalog") == before


def test_another_label_takes_the_place_of_the_first_and_undo_brings_that_back(
    place: Path, shop: Recognizer, inbox: Inbox
) -> None:
    before = tree(place / "catalog")
    [ident] = ask(inbox, shop, [photo(8)])
    say(inbox, shop, NewLabel(ident, "product", "p001"))
    first = tree(place / "catalog")
    say(inbox, shop, NewLabel(ident, "product", "p002"))
    assert shop.recognize(photo(8)).matches[0].product_id == "p002"
    for expected in (first, before):
        undo(inbox, photos=[ident])
        follow(inbox, shop, lambda: shelf_of(shop))
        assert tree(place / "catalog") == expected


def test_what_the_catalog_had_before_stays_when_a_label_is_taken_back(
    place: Path, shop: Recognizer, inbox: Inbox
) -> None:
    from retrieval.indexing.teach import write_picture

    (place / "catalog" / "products.csv").write_text("product_id,name\np7,Seven\n", encoding="utf-8")
    [ident, other] = ask(inbox, shop, [photo(8), photo(7)])
    images = [r.image for r in shop.records() if r.product_id == "p001"]
    write_picture(place / "catalog", inbox.picture(ident), "p001", images)  # somebody taught it elsewhere
    before = tree(place / "catalog")
    say(inbox, shop, NewLabel(other, "new", "p7", name="Seven"))
    assert (place / "catalog" / "products.csv").read_bytes() == before["products.csv"]
    undo(inbox, photos=[other])
    follow(inbox, shop, lambda: shelf_of(shop))
    assert tree(place / "catalog") == before


class Killed(BaseException):
    """What a kill is to a test: nothing handles it."""


@pytest.mark.parametrize("step", ["write_picture", "update_index", "remove_picture", "done"])
def test_whatever_a_kill_leaves_is_finished_at_the_next_start(
    place: Path, shop: Recognizer, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = tree(place / "catalog")
    idents = ask(inbox, shop, [photo(7), photo(8), photo(9)])
    words = (
        NewLabel(idents[0], "new", "p7", name="Seven"),
        NewLabel(idents[1], "product", "p001"),
        NewLabel(idents[2], "not-ours"),
    )

    def follow_killed() -> None:
        home, name = (follow_up._Batch, "carry_out") if step == "done" else (follow_up, step)
        with monkeypatch.context() as patch:
            patch.setattr(home, name, _then_killed(getattr(home, name)))
            with pytest.raises(Killed):
                follow(inbox, shop, lambda: shelf_of(shop))

    label(inbox, words, exists=has(shop))
    if step != "remove_picture":
        follow_killed()
    with Inbox(place / "inbox") as again:
        follow(again, shop, lambda: shelf_of(shop))
        assert [state(again, ident) for ident in idents] == ["taught", "taught", "refused"]
        assert (place / "catalog" / "products.csv").read_text(encoding="utf-8").count("p7,") == 1
        assert shop.recognize(photo(7)).matches[0].product_id == "p7"
        undo(again, photos=idents)
        if step != "write_picture":
            follow_killed()
        follow(again, shop, lambda: shelf_of(shop))
    assert tree(place / "catalog") == before
    assert not has(shop)("p7")
    assert shop.refusals() == []


def _then_killed(work: Callable[..., object]) -> Callable[..., object]:
    def run(*arguments: object, **named: object) -> object:
        work(*arguments, **named)
        raise Killed

    return run


def test_a_bulk_of_two_hundred_is_few_switches_and_taken_back_byte_for_byte(
    place: Path, shop: Recognizer, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two hundred waits for the disk would tell nothing: what is durable is tried elsewhere.
    monkeypatch.setattr("retrieval.system.files._sync", lambda *_: None)
    inbox.database.rows("PRAGMA synchronous = OFF")
    before = tree(place / "catalog")
    unknown = shop.recognize(photo(20))
    idents = [inbox.keep(photo(20 + n // 10, view=n % 10), unknown, request="r") for n in range(200)]
    generation = shop.live().generation
    words = [NewLabel(ident, "new", f"n{n // 10}", name=f"New {n // 10}") for n, ident in enumerate(idents)]
    said = label(inbox, words, exists=has(shop))
    assert all(item.state in ("waiting", "measured") for item in said.items), said
    follow(inbox, shop, lambda: shelf_of(shop))
    assert shop.live().generation <= generation + 2
    made = has(shop)
    assert all(made(f"n{n}") for n in range(20))
    assert {state(inbox, ident) for ident in idents} <= {"taught", "measured"}
    undo(inbox, batch=said.batch)
    follow(inbox, shop, lambda: shelf_of(shop))
    assert tree(place / "catalog") == before
    assert not any(map(has(shop), [f"n{n}" for n in range(20)]))


def test_what_cannot_be_taught_says_why(shop: Recognizer, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.indexing.teach.MOST_TAUGHT", 1)
    idents = ask(inbox, shop, [photo(7), photo(8)])
    say(inbox, shop, *(NewLabel(ident, "product", "p001") for ident in idents))
    assert sorted(str(state(inbox, ident)) for ident in idents) == ["failed", "taught"]
    failed = next(e for e in inbox.entries() if e.label and e.label.state == "failed")
    assert failed.label is not None
    assert "taught pictures" in failed.label.why
    assert inbox.held().waiting == 0
