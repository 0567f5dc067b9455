"""Damage pictures, tables, indexes and snapshots for as long as you like: ``make fuzz MINUTES=10``.

Prints every round that failed with its seed, and exits 1 when there was one:
``python -m tests.faults.fuzz --only index --seed 4711 --minutes 0`` does that round again.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

from tests.faults.index_rounds import index_round
from tests.faults.picture_rounds import picture_round
from tests.faults.snapshot_rounds import snapshot_round
from tests.faults.table_rounds import table_round

ROUNDS: dict[str, Callable[[Path, int], None]] = {
    "picture": picture_round,
    "index": index_round,
    "snapshot": snapshot_round,
    "table": table_round,
}


def main() -> int:
    """Take turns between the kinds until the time is over; at least one round of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32), help="of the first round")
    parser.add_argument("--only", choices=sorted(ROUNDS), help="one kind of damage")
    options = parser.parse_args()
    rounds = {options.only: ROUNDS[options.only]} if options.only else ROUNDS
    until = time.monotonic() + 60 * options.minutes
    done, failed = Counter[str](), 0
    place = Path(tempfile.mkdtemp(prefix="itemrec-fuzz-"))
    try:
        for number in itertools.count():
            for name, one in rounds.items():
                (place / name).mkdir(exist_ok=True)
                try:
                    one(place / name, options.seed + number)
                except Exception as error:  # noqa: BLE001
                    failed += 1
                    print(f"{name}, seed {options.seed + number}: {type(error).__name__}: {error}", flush=True)
                done[name] += 1
            if time.monotonic() >= until:
                break
    finally:
        shutil.rmtree(place)
    print(", ".join(f"{count:,} of {name}" for name, count in done.items()), f"rounds, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
