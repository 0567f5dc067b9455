"""The command: see `trainer.starter`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from retrieval.errors import ItemrecError
from retrieval.system.progress import Silent
from trainer.cache import cache_home


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.starter", description=__doc__)
    parser.add_argument(
        "action",
        nargs="?",
        choices=("build", "calibrate", "measure"),
        default="build",
        help="build the bundle (default); calibrate and measure the one in --out again; or only measure",
    )
    parser.add_argument("--out", type=Path, default=Path("retrieval/starter"), help="where build writes")
    parser.add_argument("--bundle", type=Path, default=Path("retrieval/starter"), help="what measure reads")
    parser.add_argument("--cache", type=Path, default=cache_home("starter"), help="keeps the drawings, about 2 GB")
    parser.add_argument(
        "--grocery",
        type=Path,
        help="a folder of real photos to measure on: photos/train, photos/val and catalog in it",
    )
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Imported here: drawing happens in processes of its own, which need neither Keras nor the options.
    from retrieval.models.bundle import read_bundle

    where = {"cache": given.cache, "grocery": given.grocery, "progress": _Lines()}
    try:
        if given.action == "measure":
            bundle = read_bundle(given.bundle)
            from trainer.starter.card import measure_all, tables

            print(tables(measure_all(bundle, **where)))
        elif given.action == "calibrate":
            bundle = read_bundle(given.out)
            from trainer.starter.make import finish

            print(finish(bundle, given.out, **where).path)
        else:
            from trainer.starter.make import build

            print(build(given.out, **where).path)
    except ItemrecError as error:
        _say(f"{error.message}\n{error.hint}".strip())
        return error.exit_code
    return 0


class _Lines(Silent):
    """Plain lines: where a stage begins, every tenth of it, and what is noted."""

    def __init__(self) -> None:
        self._name, self._total, self._done = "", 0, 0

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        self._name, self._total, self._done = name, total or 0, done
        _say(f"{name} …")

    def advance(self, n: int = 1, *, note: str = "") -> None:
        before, self._done = self._done, self._done + n
        if self._total and 10 * before // self._total != 10 * self._done // self._total:
            _say(f"{self._name}: {100 * self._done // self._total} %")

    def note(self, text: str) -> None:
        _say(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
