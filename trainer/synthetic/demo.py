"""The demo's shop: a small catalog, photos of its products, and photos of products that it does not have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.synthetic.camera import photograph
from trainer.synthetic.products import draw_products
from trainer.synthetic.writing import photo_seed, write_catalog

DEMO_SEED = 7


@dataclass(frozen=True, slots=True)
class DemoLayout:
    """Where the demo lies and what is true about it.

    Attributes:
        catalog: the catalog's root.
        known: photos of products of the catalog.
        unknown: photos of products that the catalog does not have.
        truth: photo -> its product in the catalog, None for an unknown one.
    """

    catalog: Path
    known: Path
    unknown: Path
    truth: dict[Path, str | None]


def write_demo(
    root: Path,
    *,
    seed: int = DEMO_SEED,
    products: int = 40,
    known: int = 12,
    unknown: int = 6,
    size: int = 320,
    difficulty: float = 0.2,
) -> DemoLayout:
    """Draw and photograph the demo.

    The catalog holds three studio and three phone pictures of each product; the unknown
    ones come from families that the catalog does not have.

    Args:
        root: made if missing.
        seed: of the products and photos.
        products: how many the catalog sells.
        known: how many photos of them.
        unknown: how many photos of other products.
        size: width and height of all pictures, pixels.
        difficulty: of the photos, 0..1.

    Raises:
        OSError: the folder cannot be written.
    """
    drawn = draw_products(products + 8 * max(unknown, 1) + 8, seed=seed)
    sold = drawn[:products]
    families = {p.family for p in sold}
    others: dict[str, int] = {}
    for number, product in enumerate(drawn[products:], products):
        if product.family not in families:
            others.setdefault(product.family, number)
    layout = DemoLayout(root / "catalog", root / "photos" / "known", root / "photos" / "unknown", {})
    write_catalog(layout.catalog, sold, views=3, phone=3, size=size, seed=seed)
    chosen = [sold[(k * len(sold)) // known] for k in range(known)] if sold else []
    for folder, shown in ((layout.known, chosen), (layout.unknown, [drawn[n] for n in others.values()][:unknown])):
        folder.mkdir(parents=True, exist_ok=True)
        for shot, product in enumerate(shown):
            file = folder / f"{product.product_id}-{shot}.jpg"
            photograph(
                product, seed=photo_seed(seed, shot), size=size, neighbors=sold[:24], difficulty=difficulty
            ).save(file, quality=90)
            layout.truth[file] = product.product_id if folder == layout.known else None
    return layout
