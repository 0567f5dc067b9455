"""What holds for every test: the tier it is in, how many threads it may take, what begins first."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from retrieval.models.bundle import Bundle
from tests.fakes import tiny_model
from tests.forking import ForkServer, forking

# Before anything numerical is imported: workers that take all cores each would wait for one another.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_name, "1")

# A busy machine is no failure: pytest-timeout ends tests that hang.
settings.register_profile("itemrec", deadline=None)
settings.load_profile("itemrec")

TIERS = {
    "train": [
        "cli/test_train.py",
        "faults/test_train_killed.py",
        "trainer/data/test_features.py",
        "trainer/loop/test_collapse_reproduced.py",
        "trainer/loop/test_loop.py",
        "trainer/losses",
        "trainer/networks",
        "trainer/starter/test_maker.py",
        "trainer/test_backends.py",
        "trainer/test_estimate.py",
        "trainer/test_held_out.py",
        "trainer/test_learn.py",
        "trainer/test_presets.py",
    ],
    "kill": [
        "cli/test_exits.py",
        "cli/test_watch.py",
        "faults/test_concurrency.py",
        "faults/test_crash_points.py",
        "faults/test_disk_full.py",
        "faults/test_inbox_killed.py",
        "faults/test_index_killed.py",
        "faults/test_kill.py",
        "faults/test_prepare_killed.py",
        "faults/test_serve_killed.py",
        "faults/test_shards.py",
        "faults/test_train_killed.py",
        "faults/test_unwritable.py",
        "retrieval/images/test_isolation.py",
        "retrieval/models/test_trial.py",
    ],
    "browser": ["browser"],
    "server": [
        "cli/test_move.py",
        "docs/test_dask.py",
        "faults/test_clusters.py",
        "faults/test_server_errors.py",
        "retrieval/index/server",
        "retrieval/index/test_transfer.py",
        "retrieval/service/test_described.py",
    ],
    "wheel": ["wheel"],
}
"""Folders and files, seen from here, whose tests are left out of `make test-fast`, by the reason why."""


@functools.cache  # asked for every test, of which a file has many
def tiers(path: Path) -> list[str]:
    """The tiers of a test file, by its place."""
    place = path.relative_to(Path(__file__).parent)
    return [tier for tier, places in TIERS.items() if any(place.is_relative_to(name) for name in places)]


OVER_A_SOCKET = {"grpc", "socket"}
"""Kinds of index in a test's name whose server answers over a socket: the same test runs without one, too."""


def over_a_socket(item: pytest.Item) -> bool:
    """True for a test whose parameters say that it talks to a server."""
    call = getattr(item, "callspec", None)
    return call is not None and not OVER_A_SOCKET.isdisjoint(call.id.split("-"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests with their tiers. What takes long begins first, so that no worker is left with it in the end."""
    for item in items:
        for tier in tiers(item.path):
            item.add_marker(tier)
        if over_a_socket(item):
            item.add_marker("server")
    items.sort(key=lambda item: not tiers(item.path))


def pytest_collection_finish() -> None:
    """TensorFlow takes five seconds, which whoever runs other tests need not wait for: see `tests.lazily`."""
    found = {"tensorflow", "keras", "jax"} & set(sys.modules)
    if found:
        raise pytest.UsageError(f"expected tests to import {', '.join(sorted(found))} when they run, not before")


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Starts processes that have imported nearly everything."""
    with forking() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model where any will do: see `tests.fakes.tiny_model`. ``--model str(tiny_bundle.path)`` is how it is named."""
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny")
