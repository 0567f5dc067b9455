"""Which photos show nothing, of real ones and of drawn blanks. Prints docs/measurements/blank-photos.md.

    python benchmarks/blank_photos.py GROCERY

GROCERY holds ``photos`` and ``catalog``: any pictures, of which none may pass for blank. The blanks: one color, a
lamp's falloff, and noise of several strengths.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.images import pictures
from retrieval.images.blank import LEAST, contrast
from retrieval.models.installed import STARTER, find_model

SIDE = (960, 720)


def blanks() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    rng = np.random.default_rng(0)
    width, height = SIDE
    whole = np.ones((height, width, 3))
    for name, level in (("black", 0), ("gray", 128), ("white", 255)):
        yield name, (level * whole).astype(np.uint8)
    for sigma in (5, 20, 60):
        noisy = 128 + sigma * rng.standard_normal((height, width, 3))
        yield f"gray with noise of {sigma}", noisy.clip(0, 255).astype(np.uint8)
    yield "colored noise", rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    for part in (0.02, 0.05, 0.1, 0.3):
        wall = 190 * (1 - part * (x * x + y * y) / 2)
        yield f"a wall, {part:.0%} darker in its corners", np.repeat(wall[..., None], 3, axis=2).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    preprocessing = find_model(STARTER).preprocessing
    print("| pictures | | least contrast | 1 in 100 | show nothing |\n|---|---|---|---|---|")
    for part in ("photos", "catalog"):
        files = sorted((data / part).rglob("*.jpg"))
        found = [contrast(pictures.prepare(file.read_bytes(), preprocessing)) for file in files]
        low, hundredth = np.quantile(found, [0.0, 0.01])
        print(f"| {part} | {len(found):,} | {low:.1f} | {hundredth:.1f} | {sum(c < LEAST for c in found)} |")
    for name, pixels in blanks():
        value = contrast(pictures.prepare_decoded(pixels, preprocessing))
        print(f"| {name} | 1 | {value:.1f} | | {'yes' if value < LEAST else 'no'} |")


if __name__ == "__main__":
    main()
