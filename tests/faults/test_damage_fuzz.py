"""Pictures, indexes and snapshots from failing disks and from strangers. For longer: `make fuzz MINUTES=10`."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.errors import IndexDamagedError
from retrieval.index.open import open_index
from tests.contract.samples import MODEL, sample_points
from tests.faults.index_rounds import index_round
from tests.faults.picture_rounds import picture_round
from tests.faults.snapshot_rounds import snapshot_round
from tests.faults.table_rounds import table_round


def test_a_damaged_snapshot_is_refused_or_restores_what_was_saved(tmp_path: Path) -> None:
    for seed in range(150):
        snapshot_round(tmp_path, seed)


@pytest.mark.parametrize("part", range(3))
def test_a_damaged_index_is_refused_or_answers_as_before_or_the_doctor_sees_it(tmp_path: Path, part: int) -> None:
    for seed in range(15):
        index_round(tmp_path, 15 * part + seed)


def test_a_damaged_picture_is_pixels_or_refused(tmp_path: Path) -> None:
    for seed in range(8):
        picture_round(tmp_path, seed)


def test_a_damaged_table_is_read_or_refused(tmp_path: Path) -> None:
    for seed in range(30):
        table_round(tmp_path, seed)


@pytest.mark.parametrize("deleted", [False, True])
def test_ids_that_count_too_far_do_not_take_all_memory(tmp_path: Path, deleted: bool) -> None:
    """The engine would ask for 48 GB and end the process."""
    index = open_index(str(tmp_path / "index"))
    with index.writer(MODEL) as build:
        build.store.upsert(sample_points(20))
        if deleted:
            build.store.delete([sample_points(3)[2].record.image_id])
            build.store.upsert(sample_points(25))
        build.commit(catalog="/catalog", metadata_keys=())
    with index.reader() as (store, _):
        assert store.count() == (25 if deleted else 20)
    files = tmp_path.rglob("mutable_id_tracker.mappings")
    (file,) = (f for f in files if f.stat().st_size)
    data = bytearray(file.read_bytes())
    data[-1] ^= 0x80
    file.write_bytes(data)
    with pytest.raises(IndexDamagedError, match="count too far"), index.reader():
        pass
