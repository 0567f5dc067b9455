"""How often drift is told where nothing changed, and after how many photos where something did.

    python benchmarks/drift.py --runs 1000

Numbers are drawn: unknown photos by a share, distances from a gamma distribution, each run afresh. Photos of a run are
looked at one after the other, as a service does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from retrieval.inbox.drift import FALSE_ALARMS, LEAST, find_change

PHOTOS = 500
"""Photos of a run; a change comes after half of them."""

Draw = Callable[[np.random.Generator, int], np.ndarray]


def alarms(runs: int, before: Draw, after: Draw, seed: int) -> tuple[float, float]:
    """The share of runs with an alarm, and the median number of photos from the change to the first alarm."""
    random = np.random.default_rng(seed)
    told, delays = 0, []
    for _ in range(runs):
        values = np.concatenate([before(random, PHOTOS // 2), after(random, PHOTOS // 2)]).tolist()
        change = find_change(values)
        if change.at is None or change.at < LEAST:
            continue
        told += 1
        low, high = PHOTOS // 2, PHOTOS  # the first photo at which it is told
        while low < high:
            middle = (low + high) // 2
            found = find_change(values[:middle])
            low, high = (low, middle) if found.evidence >= change.limit else (middle + 1, high)
        delays.append(low - PHOTOS // 2)
    return told / runs, float(np.median(delays)) if delays else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs

    def share(p: float) -> Draw:
        return lambda random, n: (random.random(n) < p).astype(float)

    def distances(scale: float) -> Draw:
        return lambda random, n: random.gamma(4.0, 0.1 * scale, n)

    print(f"{runs:,} runs of {PHOTOS} photos, false alarms at most {FALSE_ALARMS:g}; changes after {PHOTOS // 2}")
    rows: list[tuple[str, Draw, Draw]] = [
        ("unknown share .10, as it was", share(0.1), share(0.1)),
        ("unknown share .50, as it was", share(0.5), share(0.5)),
        ("distances, as they were", distances(1.0), distances(1.0)),
        ("unknown share .10 to .30", share(0.1), share(0.3)),
        ("unknown share .10 to .50", share(0.1), share(0.5)),
        ("distances 25 % larger", distances(1.0), distances(1.25)),
        ("distances 50 % larger", distances(1.0), distances(1.5)),
        ("distances a third smaller", distances(1.0), distances(0.67)),
    ]
    for seed, (name, before, after) in enumerate(rows):
        told, delay = alarms(runs, before, after, seed)
        later = "" if "as" in name.split() else f", after {delay:.0f} photos"
        print(f"  {name:32} told in {told:6.3f} of runs{later}")


if __name__ == "__main__":
    main()
