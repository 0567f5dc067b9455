"""How many drawn barcodes are read, however they lie; how long it takes; how long their products take to be found.

    python benchmarks/barcodes.py [GROCERY/photos/val] [--photos 20] [--products 20000]

Codes are drawn into photos of the folder, or into noise; the last table asks an index of random vectors.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zxingcpp
from PIL import Image

from retrieval.barcodes.gtin import check_digit, normal
from retrieval.barcodes.scan import read_codes
from retrieval.distance import normalize
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.recognition.by_barcode import products_with
from retrieval.types import IndexedImage, JsonValue, ModelIdentity, Point, image_id
from tests.retrieval.barcodes.drawn import photo_of

CASES: dict[str, dict[str, Any]] = {
    "upright, 300 of 1,000 pixels wide": {},
    **{f"turned by {angle}°": {"angle": angle} for angle in (15, 30, 45, 90, 135)},
    **{f"blurred by {blur} pixels": {"blur": blur} for blur in (1.0, 1.5, 2.0)},
    **{f"{part:.0%} of its height covered": {"covered": part} for part in (0.5, 0.7, 0.85)},
    **{f"{width} pixels wide": {"width": width} for width in (100, 120, 150, 850)},
    "turned by 40°, blurred by 1.2 pixels": {"angle": 40, "blur": 1.2},
}
DIMENSION = 64
FORMATS = zxingcpp.barcode_formats_from_str("EANUPC|ITF14")


def numbers(count: int, seed: int) -> list[str]:
    random.seed(seed)
    heads = [f"4{random.randrange(10**11):011}" for _ in range(count)]
    return [head + check_digit(head) for head in heads]


def milliseconds(values: list[float]) -> str:
    ordered = sorted(1e3 * value for value in values)
    return f"{ordered[len(ordered) // 2]:.0f} ms, at most {ordered[-1]:.0f} ms"


def reading(grounds: list[Image.Image | None], photos: int) -> None:
    columns = ("codes", "read", "read wrong", "CPU time a photo", "read by zxing-cpp alone", "its CPU time")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, how in CASES.items():
        right = wrong = alone = 0
        took, alone_took = [], []
        for place, number in enumerate(numbers(photos, 0)):
            photo = photo_of(number, background=grounds[place % len(grounds)], **how)
            start = time.process_time()
            found = {code.gtin for code in read_codes(photo)}
            took.append(time.process_time() - start)
            right += normal(number) in found
            wrong += bool(found - {normal(number)})
            pixels = np.asarray(photo.convert("L"))
            start = time.process_time()
            alone += number in {code.text for code in zxingcpp.read_barcodes(pixels, formats=FORMATS)}
            alone_took.append(time.process_time() - start)
        mine, theirs = milliseconds(took), milliseconds(alone_took)
        print(f"| {name} | {right} of {photos} | {wrong} | {mine} | {alone} of {photos} | {theirs} |", flush=True)


def foreign(folder: Path) -> None:
    files, took, found = sorted(folder.rglob("*.jpg")), [], 0
    for file in files:
        with Image.open(file) as photo:
            photo.load()
            start = time.process_time()
            found += bool(read_codes(photo))
            took.append(time.process_time() - start)
    print(f"\nPhotos without drawn codes: {len(files)}, a code is read in {found}; {milliseconds(took)}")


def finding(products: int) -> None:
    vectors = normalize(np.random.default_rng(0).normal(size=(products, DIMENSION)))
    codes = numbers(products, 1)
    points = []
    for place, (vector, code) in enumerate(zip(vectors, codes, strict=True)):
        product = f"p{place:05}"
        metadata: dict[str, JsonValue] = {
            "name": f"Product {place}",
            "ean": code,
            "price": place / 100,
            "category": f"c{place % 40}",
        }
        points.append(Point(IndexedImage(image_id(product, "a.jpg"), product, "a.jpg", "0" * 64, metadata), vector))
    with tempfile.TemporaryDirectory() as folder:
        index = EmbeddedIndex(Path(folder, "index"))
        with index.writer(ModelIdentity("a" * 64, DIMENSION, "random", "random")) as build:
            build.store.upsert(points)
            build.commit(catalog=folder, metadata_keys=("name", "ean", "price", "category"))
        hits, misses = [], []
        with index.reader() as (store, _):
            for place, code in enumerate(codes[:200]):
                start = time.perf_counter()
                assert products_with(normal(code) or "", ["ean"], store) == (f"p{place:05}",)
                hits.append(time.perf_counter() - start)
            for code in numbers(20, 2):
                start = time.perf_counter()
                assert products_with(normal(code) or "", ["ean"], store) == ()
                misses.append(time.perf_counter() - start)
    print(
        f"\n{products:,} products: a code's product takes {milliseconds(hits)}; "
        f"that there is none, {milliseconds(misses)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos_in", nargs="?", type=Path, help="a folder of photos to draw codes into")
    parser.add_argument("--photos", type=int, default=20, help="photos a row")
    parser.add_argument("--products", type=int, default=20_000, help="of the index")
    options = parser.parse_args()
    grounds: list[Image.Image | None] = [None]
    if options.photos_in is not None:
        files = sorted(options.photos_in.rglob("*.jpg"))
        grounds = [Image.open(file).convert("RGB") for file in files[:: max(1, len(files) // options.photos)]]
    reading(grounds, options.photos)
    if options.photos_in is not None:
        foreign(options.photos_in)
    finding(options.products)


if __name__ == "__main__":
    main()
