"""Several index workers at one server, as processes: disjoint, whichever dies, and the same points as one worker's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import IndexBusyError, UsageError
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.server import ServerIndex
from retrieval.index.sharding import Shard
from retrieval.models.bundle import Bundle
from tests.contract.samples import MODEL, contents, fill, sample_points
from tests.fakes import write_catalog
from tests.faults.conftest import ROOT, Start
from tests.forking import ITEMREC, Forked, ForkServer
from tests.qdrant import double

POINTS = sample_points(90)

SLOWLY = f"""
import time
from retrieval.models import embedding
load = embedding.load_encoder
def load_slow(*arguments, **options):
    encoder = load(*arguments, **options)
    class Slow:
        def __getattr__(self, name):
            return getattr(encoder, name)
        def encode(self, pixels):
            time.sleep(0.01 * len(pixels))
            return encoder.encode(pixels)
    return Slow()
embedding.load_encoder = load_slow
{ITEMREC}
"""
"""The command line with a model that takes its time, so that a run can be ended in the middle."""


def write(index: ServerIndex, shard: Shard, *, rebuild: bool = False, commit: bool = True) -> int:
    with index.writer(MODEL, rebuild=rebuild, shard=shard) as build:
        build.store.upsert([p for p in POINTS if shard.takes(p.record.image_id)])
        if commit:
            build.commit(catalog="/catalog", metadata_keys=("category",))
        return build.waiting


def test_the_last_worker_makes_it_live() -> None:
    with double.serving() as server:
        index = ServerIndex(server.url("/parts"))
        assert write(index, Shard(2, 3)) == 2
        assert index.manifest() is None
        assert write(index, Shard(1, 3)) == 1
        assert write(index, Shard(2, 3)) == 1, "a part that is done twice counts once"
        assert write(index, Shard(3, 3)) == 0
        assert contents(index) == {p.record.image_id: (p.record, p.vector.tobytes()) for p in POINTS}
        manifest = index.manifest()
        assert manifest is not None
        assert (manifest.generation, manifest.images) == (1, 90)
        assert write(index, Shard(1, 2), rebuild=True) == 1
        assert write(index, Shard(2, 2), rebuild=True) == 0
        assert [(g.number, g.state) for g in index.generations()] == [(1, "kept"), (2, "live")]


def test_who_may_write_beside_whom() -> None:
    with double.serving() as server:
        index = ServerIndex(server.url("/beside"))
        fill(index, POINTS[:5])
        with index.writer(MODEL, shard=Shard(1, 3)):
            with index.writer(MODEL, shard=Shard(2, 3)):
                pass
            for other in (None, Shard(1, 3), Shard(2, 4)):
                with pytest.raises(IndexBusyError), index.writer(MODEL, shard=other):
                    pass
        with index.writer(MODEL), pytest.raises(IndexBusyError), index.writer(MODEL, shard=Shard(1, 3)):
            pass


def test_a_directory_takes_one_worker(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="server"), EmbeddedIndex(tmp_path).writer(MODEL, shard=Shard(1, 2)):
        pass


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "catalog", products=60, views=4)
    return tmp_path


@pytest.fixture
def start(shop: Path, forks: ForkServer, tiny_bundle: Bundle) -> Iterator[Start]:
    """Start `itemrec` with a tiny model in a process of its own; what still runs at the end is killed."""
    started: list[Forked] = []

    def run(*words: str, code: str = ITEMREC) -> Forked:
        environment = os.environ | {"ITEMREC_GRPC_PORT": "0", "ITEMREC_HOME": str(shop / "home")}
        environment["ITEMREC_MODEL"] = str(tiny_bundle.path)
        started.append(forks.start(code, *words, "--json", "--quiet", cwd=shop, env=environment))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def report(process: Forked) -> dict[str, Any]:
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, (out, errors)
    return json.loads(out)


def test_a_worker_of_three_is_killed_and_its_second_run_completes_the_index(start: Start) -> None:
    with double.serving() as server:
        url = server.url("/killed")
        report(start("index", "catalog", "--index", server.url("/whole")))
        workers = {
            n: start("index", "catalog", "--index", url, "--shard", f"{n}/3", "--threads", "1", code=SLOWLY)
            for n in (1, 2, 3)
        }
        upserts = ("PUT", "/collections/killed-gen-000001/points")
        until = time.monotonic() + 120
        while upserts not in server.requests and time.monotonic() < until:
            time.sleep(0.01)
        workers[2].send_signal(signal.SIGKILL)
        workers[2].wait()
        done = [report(workers[n]) for n in (1, 3)]
        assert all(d["waiting_for_shards"] >= 1 for d in done)
        assert ServerIndex(url).manifest() is None
        last = report(start("index", "catalog", "--index", url, "--shard", "2/3"))
        assert (last["waiting_for_shards"], last["images"]) == (0, 240)
        assert sum(d["added"] for d in done) + last["added"] + last["unchanged"] == 240
        assert contents(ServerIndex(url)) == contents(ServerIndex(server.url("/whole")))


def test_a_server_that_is_killed_and_comes_back_has_the_same_points(shop: Path, start: Start) -> None:
    """kill -9 of the server in the middle of an index run, which waits for it and goes on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def serve() -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-m", "tests.qdrant.double", str(port), str(shop / "storage")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(port)
        return process

    url = f"http://127.0.0.1:{port}/shop"
    server = serve()
    try:
        worker = start("index", "catalog", "--index", url, "--threads", "1", code=SLOWLY)
        seen = ServerIndex(url)
        until = time.monotonic() + 120
        while time.monotonic() < until and worker.poll() is None:
            building = [g for g in seen.generations() if g.state == "building"]
            if building and seen.collections.link.client.count(seen.collections.name(1)).count > 0:
                break
            time.sleep(0.01)
        server.kill()
        server.communicate()
        time.sleep(0.5)
        server = serve()
        outcome = report(worker)
        assert outcome["images"] == 240
        again = report(start("index", "catalog", "--index", url))
        assert (again["added"], again["unchanged"]) == (0, 240)
        with double.serving() as whole:
            report(start("index", "catalog", "--index", whole.url("/whole")))
            assert contents(ServerIndex(url)) == contents(ServerIndex(whole.url("/whole")))
    finally:
        server.kill()
        server.communicate()
