"""Copies, snapshots and restores: bit for bit, resumable, and never live when they are not the same."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import IndexBusyError, IndexDamagedError, IndexNotFoundError, StoreError, UsageError
from retrieval.index import transfer
from retrieval.index.checksum import Checksum
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.open import open_index
from retrieval.index.protocols import Index
from retrieval.index.refusals import RefusalPicture, refusal_id_of
from retrieval.index.server import ServerIndex
from retrieval.index.snapshot import FromSnapshot
from retrieval.index.transfer import FromIndex, copy, snapshot
from retrieval.types import Point
from tests.contract.conftest import local_index
from tests.contract.reference import MemoryIndex
from tests.contract.samples import MODEL, OTHER_MODEL, contents, fill, record, sample_points, unit_vectors
from tests.progress import Recorder
from tests.qdrant import double

POINTS = sample_points(250)
ODD = {"größe": 1.8695794007884314e22, "none": None, "yes": True, "text": 'quo"te\n\0', "big": 2**63 - 1, "whole": 5.0}


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BATCH", 20)
    monkeypatch.setattr(transfer, "PAGES", 2)


@pytest.fixture
def filled(tmp_path: Path) -> Index:
    index = open_index(str(tmp_path / "index"))
    odd = [Point(record(f"{i}.jpg", f"odd {i}", ODD), v) for i, v in enumerate(unit_vectors(3, seed=77))]
    fill(index, [*POINTS, *odd])
    return index


def test_there_and_back_over_a_socket_is_bit_for_bit(filled: Index, tmp_path: Path) -> None:
    with double.serving() as server:
        remote = ServerIndex(server.url("/shop"))
        there = copy(FromIndex(filled), remote)
        assert (there.images, there.written, there.generation) == (253, 253, 1)
        assert contents(remote) == contents(filled)
        back = open_index(str(tmp_path / "back"))
        again = copy(FromIndex(remote), back)
        assert contents(back) == contents(filled)
    assert there.checksum == again.checksum
    manifests = [i.manifest() for i in (filled, back)]
    assert manifests[0] is not None
    assert manifests[1] is not None
    assert (manifests[0].catalog, manifests[0].metadata_keys) == (manifests[1].catalog, manifests[1].metadata_keys)


def test_a_copy_is_a_new_generation_and_what_was_live_is_kept(filled: Index) -> None:
    target = local_index()
    fill(target, sample_points(4, prefix="old", seed=5), model=OTHER_MODEL)
    copy(FromIndex(filled), target)
    assert [(g.number, g.state, g.images) for g in target.generations()] == [(1, "kept", 4), (2, "live", 253)]


@pytest.mark.parametrize("kind", ["embedded", "local"])
def test_an_interrupted_copy_continues(filled: Index, tmp_path: Path, kind: str) -> None:
    target: Index = local_index() if kind == "local" else open_index(str(tmp_path / "target"))

    class Interrupt(Recorder):
        def advance(self, n: int = 1, *, note: str = "") -> None:
            super().advance(n, note=note)
            if self.reached[-1][0] >= 120:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(FromIndex(filled), target, progress=Interrupt())
    assert target.manifest() is None
    with filled.writer(MODEL) as build:  # the source goes on: one picture leaves, one changes
        gone, changed = sorted(p.record.image_id for p in POINTS)[:2]
        build.store.delete([gone])
        build.store.set_metadata({changed: {"new": 1}})
        build.commit(catalog="/catalog", metadata_keys=())
    told = Recorder()
    done = copy(FromIndex(filled), target, progress=told)
    assert told.stages == [("Copying", 252, "images")]
    assert told.reached[-1] == (252, 252)
    assert done.written < 252 - 100
    assert contents(target) == contents(filled)


def test_a_target_that_loses_a_point_does_not_go_live(filled: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    target = MemoryIndex()
    fill(target, POINTS[:3])
    from tests.contract.reference import MemoryStore

    real = MemoryStore.upsert

    def forgetful(self: MemoryStore, points: list[Point]) -> None:
        real(self, [Point(p.record, -p.vector) if p.record.image == POINTS[7].record.image else p for p in points])

    monkeypatch.setattr(MemoryStore, "upsert", forgetful)
    with pytest.raises(IndexDamagedError, match="checksum"):
        copy(FromIndex(filled), target)
    monkeypatch.undo()
    assert set(contents(target)) == {p.record.image_id for p in POINTS[:3]}


def test_queries_are_answered_while_a_directory_is_read(filled: Index) -> None:
    impatient = EmbeddedIndex(Path(filled.location), patience=0.2)
    seen = 0
    with FromIndex(filled).open() as (_, batches):
        for batch in batches:
            seen += len(batch)
            with impatient.reader() as (store, _):
                assert store.count() == 253
    assert seen == 253


def test_a_generation_that_is_removed_while_it_is_read_is_told(filled: Index) -> None:
    with FromIndex(filled).open() as (_, batches):
        next(batches)
        fill(filled, POINTS[:5], rebuild=True)
        assert len(next(batches)) == 20, "it is kept"
        filled.collect()
        with pytest.raises(IndexBusyError):
            list(batches)


def test_snapshots_restore_bit_for_bit_on_any_engine(filled: Index, tmp_path: Path) -> None:
    file = tmp_path / "shop.itemrec"
    saved = snapshot(FromIndex(filled), file)
    assert [p.name for p in tmp_path.iterdir() if "shop" in p.name] == ["shop.itemrec"]
    first = file.read_bytes()
    snapshot(FromIndex(filled), file)
    assert file.read_bytes() == first, "the same index gives the same file"
    for target in (open_index(str(tmp_path / "other")), local_index(), MemoryIndex()):
        restored = copy(FromSnapshot(file), target)
        assert (restored.checksum, restored.images) == (saved.checksum, 253)
        assert contents(target) == contents(filled)


def test_damaged_snapshots_are_refused_and_nothing_goes_live(filled: Index, tmp_path: Path) -> None:
    file = tmp_path / "shop.itemrec"
    snapshot(FromIndex(filled), file)
    data = file.read_bytes()
    broken = tmp_path / "broken.itemrec"
    for damage in (data[: len(data) // 2], b"", b"PK\3\4", data[:5000] + bytes(300) + data[5300:]):
        broken.write_bytes(damage)
        target = MemoryIndex()
        with pytest.raises(IndexDamagedError, match="snapshot"):
            copy(FromSnapshot(broken), target)
        assert target.manifest() is None
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("checksum.json", "{}")
    with pytest.raises(IndexDamagedError), FromSnapshot(broken).open():
        pass
    with pytest.raises(UsageError), FromSnapshot(tmp_path / "missing").open():
        pass


def test_a_snapshot_without_a_batch_is_refused(filled: Index, tmp_path: Path) -> None:
    file, cut = tmp_path / "shop.itemrec", tmp_path / "cut.itemrec"
    snapshot(FromIndex(filled), file)
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(cut, "w") as archive:
        for name in whole.namelist():
            data = whole.read(name)
            if name == "records-000002.jsonl":
                data = data.replace(b'"price": ', b'"price": 1')
            archive.writestr(name, data)
    target = MemoryIndex()
    with pytest.raises(IndexDamagedError):
        copy(FromSnapshot(cut), target)
    assert target.manifest() is None


def test_what_cannot_be_read_or_written(tmp_path: Path, filled: Index) -> None:
    nothing = open_index(str(tmp_path / "nothing"))
    with pytest.raises(IndexNotFoundError):
        copy(FromIndex(nothing), MemoryIndex())
    with pytest.raises(IndexNotFoundError):
        snapshot(FromIndex(nothing), tmp_path / "x")
    with pytest.raises(StoreError):
        snapshot(FromIndex(filled), tmp_path / "no-such-folder" / "x")
    assert not (tmp_path / "x").exists()


def test_the_checksum_sees_every_bit_and_no_order() -> None:
    def of(points: list[Point]) -> str:
        total = Checksum()
        for point in points:
            total.add(point)
        return total.hex()

    whole = of(POINTS)
    assert of(POINTS[::-1]) == whole
    nudged = POINTS[3].vector.copy()
    nudged[0] = np.nextafter(nudged[0], np.float32(2))
    for changed in (
        POINTS[1:],
        [*POINTS, POINTS[0]],
        [*POINTS[:3], Point(POINTS[3].record, nudged), *POINTS[4:]],
        [Point(record("x.jpg"), POINTS[0].vector), *POINTS[1:]],
    ):
        assert of(changed) != whole


def test_what_is_not_ours_travels_with_copies_and_snapshots(filled: Index, tmp_path: Path) -> None:
    vector = unit_vectors(1)[0]
    mine, theirs = (
        RefusalPicture(refusal_id_of(name.encode()), name, f"note of {name}", f"2026-0{n}-01", {"a" * 64: vector})
        for n, name in enumerate(("mine.jpg", "theirs.jpg"), 1)
    )
    filled.refusals.add([(mine, b"jpeg of mine")])
    file = tmp_path / "shop.itemrec"
    assert snapshot(FromIndex(filled), file).refusals == 1
    again = file.read_bytes()
    snapshot(FromIndex(filled), file)
    assert file.read_bytes() == again, "the same index gives the same file"
    with double.serving() as server:
        remote = ServerIndex(server.url("/shop"))
        copy(FromIndex(filled), remote)
        remote.refusals.add([(theirs, b"jpeg of theirs")])
        for source in (FromSnapshot(file), FromIndex(remote)):
            done = copy(source, back := open_index(str(tmp_path / "back")))
        remote.close()
    assert done.refusals == 2
    found = back.refusals.read()
    assert [(r.image, r.note) for r in found] == [(r.image, r.note) for r in (mine, theirs)]
    assert [back.refusals.picture(r.refusal_id) for r in found] == [b"jpeg of mine", b"jpeg of theirs"]
    np.testing.assert_array_equal(found[0].vectors["a" * 64], vector)


def test_a_snapshot_whose_refusals_were_changed_is_damaged(filled: Index, tmp_path: Path) -> None:
    refusal = RefusalPicture(refusal_id_of(b"x"), "x.jpg", "", "2026-01-01", {})
    filled.refusals.add([(refusal, b"jpeg")])
    file = tmp_path / "shop.itemrec"
    snapshot(FromIndex(filled), file)
    changed = tmp_path / "changed.itemrec"
    with zipfile.ZipFile(file) as read, zipfile.ZipFile(changed, "w") as write:
        for name in read.namelist():
            data = read.read(name)
            write.writestr(name, data.replace(b"x.jpg", b"y.jpg") if name.startswith("refusal-") else data)
    target = open_index(str(tmp_path / "back"))
    with pytest.raises(IndexDamagedError, match="refused pictures are not what was written"):
        copy(FromSnapshot(changed), target)
    assert target.manifest() is None
