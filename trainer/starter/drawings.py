"""The photos that the starter learns from and is tried on: rendered once, cached as one array."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.errors import DiskFullError
from retrieval.images.pictures import prepare
from retrieval.images.preprocessing import Preprocessing
from retrieval.system.files import replacing
from retrieval.system.progress import Progress, Silent
from trainer import synthetic
from trainer.starter.photo_set import PhotoSet
from trainer.synthetic import SyntheticProduct, draw_products, photograph, studio_picture

_RENDER_SIZE = 320
_CHUNK = 8
_MAX_NEIGHBORS = 2


@dataclass(frozen=True, slots=True)
class Drawings:
    """A set of drawn products and how many pictures of each.

    Attributes:
        products: how many.
        seed: which ones; sets of different seeds share no product.
        photos: photographs of each.
        studio: studio pictures of each.
        difficulty: lowest and highest difficulty of the photographs, in [0, 1].
    """

    products: int
    seed: int
    photos: int
    studio: int
    difficulty: tuple[float, float]


def render(
    drawings: Drawings,
    preprocessing: Preprocessing,
    cache: Path,
    *,
    processes: int | None = None,
    progress: Progress = Silent(),
) -> PhotoSet:
    """The pictures of a set, prepared as serving prepares them; drawn only if not cached.

    Args:
        drawings: which.
        preprocessing: size and fit of the prepared pictures.
        cache: the folder that keeps them, about ``3 * height * width`` bytes a picture.
        processes: how many draw at once; as many as there are cores by default.
        progress: told how far it is.

    Raises:
        DiskFullError: the cache folder has not enough space.
    """
    products = draw_products(drawings.products, seed=drawings.seed)
    each = drawings.studio + drawings.photos
    shape = (len(products) * each, preprocessing.height, preprocessing.width, 3)
    file = cache / f"drawings-{_key(drawings, preprocessing)}.npy"
    if not file.exists():
        _render_to(file, shape, products, drawings, preprocessing, processes, progress)
    families = {name: i for i, name in enumerate(sorted({product.family for product in products}))}
    return PhotoSet(
        pixels=np.load(file, mmap_mode="r"),
        labels=np.repeat(np.arange(len(products)), each),
        products=tuple(product.product_id for product in products),
        families=np.array([families[product.family] for product in products], dtype=np.int64),
        studio=np.tile(np.arange(each) < drawings.studio, len(products)),
    )


def _render_to(
    file: Path,
    shape: tuple[int, ...],
    products: Sequence[SyntheticProduct],
    drawings: Drawings,
    preprocessing: Preprocessing,
    processes: int | None,
    progress: Progress,
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    need, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if free < need * 1.05:
        raise DiskFullError(
            f"Not enough room in {file.parent}: {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free",
            hint="make room there, or name another folder with --cache",
        )
    # Written beside its place and renamed, so that an interrupted run leaves no half array in the cache.
    partial = file.with_suffix(f".{os.getpid()}.partial")
    with replacing(file, staging=partial, durable=False):
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        each = shape[0] // len(products)
        progress.stage("Drawing", shape[0], "pictures")
        with ProcessPoolExecutor(
            processes or os.cpu_count(),
            mp_context=get_context("spawn"),
            initializer=_remember,
            initargs=(products,),
        ) as pool:
            jobs = {
                pool.submit(_render_some, start, drawings, preprocessing): start
                for start in range(0, len(products), _CHUNK)
            }
            for job in as_completed(jobs):
                start = jobs[job] * each
                pixels = job.result()
                array[start : start + len(pixels)] = pixels
                progress.advance(len(pixels))
        array.flush()


_products: list[SyntheticProduct] = []  # in a worker process: the products of the set it draws


def _remember(products: Sequence[SyntheticProduct]) -> None:
    _products.extend(products)


def _render_some(start: int, drawings: Drawings, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The pictures of a few products, studio pictures first: (k * each, height, width, 3)."""
    products, pictures = _products, []
    for index in range(start, min(start + _CHUNK, len(products))):
        product = products[index]
        pictures += [studio_picture(product, size=_RENDER_SIZE, view=v) for v in range(drawings.studio)]
        rng = np.random.default_rng([drawings.seed, index])
        for _ in range(drawings.photos):
            beside = rng.integers(0, len(products), rng.integers(0, _MAX_NEIGHBORS + 1))
            pictures.append(
                photograph(
                    product,
                    seed=int(rng.integers(2**31)),
                    size=_RENDER_SIZE,
                    neighbors=[products[i] for i in beside if i != index],
                    difficulty=float(rng.uniform(*drawings.difficulty)),
                )
            )
    return np.stack([prepare(_jpeg(picture), preprocessing) for picture in pictures])


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _key(drawings: Drawings, preprocessing: Preprocessing) -> str:
    """Changes with anything that changes the pictures, the drawing code included."""
    digest = hashlib.sha256(
        json.dumps([asdict(drawings), preprocessing.to_json(), _RENDER_SIZE, _MAX_NEIGHBORS]).encode()
    )
    for source in sorted(Path(synthetic.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
