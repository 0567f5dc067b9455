"""How fast do bytes become the network's pixels, and what does the safety cost?

    python benchmarks/decode.py [--photos DIR] [--size 224] [--memory]

For each kind of picture, one thread, medians in milliseconds:

- *full*: Pillow decodes every pixel and resizes, with nothing checked;
- *prepare*: `retrieval.images.pictures.prepare`, checks and all;
- *checks*: the part of it that reads headers and looks for hidden content;
- *off by*: mean absolute difference of the two results, of 255.

``--photos`` measures a folder of real photos instead of drawn ones. ``--memory`` decodes the largest
picture that the default limits let in, once per format, each in a process of its own, and prints
by how much the process grew at its peak. ``--apart`` prints what the child processes cost that decode
AVIF, TIFF and, with ``--photos`` or where pillow-heif is installed, HEIC. ``--profiles`` converts the photos of
``--photos`` to other color spaces and prints how far the starter's embeddings of them lie from those of the sRGB
photos, with their profile and without: squared distances, of vectors of length 1.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from process_memory import kilobytes

from retrieval.errors import ImageError
from retrieval.images.formats import Header, hidden_content, read_header
from retrieval.images.isolation import Pool
from retrieval.images.pictures import DEFAULT_LIMITS, SUFFIXES, prepare
from retrieval.images.preprocessing import Preprocessing
from retrieval.images.views import Prepared, render
from retrieval.system.threads import default_threads

LARGEST = (9_248, 6_936)
LARGEST_STREAMED = (16_320, 12_240)
MEMORY_FORMATS = (
    "JPEG",
    "JPEG progressive",
    "PNG RGB",
    "PNG RGBA",
    "PNG gray 16",
    "WEBP",
    "AVIF",
    "TIFF",
    "BMP",
    "GIF",
)


def drawn(width: int, height: int) -> Image.Image:
    """Soft shapes, edges and grain: about as hard to decode as a photo of that size."""
    rng = np.random.default_rng(width)
    coarse = rng.integers(0, 256, (height // 40 + 1, width // 40 + 1, 3), dtype=np.uint8)
    base = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = rng.normal(0, 5, (height, width, 1)).astype(np.int16)
    return Image.fromarray(np.clip(base + grain, 0, 255).astype(np.uint8))


def encode(image: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def pictures() -> dict[str, list[bytes]]:
    small, middle, large = drawn(348, 348), drawn(1000, 1000), drawn(4000, 3000)
    return {
        "JPEG 348 x 348": [encode(small, "JPEG", quality=88)],
        "JPEG 1000 x 1000": [encode(middle, "JPEG", quality=88)],
        "JPEG 1000 x 1000 progressive": [encode(middle, "JPEG", quality=88, progressive=True)],
        "JPEG 4000 x 3000": [encode(large, "JPEG", quality=88)],
        "PNG 1000 x 1000": [encode(middle, "PNG")],
        "PNG 1000 x 1000 transparent": [encode(middle.convert("RGBA"), "PNG")],
        "WebP 1000 x 1000": [encode(middle, "WEBP", quality=85)],
        "AVIF 1000 x 1000": [encode(middle, "AVIF", quality=75)],
        "TIFF 1000 x 1000 LZW": [encode(middle, "TIFF", compression="tiff_lzw")],
        "BMP 1000 x 1000": [encode(middle, "BMP")],
        "GIF 1000 x 1000": [encode(middle, "GIF")],
    }


def photos(folder: Path, most: int) -> dict[str, list[bytes]]:
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    chosen = files[:: max(1, len(files) // most)][:most]
    if not chosen:
        raise SystemExit(f"no pictures in {folder}")
    return {f"{len(chosen)} photos of {folder.name}": [f.read_bytes() for f in chosen]}


def full(data: bytes, pre: Preprocessing) -> np.ndarray:
    im = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(im.resize((pre.width, pre.height), Image.Resampling.BILINEAR))


def check(data: bytes) -> None:
    read_header(data)
    hidden_content(data)


def median_ms(call: Callable[[bytes], object], data: Sequence[bytes], seconds: float) -> float:
    """Median over rounds of the mean time for one picture."""
    rounds: list[float] = []
    end = time.perf_counter() + seconds
    while len(rounds) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        for item in data:
            call(item)
        rounds.append((time.perf_counter() - start) / len(data) * 1000)
    return statistics.median(rounds)


def rates(sets: dict[str, list[bytes]], pre: Preprocessing, seconds: float) -> None:
    print(f"to {pre.width} x {pre.height}, one thread, ms a picture")
    print(f"{'':30} {'full':>8} {'prepare':>8} {'ratio':>6} {'checks':>7} {'a second':>9} {'off by':>7}")
    for name, data in sets.items():
        slow = median_ms(lambda item: full(item, pre), data, seconds)
        quick = median_ms(lambda item: prepare(item, pre), data, seconds)
        checks = median_ms(check, data, seconds / 4)
        off = statistics.fmean(float(np.abs(full(item, pre).astype(int) - prepare(item, pre)).mean()) for item in data)
        print(
            f"{name:30} {slow:8.2f} {quick:8.2f} {slow / quick:5.1f}x {checks:7.3f} {1000 / quick:9.0f} {off:7.2f}",
            flush=True,
        )


def size_of(kind: str) -> tuple[int, int]:
    return LARGEST_STREAMED if kind == "JPEG" else LARGEST


def largest(kind: str) -> bytes:
    """A flat picture just within the default limits: cheap to write, as costly in memory as any."""
    assert math.prod(LARGEST) <= DEFAULT_LIMITS.max_pixels
    assert math.prod(LARGEST_STREAMED) <= DEFAULT_LIMITS.max_streamed_pixels
    mode = {"PNG RGBA": "RGBA", "PNG gray 16": "I;16", "GIF": "P"}.get(kind, "RGB")
    image = Image.new(mode, size_of(kind))
    format_ = kind.split()[0]
    if kind == "BMP":
        # In color the file would be too large: a one-bit bitmap has the most pixels that fit.
        image = Image.new("1", LARGEST)
    options: dict[str, dict[str, object]] = {
        "JPEG progressive": {"progressive": True},
        "AVIF": {"speed": 10, "quality": 30},
        "WEBP": {"method": 0, "quality": 30},
        "TIFF": {"compression": "tiff_lzw"},
    }
    return encode(image, format_, **options.get(kind, {}))


def grow(path: Path) -> None:
    """Print by how many MiB this process grows while it decodes a file."""
    data = path.read_bytes()
    pre = Preprocessing(height=224, width=224)
    before = kilobytes("VmHWM")
    start = time.perf_counter()
    try:
        header = read_header(data)
        assert header is not None
        render(header, [Prepared(pre)])  # in this process, whatever the format
        outcome = "decoded"
    except ImageError as error:
        outcome = error.reason
    seconds = time.perf_counter() - start
    peak = kilobytes("VmHWM")
    print(f"{len(data) / 1e6:8.2f} MB {(peak - before) / 1024:8.0f} MiB {seconds:7.2f} s  {outcome}")


def memory(folder: Path) -> None:
    """Peak memory at the cap. Every step runs in its own process, so that no peak hides another."""
    print("the largest that the limits let in: size, file, growth of the process at its peak, time")
    for kind in MEMORY_FORMATS:
        path = folder / kind.replace(" ", "-")
        subprocess.run([sys.executable, __file__, "--write", kind, "--file", str(path)], check=True)
        width, height = size_of(kind)
        print(f"{kind:18} {width:6,} x {height:6,}", end="", flush=True)
        subprocess.run([sys.executable, __file__, "--grow", "--file", str(path)], check=True)
        path.unlink()


def heic(image: Image.Image) -> bytes | None:
    try:
        import pillow_heif
    except ImportError:
        return None
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=80)
    return file.getvalue()


def processor_seconds(pool: Pool) -> float:
    """What this process and the children that wait for work have calculated: a busy machine does not change it."""
    seconds = time.process_time()
    for child in pool._idle:
        stat = Path(f"/proc/{child._process.pid}/stat")
        if stat.is_file():  # Linux alone
            fields = stat.read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def apart(sets: dict[str, list[bytes]], pre: Preprocessing, seconds: float) -> None:
    """The same pictures decoded in this process and in children, from one thread and from one for each core."""
    cores = default_threads()
    print(
        f"to {pre.width} x {pre.height}, ms a picture: decoded in this process, in a child of it; and of processor time"
    )
    print(f"{'':30} {'threads':>7} {'here':>8} {'child':>8} {'ratio':>6} {'here':>8} {'child':>8} {'ratio':>6}")
    pool = Pool(cores)
    for name, data in sets.items():
        headers = [header for item in data if (header := read_header(item)) is not None]
        for threads in sorted({1, cores}):
            with ThreadPoolExecutor(threads) as workers:

                def here(batch: list[Header], workers: ThreadPoolExecutor = workers) -> None:
                    list(workers.map(lambda header: render(header, [Prepared(pre)]), batch))

                def child(batch: list[Header], workers: ThreadPoolExecutor = workers) -> None:
                    list(workers.map(lambda header: pool.render(header, [Prepared(pre)]), batch))

                batch = (headers * (4 * threads))[: max(4 * threads, len(headers))]
                child(batch)  # their start is no part of it
                # By turns, so that what else the machine does meets both.
                rounds: list[tuple[float, float, float, float]] = []
                end = time.perf_counter() + 4 * seconds
                while len(rounds) < 5 or time.perf_counter() < end:
                    times = []
                    for call in (here, child):
                        start, worked = time.perf_counter(), processor_seconds(pool)
                        call(batch)
                        times.append((time.perf_counter() - start) / len(batch) * 1000)
                        times.append((processor_seconds(pool) - worked) / len(batch) * 1000)
                    rounds.append((times[0], times[2], times[1], times[3]))
                one, other, work, apart = (statistics.median(column) for column in zip(*rounds, strict=True))
                print(
                    f"{name:30} {threads:7} {one:8.2f} {other:8.2f} {other / one:5.2f}x"
                    f" {work:8.2f} {apart:8.2f} {apart / work:5.2f}x",
                    flush=True,
                )
    pool.close()


def profiles(data: list[bytes]) -> None:
    """What a profile that is read, and one that is dropped, does to the embeddings."""
    from PIL import ImageCms

    from retrieval.images.formats.color_profile import matrix_profile
    from retrieval.models.encoder import load_encoder
    from retrieval.models.installed import read_starter

    d65, d50 = (0.3127, 0.3290), (0.3457, 0.3585)
    spaces = {
        "Display P3": matrix_profile(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), d65), None),
        "Adobe RGB": matrix_profile(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), d65), 2.2),
        "ProPhoto RGB": matrix_profile(((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), d50), 1.8),
    }
    bundle = read_starter()
    encoder = load_encoder(bundle)

    def embed(item: bytes) -> NDArray[np.float32]:
        found: NDArray[np.float32] = encoder.encode(prepare(item, bundle.preprocessing)[np.newaxis])[0]
        return found

    def saved(image: Image.Image, profile: bytes | None = None) -> bytes:
        return encode(image, "JPEG", quality=95, subsampling=0, icc_profile=profile)

    def show(name: str, found: list[NDArray[np.float32]]) -> None:
        off = ((np.stack(found) - twins) ** 2).sum(axis=1)
        print(f"{name:34} {np.median(off):8.5f} {off.max():8.5f} {int((off > 0.002).sum()):6}", flush=True)

    srgb = ImageCms.createProfile("sRGB")
    originals = [Image.open(io.BytesIO(item)).convert("RGB") for item in data]
    twins = np.stack([embed(saved(im)) for im in originals])
    print(f"{len(data)} photos, squared distance to the sRGB photo")
    print(f"{'':34} {'median':>8} {'largest':>8} {'> .002':>6}")
    show("sRGB, saved at quality 85", [embed(encode(im, "JPEG", quality=85)) for im in originals])
    for name, profile in spaces.items():
        to = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        changed = (ImageCms.profileToProfile(im, srgb, to, renderingIntent=intent) for im in originals)
        made = [im for im in changed if im is not None]
        for im in made:
            im.info = {}
        show(name, [embed(saved(im, profile)) for im in made])
        show(f"{name}, profile dropped", [embed(saved(im)) for im in made])


def apart_pictures() -> dict[str, list[bytes]]:
    middle, large = drawn(1000, 1000), drawn(4000, 3000)
    sets = {
        "AVIF 1000 x 1000": [encode(middle, "AVIF", quality=75)],
        "TIFF 1000 x 1000 LZW": [encode(middle, "TIFF", compression="tiff_lzw")],
    }
    for image in (middle, large):
        if (made := heic(image)) is not None:
            sets[f"HEIC {image.width} x {image.height}"] = [made]
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--most", type=int, default=100, help="photos to take from the folder")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--profiles", action="store_true")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--grow", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        args.file.write_bytes(largest(args.write))
    elif args.grow:
        grow(args.file)
    elif args.memory:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            memory(Path(folder))
    elif args.profiles:
        if args.photos is None:
            raise SystemExit("--profiles needs --photos")
        [data] = photos(args.photos, args.most).values()
        profiles(data)
    elif args.apart:
        sets = photos(args.photos, args.most) if args.photos else apart_pictures()
        apart(sets, Preprocessing(height=args.size, width=args.size, fit="squash"), args.seconds)
    else:
        sets = photos(args.photos, args.most) if args.photos else pictures()
        rates(sets, Preprocessing(height=args.size, width=args.size, fit="squash"), args.seconds)


if __name__ == "__main__":
    main()
