"""Catalogs and photo folders on disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from trainer.synthetic.camera import photograph, studio_picture
from trainer.synthetic.products import SyntheticProduct

COLUMNS = ("name", "brand", "category", "flavor", "size", "price", "url")
_QUALITY = 90
_SHELF_SEEDS = 900_000


def write_catalog(
    root: Path, products: Sequence[SyntheticProduct], *, views: int = 3, size: int = 320, phone: int = 1, seed: int = 0
) -> None:
    """Write ``root/<product_id>/studio_N.jpg``, ``phone_N.jpg`` and ``root/products.csv``.

    Args:
        root: the catalog; made if missing.
        products: what it sells.
        views: studio pictures a product.
        size: width and height, pixels.
        phone: easy phone pictures a product, so that the gallery holds both kinds.
        seed: of the phone pictures.

    Raises:
        OSError: the folder cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    for number, product in enumerate(products):
        folder = root / product.product_id
        folder.mkdir(exist_ok=True)
        for view in range(views):
            studio_picture(product, size=size, view=view).save(folder / f"studio_{view}.jpg", quality=_QUALITY)
        for view in range(phone):
            picture = photograph(
                product,
                seed=photo_seed(seed, _SHELF_SEEDS + view),
                size=size,
                neighbors=_around(products, number),
                difficulty=0.2,
            )
            picture.save(folder / f"phone_{view}.jpg", quality=_QUALITY)
    with (root / "products.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("product_id", *COLUMNS))
        table.writerows((p.product_id, *(p.metadata[column] for column in COLUMNS)) for p in products)


def write_photos(
    root: Path,
    products: Sequence[SyntheticProduct],
    *,
    per_product: int,
    seed: int,
    size: int = 320,
    difficulty: float = 0.5,
) -> list[Path]:
    """Write ``root/<product_id>/photo_NNN.jpg``; returns the files, product by product.

    Raises:
        OSError: the folder cannot be written.
    """
    files: list[Path] = []
    for number, product in enumerate(products):
        folder = root / product.product_id
        folder.mkdir(parents=True, exist_ok=True)
        for shot in range(per_product):
            file = folder / f"photo_{shot:03d}.jpg"
            photograph(
                product,
                seed=photo_seed(seed, shot),
                size=size,
                neighbors=_around(products, number),
                difficulty=difficulty,
            ).save(file, quality=_QUALITY)
            files.append(file)
    return files


def photo_seed(seed: int, shot: int) -> int:
    """The seed of a product's ``shot``-th photo (0..999,999) in a seed space."""
    return seed * 1_000_000 + shot


def _around(products: Sequence[SyntheticProduct], number: int) -> list[SyntheticProduct]:
    """Products of other families nearby in the list: what stands beside it in the shop."""
    near = products[max(0, number - 8) : number + 9]
    return [p for p in near if p.family != products[number].family]
