import hashlib

from hypothesis import given
from hypothesis import strategies as st

from retrieval.indexing.plan import Action, IndexSnapshot, metadata_digest
from retrieval.types import IndexedImage, image_id


def record(name: str, content: str = "x", metadata: dict[str, str] | None = None) -> IndexedImage:
    digest = hashlib.sha256(content.encode()).hexdigest()
    return IndexedImage(image_id("p", name), "p", name, digest, metadata or {})


def test_every_action() -> None:
    old = record("a.jpg", "x", {"price": "1"})
    known = IndexSnapshot([old])
    digest = metadata_digest({"price": "1"})
    assert known.action(old.image_id, old.content_hash, digest) is Action.KEEP
    assert known.action(old.image_id, old.content_hash, metadata_digest({"price": "2"})) is Action.METADATA
    assert known.action(old.image_id, record("a.jpg", "y").content_hash, digest) is Action.REPLACE
    # A new picture with new metadata is one replacement: the point is written whole.
    assert known.action(old.image_id, record("a", "y").content_hash, metadata_digest({})) is Action.REPLACE
    assert known.action(image_id("p", "b.jpg"), old.content_hash, digest) is Action.ADD


def test_the_same_picture_under_two_products_is_two_points() -> None:
    assert image_id("p", "a.jpg") != image_id("q", "a.jpg")


def test_departed_are_those_never_seen() -> None:
    records = [record(f"{n}.jpg") for n in range(5)]
    known = IndexSnapshot(records)
    for r in records[:3]:
        known.see(r.image_id)
    known.see(image_id("p", "new.jpg"))
    assert set(known.departed()) == {r.image_id for r in records[3:]}
    assert list(known.departed()) == sorted(known.departed())
    assert len(known) == 5


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none())))
def test_digest_ignores_order_and_sees_every_change(metadata: dict[str, object]) -> None:
    assert metadata_digest(metadata) == metadata_digest(dict(reversed(metadata.items())))
    assert metadata_digest(metadata) != metadata_digest({**metadata, "one more": 1})


def test_digest_tells_types_apart() -> None:
    assert len({metadata_digest({"a": v}) for v in ("1", 1, True, 1.5, None)}) == 5
