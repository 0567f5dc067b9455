"""One round of damaging a snapshot: it is refused in one line, or what it restores is what was saved."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random

from retrieval.errors import IndexDamagedError, UsageError
from retrieval.index.open import open_index
from retrieval.index.snapshot import FromSnapshot
from retrieval.index.transfer import FromIndex, copy, snapshot
from retrieval.types import IndexedImage
from tests.contract.reference import MemoryIndex
from tests.contract.samples import contents, fill, sample_points
from tests.faults.mutations import mutate, mutate_json

Contents = dict[str, tuple[IndexedImage, bytes]]


@cache
def saved(place: Path) -> tuple[bytes, Contents]:
    """A snapshot's bytes, and what it holds."""
    index = open_index(str(place / "index"))
    fill(index, sample_points(12))
    snapshot(FromIndex(index), place / "whole.itemrec")
    return (place / "whole.itemrec").read_bytes(), contents(index)


def damage_members(whole: Path, broken: Path, random: Random) -> None:
    """Damage inside the members, under checksums of the ZIP format that are right."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(broken, "w", random.choice((0, 8, 12, 14))) as target:
        names = source.namelist()
        chosen = random.choice(names)
        for name in names:
            data = source.read(name)
            if name == chosen:
                if random.random() < 0.1:
                    continue
                if name.endswith(".json") and random.random() < 0.8:
                    data = json.dumps(mutate_json(json.loads(data), random)).encode()
                elif name.endswith(".jsonl") and random.random() < 0.8:
                    lines = data.decode().splitlines()
                    at = random.randrange(len(lines))
                    lines[at] = json.dumps(mutate_json(json.loads(lines[at]), random))
                    data = "\n".join(lines).encode()
                else:
                    data = mutate(data, random)
            target.writestr(name, data)


def snapshot_round(place: Path, seed: int) -> None:
    """Damage a snapshot and restore it."""
    random = Random(seed)
    data, held = saved(place)
    broken = place / "broken.itemrec"
    if random.random() < 0.5:
        broken.write_bytes(mutate(data, random))
    else:
        damage_members(place / "whole.itemrec", broken, random)
    target = MemoryIndex()
    with suppress(IndexDamagedError, UsageError):
        copy(FromSnapshot(broken), target)
    assert target.manifest() is None or contents(target) == held
