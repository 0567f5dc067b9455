"""What a packaged family looks like and what its variants change: pure choices, no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from trainer.synthetic import words
from trainer.synthetic.chance import Color, chance, hsv, jittered, luma, mix, readable_on, scaled
from trainer.synthetic.words import FLAVORS, SHELVES, Shelf

_T = TypeVar("_T")

Key = tuple[int, int, int]
"""(seed, family, variant)"""

# Half-extents relative to the height: width and depth, each with its range.
EXTENTS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "gable": ((0.30, 0.40), (0.28, 0.38)),
    "brick": ((0.30, 0.52), (0.22, 0.36)),
    "box": ((0.55, 0.80), (0.14, 0.30)),
    "slab": ((1.25, 2.4), (0.18, 0.6)),
    "bottle": ((0.26, 0.40), (0.26, 0.40)),
    "jar": ((0.55, 0.85), (0.55, 0.85)),
    "can": ((0.50, 0.68), (0.50, 0.68)),
    "tin": ((1.3, 2.0), (1.3, 2.0)),
    "tube": ((0.30, 0.38), (0.30, 0.38)),
    "pouch": ((0.62, 0.85), (0.12, 0.2)),
    "tub": ((0.85, 1.5), (0.85, 1.5)),
    "cup": ((0.72, 0.95), (0.72, 0.95)),
    "tray": ((1.2, 1.7), (0.12, 0.22)),
}

BACKGROUNDS = ("solid", "gradient", "split", "wave", "diagonal", "stripes", "dots", "rays", "photo", "frame", "panel")
LAYOUTS = ("classic", "band", "hero", "vertical", "label", "poster", "corner", "stack")


@dataclass(frozen=True, slots=True)
class Lettering:
    """How words are set: stretched, slanted, thickened, outlined."""

    stretch: float
    shear: float
    weight: int
    case: str
    effect: str
    tracking: int


@dataclass(frozen=True, slots=True)
class Family:
    """What all variants of a packaged family share."""

    key: tuple[int, int]
    shelf: Shelf
    kind: str
    brand: str
    item: str
    width: float
    depth: float
    base: Color
    second: Color
    logo_color: Color
    logo: str
    background: str
    layout: str
    lettering: tuple[Lettering, Lettering, Lettering]
    changes: str
    claims: tuple[str, ...]
    variants: int
    illustration_scale: float
    organic_picture: bool
    cap: Color
    gloss: float


@dataclass(frozen=True, slots=True)
class Design:
    """One packaged product: its family and what is its own."""

    key: Key
    family: Family
    flavor: str
    size: str
    accent: Color
    base: Color
    second: Color
    cap: Color
    illustration: str
    stripes: int
    price: float


def is_produce(seed: int, family: int) -> bool:
    """Whether a family is loose produce: about half are, in fewer variants."""
    # The first family is always packaged, so that the smallest draws hold twins.
    return family > 0 and chance(seed, family, "kind").random() < 0.52


@lru_cache(maxsize=4096)
def packaged_family(seed: int, family: int) -> Family:
    """Draw what the variants of a family share."""
    rng = chance(seed, family, "family")
    shelf = SHELVES[int(rng.integers(len(SHELVES)))]
    kind = _pick(rng, shelf.kinds)
    (w0, w1), (d0, d1) = EXTENTS[kind]
    base = _ground(rng)
    second = _partner(rng, base)
    logo_color = readable_on(base, jittered(rng, second, 0.5, 0.3, 0.3))
    width = float(rng.uniform(w0, w1))
    return Family(
        key=(seed, family),
        shelf=shelf,
        kind=kind,
        brand=words.brand_name(rng),
        item=_pick(rng, shelf.items),
        width=width,
        depth=width if kind in ("jar", "can", "tin", "tub", "cup", "bottle", "tube") else float(rng.uniform(d0, d1)),
        base=base,
        second=second,
        logo_color=logo_color,
        logo=_pick(rng, ("none", "blob", "shield", "ring", "star", "leaf", "bars", "animal", "pill", "burst")),
        background=_pick(rng, BACKGROUNDS),
        layout=_pick(rng, LAYOUTS),
        lettering=(_lettering(rng), _lettering(rng), _lettering(rng)),
        changes=_pick(rng, ("all", "all", "accent", "accent", "accent", "picture", "words")),
        claims=tuple(_pick(rng, words.CLAIMS) for _ in range(3)),
        variants=int(rng.choice([2, 2, 3, 3, 4, 5, 6])),
        illustration_scale=float(rng.uniform(0.75, 1.2)),
        organic_picture=bool(rng.random() < 0.5),
        cap=_pick(rng, ((245, 245, 245), (30, 30, 35), second, logo_color, scaled(base, 0.7))),
        gloss=float(rng.uniform(0.0, 1.0)),
    )


@lru_cache(maxsize=8192)
def packaged_design(seed: int, family: int, variant: int) -> Design:
    """Draw one variant: what it changes depends on its family.

    ``all`` changes the ground color too, ``accent`` an accent color, the picture and the words,
    ``picture`` the picture and the words, ``words`` the words, the size and at most a stripe.
    """
    shared = packaged_family(seed, family)
    rng = chance(seed, family, variant, "variant")
    order = chance(seed, family, "flavors").permutation(len(shared.shelf.flavors))
    flavor = shared.shelf.flavors[int(order[variant % len(order)])]
    color, picture = FLAVORS[flavor]
    color = jittered(rng, color, 0.02)
    changes = shared.changes
    # A family of few flavors and many variants repeats a flavor in another size.
    size_offset = int(chance(seed, family, "size").integers(len(shared.shelf.sizes)))
    size_step = variant if changes == "words" else variant // len(order)
    size = shared.shelf.sizes[(size_offset + size_step) % len(shared.shelf.sizes)]
    neutral = FLAVORS[shared.shelf.flavors[int(order[0])]]
    low, high = shared.shelf.price
    return Design(
        key=(seed, family, variant),
        family=shared,
        flavor=flavor,
        size=size,
        accent=color if changes in ("all", "accent") else jittered(rng, neutral[0], 0.0, 0.0, 0.0),
        base=mix(shared.base, color, 0.75 if shared.background in ("solid", "gradient") else 0.6)
        if changes == "all"
        else shared.base,
        second=color if changes == "all" and variant % 2 else shared.second,
        cap=color if changes in ("all", "accent") and chance(seed, family, "cap").random() < 0.6 else shared.cap,
        illustration=picture if changes != "words" else neutral[1],
        stripes=variant % 4 if changes == "words" else int(chance(seed, family, "stripes").integers(3)),
        price=round(float(rng.uniform(low, high)) * 2) / 2 - 0.05,
    )


def _ground(rng: np.random.Generator) -> Color:
    kind = rng.random()
    if kind < 0.33:
        return hsv(rng.random(), rng.uniform(0.0, 0.18), rng.uniform(0.88, 1.0))
    if kind < 0.45:
        return hsv(rng.random(), rng.uniform(0.0, 0.6), rng.uniform(0.08, 0.25))
    if kind < 0.62:
        return hsv(rng.random(), rng.uniform(0.2, 0.45), rng.uniform(0.75, 0.98))
    return hsv(rng.random(), rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.95))


def _partner(rng: np.random.Generator, base: Color) -> Color:
    if rng.random() < 0.3:
        return (248, 247, 242) if luma(base) < 140 else hsv(rng.random(), 0.8, 0.35)
    return jittered(rng, hsv(rng.random(), rng.uniform(0.4, 1.0), rng.uniform(0.35, 1.0)), 0.1)


def _lettering(rng: np.random.Generator) -> Lettering:
    return Lettering(
        stretch=float(np.exp(rng.uniform(np.log(0.5), np.log(1.5)))),
        shear=float(rng.choice([0.0, 0.0, 0.0, 0.2, 0.35, -0.12])),
        weight=int(rng.choice([0, 0, 2, 3, 5])),
        case=_pick(rng, ("upper", "upper", "lower", "title", "title")),
        effect=_pick(
            rng, ("plain", "plain", "plain", "outline", "hollow", "round", "stencil", "slab", "shadow", "script")
        ),
        tracking=int(rng.choice([0, 0, 0, 1])),
    )


def _pick(rng: np.random.Generator, options: tuple[_T, ...]) -> _T:
    return options[int(rng.integers(len(options)))]
