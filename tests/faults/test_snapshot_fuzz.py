"""Snapshots from strangers and from failing disks. Longer: `make fuzz MINUTES=10`."""

from pathlib import Path

import pytest

from tests.faults.snapshot_rounds import snapshot_round


@pytest.mark.parametrize("part", range(4))
def test_a_damaged_snapshot_is_refused_or_restores_what_was_saved(workplace: Path, part: int) -> None:
    for seed in range(75):
        snapshot_round(workplace, 75 * part + seed)
