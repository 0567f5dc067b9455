"""How many of 10,000 concurrent queries are lost while generations of two models go live, back and away.

    python benchmarks/switch.py [--queries 10000] [--processes 2] [--chunk 20] [--index PLACE]

Every process does what `itemrec query` does with a folder of photos: read which model is live, embed a
chunk with it, open the index, search for each, close. Two models give every picture two unrelated
vectors, so that an answer from a generation of the other model is far away and counts as *mixed*.
Meanwhile this process rebuilds with the other model, rolls back, and rolls forward, without pause. A
query is *lost* when it raises, *wrong* when the nearest picture is not its own at distance 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import normalize
from retrieval.errors import IndexNotFoundError, ItemrecError
from retrieval.index.open import open_index
from retrieval.types import IndexedImage, ModelIdentity, Point, image_id

DIMENSION = 64
MODELS = {letter: ModelIdentity(letter * 64, DIMENSION, f"model-{letter}", f"/models/{letter}") for letter in "ab"}


def embedded(letter: str, images: int) -> NDArray[np.float32]:
    """What a model makes of all pictures, shape (images, d)."""
    return normalize(np.random.default_rng(ord(letter)).standard_normal((images, DIMENSION)))


def points(letter: str, images: int) -> list[Point]:
    found = []
    for i, vector in enumerate(embedded(letter, images)):
        product, image = f"p{i // 10}", f"p{i // 10}/{i}.jpg"
        record = IndexedImage(image_id(product, image), product, image, f"{i:064x}", {"model": letter})
        found.append(Point(record, vector))
    return found


def ask(place: str, images: int, queries: int, seed: int, chunk: int) -> None:
    """Queries of one process; prints asked, lost, wrong, mixed and the slowest in ms."""
    vectors = {letter: embedded(letter, images) for letter in MODELS}
    rng = np.random.default_rng(seed)
    lost = wrong = mixed = 0
    times = []
    for _ in range(0, queries, chunk):
        rows = rng.integers(images, size=chunk).tolist()
        start = time.perf_counter()
        try:
            index = open_index(place)
            manifest = index.manifest()
            if manifest is None:
                raise IndexNotFoundError("expected a live generation, received none")
            letter = manifest.model.fingerprint[0]
            with index.reader(manifest) as (store, current):
                current.require(MODELS[letter], place)
                hits = [store.search(vectors[letter][row], limit=1, max_distance=4.0) for row in rows]
            for row, (hit,) in zip(rows, hits, strict=True):
                mixed += hit.metadata["model"] != letter
                wrong += hit.image != f"p{row // 10}/{row}.jpg" or hit.distance > 1e-5
        except ItemrecError as error:
            lost += chunk
            print(f"lost: {type(error).__name__}: {error}", file=sys.stderr)
        times.append(time.perf_counter() - start)
    print(len(times) * chunk, lost, wrong, mixed, *(f"{t:.5f}" for t in times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=20, help="photos per opening of the index")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--index", help="a directory that does not exist yet, or a URL; default: a temporary directory")
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(options.index, options.images, int(options.ask[0]), int(options.ask[1]), options.chunk)
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = options.index or str(Path(temporary) / "index")
        index = open_index(place)

        def rebuild(letter: str) -> None:
            with index.writer(MODELS[letter], rebuild=True) as build:
                build.store.upsert(points(letter, options.images))
                build.commit(catalog="-", metadata_keys=("model",))

        rebuild("a")
        share = -(-options.queries // options.processes)
        command = [sys.executable, __file__, "--index", place, "--images", str(options.images)]
        command += ["--chunk", str(options.chunk), "--ask", str(share)]
        start = time.perf_counter()
        askers = [
            subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(options.processes)
        ]
        live, switches = "a", 0
        while any(asker.poll() is None for asker in askers):
            live = "b" if live == "a" else "a"
            rebuild(live)
            index.rollback()
            newest = max(g.number for g in index.generations())
            index.rollback(newest)
            switches += 3
        seconds = time.perf_counter() - start
        reports = [asker.communicate()[0].split() for asker in askers]
    asked, lost, wrong, mixed = (sum(int(r[i]) for r in reports) for i in range(4))
    times = np.array([float(t) for r in reports for t in r[4:]]) * 1e3
    print(f"{asked:,} queries by {options.processes} processes in {seconds:.1f} s, {switches} switches meanwhile")
    print(f"  lost {lost}, wrong {wrong}, mixed {mixed} (target: 0 of 10,000)")
    p50, p99 = np.percentile(times, [50, 99])
    print(f"  chunk of {options.chunk}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {times.max():.0f} ms")


if __name__ == "__main__":
    main()
