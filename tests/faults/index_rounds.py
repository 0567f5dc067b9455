"""One round of damaging an index: a query is refused in one line or answers as before, or the doctor sees it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random

from retrieval.doctor import examine
from retrieval.errors import ItemrecError
from retrieval.index.embedded.copy import copy_changed
from retrieval.index.open import open_index
from tests.contract.samples import fill, sample_points
from tests.faults.forked import forked

POINTS = sample_points(24)


@cache
def whole(place: Path) -> tuple[tuple[str, ...], list[object]]:
    """Make an index; the names of its files, and what it answers."""
    fill(open_index(str(place / "whole")), POINTS)
    wanted = answers(place / "whole")
    assert look(place / "whole", wanted) == ("equal", False)  # and what it reads once is there for every child
    names = (str(p.relative_to(place / "whole")) for p in sorted((place / "whole").rglob("*")) if p.is_file())
    return tuple(n for n in names if not n.startswith(("reader", "writer"))), wanted


def answers(place: Path) -> list[object]:
    """What queries get: with and without filters, of one product, exact and not."""
    with open_index(str(place)).reader() as (store, _):
        return [
            [
                store.search(point.vector, limit=5, max_distance=4.0),
                store.search(point.vector, limit=5, max_distance=4.0, where={"category": ("c1",)}, exact=True),
                store.search(point.vector, limit=5, max_distance=4.0, product_id=point.record.product_id),
            ]
            for point in POINTS[::4]
        ]


def damage(file: Path, random: Random) -> str:
    """Truncate, delete or change a file, where it holds something as well as where it does not."""
    size = file.stat().st_size
    kind = random.choice(("cut", "gone", "empty", "flip", "flip", "flip", "zero"))
    if kind == "gone":
        file.unlink()
    elif kind in ("cut", "empty") or not size:
        os.truncate(file, random.randrange(size) if kind == "cut" and size else 0)
    else:
        # The large files are mostly holes: damage what is written.
        with open(file, "r+b") as stream:
            used = max(1, len(stream.read(65_536).rstrip(b"\0")))
            for _ in range(random.choice((1, 8, 64))):
                at = random.randrange(used)
                stream.seek(at)
                old = stream.read(1)[0]
                stream.seek(at)
                stream.write(bytes([0 if kind == "zero" else old ^ 1 << random.randrange(8)]))
    return kind


def look(place: Path, wanted: list[object]) -> tuple[str, bool]:
    """What a query gets of a damaged index (equal, different, refused), and whether the doctor sees anything."""
    got = "refused"
    with suppress(ItemrecError):
        got = "equal" if answers(place) == wanted else "different"
    checks = [c for c in examine(open_index(str(place)), None, sample=None) if c.name != "model"]
    healthy = all(c.healthy for c in checks) and {"checksum", "filters"} <= {c.name for c in checks}
    return got, not healthy


def index_round(place: Path, seed: int) -> None:
    """Damage one file of an index, ask it, and have it examined."""
    random = Random(seed)
    names, wanted = whole(place)
    broken = place / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    copy_changed(place / "whole", broken, None)
    name = random.choice(names)
    kind = damage(broken / name, random)
    try:
        got, seen = forked(lambda: look(broken, wanted))
    except AssertionError as error:
        raise AssertionError(f"{(seed, name, kind)}: {error}") from error
    assert seen or got == "equal", (seed, name, kind, got)
