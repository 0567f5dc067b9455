"""Search in the embedded index beside faiss, on clustered unit vectors: latency, recall, build, disk, opening.

    python benchmarks/search.py --sizes 1000,20000,200000

Vectors: every product is a random direction, every picture its product's direction plus
Gaussian noise such that two pictures of one product lie at a squared L2 distance of about
0.4. There is no order among products, which is the hardest case for the width of a search;
with --groups products come in groups of similar ones, which is the hardest case for the
links of a graph. Queries are new pictures of indexed products. All searches run one query at
a time on one thread; recall@50 is against the exact neighbors by numpy.

With --answers WIDTHS the search is judged by what it is for: whole answers, as queries get them, at each width of the
graph's search beside those of exact scans. *same* is the part of the queries with the same first product, verdict and
neighbors within the threshold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from process_memory import kilobytes

from retrieval.distance import normalize
from retrieval.index import hnsw
from retrieval.index.embedded import store as embedded
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.protocols import Searchable
from retrieval.recognition.decision import decide
from retrieval.recognition.recognizer import CLOSE, find
from retrieval.system.files import allocated
from retrieval.types import IndexedImage, ModelIdentity, Neighbor, Point, image_id

DIMENSION = 128
PER_PRODUCT = 20
NOISE = 0.044
K = 50
BATCH = 1000
THRESHOLD = 0.6
"""Squared L2: two pictures of a product lie at about 0.4."""

Vectors = NDArray[np.float32]


def clustered(count: int, queries: int, *, groups: bool, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Gallery, shape (count, d), and queries, shape (queries, d)."""
    rng = np.random.default_rng(seed)
    products = -(-count // PER_PRODUCT)
    centers = normalize(rng.standard_normal((products, DIMENSION), dtype=np.float32))
    if groups:
        kinds = normalize(rng.standard_normal((max(2, round(products**0.5)), DIMENSION), dtype=np.float32))
        centers = normalize(kinds[rng.integers(0, len(kinds), products)] + centers)

    def pictures(of: NDArray[np.int64]) -> Vectors:
        noise = rng.standard_normal((len(of), DIMENSION), dtype=np.float32)
        return normalize(centers[of] + NOISE * noise)

    return pictures(np.arange(count) // PER_PRODUCT), pictures(rng.integers(0, products, queries))


def points(gallery: Vectors, start: int, end: int) -> list[Point]:
    found = []
    for i in range(start, min(end, len(gallery))):
        product = f"p{i // PER_PRODUCT}"
        image = f"{product}/{i}.jpg"
        metadata = {
            "category": f"c{i // PER_PRODUCT % 40}",
            "brand": f"b{i // PER_PRODUCT % 300}",
            "name": f"the product of number {i // PER_PRODUCT}",
            "price": i // PER_PRODUCT / 7,
        }
        record = IndexedImage(image_id(product, image), product, image, f"{i:064x}", metadata)
        found.append(Point(record, gallery[i]))
    return found


def exact_neighbors(gallery: Vectors, queries: Vectors) -> list[set[int]]:
    found: list[set[int]] = []
    for start in range(0, len(queries), 20):
        similarity = queries[start : start + 20] @ gallery.T
        found += [set(row.tolist()) for row in np.argpartition(-similarity, K - 1, axis=1)[:, :K]]
    return found


def timed(
    search: Callable[[Vectors], list[int]], queries: Vectors, truth: list[set[int]]
) -> tuple[float, float, float]:
    """p50 and p99 in ms, and recall@50."""
    times, hits = [], 0
    for query in queries[:5]:
        search(query)
    for query, expected in zip(queries, truth, strict=True):
        start = time.perf_counter()
        found = search(query)
        times.append(time.perf_counter() - start)
        hits += len(expected.intersection(found))
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return float(p50), float(p99), hits / (len(queries) * K)


def built(gallery: Vectors, index: EmbeddedIndex) -> Iterator[tuple[str, str]]:
    """Index a gallery, and say what that took."""
    model = ModelIdentity("0" * 64, gallery.shape[1], "benchmark", "-")
    adding = 0.0
    with index.writer(model) as build:
        for start in range(0, len(gallery), BATCH):
            batch = points(gallery, start, start + BATCH)
            began = time.perf_counter()
            build.store.upsert(batch)
            adding += time.perf_counter() - began
        began = time.perf_counter()
        build.commit(catalog="-", metadata_keys=("category", "brand", "name", "price"))
        committing = time.perf_counter() - began
    yield "ingest, points/s", f"{len(gallery) / adding:,.0f}"
    yield "commit, s", f"{committing:.1f}"


def ours(
    gallery: Vectors, queries: Vectors, truth: list[set[int]], place: Path, hnsw_from: int, widths: list[int]
) -> Iterator[tuple[str, str]]:
    index = EmbeddedIndex(place, hnsw_from=hnsw_from)
    if index.manifest() is None:
        yield from built(gallery, index)
    manifest = index.manifest()
    yield "graph", "yes" if manifest is not None and manifest.hnsw else "no: exact scan"
    yield "disk, bytes/point", f"{allocated(place) / len(gallery):,.0f}"
    probe = subprocess.run(
        [sys.executable, __file__, "--probe", str(place)], capture_output=True, text=True, check=True
    )
    opening, memory = probe.stdout.split()
    yield "new process: import, open, first query, ms", opening
    yield "its memory, MiB", memory

    row = {image_id(f"p{i // PER_PRODUCT}", f"p{i // PER_PRODUCT}/{i}.jpg"): i for i in range(len(gallery))}
    with index.reader() as (store, _):

        def search(query: Vectors, exact: bool) -> list[int]:
            return [row[n.image_id] for n in store.search(query, limit=K, max_distance=4.0, exact=exact)]

        exact = timed(lambda q: search(q, True), queries, truth)
        default = timed(lambda q: search(q, False), queries, truth)
        where = {"category": ("c7",)}
        filtered = timed(
            lambda q: [row[n.image_id] for n in store.search(q, limit=K, max_distance=4.0, where=where)],
            queries,
            truth,
        )
        if widths:
            yield from answers(store, queries, widths)
    yield from report("itemrec exact", exact)
    yield from report("itemrec default", default)
    yield "itemrec filtered to 1 category in 40 p50/p99, ms", f"{filtered[0]:.2f} / {filtered[1]:.2f}"
    yield from beside_faiss(gallery, queries, truth, exact[0], default[0])


class Counted:
    """A store that counts what it is asked."""

    def __init__(self, store: Searchable) -> None:
        self._store = store
        self.questions = 0

    def search(self, vector: Vectors, **options: Any) -> list[Neighbor]:
        self.questions += 1
        return self._store.search(vector, **options)

    def nearest_of(self, vector: Vectors, product_ids: Sequence[str], **options: Any) -> list[list[Neighbor]]:
        self.questions += 1
        return self._store.nearest_of(vector, product_ids, **options)


def answers(store: Searchable, queries: Vectors, widths: list[int]) -> Iterator[tuple[str, str]]:
    """Whole answers at some widths, beside those of exact scans."""
    counted = Counted(store)

    def ask(query: Vectors, exact: bool, close: float = CLOSE) -> tuple[str, str, list[str]]:
        ranked = find(counted, query, threshold=THRESHOLD, products=5, exact=exact, close=close)
        near = [e.image for m in ranked for e in m.evidence if e.distance <= THRESHOLD]
        return ranked[0].product_id, decide(ranked, threshold=THRESHOLD), near

    expected = [ask(query, True) for query in queries]
    questions = counted.questions
    for query in queries:
        ask(query, True, close=0.0)
    yield "questions for an answer", f"{questions / len(queries):.2f}"
    yield (
        "questions, were all products looked into",
        f"{counted.questions / len(queries) - questions / len(queries):.2f}",
    )
    kept = hnsw.EF, hnsw.EF_WIDE
    for width in widths:
        hnsw.EF = hnsw.EF_WIDE = width
        times, found = [], []
        for query in queries:
            start = time.perf_counter()
            found.append(ask(query, False))
            times.append(time.perf_counter() - start)
        p50, p99 = np.percentile(times, [50, 99]) * 1e3
        yield f"answer at width {width} p50/p99, ms", f"{p50:.2f} / {p99:.2f}"
        parts = ("first product", "verdict", "neighbors within the threshold")
        same = [sum(f[i] == e[i] for f, e in zip(found, expected, strict=True)) for i in range(3)]
        yield f"answer at width {width}, same", ", ".join(f"{n} {p}" for n, p in zip(same, parts, strict=True))
    hnsw.EF, hnsw.EF_WIDE = kept


def beside_faiss(
    gallery: Vectors, queries: Vectors, truth: list[set[int]], exact: float, default: float
) -> Iterator[tuple[str, str]]:
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatL2(DIMENSION)
    flat.add(gallery)
    scan = timed(lambda q: flat.search(q[np.newaxis], K)[1][0].tolist(), queries, truth)
    yield from report("faiss flat", scan)
    graph = faiss.IndexHNSWFlat(DIMENSION, hnsw.M)
    graph.hnsw.efConstruction = hnsw.EF_CONSTRUCT
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    began = time.perf_counter()
    graph.add(gallery)
    yield "faiss HNSW build, s", f"{time.perf_counter() - began:.1f}"
    faiss.omp_set_num_threads(1)
    for width in (256, hnsw.EF if len(gallery) < hnsw.WIDE_FROM else hnsw.EF_WIDE):
        graph.hnsw.efSearch = width
        found = timed(lambda q: graph.search(q[np.newaxis], K)[1][0].tolist(), queries, truth)
        yield from report(f"faiss HNSW ef {width}", found)
    yield "itemrec exact : faiss flat", f"{exact / scan[0]:.2f}"
    yield "itemrec default : faiss HNSW, same settings", f"{default / found[0]:.2f}"


def report(name: str, result: tuple[float, float, float]) -> Iterator[tuple[str, str]]:
    yield f"{name} p50/p99, ms", f"{result[0]:.2f} / {result[1]:.2f}"
    yield f"{name} recall@{K}", f"{result[2]:.4f}"


def probe(place: str) -> None:
    """In a new process: what a cold query pays, and the memory it has then."""
    start = time.perf_counter()
    query = normalize(np.random.default_rng(1).standard_normal((1, DIMENSION)))[0]
    with EmbeddedIndex(Path(place)).reader() as (store, _):
        store.search(query, limit=K, max_distance=4.0)
        took = time.perf_counter() - start
    print(f"{took * 1e3:.0f} {kilobytes('VmHWM') / 1024:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default="1000,20000,200000")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--dir", help="where the indexes are made; default: the temporary directory")
    parser.add_argument("--keep", type=Path, help="keep the indexes here, and search those that are there already")
    parser.add_argument("--groups", action="store_true", help="products in groups of similar ones")
    parser.add_argument("--graph-from", type=int, default=embedded.HNSW_FROM // DIMENSION, metavar="IMAGES")
    parser.add_argument("--m", type=int, default=hnsw.M)
    parser.add_argument("--ef-construct", type=int, default=hnsw.EF_CONSTRUCT)
    parser.add_argument("--ef", type=int, help="search width; default: the index's own")
    parser.add_argument("--answers", metavar="WIDTHS", help="judge whole answers at these widths: 64,128,768")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        probe(options.probe)
        return
    hnsw.M, hnsw.EF_CONSTRUCT = options.m, options.ef_construct
    if options.ef:
        hnsw.EF = hnsw.EF_WIDE = options.ef
    sizes = [int(s) for s in options.sizes.split(",")]
    table: dict[str, list[str]] = {}
    for column, size in enumerate(sizes):
        gallery, queries = clustered(size, options.queries, groups=options.groups)
        truth = exact_neighbors(gallery, queries)
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            place = (options.keep or Path(folder)) / f"{size}{'-groups' if options.groups else ''}"
            widths = [int(width) for width in options.answers.split(",")] if options.answers else []
            for name, value in ours(gallery, queries, truth, place, options.graph_from * DIMENSION, widths):
                if name.startswith("faiss"):
                    name = name.replace(str(hnsw.EF_WIDE), "same").replace(str(hnsw.EF), "same")
                print(f"{size:,}: {name}: {value}", file=sys.stderr)
                table.setdefault(name, [""] * len(sizes))[column] = value
    print(
        f"{DIMENSION}-d, {PER_PRODUCT} pictures a product, k = {K}, {options.queries} queries, {os.cpu_count()} cores"
    )
    print(f"| |{' | '.join(f' {s:,}' for s in sizes)} |")
    print(f"|---|{'---|' * len(sizes)}")
    for name, values in table.items():
        print(f"| {name} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
