"""The command: see `trainer.starter`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from retrieval.errors import ItemrecError
from trainer.cache import cache_home
from trainer.progress import EpochLog, Silent


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.starter", description=__doc__)
    parser.add_argument("grocery", type=Path, help="real photos: photos/train, photos/val and catalog in a folder")
    parser.add_argument(
        "action",
        nargs="?",
        default="build",
        help="build the bundle (default); or do a part of it first, beside others: model, or fold-0 to fold-4",
    )
    parser.add_argument("--out", type=Path, default=Path("retrieval/starter"), help="where build writes")
    parser.add_argument("--cache", type=Path, default=cache_home("starter"), help="keeps what was computed, about 3 GB")
    parser.add_argument("--folds", default="0,1,2,3,4", help="which trainings without a fold measure and calibrate it")
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from trainer.quiet import import_keras

        import_keras()
        from trainer.starter.make import Maker

        maker = Maker.open(given.grocery, given.cache, _Lines())
        if given.action == "model":
            maker.model()
        elif given.action.startswith("fold-"):
            maker.fold(int(given.action.removeprefix("fold-")))
        else:
            print(maker.build(given.out, [int(number) for number in given.folds.split(",")]).path)
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

    def epoch(self, log: EpochLog) -> None:
        _say(f"epoch {log.epoch}: loss {log.loss:.3f}, {log.seconds:.0f} s")

    def note(self, text: str) -> None:
        _say(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
