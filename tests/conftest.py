"""What holds for every test: the tier it is in, how many threads it may take, what begins first."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
import re
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

# A busy machine is no failure: pytest-timeout ends tests that hang. Every run draws other examples; where they are of
# what strangers send (payloads, pictures), the tests ask for more.
settings.register_profile("itemrec", deadline=None, max_examples=50)
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


LONG = {("synthetic", "test_synthetic.py"), ("trainer", "test_on_top.py"), ("verification", "test_closer_look.py")}
"""Folder and name of files that take seconds and would be collected last."""


@functools.cache  # asked for every test, of which a file has many
def tiers(path: Path) -> list[str]:
    """The tiers of a test file, by its place."""
    place = path.relative_to(Path(__file__).parent)
    return [tier for tier, places in TIERS.items() if any(place.is_relative_to(name) for name in places)]


IN_MEMORY = Path("/dev/shm")
"""Where the kernel keeps files in memory: what hundreds of small indexes cost on a disk is mostly waiting for it."""
ROOM = 8 * 2**30
"""Bytes that must be free there, and in memory: each index takes 20 MiB while its test or its module runs."""


def pytest_configure() -> None:
    """Temporary folders are in memory where there is room, unless somebody wants them elsewhere."""
    if not (IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK)):
        return
    disk, available = os.statvfs(IN_MEMORY), 0
    with contextlib.suppress(OSError):
        found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        available = int(found[1]) * 1024 if found else 0
    # A wheel is installed and run there; containers forbid to run what lies there.
    if min(available, disk.f_bavail * disk.f_frsize) > ROOM and not disk.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def left_out(path: Path, wanted: str) -> bool:
    """True for a test file whose tests ``-m wanted`` leaves out, whatever other tiers are theirs besides."""
    found = tiers(path)
    if not found or not {*re.findall(r"[^\s()]+", wanted)} <= {*TIERS, "not", "and", "or"}:
        return False
    others = [tier for tier in TIERS if tier not in found]
    more = itertools.chain.from_iterable(itertools.combinations(others, n) for n in range(len(others) + 1))
    return not any(eval(wanted, {tier: tier in {*found, *also} for tier in TIERS}) for also in more)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files whose tiers ``-m`` leaves out stay unopened: what they import takes seconds in every worker."""
    if config.option.markexpr and collection_path.suffix == ".py" and left_out(collection_path, config.option.markexpr):
        return True
    return None


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
    items.sort(key=lambda item: (not tiers(item.path), item.path.parts[-2:] not in LONG))


def pytest_collection_finish() -> None:
    """TensorFlow takes five seconds, which whoever runs other tests need not wait for: see `tests.lazily`."""
    found = {"tensorflow", "keras", "jax"} & set(sys.modules)
    if found:
        raise pytest.UsageError(f"expected tests to import {', '.join(sorted(found))} when they run, not before")
    # Four thousand tests and their modules stay until the end: no collection of garbage need look at them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Starts processes that have imported nearly everything."""
    with forking() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model where any will do: see `tests.fakes.tiny_model`. ``--model str(tiny_bundle.path)`` is how it is named."""
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def small_built_in(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training is compared with `tiny_bundle`: with the built-in model each picture of its dataset takes longer
    than everything else."""
    monkeypatch.setattr("trainer.beside.find_model", lambda _: tiny_bundle)
