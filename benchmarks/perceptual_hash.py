"""In how many bits of the perceptual hash do copies of a photo differ, and how near do different photos come?

    python benchmarks/perceptual_hash.py PHOTOS        a folder of product folders

Also prints how well a closer look tells copies from packs that differ in a word or in color, the rate of
hashing, and of comparing 10,000 with 10,000 hashes.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from retrieval.catalog.read import read_catalog
from retrieval.images.perceptual_hash import (
    NEAR_BITS,
    hamming,
    miniature,
    near_duplicates,
    near_duplicates_within,
    perceptual_hash,
    same_picture,
)
from retrieval.images.pictures import decode, read_file
from retrieval.types import CatalogImage

COPIES = 150


def encoded(im: Image.Image, quality: int = 85, format_: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    im.save(buffer, format_, quality=quality)
    return buffer.getvalue()


def cropped(im: Image.Image, part: float) -> Image.Image:
    w, h = im.size
    return im.crop((int(w * part), int(h * part), int(w * (1 - part)), int(h * (1 - part))))


def copies(data: bytes) -> dict[str, bytes]:
    im = decode(data)
    w, h = im.size
    return {
        "JPEG quality 50": encoded(im, 50),
        "JPEG quality 20": encoded(im, 20),
        "half size": encoded(im.resize((w // 2, h // 2))),
        "200 pixels wide, PNG": encoded(im.resize((200, max(8, 200 * h // w))), format_="PNG"),
        "20 % brighter": encoded(im.point(lambda v: min(255, int(v * 1.2)))),
        "2 % cropped on each side": encoded(cropped(im, 0.02)),
        "5 % cropped on each side": encoded(cropped(im, 0.05)),
    }


def other_hue(im: Image.Image, degrees: int) -> Image.Image:
    pixels = np.array(im.convert("HSV"))
    pixels[..., 0] = (pixels[..., 0].astype(int) + degrees * 255 // 360) % 256
    return Image.fromarray(pixels, "HSV").convert("RGB")


def other_word(im: Image.Image, width: float) -> Image.Image:
    """A word on a patch of the color below it, so many picture widths wide and an eighth as high."""
    w, h = im.size
    left, top, right, bottom = int(w * 0.3), int(h * 0.4), int(w * (0.3 + width)), int(h * (0.4 + width / 4))
    im = im.copy()
    draw = ImageDraw.Draw(im)
    below = im.convert("RGB").getpixel((left, top))
    assert isinstance(below, tuple)
    draw.rectangle((left, top, right, bottom), fill=below)
    ink = (0, 0, 0) if sum(below) > 380 else (255, 255, 255)
    draw.text((left, top), "LIGHT", fill=ink, font=ImageFont.load_default(size=max(8, bottom - top)))
    return im


def others(data: bytes) -> dict[str, bytes]:
    im = decode(data)
    return {
        "hue turned by 40 degrees": encoded(other_hue(im, 40)),
        "hue turned by 120 degrees": encoded(other_hue(im, 120)),
        "another word, 20 % wide": encoded(other_word(im, 0.2)),
        "another word, 40 % wide": encoded(other_word(im, 0.4)),
        "another word, 60 % wide": encoded(other_word(im, 0.6)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    pictures = [e for e in read_catalog(parser.parse_args().photos).entries() if isinstance(e, CatalogImage)]
    data = [read_file(p.file) for p in pictures]
    start = time.perf_counter()
    hashes = [perceptual_hash(d) for d in data]
    print(f"{len(hashes):,} photos hashed at {len(hashes) / (time.perf_counter() - start):,.0f} photos/s, one thread")

    print("\npairs of different photos that differ in at most so many bits")
    near = near_duplicates_within(hashes, 12)
    for bits in (0, 2, 4, 6, 8, 10, 12):
        found = [(i, j) for i, j, d in near if d <= bits]
        same = sum(pictures[i].product_id == pictures[j].product_id for i, j in found)
        print(f"  {bits:>2} bits: {same:>5} of one product, {len(found) - same:>5} of two")

    print(f"\nbits between a photo and a copy of it ({COPIES} photos): median, 95th of 100, found at {NEAR_BITS} bits")
    differences: dict[str, list[int]] = {}
    for i in random.Random(0).sample(range(len(data)), min(COPIES, len(data))):
        for name, copy in copies(data[i]).items():
            differences.setdefault(name, []).append(hamming(perceptual_hash(copy), hashes[i]))
    for name, apart in differences.items():
        part = np.mean(np.array(apart) <= NEAR_BITS)
        print(f"  {name:26} {np.median(apart):>4.0f} {np.percentile(apart, 95):>4.0f} {part:>6.0%}")

    print("\nof those found: called the same picture by a closer look")
    for title, variants in (("copies", copies), ("other packs", others)):
        print(f"  {title}")
        called: dict[str, list[bool]] = {}
        for i in random.Random(0).sample(range(len(data)), min(COPIES, len(data))):
            look = miniature(data[i])
            for name, other in variants(data[i]).items():
                if hamming(perceptual_hash(other), hashes[i]) <= NEAR_BITS:
                    called.setdefault(name, []).append(same_picture(look, miniature(other)))
        for name, answers in called.items():
            print(f"    {name:26} {np.mean(answers):>4.0%} of {len(answers)}")

    many = np.random.default_rng(0).integers(0, 2**64, 10_000, dtype=np.uint64)
    start = time.perf_counter()
    near_duplicates(many, many[::-1])
    print(f"\n10,000 with 10,000 hashes: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
