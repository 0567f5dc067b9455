"""Search in the embedded index beside faiss, on clustered unit vectors: latency, recall, build, disk, opening.

    python benchmarks/search.py --sizes 1000,20000,200000

Vectors: every product is a random direction, every picture its product's direction plus
Gaussian noise such that two pictures of one product lie at a squared L2 distance of about
0.4. There is no order among products, which is the hardest case for the width of a search;
with --groups products come in groups of similar ones, which is the hardest case for the
links of a graph. Queries are new pictures of indexed products. All searches run one query at
a time on one thread; recall@50 is against the exact neighbors by numpy.

With --answers WIDTHS the search is judged by what it is for: whole answers, as queries get them, at each width of the
graph's search beside those of exact scans. *same* counts photos of indexed products with the same first product, those
with the same neighbors within the threshold, and, with as many photos of products that are not indexed, those with the
same verdict by the threshold and with the same P(right), within a hundredth, by the built-in model's calibration.

With --each 2 a hundred thousand pictures are of as many products as a million are with 20.

With --photos GROCERY the vectors are real: what --model makes of the photos below ``photos/train``, and for queries of
those below ``photos/val``. A larger catalog holds copies of these products, each moved in a direction of its own:
look-alikes of one another. Half of the products of each copy are not indexed, only asked for.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from process_memory import kilobytes

from retrieval.calibration.sureness import DEFAULT, Sureness
from retrieval.distance import normalize
from retrieval.evaluation import Photos, gather_folder
from retrieval.index import hnsw
from retrieval.index.embedded import store as embedded
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.protocols import Searchable
from retrieval.models.installed import STARTER, find_model
from retrieval.recognition.decision import decide
from retrieval.recognition.recognizer import CLOSE, find
from retrieval.system.files import allocated
from retrieval.types import IndexedImage, JsonValue, ModelIdentity, Neighbor, Point, image_id

DIMENSION = 128
PER_PRODUCT = 20
NOISE = 0.044
K = 50
BATCH = 1000
THRESHOLD = 0.6
"""Squared L2: two pictures of a product lie at about 0.4."""
MOVED = 0.5
"""How far a copy of a real product is moved: copies lie 0.4 (squared L2) apart, beside their own spread."""

SOME = 100

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class World:
    """Pictures in a gallery with the numbers of their products, photos of these, and photos of other products."""

    gallery: Vectors
    owners: NDArray[np.int64]
    queries: Vectors
    unknown: Vectors
    threshold: float = THRESHOLD


def clustered(count: int, queries: int, *, each: int = PER_PRODUCT, groups: bool, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    products = -(-count // each)
    kinds = None

    def centers_of(some: int) -> Vectors:
        drawn = normalize(rng.standard_normal((some, DIMENSION), dtype=np.float32))
        return drawn if kinds is None else normalize(kinds[rng.integers(0, len(kinds), some)] + drawn)

    centers = centers_of(products)
    if groups:
        kinds = normalize(rng.standard_normal((max(2, round(products**0.5)), DIMENSION), dtype=np.float32))
        centers = normalize(kinds[rng.integers(0, len(kinds), products)] + centers)

    def pictures(of: Vectors) -> Vectors:
        noise = rng.standard_normal((len(of), DIMENSION), dtype=np.float32)
        return normalize(of + NOISE * noise)

    owners = np.arange(count) // each
    gallery, asked = pictures(centers[owners]), pictures(centers[rng.integers(0, products, queries)])
    return World(gallery, owners, asked, pictures(centers_of(queries)))


def real(count: int, queries: int, embedded: dict[str, Photos], threshold: float) -> World:
    rng = np.random.default_rng(0)
    photos, asked = embedded["photos/train"], embedded["photos/val"]
    products, owner = np.unique(photos.labels, return_inverse=True)
    column = np.searchsorted(products, asked.labels)
    gallery, owners, found, unknown = [], [], [], []
    for copy in range(-(-2 * count // len(owner))):
        directions = normalize(rng.standard_normal((len(products), photos.vectors.shape[1]), dtype=np.float32))
        moves = MOVED * directions if copy else np.zeros_like(directions)
        shown, known = (owner + copy) % 2 == 0, (column + copy) % 2 == 0
        gallery.append(normalize(photos.vectors + moves[owner])[shown])
        owners.append((owner + copy * len(products))[shown])
        probes = normalize(asked.vectors + moves[column])
        found.append(probes[known])
        unknown.append(probes[~known])
    all_found, all_unknown = np.concatenate(found), np.concatenate(unknown)
    rows = [rng.permutation(len(some))[:queries] for some in (all_found, all_unknown)]
    return World(np.concatenate(gallery), np.concatenate(owners), all_found[rows[0]], all_unknown[rows[1]], threshold)


def points(world: World, start: int, end: int) -> list[Point]:
    found = []
    for i in range(start, min(end, len(world.gallery))):
        number = int(world.owners[i])
        product, image = named(world, i)
        metadata: dict[str, JsonValue] = {
            "category": f"c{number % 40}",
            "brand": f"b{number % 300}",
            "name": f"the product of number {number}",
            "price": number / 7,
        }
        record = IndexedImage(image_id(product, image), product, image, f"{i:064x}", metadata)
        found.append(Point(record, world.gallery[i]))
    return found


def named(world: World, i: int) -> tuple[str, str]:
    product = f"p{world.owners[i]}"
    return product, f"{product}/{i}.jpg"


def exact_neighbors(gallery: Vectors, queries: Vectors) -> list[set[int]]:
    found: list[set[int]] = []
    for start in range(0, len(queries), 20):
        similarity = queries[start : start + 20] @ gallery.T
        found += [set(row.tolist()) for row in np.argpartition(-similarity, K - 1, axis=1)[:, :K]]
    return found


class Clock:
    """What pieces of work took, by the wall and by the processor: on a busy machine only the second means much."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    def __enter__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, processor = self._started
        self.wall.append(1e3 * (time.perf_counter() - wall))
        self.processor.append(1e3 * (time.process_time() - processor))

    def text(self, which: slice = slice(None)) -> str:
        p50, p99 = np.percentile(self.wall[which], [50, 99])
        return f"{p50:.2f} / {p99:.2f} ({np.median(self.processor[which]):.2f})"


def timed(search: Callable[[Vectors], list[int]], queries: Vectors, truth: list[set[int]]) -> tuple[Clock, float]:
    """What it took, and recall@50."""
    clock, hits = Clock(), 0
    for query in queries[:5]:
        search(query)
    for query, expected in zip(queries, truth, strict=True):
        with clock:
            found = search(query)
        hits += len(expected.intersection(found))
    return clock, hits / (len(queries) * K)


def built(world: World, index: EmbeddedIndex) -> Iterator[tuple[str, str]]:
    """Index a gallery, and say what that took."""
    gallery = world.gallery
    model = ModelIdentity("0" * 64, gallery.shape[1], "benchmark", "-")
    adding = 0.0
    with index.writer(model) as build:
        for start in range(0, len(gallery), BATCH):
            batch = points(world, start, start + BATCH)
            began = time.perf_counter()
            build.store.upsert(batch)
            adding += time.perf_counter() - began
        began = time.perf_counter()
        build.commit(catalog="-", metadata_keys=("category", "brand", "name", "price"))
        committing = time.perf_counter() - began
    yield "ingest, points/s", f"{len(gallery) / adding:,.0f}"
    yield "commit, s", f"{committing:.1f}"


def ours(
    world: World, truth: list[set[int]], place: Path, hnsw_from: int, widths: list[int]
) -> Iterator[tuple[str, str]]:
    gallery, queries = world.gallery, world.queries
    index = EmbeddedIndex(place, hnsw_from=hnsw_from)
    if index.manifest() is None:
        yield from built(world, index)
    manifest = index.manifest()
    yield "graph", "yes" if manifest is not None and manifest.hnsw else "no: exact scan"
    yield "disk, bytes/point", f"{allocated(place) / len(gallery):,.0f}"
    probe = subprocess.run(
        [sys.executable, __file__, "--probe", str(place)], capture_output=True, text=True, check=True
    )
    opening, memory = probe.stdout.split()
    yield "new process: import, open, first query, ms", opening
    yield "its memory, MiB", memory

    row = {image_id(*named(world, i)): i for i in range(len(gallery))}
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
            yield from answers(store, world, widths)
    yield from report("itemrec exact", exact)
    yield from report("itemrec default", default)
    yield "itemrec filtered to 1 category in 40, ms", filtered[0].text()
    yield from beside_faiss(gallery, queries, truth, exact[0], default[0], place.with_suffix(".faiss"))


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


def answers(store: Searchable, world: World, widths: list[int]) -> Iterator[tuple[str, str]]:
    """Whole answers at some widths, beside those of exact scans."""
    counted = Counted(store)
    queries, products = np.concatenate([world.queries, world.unknown]), len(np.unique(world.owners))
    indexed, sureness = len(world.queries), sureness_of_photos()
    hopeless = sureness.hopeless(DEFAULT, products)

    def ask(query: Vectors, exact: bool, close: float = CLOSE) -> tuple[str, list[str], str, float]:
        beyond = hopeless if close else math.inf
        ranked = find(
            counted,
            query,
            threshold=4.0,
            products=5,
            exact=exact,
            close=close,
            far=world.threshold,
            hopeless=beyond,
        )
        near = [e.image for m in ranked for e in m.evidence if e.distance <= world.threshold]
        sure = sureness.of(ranked, products).products[0]
        return ranked[0].product_id, near, decide(ranked, threshold=world.threshold), sure

    began = time.perf_counter()
    expected = [ask(query, True) for query in queries]
    yield "answer by exact scans, mean, ms", f"{(time.perf_counter() - began) / len(queries) * 1e3:.2f}"
    yield "questions for an answer", f"{counted.questions / len(queries):.2f}"
    asked, some = counted.questions, queries[:: max(1, len(queries) // SOME)]
    for query in some:
        ask(query, True, close=0.0)
    yield "questions, were all products looked into", f"{(counted.questions - asked) / len(some):.2f}"
    kept = hnsw.EF
    for width in widths:
        hnsw.EF = width
        clock = Clock()
        found = []
        for query in queries:
            with clock:
                found.append(ask(query, False))
        yield f"answer at width {width}, indexed products, ms", clock.text(slice(None, indexed))
        yield f"answer at width {width}, others, ms", clock.text(slice(indexed, None))
        both = list(zip(found, expected, strict=True))
        first, near = (sum(f[i] == e[i] for f, e in both[:indexed]) for i in range(2))
        verdict, sure = sum(f[2] == e[2] for f, e in both), sum(abs(f[3] - e[3]) <= 0.01 for f, e in both)
        yield f"width {width}, same first product", f"{first} of {indexed}"
        yield f"width {width}, same neighbors within the threshold", f"{near} of {indexed}"
        yield f"width {width}, same verdict by the threshold", f"{verdict} of {len(queries)}"
        yield f"width {width}, same P(right)", f"{sure} of {len(queries)}"
    hnsw.EF = kept


def sureness_of_photos() -> Sureness:
    calibration = find_model(STARTER).calibration
    kinds = {} if calibration is None else {one.kind: one.calibration.sureness for one in calibration.galleries}
    found = kinds.get("few")
    assert found is not None
    return found


def beside_faiss(
    gallery: Vectors, queries: Vectors, truth: list[set[int]], exact: Clock, default: Clock, kept: Path
) -> Iterator[tuple[str, str]]:
    faiss.omp_set_num_threads(1)
    dimension = gallery.shape[1]
    flat = faiss.IndexFlatL2(dimension)
    flat.add(gallery)
    scan = timed(lambda q: flat.search(q[np.newaxis], K)[1][0].tolist(), queries, truth)
    yield from report("faiss flat", scan)
    if kept.exists():
        graph: Any = faiss.read_index(str(kept))
    else:
        graph = faiss.IndexHNSWFlat(dimension, hnsw.M)
        graph.hnsw.efConstruction = hnsw.EF_CONSTRUCT
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        began = time.perf_counter()
        graph.add(gallery)
        yield "faiss HNSW build, s", f"{time.perf_counter() - began:.1f}"
        faiss.omp_set_num_threads(1)
        faiss.write_index(graph, str(kept))
    for width in (256, hnsw.EF):
        graph.hnsw.efSearch = width
        found = timed(lambda q: graph.search(q[np.newaxis], K)[1][0].tolist(), queries, truth)
        yield from report(f"faiss HNSW ef {width}", found)
    for name, one, other in (
        ("itemrec exact : faiss flat", exact, scan[0]),
        ("itemrec default : faiss HNSW, same settings", default, found[0]),
    ):
        wall, processor = (np.median(getattr(one, of)) / np.median(getattr(other, of)) for of in ("wall", "processor"))
        yield name, f"{wall:.2f} ({processor:.2f})"


def report(name: str, result: tuple[Clock, float]) -> Iterator[tuple[str, str]]:
    yield f"{name}, ms", result[0].text()
    yield f"{name} recall@{K}", f"{result[1]:.4f}"


def probe(place: str) -> None:
    """In a new process: what a cold query pays, and the memory it has then."""
    start = time.perf_counter()
    with EmbeddedIndex(Path(place)).reader() as (store, manifest):
        query = normalize(np.random.default_rng(1).standard_normal((1, manifest.model.dimension)))[0]
        store.search(query, limit=K, max_distance=4.0)
        took = time.perf_counter() - start
    print(f"{took * 1e3:.0f} {kilobytes('VmHWM') / 1024:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default="1000,20000,200000")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--dir", help="where the indexes are made; default: the temporary directory")
    parser.add_argument("--keep", type=Path, help="keep the indexes here, and search those that are there already")
    parser.add_argument("--photos", type=Path, metavar="GROCERY", help="real vectors, of these photos")
    parser.add_argument("--model", default=STARTER, help="that makes them")
    parser.add_argument("--each", type=int, default=PER_PRODUCT, metavar="PICTURES", help="of a product")
    parser.add_argument("--groups", action="store_true", help="products in groups of similar ones")
    parser.add_argument("--graph-from", type=int, metavar="IMAGES", help="default: as the index does")
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
        hnsw.EF = options.ef
    sizes = [int(s) for s in options.sizes.split(",")]
    kind = "-real" if options.photos else f"-{options.each}{'-groups' if options.groups else ''}"
    pictures: dict[str, Photos] = {}
    threshold = THRESHOLD
    if options.photos:
        bundle = find_model(options.model)
        pictures = {part: gather_folder(options.photos / part, bundle) for part in ("photos/train", "photos/val")}
        threshold = bundle.calibration.threshold if bundle.calibration else THRESHOLD
    table: dict[str, list[str]] = {}
    for column, size in enumerate(sizes):
        if pictures:
            world = real(size, options.queries, pictures, threshold)
        else:
            world = clustered(size, options.queries, each=options.each, groups=options.groups)
        truth = exact_neighbors(world.gallery, world.queries)
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            place = (options.keep or Path(folder)) / f"{size}{kind}"
            graph_from = options.graph_from * world.gallery.shape[1] if options.graph_from else embedded.HNSW_FROM
            widths = [int(width) for width in options.answers.split(",")] if options.answers else []
            for name, value in ours(world, truth, place, graph_from, widths):
                if name.startswith("faiss"):
                    name = name.replace(str(hnsw.EF), "same")
                print(f"{size:,}: {name}: {value}", file=sys.stderr)
                table.setdefault(name, [""] * len(sizes))[column] = value
    each, dimension = len(world.gallery) / len(np.unique(world.owners)), world.gallery.shape[1]
    print(
        f"{dimension}-d, {each:.0f} pictures a product, k = {K}, {options.queries} queries, {os.cpu_count()} cores; "
        "times: median / 99th percentile by the wall (median by the processor)"
    )
    print(f"| |{' | '.join(f' {s:,}' for s in sizes)} |")
    print(f"|---|{'---|' * len(sizes)}")
    for name, values in table.items():
        print(f"| {name} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
