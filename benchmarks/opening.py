"""An embedded index is opened, asked once and closed again, as a query does: vectors as needed or whole, as before.

Two copies of the same shard take turns in one process; medians. ``--evicted``: its files are no longer in memory.

    python benchmarks/opening.py [--sizes 24,1000,20000,100000] [--rounds 15] [--evicted]
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from retrieval.distance import normalize
from retrieval.index.embedded.store import EmbeddedStore
from retrieval.types import IndexedImage, Point, image_id

DIMENSION = 128
KINDS = {"as needed": edge.Memory.Cold, "whole": edge.Memory.Cached}


def build(shard: Path, vectors: NDArray[np.float32], memory: edge.Memory) -> None:
    """A shard of pictures, 20 a product, whose engine keeps vectors as told. Points of one kind equal the other's."""
    told = edge.EdgeVectorParams
    edge.EdgeVectorParams = lambda **given: told(**{**given, "memory": memory})  # type: ignore[assignment, misc]
    try:
        with EmbeddedStore.create(shard, DIMENSION) as store:
            for start in range(0, len(vectors), 1000):
                store.upsert([point(n, vectors[n]) for n in range(start, min(start + 1000, len(vectors)))])
    finally:
        edge.EdgeVectorParams = told  # type: ignore[misc]


def point(n: int, vector: NDArray[np.float32]) -> Point:
    product, image = f"product-{n // 20}", f"product-{n // 20}/{n}.jpg"
    return Point(IndexedImage(image_id(product, image), product, image, f"{n:064x}", {"name": product}), vector)


def evict(shard: Path) -> None:
    """Have the kernel forget the shard's files, which are read from the disk next."""
    os.sync()
    for file in filter(Path.is_file, shard.rglob("*")):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def now() -> NDArray[np.float64]:
    """Wall and processor time in ms."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([time.perf_counter(), used.ru_utime + used.ru_stime]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="24,1000,20000,100000", help="pictures, comma-separated")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--evicted", action="store_true", help="read from the disk, not from memory")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    questions = normalize(rng.standard_normal((options.rounds + 1, DIMENSION)))
    print(f"{DIMENSION} dimensions, median of {options.rounds}, ms (processor time)")
    for size in map(int, options.sizes.split(",")):
        vectors = normalize(rng.standard_normal((size, DIMENSION)))
        with tempfile.TemporaryDirectory() as temporary:
            shards = {kind: Path(temporary) / kind for kind in KINDS}
            for kind, shard in shards.items():
                build(shard, vectors, KINDS[kind])
            taken: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in KINDS}
            for question in questions:
                for kind, shard in shards.items():
                    if options.evicted:
                        evict(shard)
                    taken[kind].append(once(shard, question))
            for kind, rows in taken.items():
                middle = np.median(rows[1:], axis=0)  # the first round warms up
                steps = ("open", "first question", "the next", "close", "open, ask once, close")
                print(
                    f"{size:9,} {kind:10}",
                    "  ".join(f"{s} {w:.1f} ({c:.1f})" for s, (w, c) in zip(steps, middle, strict=True)),
                )


def once(shard: Path, question: NDArray[np.float32]) -> NDArray[np.float64]:
    """What opening, a first and a second question, closing, and all but the second take; shape (5, 2)."""
    start = now()
    store = EmbeddedStore.open(shard, DIMENSION)
    ask = functools.partial(store.search, question, limit=50, max_distance=2.0)
    opened = now()
    first_answer = ask()
    first = now()
    assert ask() == first_answer
    second = now()
    store.close()
    end = now()
    steps = [opened - start, first - opened, second - first, end - second]
    return np.array([*steps, end - start - steps[2]])


if __name__ == "__main__":
    main()
