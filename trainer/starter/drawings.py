"""Drawn products that the built-in model learns from beside photos: picture files, drawn once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from retrieval.system.files import os_errors
from retrieval.system.progress import Progress, Silent
from trainer import synthetic
from trainer.synthetic import draw_products, photograph, studio_picture

_SIDE = 288
_QUALITY = 92
_CHUNK = 8


@dataclass(frozen=True, slots=True)
class Drawings:
    """A set of drawn products and how many pictures of each.

    Attributes:
        products: how many.
        seed: which ones; sets of different seeds share no product.
        photos: photographs of each, beside one studio picture.
        difficulty: lowest and highest difficulty of the photographs, in [0, 1].
    """

    products: int
    seed: int
    photos: int
    difficulty: tuple[float, float]

    def families(self) -> Mapping[str, str]:
        """The family of each product: its near twins share it."""
        return {product.product_id: product.family for product in draw_products(self.products, seed=self.seed)}


def draw(drawings: Drawings, cache: Path, *, processes: int | None = None, progress: Progress = Silent()) -> Path:
    """A folder of product folders with the pictures of a set, the studio picture of each first.

    What an earlier, interrupted run drew stays.

    Args:
        drawings: which.
        cache: where the folder lies, about 25 kB a picture.
        processes: how many draw at once; as many as there are cores by default.
        progress: told how far it is.

    Raises:
        StoreError: the cache cannot be written.
    """
    folder = cache / f"drawings-{_key(drawings)}"
    with os_errors("keep drawings", folder):
        folder.mkdir(parents=True, exist_ok=True)
    names = list(drawings.families())
    missing = [i for i, name in enumerate(names) if not (folder / name).is_dir()]
    if not missing:
        return folder
    progress.stage("Drawing", len(names), "products", done=len(names) - len(missing))
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
        jobs = [pool.submit(_draw_some, chunk, drawings, folder) for chunk in chunks]
        for job in as_completed(jobs):
            progress.advance(job.result())
    return folder


def _draw_some(numbers: list[int], drawings: Drawings, folder: Path) -> int:
    products = draw_products(drawings.products, seed=drawings.seed)
    for number in numbers:
        product = products[number]
        # Named when it is whole, so that an interrupted run leaves no product with half its pictures.
        partial = folder / f".{product.product_id}.{os.getpid()}"
        partial.mkdir(exist_ok=True)
        rng = np.random.default_rng([drawings.seed, number])
        studio_picture(product, size=_SIDE, view=0).save(partial / "0.jpg", quality=_QUALITY)
        for photo in range(1, drawings.photos + 1):
            beside = rng.integers(0, len(products), rng.integers(0, 2))
            picture = photograph(
                product,
                seed=int(rng.integers(2**31)),
                size=_SIDE,
                neighbors=[products[i] for i in beside if i != number],
                difficulty=float(rng.uniform(*drawings.difficulty)),
            )
            picture.save(partial / f"{photo}.jpg", quality=_QUALITY)
        shutil.rmtree(folder / product.product_id, ignore_errors=True)
        partial.rename(folder / product.product_id)
    return len(numbers)


def _key(drawings: Drawings) -> str:
    """Changes with anything that changes the pictures, the drawing code included."""
    digest = hashlib.sha256(json.dumps([asdict(drawings), _SIDE, _QUALITY]).encode())
    for source in sorted(Path(synthetic.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
