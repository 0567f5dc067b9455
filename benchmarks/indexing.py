"""`itemrec index`: end to end against its own stages, against the naive Keras loop, and its memory.

    python benchmarks/indexing.py [--photos DIR] [--count 600] [--memory 1000,10000,100000]

The stages are measured on the same pictures with the same network. Two comparisons:

* *pipeline*: one thread that only decodes and one that only embeds, against `index` with two
  worker threads that do both. Ideal overlap gives the rate of the slower stage.
* *all cores*: every core decodes, then every core embeds; one picture needs both, so work
  conservation bounds the whole at 1 / (1/decode + 1/embed).

The naive loop is what the Keras guides show: `load_img`, then `model.predict`, one by one.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from process_memory import kilobytes

from retrieval.catalog.read import Refusal, read_catalog
from retrieval.images import pictures
from retrieval.images.preprocessing import Preprocessing
from retrieval.index.open import open_index
from retrieval.indexing.indexer import BATCH, index_catalog
from retrieval.models.bundle import Bundle, write_bundle
from retrieval.models.encoder import load_encoder
from retrieval.system.threads import default_threads, per_thread
from trainer.synthetic import draw_products, write_photos


def rate(work: Callable[[Sequence[Any]], object], items: Sequence[Any], threads: int) -> float:
    """Items a second when ``threads`` workers take batches of them."""
    batches = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, batches[:threads]))
        start = time.perf_counter()
        list(pool.map(work, batches))
        return len(items) / (time.perf_counter() - start)


def keras_bundle(folder: Path, name: str, photos: Sequence[Path]) -> tuple[Bundle, Any]:
    """A Keras network with random weights (speed does not depend on them) and its bundle."""
    import keras

    from trainer.networks.export import export_litert
    from trainer.networks.small_cnn import small_cnn

    keras.utils.set_random_seed(0)
    if name == "small_cnn":
        side = 112
        model = small_cnn(size=side)
    else:
        side = 224
        base = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg")
        unit = keras.layers.UnitNormalization()(keras.layers.Dense(128)(base.output))
        model = keras.Model(base.input, unit)
    preprocessing = Preprocessing(side, side, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    probes = np.stack([pictures.prepare(f.read_bytes(), preprocessing) for f in photos[:8]])
    bundle = write_bundle(
        folder / f"bundle-{name}",
        name=name,
        encoder=export_litert(model, preprocessing, probes).model,
        runtime="litert",
        preprocessing=preprocessing,
        dimension=128,
    )
    return bundle, model


def end_to_end(catalog_path: Path, folder: Path, bundle: Bundle, threads: int) -> float:
    """Images a second of a whole index run into an empty index: walk, plan, write and commit included."""
    shutil.rmtree(folder / "index", ignore_errors=True)
    report = index_catalog(read_catalog(catalog_path), open_index(str(folder / "index")), bundle, threads=threads)
    assert not report.refused, report.refused[:3]
    return report.added / report.seconds


def naive(files: Sequence[Path], model: Any, preprocessing: Preprocessing) -> float:
    """Images a second of the loop of the guides."""
    import keras

    size = (preprocessing.height, preprocessing.width)

    def one(file: Path) -> None:
        picture = keras.utils.img_to_array(keras.utils.load_img(file, target_size=size))
        model.predict((picture[np.newaxis] / 255 - 0.5) / 0.5, verbose=0)

    one(files[0])
    start = time.perf_counter()
    for file in files:
        one(file)
    return len(files) / (time.perf_counter() - start)


def compare(name: str, catalog_path: Path, folder: Path, naive_count: int) -> None:
    files = [entry.file for entry in read_catalog(catalog_path).entries() if not isinstance(entry, Refusal)]
    bundle, model = keras_bundle(folder, name, files)
    p = bundle.preprocessing
    encoders = per_thread(lambda: load_encoder(bundle, threads=1))
    pixels = [pictures.prepare(f.read_bytes(), p) for f in files]

    def decode(batch: Sequence[Path]) -> None:
        for file in batch:
            pictures.prepare(pictures.read_file(file), p)

    def embed(batch: Sequence[Any]) -> None:
        encoders().encode(np.stack(batch))

    cores = default_threads()
    one_decode, one_embed = rate(decode, files, 1), rate(embed, pixels, 1)
    all_decode, all_embed = rate(decode, files, cores), rate(embed, pixels, cores)
    whole_two = end_to_end(catalog_path, folder, bundle, 2)
    whole_all = whole_two if cores == 2 else end_to_end(catalog_path, folder, bundle, cores)
    loop = naive(files[:naive_count], model, p)
    bound = 1 / (1 / all_decode + 1 / all_embed)
    print(f"\n{name}, {p.height} px, {len(files):,} photos, {cores} cores (images/s)")
    print(f"  decode only: {one_decode:,.0f} on 1 thread, {all_decode:,.0f} on {cores}")
    print(f"  embed only:  {one_embed:,.0f} on 1 thread, {all_embed:,.0f} on {cores}")
    print(f"  index, end to end: {whole_two:,.0f} on 2 threads, {whole_all:,.0f} on {cores}")
    slower = min(one_decode, one_embed)
    print(f"  pipeline: index / min(1 decoding, 1 embedding thread) = {whole_two / slower:.2f} (target >= 0.85)")
    print(f"  all cores: index / (1 / (1/decode + 1/embed)) = {whole_all / bound:.2f}")
    print(f"  all cores: index / min(decode, embed) = {whole_all / min(all_decode, all_embed):.2f}")
    print(f"  naive Keras loop: {loop:,.1f}; index is {whole_all / loop:.1f} x as fast (target >= 8)")


def memory(sizes: Sequence[int], folder: Path) -> None:
    """Peak memory of `itemrec index` at several catalog sizes, each in its own process (Linux).

    *Own* is anonymous memory, sampled; *resident* adds the pages of the index files that the kernel keeps mapped
    while there is room, and takes back when there is not.
    """
    products = draw_products(50, seed=3)
    originals = [Image.open(f) for f in write_photos(folder / "seeds", products, per_product=2, seed=5, size=96)]
    print("\npeak memory of `itemrec index` (own process each)")
    base: tuple[float, ...] = ()
    for size in sizes:
        root = folder / f"catalog-{size}"
        unlike_pictures(root, size, originals)
        command = [sys.executable, __file__, "--one-run", str(root), str(folder / f"index-{size}")]
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - start
        peak = tuple(int(kilobytes) / 1024 for kilobytes in done.stdout.split()[-2:])
        base = base or peak
        own, resident = (f"{now:4.0f} MB ({now / then:.2f} x)" for now, then in zip(peak, base, strict=True))
        print(f"  {size:>8,} images: own {own}, resident {resident}, {size / seconds:,.0f} images/s, {seconds:.0f} s")
        shutil.rmtree(root)


def unlike_pictures(root: Path, count: int, originals: Sequence[Image.Image]) -> None:
    """A catalog of ``count`` small pictures, twenty a product, no two of which look the same."""
    rng = np.random.default_rng(0)
    for n in range(count):
        file = root / f"product-{n // 20:06}" / f"{n}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = originals[n % len(originals)].copy()
        for _ in range(3):
            color, (left, top) = tuple(rng.integers(0, 256, 3).tolist()), rng.integers(0, 72, 2).tolist()
            picture.paste(color, (left, top, left + 24, top + 24))
        picture.save(file, quality=90)


def one_run(catalog: str, index: str) -> None:
    """An index run in this process; prints its peak anonymous and its peak resident memory, kB."""
    from cli.main import invoke

    over, own = threading.Event(), [0]

    def sample() -> None:
        while not over.wait(0.05):
            own.append(kilobytes("RssAnon"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    code = invoke(["index", catalog, "--index", index, "-q"])
    over.set()
    sampler.join()
    print(max(own), kilobytes("VmHWM"))
    sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a catalog of real photos; default: drawn ones")
    parser.add_argument("--count", type=int, default=600, help="drawn photos when --photos is not given")
    parser.add_argument("--naive", type=int, default=60, help="photos for the naive loop")
    parser.add_argument("--memory", default="1000,10000", help="catalog sizes, comma separated; empty skips")
    parser.add_argument("--one-run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_run:
        one_run(*options.one_run)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        catalog = options.photos
        if catalog is None:
            catalog = folder / "photos"
            write_photos(catalog, draw_products(options.count // 10, seed=3), per_product=10, seed=5)
        for name in ("small_cnn", "mobilenet_v2"):
            compare(name, catalog, folder, options.naive)
        if options.memory:
            memory([int(s) for s in options.memory.split(",")], folder)


if __name__ == "__main__":
    main()
