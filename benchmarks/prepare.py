"""How fast is a dataset prepared, and what does it cost to encode a JPEG again?

    python benchmarks/prepare.py PHOTOS           a folder of product folders
    python benchmarks/prepare.py --drawn 200      phone photos of 12 megapixels, drawn

Prints wall and processor time: on a busy machine only the second says what the work takes.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from retrieval.catalog.read import read_catalog
from retrieval.images import pictures
from retrieval.system.threads import default_threads
from retrieval.types import CatalogImage
from trainer.prepare import Options, prepare

SAMPLE = 200


def draw(folder: Path, count: int) -> Path:
    """Photos of 4,000 x 3,000 pixels, ten a product, about 2 MB each."""
    for number in range(count):
        rng = np.random.default_rng(number)
        scene = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((1000, 750))
        grain = rng.normal(0, 6, (750, 1000, 3))
        im = Image.fromarray(np.clip(np.asarray(scene) + grain, 0, 255).astype(np.uint8)).resize((4000, 3000))
        file = folder / f"p{number // 10:03}" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        im.save(file, quality=92)
    return folder


def timed(label: str, raw: Path, out: Path, options: Options) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    report = prepare(raw, out, options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"  {label:34} {wall:7.1f} s by the clock, {cpu:6.1f} s of processor, {report.read / cpu:5.0f} pictures a"
        f" processor second; {len(report.changes.added):,} added, {len(report.changes.moved):,} moved"
    )


def encodings(raw: Path) -> None:
    files = [e.file for e in read_catalog(raw).entries() if isinstance(e, CatalogImage)]
    small = [data for data in map(pictures.read_file, files[:: max(1, len(files) // SAMPLE)]) if _kept(data)]
    if not small:
        return
    start = time.process_time()
    bare = [pictures.to_jpeg(data, 1024) for data in small]
    bare_time, start = time.process_time() - start, time.process_time()
    again = []
    for data in small:
        file = io.BytesIO()
        pictures.thumbnail(data, 1024).save(file, "JPEG", quality=pictures.JPEG_QUALITY)
        again.append(file.getvalue())
    again_time = time.process_time() - start
    off = [
        np.abs(np.asarray(pictures.decode(a), int) - np.asarray(pictures.decode(b), int)).mean()
        for a, b in zip(small, again, strict=True)
    ]
    print(f"{len(small)} upright RGB JPEGs of at most 1024 pixels: ms a picture, bytes, mean difference of 255")
    for label, made, spent, difference in (
        ("coded pixels kept", bare, bare_time, 0.0),
        (f"encoded again at {pictures.JPEG_QUALITY}", again, again_time, float(np.mean(off))),
    ):
        size = sum(map(len, made)) / sum(map(len, small))
        print(f"  {label:34} {1000 * spent / len(small):6.2f} ms {size:6.1%} {difference:6.2f}")


def _kept(data: bytes) -> bool:
    im = Image.open(io.BytesIO(data))
    return im.format == "JPEG" and im.mode == "RGB" and max(im.size) <= 1024 and im.getexif().get(0x0112, 1) == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--drawn", type=int, default=100, help="how many to draw without PHOTOS")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="itemrec-prepare-"))
    try:
        raw = args.photos or draw(work / "raw", args.drawn)
        files = [e.file for e in read_catalog(raw).entries() if isinstance(e, CatalogImage)]
        size = sum(file.stat().st_size for file in files)
        print(f"{len(files):,} pictures, {size / 1e6:,.0f} MB, {default_threads()} threads")
        timed("first run", raw, work / "out", Options())
        timed("second run", raw, work / "out", Options())
        timed("another seed", raw, work / "out", Options(seed=1))
        encodings(raw)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
