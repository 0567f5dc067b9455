"""Loose produce: single items with natural color, texture and gloss, and piles of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from trainer.synthetic import words
from trainer.synthetic.chance import Color, FloatField, chance, hsv, jittered, noise_at, scaled
from trainer.synthetic.forms import FORMS, Form

SPRITES = 6
BODY = 128
"""Side at which items are drawn for piles and photos, pixels."""
_STICKERED = ("Apples", "Pears", "Citrus", "Avocados", "Mangos", "Melons", "Kiwis", "Watermelons")
_LIGHT = np.array([-0.45, -0.6, 0.66], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class OrganicFamily:
    """What the cultivars of a grower share."""

    form: Form
    grower: str
    variants: int


@dataclass(frozen=True, slots=True)
class Organic:
    """One cultivar: its body and its colors."""

    key: tuple[int, int, int]
    form: Form
    grower: str
    cultivar: str
    skin: Color
    blush: Color
    pattern: Color
    amount: float
    bias: float
    lit: float
    length: float
    sticker: Color | None

    @property
    def category(self) -> str:
        """What it is sold as."""
        return self.form.category


@lru_cache(maxsize=4096)
def organic_family(seed: int, family: int) -> OrganicFamily:
    """Draw the kind of produce and its grower."""
    rng = chance(seed, family, "organic")
    form = FORMS[int(rng.integers(len(FORMS)))]
    return OrganicFamily(form, words.brand_name(rng), min(int(rng.choice([1, 2, 3, 3, 4])), len(form.hues)))


@lru_cache(maxsize=8192)
def organic_design(seed: int, family: int, variant: int) -> Organic:
    """Draw a cultivar: another ripeness, blush or pattern on the family's body."""
    shared = organic_family(seed, family)
    form = shared.form
    rng = chance(seed, family, variant, "cultivar")
    order = chance(seed, family, "hues").permutation(len(form.hues))
    skin = jittered(rng, hsv(*form.hues[int(order[variant % len(order)])]), 0.025, 0.15, 0.12)
    other = hsv(*form.hues[int(rng.integers(len(form.hues)))])
    blush = jittered(rng, other if form.skin in ("blush", "speckle") else skin, 0.05, 0.2, 0.2)
    dark = rng.random() < 0.7
    return Organic(
        key=(seed, family, variant),
        form=form,
        grower=shared.grower,
        cultivar=words.cultivar_name(rng),
        skin=skin,
        blush=blush,
        pattern=jittered(rng, skin, 0.06, 0.2, 0.05) if not dark else hsv(0.09, 0.5, rng.uniform(0.2, 0.4)),
        amount=float(rng.uniform(0.3, 1.0)),
        bias=float(rng.uniform(-1.0, 1.0)),
        lit=float(rng.uniform(0.5, 1.3)),
        length=float(rng.uniform(0.92, 1.08)),
        sticker=hsv(rng.random(), 0.8, rng.uniform(0.4, 0.95))
        if form.category in _STICKERED and rng.random() < 0.5
        else None,
    )


@lru_cache(maxsize=1024)
def item(organic: Organic, number: int, side: int) -> Image.Image:
    """One item, RGBA, ``side`` pixels square, lit from the upper left, with a soft dark halo.

    Args:
        organic: the cultivar.
        number: which of its items; each has its own turn, outline and spots.
        side: pixels.
    """
    rng = chance(*organic.key, number, "item")
    form = organic.form
    long = form.aspect < 0.5
    lie = float(chance(*organic.key, "lie").uniform(-1.6, 1.6))
    spin = rng.normal(lie, 0.35) if long else rng.uniform(-np.pi, np.pi)
    if form.stem >= 0.7 and not long:
        spin = rng.normal(0.0, 0.7)
    axis = np.linspace(-1.12, 1.12, side, dtype=np.float32)
    x0, y0 = np.meshgrid(axis, axis)
    x = np.cos(spin) * x0 + np.sin(spin) * y0
    t = (-np.sin(spin) * x0 + np.cos(spin) * y0) / organic.length / (1.0 if form.aspect <= 1 else 1 / form.aspect)
    x = x - form.bend * rng.choice([-1.0, 1.0]) * (0.5 - t * t) if form.bend else x
    width = min(form.aspect, 1.0) * _half_width(form, t) * (1 + _outline(rng, form, x, t))
    u = x / np.maximum(width, 1e-3)  # across the body, -1..1
    inside = np.clip((1 - np.abs(u)) * width * side / 3, 0, 1) * (np.abs(t) < 1)
    uc = np.clip(u, -1, 1)
    depth = np.sqrt(np.maximum(1 - uc * uc, 0)) * width
    if form.lobes:
        depth = depth * (1 - 0.1 * np.abs(np.cos(form.lobes * 0.5 * np.arcsin(uc) + rng.uniform(0, 3))))
    normal = _normals(depth, side)
    light = np.clip(normal @ _LIGHT, 0, 1)
    albedo = _albedo(rng, organic, uc, t, side)
    shade = (0.42 + 0.7 * light)[..., None]
    half = _LIGHT + np.array([0, 0, 1], dtype=np.float32)
    spec = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** (18 + 40 * form.gloss) * form.gloss
    color = albedo * shade + 210 * spec[..., None] * rng.uniform(0.5, 1.0)
    rgba = np.empty((side, side, 4), dtype=np.uint8)
    rgba[..., :3] = np.clip(color, 0, 255)
    rgba[..., 3] = 255 * inside
    picture = Image.fromarray(rgba)
    _grow_stem(picture, rng, organic, spin, side)
    if organic.sticker is not None and rng.random() < 0.4:
        _put_sticker(picture, rng, organic.sticker, side)
    return _with_halo(picture, side)


def _half_width(form: Form, t: FloatField) -> FloatField:
    body = np.maximum(1 - np.abs(t) ** form.power, 0) ** (1 / form.power if form.power > 2 else 0.5)
    body = body * (1 - form.taper * (t + 1) / 2 if form.taper >= 0 else 1 + form.taper * (1 - t) / 2)
    if form.waist:
        body = body * (1 - form.waist / (1 + np.exp((t + 0.15) * 6)))
    result: FloatField = body.astype(np.float32)
    return result


def _outline(rng: np.random.Generator, form: Form, x: FloatField, t: FloatField) -> FloatField:
    angle = np.arctan2(x, t)
    ripple = np.zeros_like(x)
    for k in (2, 3, 5):
        ripple += np.sin(k * angle + rng.uniform(0, 6.28)) * rng.normal(0, 1) / k
    # Fades toward the axis, where the angle has no meaning and would crease the body.
    outer = np.minimum(1.5 * (x * x / min(form.aspect, 1.0) ** 2 + t * t), 1.0)
    return (form.lumps * 1.4 * ripple * outer).astype(np.float32)


def _normals(depth: FloatField, side: int) -> FloatField:
    dy, dx = np.gradient(depth * side / 2.24)
    normal = np.stack([-dx, -dy, np.ones_like(depth)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    result: FloatField = normal.astype(np.float32)
    return result


def _albedo(rng: np.random.Generator, organic: Organic, u: FloatField, t: FloatField, side: int) -> FloatField:
    skin, blush, pattern = (np.array(c, dtype=np.float32) for c in (organic.skin, organic.blush, organic.pattern))
    zoom = 160 / side
    cloud = noise_at(rng, 1.6, side, side, zoom)
    grain = noise_at(rng, 0.6, side, side, zoom)
    lon = np.arcsin(u) + rng.uniform(-0.5, 0.5)  # longitude, radians
    weight = organic.amount * _smooth(0.6 * cloud + organic.bias + rng.uniform(0.2, 0.9) * (t * rng.choice([-1, 1])))
    color = skin + (blush - skin) * weight[..., None]
    marks = np.zeros_like(u)
    kind = organic.form.skin
    if kind == "blush":
        streak = np.sin(lon * 14 + 2.5 * cloud) * 0.5 + 0.4 * grain
        marks = 0.45 * organic.amount * _smooth(2 * streak - 0.4) * weight
        pattern = blush * 0.8
    elif kind in ("speckle", "pores"):
        marks = (0.8 if kind == "speckle" else 0.25) * _smooth(4 * grain - 5 + 2 * organic.amount)
    elif kind == "bloom":
        pattern, marks = np.array((190, 190, 215), dtype=np.float32), 0.35 * _smooth(cloud + 0.4 * grain)
    elif kind == "streaks":
        marks = 0.5 * organic.amount * _smooth(np.sin(lon * 12 + cloud) + 0.5 * grain)
        pattern = skin * 1.35
    elif kind == "spots":
        marks = 0.9 * _smooth(5 * cloud + 1.5 * grain - 10 + 5 * organic.amount)
    elif kind == "rings":
        marks = 0.45 * _smooth(3 * np.sin(t * 38 + 2 * cloud + 0.8 * np.abs(u)) - 1 + grain)
        pattern = skin * 0.72
    elif kind == "earth":
        marks = 0.55 * organic.amount * _smooth(1.2 * cloud + 0.8 * grain - 0.4) + 0.5 * _smooth(6 * grain - 13)
    elif kind == "meridians":
        marks = 0.5 * _smooth(2.5 * np.sin(lon * 11 + 0.6 * cloud) + 0.4 * grain - 0.8)
        pattern = skin * 0.75
    elif kind == "net":
        marks = 0.8 * organic.amount * _smooth(3.5 - 14 * np.abs(noise_at(rng, 1.0, side, side, zoom)))
        pattern = np.array((222, 208, 170), dtype=np.float32)
    elif kind == "melon":
        marks = 0.9 * _smooth(4 * np.sin(lon * 7) + 1.6 * cloud + 1.0 * grain - 1)
        pattern = np.array((28, 62, 30), dtype=np.float32) * organic.lit
    elif kind == "fuzz":
        marks, pattern = 0.4 * _smooth(1.5 * grain), skin * 1.4
    elif kind == "rough":
        marks, pattern = 0.6 * _smooth(2.2 * noise_at(rng, 0.9, side, side, 2 * zoom)), skin * 0.45
    elif kind == "veins":
        marks = 0.6 * _smooth(6 * np.abs(np.sin(3.5 * np.arctan2(u, t + 1.3) + 0.7 * cloud)) ** 0.5 * -1 + 2.4)
        pattern = np.minimum(skin * 1.35 + 25, 255)
    elif kind == "blanched":
        color = (
            color
            + (np.array((238, 238, 218), dtype=np.float32) - color) * _smooth(6 * (t - organic.bias * 0.3))[..., None]
        )
        marks, pattern = 0.4 * _smooth(2 * np.sin(u * 9 + cloud)), skin * 0.7
    elif kind == "scales":
        marks = 0.6 * _smooth(5 * np.sin(t * 26 + 3 * np.abs(u) + cloud) - 3.4) + 0.7 * _smooth(-12 * (t + 0.72))
    elif kind == "diamonds":
        marks = 0.8 * _smooth(2 - 6 * np.minimum(np.abs(np.sin(lon * 5 + t * 10)), np.abs(np.sin(lon * 5 - t * 10))))
    elif kind == "cap":
        marks = 0.35 * _smooth(1.4 * grain + cloud)
    color = color + (pattern - color) * np.clip(marks, 0, 1)[..., None]
    result: FloatField = (color * (1 + 0.05 * grain + 0.06 * cloud)[..., None] * rng.uniform(0.86, 1.1)).astype(
        np.float32
    )
    return result


def _smooth(x: NDArray[np.floating]) -> FloatField:
    y = np.clip(0.5 + 0.5 * x, 0, 1).astype(np.float32, copy=False)
    result: FloatField = y * y * (3 - 2 * y)
    return result


def _grow_stem(picture: Image.Image, rng: np.random.Generator, organic: Organic, spin: float, side: int) -> None:
    if rng.random() >= organic.form.stem:
        return
    pen = ImageDraw.Draw(picture)
    c, s = np.cos(spin), np.sin(spin)

    def at(x: float, t: float) -> tuple[float, float]:
        return side * (0.5 + (c * x - s * t) / 2.24), side * (0.5 + (s * x + c * t) / 2.24)

    top = -0.88 * organic.length
    green = organic.form.category in ("Peppers", "Tomatoes", "Aubergines", "Zucchini", "Pineapples", "Carrots", "Beets")
    color = hsv(0.28, 0.6, rng.uniform(0.3, 0.55)) if green else hsv(0.08, 0.5, rng.uniform(0.15, 0.4))
    if organic.form.category in ("Tomatoes", "Aubergines", "Pineapples", "Pomegranates"):
        leaves = 7 if organic.form.category == "Pineapples" else 5
        reach = 0.34 * min(1.0, organic.form.aspect)
        tip = -0.25 if organic.form.category == "Pineapples" else 0.3
        leaf = color if green else organic.skin
        for k in range(leaves):
            a = (k / (leaves - 1) - 0.5) * 2.6
            pen.polygon(
                [at(-0.06, top), at(0.06, top), at(reach * np.sin(a), top + tip * np.cos(a) * 0.8)], fill=(*leaf, 255)
            )
    tip_x = rng.normal(0, 0.06)
    pen.line([at(0, top + 0.12), at(tip_x, top - 0.14)], fill=(*color, 255), width=max(2, round(side * 0.035)))


def _put_sticker(picture: Image.Image, rng: np.random.Generator, color: Color, side: int) -> None:
    pen = ImageDraw.Draw(picture)
    x, y = side * rng.uniform(0.36, 0.6, 2)
    w, h = side * 0.085, side * 0.07
    pen.ellipse([x - w, y - h, x + w, y + h], fill=(*color, 255))
    pen.ellipse([x - w * 0.6, y - h * 0.35, x + w * 0.6, y + h * 0.4], fill=(245, 245, 240, 255))


def _with_halo(picture: Image.Image, side: int) -> Image.Image:
    alpha = picture.getchannel("A")
    halo = alpha.filter(ImageFilter.BoxBlur(max(1, side // 20))).point([round(v * 0.6) for v in range(256)])
    ground = Image.new("RGBA", picture.size, (14, 10, 8, 0))
    ground.putalpha(halo)
    return Image.alpha_composite(ground, picture)


@lru_cache(maxsize=192)
def pile(organic: Organic, number: int, side: int) -> Image.Image:
    """Many items heaped, RGB, ``side`` pixels square, nearer ones larger and lower."""
    rng = chance(*organic.key, number, "pile")
    form = organic.form
    ground = Image.new("RGB", (side, side), scaled(organic.skin, float(rng.uniform(0.12, 0.3))))
    body = min(form.aspect, 1.0)
    unit = side / rng.uniform(3.0, 8.0) * (1.5 if body < 0.3 else 1.0)
    sprites = [item(organic, k, BODY).reduce(2) for k in range(SPRITES)]
    sized: dict[tuple[int, int], Image.Image] = {}
    grid = max(1, round(unit * 0.1))  # few sizes, so that most items are resized already
    depth = rng.uniform(0.0, 0.5)
    y = -unit * 0.3
    while y < side + unit * 0.5:
        near = unit * (1 - depth * (1 - max(y, 0) / side))
        x = -near * rng.uniform(0, 0.6)
        while x < side + near * 0.5:
            size = max(6, round(near * 1.18 * rng.uniform(0.88, 1.14) / grid) * grid)
            pick = int(rng.integers(SPRITES))
            small = sized.get((pick, size))
            if small is None:
                small = sprites[pick].resize((size, size), Image.Resampling.BILINEAR)
                if form.gloss < 0.4 and pick % 2:
                    small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                sized[pick, size] = small
            dx, dy = rng.normal(0, 0.12, 2) * near
            ground.paste(small, (round(x + dx - size / 2), round(y + dy - size / 2)), small)
            x += near * (0.34 + 0.46 * body) * rng.uniform(0.85, 1.12)
        y += near * (0.26 + 0.5 * body) * rng.uniform(0.82, 1.05)
    return ground
