"""End the process before its n-th change of the file system, for every n, and look at what is left.

Run as ``python -m tests.faults.crash_points TEMPLATE WORKDIR SCENARIO``; prints one JSON line
per crash point. Every attempt runs in a forked child, and so does every look at its remains:
this process itself never opens a shard, because a fork with an open shard hangs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qdrant_edge  # noqa: F401

from retrieval.errors import IndexNotFoundError
from retrieval.index.embedded.copy import copy_changed
from retrieval.index.embedded.index import EmbeddedIndex
from tests.contract.samples import MODEL, OTHER_MODEL, contents, sample_points

KEYS = ("category",)
OLD = sample_points(60)
NEW = sample_points(20, prefix="new", seed=1)
CRASHED = 77
EVERY = 12


def update(index: EmbeddedIndex) -> None:
    with index.writer(MODEL) as build:
        build.store.upsert(NEW)
        build.store.delete([p.record.image_id for p in OLD[:5]])
        build.commit(catalog="/new", metadata_keys=KEYS)


def rebuild(index: EmbeddedIndex) -> None:
    with index.writer(OTHER_MODEL, rebuild=True) as build:
        build.store.upsert(NEW)
        build.commit(catalog="/new", metadata_keys=KEYS)


def first(index: EmbeddedIndex) -> None:
    with index.writer(MODEL) as build:
        build.store.upsert(NEW)
        build.commit(catalog="/new", metadata_keys=KEYS)


def touch(index: EmbeddedIndex) -> None:
    with index.writer(MODEL) as build:
        build.commit(catalog="/new", metadata_keys=KEYS)


def rollback(index: EmbeddedIndex) -> None:
    index.rollback(1)


def collect(index: EmbeddedIndex) -> None:
    index.collect()


SCENARIOS: dict[str, Callable[[EmbeddedIndex], None]] = {
    f.__name__: f for f in (update, rebuild, first, touch, rollback, collect)
}
CHANGES = ("replace", "unlink", "mkdir", "rmdir", "rename")


def crash_before(change: int, log: list[str]) -> None:
    """Arm: every Python-level change of the file system counts, and the given one never happens."""
    count = 0

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if count == change:
                os._exit(CRASHED)
            count += 1
            log.append("tree" if "dir_fd" in kwargs or "shard" in str(args[0]) else name)
            return real(*args, **kwargs)

        setattr(os, name, counted)

    for name in CHANGES:
        wrap(name)
    # rmtree decides by identity which functions it may use with directory descriptors.
    os.supports_dir_fd.update({os.unlink, os.rmdir, os.mkdir})  # type: ignore[arg-type]


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """Exit status (negative for a signal) and result of work done in a forked process."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        status = 1
        try:
            result = work()
            os.write(writable, json.dumps(result).encode())
            status = 0
        except BaseException:  # noqa: BLE001 (the parent reports it)
            os.write(writable, json.dumps(traceback.format_exc()).encode())
        finally:
            os._exit(status)
    os.close(writable)
    data = b""
    while block := os.read(readable, 65536):
        data += block
    os.close(readable)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), json.loads(data) if data else None


def look(place: Path) -> dict[str, Any]:
    """What a query sees."""
    index = EmbeddedIndex(place)
    try:
        manifest = index.manifest()
        return {
            "state": sorted(contents(index)),
            "generation": manifest.generation if manifest else 0,
            "catalog": manifest.catalog if manifest else "",
        }
    except IndexNotFoundError:
        return {"state": None, "generation": 0, "catalog": ""}


def again(place: Path, scenario: str) -> dict[str, Any]:
    """What the next index run leaves."""
    SCENARIOS[scenario](EmbeddedIndex(place))
    seen = look(place)
    seen["folders"] = sorted(p.name for p in (place / "generations").iterdir())
    seen["listed"] = [f"gen-{g.number:06d}" for g in EmbeddedIndex(place).generations() if g.state != "building"]
    seen["leftovers"] = sorted(str(p) for p in place.rglob("*.tmp"))
    return seen


def run(template: Path, place: Path, scenario: str, change: int) -> tuple[int, Any]:
    """Cut one run off; exit status and, where it ran to its end, the changes it made."""
    if scenario != "first":
        copy_changed(template, place, None)

    def attempt() -> list[str]:
        log: list[str] = []
        crash_before(change, log)
        SCENARIOS[scenario](EmbeddedIndex(place))
        return log

    return in_child(attempt)


def main(template: str, workdir: str, scenario: str) -> None:
    status, log = run(Path(template), Path(workdir) / "whole", scenario, -1)
    if status != 0:
        raise SystemExit(f"uninterrupted run: status {status}: {log}")
    # The files of a tree that is copied or removed are alike: every twelfth stands for the others.
    chosen = [i for i, name in enumerate(log) if name != "tree" or log[:i].count("tree") % EVERY == 0]
    for change in [*chosen, len(log)]:
        place = Path(workdir) / str(change)
        status, error = run(Path(template), place, scenario, change)
        if status not in (CRASHED, 0):
            raise SystemExit(f"change {change}: status {status}: {error}")
        after = in_child(lambda place=place: look(place))
        complete = in_child(lambda place=place: again(place, scenario))
        print(json.dumps({"change": change, "crashed": status == CRASHED, "after": after, "again": complete}))
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
