"""`itemrec serve` as a process: killed in the midst of teaching, and asked while the index changes under it."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from retrieval.index.open import open_index
from retrieval.indexing.run import index as index_catalog
from retrieval.models.bundle import Bundle
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.fakes import write_catalog
from tests.forking import ITEMREC, Forked, ForkServer
from tests.retrieval.service.asking import photo


@pytest.fixture
def shop(tmp_path: Path, tiny_bundle: Bundle) -> Path:
    index_catalog(write_catalog(tmp_path / "catalog", products=4, views=2), tmp_path / "index", model=tiny_bundle.path)
    return tmp_path


def serving(forks: ForkServer, shop: Path) -> tuple[Forked, str]:
    """A service in a process of its own, and where it listens."""
    environment = os.environ | {"ITEMREC_HOME": str(shop / "home")}
    process = forks.start(ITEMREC, "serve", "--index", shop / "index", "--port", "0", cwd=shop, env=environment)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert " at http" in first, first
    return process, first.split(" at ")[1].strip()


def test_a_kill_in_the_midst_of_teaching_loses_nothing_that_was_acknowledged(shop: Path, forks: ForkServer) -> None:
    chance = random.Random(22)
    acknowledged: dict[str, str] = {}
    views = iter(range(2, 1000))
    for _ in range(2):
        process, address = serving(forks, shop)
        killed = threading.Event()

        def teach(address: str = address, killed: threading.Event = killed) -> None:
            with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
                while not killed.is_set():
                    view = next(views)
                    product = f"p{view % 4:03}"
                    try:
                        response = client.post(
                            f"v1/products/{product}/pictures", files={"photo": photo(view % 4, view=view)}
                        )
                    except httpx.TransportError:
                        return
                    if response.status_code == 202:
                        acknowledged[response.json()["image"]] = product

        teacher = threading.Thread(target=teach)
        teacher.start()
        wanted = len(acknowledged) + chance.randrange(4, 9)
        until = time.monotonic() + 60
        while len(acknowledged) < wanted and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        process.kill()
        killed.set()
        teacher.join()
        process.communicate()
        assert len(acknowledged) >= wanted
    # What the next service finds in the folder it brings into the index.
    with TestClient(create_app(Settings(index=str(shop / "index")))):
        until = time.monotonic() + 60
        missing = set(acknowledged)
        while missing and time.monotonic() < until:
            time.sleep(0.05)
            with open_index(str(shop / "index")).reader() as (store, _):
                found = {record.image: record.product_id for record in store.records()}
            missing = set(acknowledged) - found.keys()
    assert not missing
    assert {image: found[image] for image in acknowledged} == acknowledged
    assert len(found) == 8 + len(list((shop / "catalog").glob("*/taught-*.jpg"))), "nothing is there twice, or halved"
    # An index made of the folder anew is the same.
    report = index_catalog(shop / "catalog", shop / "index", prune=True)
    assert (report.added, report.removed, report.refused) == (0, 0, [])


def test_no_answer_is_lost_or_mixed_while_generations_change(shop: Path, forks: ForkServer) -> None:
    """`benchmarks/serve_switches.py` asks 10,000 times; here it is enough that every kind of change is met."""
    from benchmarks.serve_switches import Asked, changes, photos_of

    photos = photos_of(shop / "catalog")
    index_catalog(shop / "catalog", shop / "index")
    process, address = serving(forks, shop)
    try:
        asked = Asked(address, photos, clients=2)
        with asked:
            for words in changes(shop / "catalog", shop / "index", rounds=1):
                done = forks.run(ITEMREC, *words, "--quiet", cwd=shop)
                assert done.returncode == 0, done.stderr
                asked.wait_for(10)
    finally:
        process.kill()
        process.communicate()
    assert asked.answers >= 30
    assert (asked.lost, asked.mixed, asked.wrong) == (0, 0, 0), asked.faults
    assert len(asked.states) == 2, "both states of the catalog were answered from"
