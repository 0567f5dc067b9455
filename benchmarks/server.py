"""What itemrec adds to qdrant-client: bulk upload beside `upload_points`, search beside the bare call, workers.

    python benchmarks/server.py [--url http://qdrant:6333] [--points 20000] [--workers 1,2]

Without --url everything goes to a stand-in on the loopback (tests/qdrant): uploads to one that reads every request and
acknowledges it at once, so that only the clients are compared; searches to qdrant-client's local mode behind the same
socket. Ratios and differences are the clients'; the rates are no server's. With --url they are that server's.
`upload_points` gets the same points, batch size, parallelism and wait=true; both rounds alternate.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from qdrant_client import models

from retrieval.index import payload as codec
from retrieval.index.server import ServerIndex
from retrieval.index.server.store import CHUNK, ServerStore
from retrieval.types import ModelIdentity, Point
from tests.contract.samples import sample_points
from tests.qdrant import double

DIMENSION = 128
MODEL = ModelIdentity("f" * 64, DIMENSION, "benchmark", "-")


def swallow(request: double.Request) -> bool:
    """Acknowledge an upsert unread by any engine."""
    if request.method == "PUT" and request.path.endswith("/points"):
        request.answer(200, json.dumps({"result": double.UPDATED, "status": "ok", "time": 0.0}).encode())
        return True
    return False


@contextlib.contextmanager
def place(url: str | None, *, acknowledge: bool) -> Iterator[str]:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    if url:
        yield f"{url.rstrip('/')}/{name}"
        return
    with double.serving() as server:
        if acknowledge:
            server.before = swallow
        yield server.url(f"/{name}")


def upload(location: str, points: list[Point], rounds: int) -> tuple[float, float]:
    """Points a second: ours, qdrant-client's; medians."""
    index = ServerIndex(location, overrides={"bulk": True})
    ours, theirs = [], []
    with index.writer(MODEL) as build:
        link, name = index.collections.link, build.store.collection
        for number in range(rounds + 1):
            start = time.perf_counter()
            build.store.upsert(points)
            middle = time.perf_counter()
            link.data.upload_points(
                name,
                (
                    models.PointStruct(id=p.record.image_id, vector=p.vector.tolist(), payload=codec.encode(p.record))
                    for p in points
                ),
                batch_size=CHUNK,
                parallel=link.parallel,
                wait=True,
            )
            end = time.perf_counter()
            if number:  # the first round opens connections
                ours.append(len(points) / (middle - start))
                theirs.append(len(points) / (end - middle))
        build.discard()
    index.close()
    return statistics.median(ours), statistics.median(theirs)


def search(location: str, points: list[Point], queries: int) -> tuple[float, float, float, float]:
    """Median milliseconds of a search, ours and the bare call, alternating; then the same in this thread's CPU time."""
    index = ServerIndex(location)
    with index.writer(MODEL) as build:
        build.store.upsert(points)
        build.commit(catalog="-", metadata_keys=())
    rng = np.random.default_rng(3)
    ours, bare, ours_cpu, bare_cpu = [], [], [], []
    with index.reader() as (store, _):
        assert isinstance(store, ServerStore)
        call = index.collections.link.data.query_points
        for row in rng.integers(len(points), size=queries).tolist():
            vector = points[row].vector
            start, cpu = time.perf_counter(), time.thread_time()
            store.search(vector, limit=64, max_distance=1.0)
            middle, middle_cpu = time.perf_counter(), time.thread_time()
            call(store.collection, query=vector.tolist(), limit=64, score_threshold=1.0, with_payload=True)
            end, end_cpu = time.perf_counter(), time.thread_time()
            ours.append((middle - start) * 1e3)
            bare.append((end - middle) * 1e3)
            ours_cpu.append((middle_cpu - cpu) * 1e3)
            bare_cpu.append((end_cpu - middle_cpu) * 1e3)
    for generation in index.generations():
        index.collections.drop(generation.number)
    index.close()
    medians = [statistics.median(times) for times in (ours, bare, ours_cpu, bare_cpu)]
    return medians[0], medians[1], medians[2], medians[3]


def workers(location: str, counts: list[int], pictures: int) -> Iterator[tuple[int, float]]:
    """Pictures a second by so many `itemrec index --shard` processes, drawn pictures and the starter model."""
    from tests.fakes import write_catalog

    with tempfile.TemporaryDirectory() as temporary:
        catalog = write_catalog(Path(temporary) / "catalog", products=pictures // 10, views=10)
        for count in counts:
            words = [sys.executable, "-m", "cli.main", "index", str(catalog), "--quiet", "--threads", "1"]
            words += ["--index", f"{location}-{count}"]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            start = time.perf_counter()
            running = [
                subprocess.Popen([*words, "--shard", f"{n}/{count}"], env=environment, stdout=subprocess.DEVNULL)
                for n in range(1, count + 1)
            ]
            codes = [process.wait() for process in running]
            if any(codes):
                raise SystemExit("a worker failed")
            yield count, pictures / (time.perf_counter() - start)
            index = ServerIndex(f"{location}-{count}")
            manifest = index.manifest()
            assert manifest is not None
            assert manifest.images == pictures
            index.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a Qdrant server; default: stand-ins on the loopback")
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="1,2", help="numbers of index workers to compare")
    parser.add_argument("--pictures", type=int, default=1_000)
    options = parser.parse_args()
    # Local mode warns of what it leaves out.
    warnings.simplefilter("ignore", UserWarning)
    points = sample_points(options.points, dimension=DIMENSION, per_product=20)
    print(f"{options.url or 'stand-in on the loopback'}, {DIMENSION}-d, {os.cpu_count()} cores")
    with place(options.url, acknowledge=True) as location:
        ours, theirs = upload(location, points, options.rounds)
    print(f"  upload: itemrec {ours:,.0f}, upload_points {theirs:,.0f} points/s: {ours / theirs:.2f} (target >= 0.8)")
    with place(options.url, acknowledge=False) as location:
        mine, bare, mine_cpu, bare_cpu = search(location, points[:2000], options.queries)
    print(f"  search p50: itemrec {mine:.2f}, bare call {bare:.2f} ms: {mine - bare:+.2f} ms (target <= 1)")
    print(f"    of which this thread computes {mine_cpu:.2f} and {bare_cpu:.2f} ms: {mine_cpu - bare_cpu:+.2f} ms")
    with place(options.url, acknowledge=False) as location:
        for count, rate in workers(location, [int(n) for n in options.workers.split(",")], options.pictures):
            print(f"  index by {count} worker{'s' * (count > 1)}: {rate:,.0f} pictures/s")


if __name__ == "__main__":
    main()
