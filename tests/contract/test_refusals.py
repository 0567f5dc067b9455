"""Every kind of index keeps the pictures that are not ours alike, beside its generations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import IndexDamagedError
from retrieval.index.open import open_index
from retrieval.index.protocols import Index
from retrieval.index.refusals import MODELS_KEPT, RefusalPicture, refusal_id_of
from tests.contract.samples import MODEL, fill, sample_points

JPEG = b"\xff\xd8 no decoder looks at this \xff\xd9"


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=8).astype(np.float32)
    return vector / np.linalg.norm(vector)


def refusal(name: str, *, note: str = "", created: str = "2026-01-01T00:00:00+00:00", **vectors: int) -> RefusalPicture:
    made = {fingerprint: unit(seed) for fingerprint, seed in vectors.items()}
    return RefusalPicture(refusal_id_of(name.encode()), name, note, created, made)


def words(found: list[RefusalPicture]) -> list[tuple[str, str, dict[str, list[float]]]]:
    return [(r.image, r.note, {f: v.tolist() for f, v in sorted(r.vectors.items())}) for r in found]


def test_an_index_without_any_says_so_cheaply(index: Index) -> None:
    fill(index, sample_points(3))
    assert (index.refusals.version(), index.refusals.read()) == ("", [])


def test_what_was_added_is_read_back_oldest_first(index: Index) -> None:
    fill(index, sample_points(3))
    later = refusal("later.jpg", note="a rival's", created="2026-02-01T00:00:00+00:00", one=1)
    index.refusals.add([(later, JPEG)])
    before = index.refusals.version()
    index.refusals.add([(refusal("früher.jpg", one=2, two=3), JPEG + b"2")])
    assert before
    assert index.refusals.version() != before
    found = index.refusals.read()
    assert words(found) == words([refusal("früher.jpg", one=2, two=3), later])
    assert [index.refusals.picture(r.refusal_id) for r in found] == [JPEG + b"2", JPEG]


def test_the_same_photo_again_is_one_refusal_with_the_new_note(index: Index) -> None:
    fill(index, sample_points(3))
    index.refusals.add([(refusal("a.jpg", note="first", one=1), JPEG)])
    index.refusals.add([(refusal("a.jpg", note="second", created="2026-03-01T00:00:00+00:00", two=2), JPEG)])
    [found] = index.refusals.read()
    assert (found.note, found.created[:7], sorted(found.vectors)) == ("second", "2026-01", ["one", "two"])


def test_removing_takes_back_exactly_that(index: Index) -> None:
    fill(index, sample_points(3))
    a, b = refusal("a.jpg", one=1), refusal("b.jpg", one=2)
    index.refusals.add([(a, JPEG), (b, JPEG)])
    index.refusals.remove([a.refusal_id])
    index.refusals.remove([a.refusal_id])
    assert words(index.refusals.read()) == words([b])
    with pytest.raises(IndexDamagedError):
        index.refusals.picture(a.refusal_id)
    assert index.refusals.picture(b.refusal_id) == JPEG


def test_vectors_of_another_model_join_and_those_of_the_oldest_go(index: Index) -> None:
    fill(index, sample_points(3))
    kept, gone = refusal("a.jpg", m0=1), refusal("b.jpg", m0=1)
    index.refusals.add([(kept, JPEG)])
    for number in range(1, MODELS_KEPT + 2):
        index.refusals.set_vectors(f"m{number}", {kept.refusal_id: unit(number), gone.refusal_id: unit(0)})
    [found] = index.refusals.read()
    assert len(found.vectors) == MODELS_KEPT
    np.testing.assert_array_equal(found.vectors[f"m{MODELS_KEPT + 1}"], unit(MODELS_KEPT + 1))


def test_they_can_change_while_an_index_run_writes_and_outlive_every_generation(index: Index) -> None:
    fill(index, sample_points(3))
    a, b = refusal("a.jpg", one=1), refusal("b.jpg", one=2)
    index.refusals.add([(a, JPEG)])
    with index.writer(MODEL, rebuild=True) as made:
        made.store.upsert(sample_points(5))
        index.refusals.add([(b, JPEG)])
        index.refusals.remove([a.refusal_id])
        made.commit(catalog="catalog", metadata_keys=())
    index.rollback()
    index.collect()
    assert words(index.refusals.read()) == words([b])


def test_several_may_add_at_the_same_time(index: Index) -> None:
    if index.location == "memory" or index.location.endswith("/local"):
        pytest.skip("one thread only")
    fill(index, sample_points(3))
    names = [f"{number}.jpg" for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: index.refusals.add([(refusal(name, one=1), name.encode())]), names))
    found = index.refusals.read()
    assert sorted(r.image for r in found) == sorted(names)
    assert all(index.refusals.picture(r.refusal_id) == r.image.encode() for r in found)


def test_what_a_killed_process_left_is_no_refusal_and_goes_with_the_next_change(tmp_path: Path) -> None:
    index = open_index(str(tmp_path / "index"))
    fill(index, sample_points(3))
    index.refusals.add([(refusal("a.jpg", one=1), JPEG)])
    pictures = tmp_path / "index" / "refusals"
    orphan = refusal("b.jpg").refusal_id
    (pictures / f"{orphan}.jpg").write_bytes(JPEG)
    (pictures / f".{orphan}.jpg.0123456789ab.new").write_bytes(JPEG[:3])
    assert [r.image for r in index.refusals.read()] == ["a.jpg"]
    index.refusals.add([(refusal("c.jpg", one=2), JPEG)])
    kept = {f"{refusal(name).refusal_id}.jpg" for name in ("a.jpg", "c.jpg")}
    assert {path.name for path in pictures.iterdir()} == kept


def test_they_are_no_pictures_of_the_catalog(index: Index) -> None:
    fill(index, sample_points(3))
    index.refusals.add([(refusal("a.jpg", one=1), JPEG)])
    with index.reader() as (store, manifest):
        assert (store.count(), manifest.images) == (3, 3)
