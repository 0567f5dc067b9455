"""The products themselves: who they are and what a shop's table says about them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from trainer.synthetic.chance import chance
from trainer.synthetic.design import Key, is_produce, packaged_design, packaged_family
from trainer.synthetic.organic import organic_design, organic_family


@dataclass(frozen=True, slots=True)
class SyntheticProduct:
    """One made-up product.

    Attributes:
        product_id: a slug, unique among the products of a seed.
        family: a slug that its look-alikes share.
        metadata: name, brand, category, flavor, size, price, url.
        kind: the shape of its package, or ``produce``.
        key: (seed, family number, variant number): all that its looks depend on.
    """

    product_id: str
    family: str
    metadata: dict[str, str | float] = field(hash=False, compare=False)
    kind: str
    key: Key


def draw_products(count: int, *, seed: int) -> list[SyntheticProduct]:
    """The first ``count`` products of a seed; a longer draw starts with the shorter one.

    Variants of a family follow one another. The last family may be cut off.

    Raises:
        ValueError: the count or the seed is negative.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"expected a count and a seed of 0 or more, received {count} and {seed}")
    products: list[SyntheticProduct] = []
    taken: set[str] = set()
    family = 0
    while len(products) < count:
        produce = is_produce(seed, family)
        variants = organic_family(seed, family).variants if produce else packaged_family(seed, family).variants
        for variant in range(variants):
            make = _loose if produce else _packaged
            product = make((seed, family, variant), taken)
            taken.add(product.product_id)
            products.append(product)
        family += 1
    return products[:count]


def _packaged(key: Key, taken: set[str]) -> SyntheticProduct:
    design = packaged_design(*key)
    shared = design.family
    name = f"{shared.brand} {shared.item} {design.flavor}"
    return _product(
        key,
        taken,
        name=name,
        line=f"{shared.brand} {shared.item}",
        kind=shared.kind,
        brand=shared.brand,
        category=shared.shelf.category,
        flavor=design.flavor,
        size=design.size,
        price=design.price,
    )


def _loose(key: Key, taken: set[str]) -> SyntheticProduct:
    design = organic_design(*key)
    rng = chance(*key, "label")
    return _product(
        key,
        taken,
        name=f"{design.category} {design.cultivar}",
        line=f"{design.category} {design.grower}",
        kind="produce",
        brand=design.grower,
        category=design.category,
        flavor=design.cultivar,
        size=("per kg", "each", "ca 180 g", "class 1")[int(rng.integers(4))],
        price=round(float(rng.uniform(9, 60)) * 2) / 2 - 0.05,
    )


def _product(
    key: Key,
    taken: set[str],
    *,
    name: str,
    line: str,
    kind: str,
    brand: str,
    category: str,
    flavor: str,
    size: str,
    price: float,
) -> SyntheticProduct:
    wanted = slug(name)
    if wanted in taken:
        wanted = f"{wanted}-{slug(size)}"
    product_id, copy = wanted, 2
    while product_id in taken:
        product_id, copy = f"{wanted}-{copy}", copy + 1
    return SyntheticProduct(
        product_id=product_id,
        family=f"{slug(line)}-{key[1]}",
        metadata={
            "name": name,
            "brand": brand,
            "category": category,
            "flavor": flavor,
            "size": size,
            "price": round(price, 2),
            "url": f"https://shop.example/p/{product_id}",
        },
        kind=kind,
        key=key,
    )


def slug(text: str) -> str:
    """Lower-case ASCII letters and digits with single hyphens between."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


__all__ = ["SyntheticProduct", "draw_products", "slug"]
