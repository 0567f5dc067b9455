"""How many real photos get a badge of the inbox, and how many of the same photos made small, dark or blurred do.

    python benchmarks/inbox_badges.py --photos PHOTOS

PHOTOS is any folder of phone photos, with folders in it.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from retrieval.images import pictures
from retrieval.inbox.shot import BLURRED, DARK, SMALL, Shot, look_at

EVERY = 10
"""One photo in so many is made worse."""


def worse(photo: Path, change: Callable[[Image.Image], Image.Image]) -> Shot:
    file = io.BytesIO()
    change(pictures.thumbnail(photo.read_bytes(), 1024)).save(file, "JPEG", quality=92)
    return look_at(file.getvalue())


def resized(width: int, im: Image.Image) -> Image.Image:
    return im.resize((width, width))


def darkened(part: float, im: Image.Image) -> Image.Image:
    return im.point(lambda value: round(value * part))


def blurred(radius: int, im: Image.Image) -> Image.Image:
    return im.filter(ImageFilter.GaussianBlur(radius))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    photos = sorted(parser.parse_args().photos.rglob("*.jpg"))
    shots = [look_at(photo.read_bytes()) for photo in photos]
    print(f"{len(photos):,} photos as they are; limits: {SMALL} pixels, brightness {DARK:g}, sharpness {BLURRED:g}")
    for badge in ("small", "dark", "blurred"):
        print(f"  {badge:8} {sum(badge in shot.badges for shot in shots):6,}")
    for name in ("brightness", "sharpness"):
        low = np.quantile([getattr(shot, name) for shot in shots], [0.0, 0.001, 0.01, 0.5])
        print(f"  {name:10} least {low[0]:.3f}, 0.1 % {low[1]:.3f}, 1 % {low[2]:.3f}, median {low[3]:.3f}")
    some = photos[::EVERY]
    print(f"{len(some):,} of them made worse:")
    for width in (250, 150, 100):
        found = [worse(p, partial(resized, width)) for p in some]
        print(f"  {width:4} pixels       small   {np.mean(['small' in s.badges for s in found]):.3f}")
    for part in (0.5, 0.4, 0.3, 0.2):
        found = [worse(p, partial(darkened, part)) for p in some]
        print(f"  {part:4} of the light  dark    {np.mean(['dark' in s.badges for s in found]):.3f}")
    for radius in (1, 2, 3, 4):
        found = [worse(p, partial(blurred, radius)) for p in some]
        print(f"  blur of {radius} px     blurred {np.mean(['blurred' in s.badges for s in found]):.3f}")


if __name__ == "__main__":
    main()
