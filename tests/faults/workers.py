"""What the fault tests run in processes of their own: ``python -m tests.faults.workers NAME ARGS``, or forked."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from retrieval.errors import ItemrecError
from retrieval.inbox.entries import NewLabel
from retrieval.inbox.inbox import Inbox
from retrieval.inbox.labels import label
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.types import Recognition
from tests.contract.samples import MODEL, OTHER_MODEL, sample_points
from tests.retrieval.inbox.shop import scene

UNKNOWN = Recognition("a.jpg", "unknown", (), 0.3, "f" * 64)
KEYS = ("category", "price", "organic")


def say(*words: object) -> None:
    print(*words, flush=True)


def index_run(path: str, count: str, batch: str, graph_from: str = "1000000000") -> None:
    """An index run over ``count`` pictures that acknowledges every batch and then commits."""
    points = sample_points(int(count))
    with EmbeddedIndex(Path(path), hnsw_from=int(graph_from)).writer(MODEL) as build:
        known = {r.image_id for r in build.store.records()}
        say("resumed" if build.resumed else "fresh", len(known))
        missing = [p for p in points if p.record.image_id not in known]
        for start in range(0, len(missing), int(batch)):
            chunk = missing[start : start + int(batch)]
            build.store.upsert(chunk)
            build.report(len(known) + start + len(chunk), int(count))
            say("ack", *(p.record.image_id for p in chunk))
        say("committing")
        build.commit(catalog="/catalog", metadata_keys=KEYS)
    say("committed")


def keep_photos(path: str, first: str, count: str) -> None:
    """Keep photos in an inbox and label every second one; acknowledge each when that is done."""
    with Inbox(Path(path)) as inbox:
        for number in range(int(first), int(first) + int(count)):
            photo = inbox.keep(scene(number), UNKNOWN, request=str(number))
            if number % 2:
                label(inbox, [NewLabel(photo, "product", "p001")], exists=lambda _: True)
            say("labeled" if number % 2 else "kept", photo)


def hold_writer(path: str, count: str) -> None:
    """Write a little, report progress, then keep the build open until stdin ends."""
    with EmbeddedIndex(Path(path)).writer(MODEL) as build:
        build.store.upsert(sample_points(int(count), prefix="held", seed=9))
        build.report(int(count), 1000)
        time.sleep(0.6)  # notes are rewritten at most twice a second
        build.report(int(count), 1000)
        say("holding")
        sys.stdin.read()


def hold_reader(path: str, seconds: str) -> None:
    """A query that takes its time."""
    point = sample_points(1)[0]
    with EmbeddedIndex(Path(path)).reader() as (store, _):
        entered = time.monotonic()
        say("holding")
        time.sleep(float(seconds))
        nearest = store.search(point.vector, limit=1, max_distance=4.0)[0]
        left = time.monotonic()
    say("answer", nearest.image_id, entered, left)


def query_often(path: str, seconds: str) -> None:
    """Queries without a pause; every answer must be whole."""
    point = sample_points(1)[0]
    counts: set[int] = set()
    answers = 0
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        with EmbeddedIndex(Path(path)).reader() as (store, manifest):
            hits = store.search(point.vector, limit=10_000, max_distance=4.0)
            assert len(hits) == store.count() == manifest.images
            assert hits[0].image_id == point.record.image_id
            counts.add(manifest.images)
            answers += 1
    say("answers", answers, *sorted(counts))


def query_models(path: str, seconds: str) -> None:
    """Queries as a client makes them while models change: read the model, embed with it, search."""
    points = {m.fingerprint: sample_points(100, seed=seed) for m, seed in ((MODEL, 0), (OTHER_MODEL, 1))}
    answers, models = 0, set[str]()
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until or not answers:
        index = EmbeddedIndex(Path(path))
        manifest = index.manifest()
        assert manifest is not None
        time.sleep(0.02)  # the network has the photo, and somebody else the index
        with index.reader(manifest) as (store, current):
            assert current.model == manifest.model
            for point in points[current.model.fingerprint][::10]:
                (hit,) = store.search(point.vector, limit=1, max_distance=4.0)
                assert (hit.image_id, hit.distance < 1e-5) == (point.record.image_id, True)
        models.add(current.model.name)
        answers += 1
    say("answers", answers, *sorted(models))


def write_until_full(path: str) -> None:
    """Upsert until the index refuses, then say how."""
    written = 0
    try:
        with EmbeddedIndex(Path(path)).writer(MODEL) as build:
            while True:
                build.store.upsert(sample_points(2000, prefix=f"r{written}-", seed=written))
                written += 2000
                say("ack", written)
    except ItemrecError as error:
        say("refused", type(error).__name__, error.message)


WORKERS: dict[str, Callable[..., None]] = {
    w.__name__: w
    for w in (index_run, keep_photos, hold_writer, hold_reader, query_often, query_models, write_until_full)
}


def main() -> None:
    """Run the worker that the command line names."""
    WORKERS[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
