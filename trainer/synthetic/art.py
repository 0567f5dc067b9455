"""The flat art of a package: what is printed on its front, its side, and around a bottle."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from trainer.synthetic.chance import FIELD, Color, chance, luma, mix, noise, readable_on, scaled
from trainer.synthetic.design import Design, Family
from trainer.synthetic.forms import FORMS
from trainer.synthetic.marks import Box, Sheet, illustration, logo
from trainer.synthetic.organic import Organic, item

_SUPER = 2
_FRUIT = {
    "Apple": "Apples",
    "Pear": "Pears",
    "Peach": "Peaches",
    "Mango": "Mangos",
    "Orange": "Citrus",
    "Lemon": "Lemons",
    "Lime": "Lemons",
    "Red Grapefruit": "Citrus",
    "Tomato": "Tomatoes",
    "Paprika": "Peppers",
    "Chili": "Peppers",
    "Cherry": "Plums",
    "Onion": "Onions",
    "Garlic": "Garlic",
    "Mushroom": "Mushrooms",
    "Strawberry": "Plums",
}

# Places of (brand, item, flavor, picture, size) on the face, as left, top, right, bottom.
_PLACES: dict[str, tuple[Box, Box, Box, Box, Box]] = {
    "classic": (
        (0.12, 0.05, 0.88, 0.22),
        (0.08, 0.24, 0.92, 0.38),
        (0.14, 0.39, 0.86, 0.47),
        (0.08, 0.5, 0.92, 0.92),
        (0.62, 0.93, 0.96, 0.985),
    ),
    "band": (
        (0.15, 0.04, 0.85, 0.16),
        (0.06, 0.46, 0.94, 0.6),
        (0.1, 0.61, 0.9, 0.69),
        (0.1, 0.17, 0.9, 0.44),
        (0.3, 0.9, 0.7, 0.96),
    ),
    "hero": (
        (0.06, 0.05, 0.94, 0.27),
        (0.1, 0.28, 0.9, 0.37),
        (0.1, 0.38, 0.9, 0.45),
        (-0.1, 0.46, 1.1, 1.02),
        (0.05, 0.93, 0.35, 0.985),
    ),
    "vertical": (
        (0.5, 0.05, 0.95, 0.16),
        (0.06, 0.06, 0.42, 0.94),
        (0.48, 0.2, 0.96, 0.28),
        (0.42, 0.32, 1.0, 0.84),
        (0.6, 0.9, 0.95, 0.96),
    ),
    "label": (
        (0.2, 0.22, 0.8, 0.36),
        (0.17, 0.37, 0.83, 0.48),
        (0.2, 0.5, 0.8, 0.58),
        (0.25, 0.59, 0.75, 0.78),
        (0.35, 0.92, 0.65, 0.97),
    ),
    "poster": (
        (0.28, 0.03, 0.72, 0.12),
        (0.05, 0.14, 0.95, 0.5),
        (0.05, 0.5, 0.95, 0.7),
        (0.55, 0.72, 0.98, 0.98),
        (0.06, 0.86, 0.45, 0.97),
    ),
    "corner": (
        (0.05, 0.04, 0.55, 0.18),
        (0.06, 0.74, 0.94, 0.87),
        (0.06, 0.88, 0.7, 0.95),
        (0.06, 0.2, 0.98, 0.72),
        (0.7, 0.04, 0.95, 0.12),
    ),
    "stack": (
        (0.08, 0.06, 0.92, 0.2),
        (0.08, 0.21, 0.92, 0.35),
        (0.08, 0.36, 0.92, 0.5),
        (0.15, 0.56, 0.85, 0.9),
        (0.08, 0.51, 0.5, 0.56),
    ),
}


@lru_cache(maxsize=768)
def front(design: Design, height: int) -> Image.Image:
    """The front face, RGB, ``height`` pixels high and as wide as the package."""
    family = design.family
    sheet = Sheet(max(16, round(height * family.width)) * _SUPER, height * _SUPER, design.base)
    _background(sheet, design)
    _print_front(sheet, design)
    return sheet.image.reduce(_SUPER)


@lru_cache(maxsize=512)
def side(design: Design, height: int) -> Image.Image:
    """A side face with fine print, a table and a bar code, RGB."""
    family = design.family
    rng = chance(*family.key, "side")
    sheet = Sheet(max(12, round(height * family.depth)) * _SUPER, height * _SUPER, mix(design.base, design.second, 0.1))
    if family.background in ("split", "wave", "diagonal", "gradient"):
        _background(sheet, design)
    ink = readable_on(design.base, scaled(design.accent, 0.6))
    brand, item_style, _ = family.lettering
    tall = family.depth < 0.55
    sheet.text(family.brand, (0.1, 0.04, 0.9, 0.12), brand, readable_on(design.base, family.logo_color))
    if tall and rng.random() < 0.4:
        sheet.text(f"{family.item} {design.flavor}", (0.12, 0.15, 0.45, 0.9), item_style, ink, turned=True)
        sheet.fine_print(rng, (0.52, 0.16, 0.94, 0.7), ink, 0.02)
    else:
        sheet.text(design.flavor, (0.1, 0.13, 0.9, 0.18), item_style, ink)
        sheet.fine_print(rng, (0.08, 0.2, 0.92, 0.4), ink, 0.02)
        sheet.table(rng, (0.1, 0.43, 0.9, 0.68), ink)
    if rng.random() < 0.6:
        sheet.paste(_picture(design), (0.15, 0.7, 0.85, 0.86))
    sheet.bar_code(rng, (0.15, 0.87, 0.85, 0.97))
    return sheet.image.reduce(_SUPER)


@lru_cache(maxsize=256)
def wrap(design: Design, height: int) -> Image.Image:
    """What goes around a round package, RGB: the front in the middle, small print to both sides.

    The width covers the whole turn, so the visible half is the middle half.
    """
    face = front(design, height)
    around = Image.new("RGB", (round(face.width * 2.6), height), design.base)
    flank = side(design, height).resize((max(8, round(face.width * 0.7)), height))
    middle = (around.width - face.width) // 2
    back = Sheet(around.width, height, design.base)
    _background(back, design)
    around.paste(back.image)
    around.paste(face, (middle, 0))
    around.paste(flank, (middle + face.width + 2, 0))
    around.paste(flank, (middle - flank.width - 2, 0))
    return around


def _background(sheet: Sheet, design: Design) -> None:
    family = design.family
    rng = chance(*family.key, "background")
    base, second, accent = design.base, design.second, design.accent
    kind = family.background
    level = float(rng.uniform(0.3, 0.7))
    w, h = sheet.width, sheet.height
    if kind in ("gradient", "photo"):
        _gradient(
            sheet, base, second if kind == "gradient" and rng.random() < 0.4 else scaled(base, rng.uniform(0.4, 1.5))
        )
    elif kind == "split":
        sheet.rectangle((0, level, 1, 1), second)
    elif kind == "wave":
        xs = np.linspace(0, 1, 30)
        turns, phase = rng.uniform(0.4, 1.6), rng.uniform(0, 6.28)
        for k, color in enumerate((mix(second, (255, 255, 255), 0.4), second)):
            ys = level + 0.06 * k + 0.07 * np.sin(6.28 * turns * xs + phase)
            sheet.polygon([*zip(xs.tolist(), ys.tolist(), strict=True), (1.0, 1.0), (0.0, 1.0)], color)
    elif kind == "diagonal":
        sheet.polygon([(0, level + 0.2), (1, level - 0.2), (1, 1), (0, 1)], second)
        sheet.polygon([(0, level + 0.2), (1, level - 0.2), (1, level - 0.16), (0, level + 0.24)], accent)
    elif kind == "stripes":
        count = int(rng.integers(3, 12))
        tone = mix(base, second, rng.uniform(0.15, 0.9))
        upright = rng.random() < 0.6
        for k in range(0, 2 * count, 2):
            a, b = k / (2 * count), (k + 1) / (2 * count)
            sheet.rectangle((a, 0, b, 1) if upright else (0, a, 1, b), tone)
    elif kind == "dots":
        step = w / rng.uniform(4, 12)
        tone, r = mix(base, second, rng.uniform(0.2, 0.9)), step * rng.uniform(0.15, 0.4)
        for row in range(int(h / step) + 1):
            for column in range(int(w / step) + 1):
                x, y = (column + 0.5 * (row % 2)) * step, row * step
                sheet.pen.ellipse([x - r, y - r, x + r, y + r], fill=tone)
    elif kind == "rays":
        tone, count = mix(base, second, rng.uniform(0.15, 0.6)), int(rng.integers(8, 20))
        for k in range(count):
            a, b = 6.2832 * k / count, 6.2832 * (k + 0.5) / count
            sheet.polygon(
                [
                    (0.5, level),
                    (0.5 + 2 * np.cos(a), level + 2 * np.sin(a)),
                    (0.5 + 2 * np.cos(b), level + 2 * np.sin(b)),
                ],
                tone,
            )
    elif kind == "frame":
        sheet.rectangle((0.04, 0.025, 0.96, 0.975), second, 0.06)
        sheet.rectangle((0.07, 0.045, 0.93, 0.955), base, 0.06)
    elif kind == "panel":
        sheet.rectangle((0, level - 0.2, 1, level + 0.2), second)
    if kind == "photo" or rng.random() < 0.15:
        _clouds(sheet, rng, second)


def _gradient(sheet: Sheet, top: Color, bottom: Color) -> None:
    ramp = Image.linear_gradient("L").resize(sheet.image.size)
    sheet.image.paste(Image.new("RGB", sheet.image.size, bottom), (0, 0), ramp)


def _clouds(sheet: Sheet, rng: np.random.Generator, color: Color) -> None:
    field = noise(int(rng.integers(6)), 1.6)
    shift = rng.integers(0, FIELD, 2)
    veil = np.clip(70 + 90 * np.roll(field, tuple(shift), (0, 1)), 0, 190).astype(np.uint8)
    mask = Image.fromarray(veil).resize(sheet.image.size, Image.Resampling.BILINEAR)
    sheet.image.paste(Image.new("RGB", sheet.image.size, color), (0, 0), mask)


def _print_front(sheet: Sheet, design: Design) -> None:
    family = design.family
    rng = chance(*family.key, "layout")
    wide = family.width > 1.1
    shake = rng.uniform(-0.025, 0.025, (5, 2))
    brand_box, item_box, flavor_box, picture_box, size_box = (
        _moved(box, float(dx), float(dy)) for box, (dx, dy) in zip(_PLACES[family.layout], shake, strict=True)
    )
    if wide:
        brand_box, item_box, flavor_box, picture_box, size_box = (
            (0.05, 0.08, 0.55, 0.34),
            (0.05, 0.36, 0.58, 0.66),
            (0.05, 0.68, 0.55, 0.84),
            (0.58, 0.08, 0.98, 0.94),
            (0.05, 0.86, 0.3, 0.96),
        )
        if family.layout in ("label", "stack", "hero"):
            brand_box, picture_box = (0.3, 0.06, 0.7, 0.34), (0.72, 0.1, 0.99, 0.9)
            item_box, flavor_box = (0.2, 0.36, 0.72, 0.64), (0.25, 0.66, 0.7, 0.82)
    brand_style, item_style, small_style = family.lettering
    ground = design.base
    if family.layout == "label":
        plate = mix(design.second, (255, 255, 255), 0.75) if luma(design.base) < 150 else scaled(design.second, 0.6)
        sheet.rectangle((0.1, 0.17, 0.9, 0.82), plate, float(rng.uniform(0, 0.5)))
        ground = plate
    elif family.layout == "band":
        sheet.rectangle((0, item_box[1] - 0.03, 1, flavor_box[3] + 0.02), design.accent)
        ground = design.accent
    for k in range(design.stripes):
        top = 0.965 - 0.028 * (k + 1) if rng.random() < 0.5 else 0.005 + 0.028 * k
        sheet.rectangle((0, top, 1, top + 0.016), design.accent)
    picture = _picture(design)
    grow = family.illustration_scale
    cx, cy = (picture_box[0] + picture_box[2]) / 2, (picture_box[1] + picture_box[3]) / 2
    hw, hh = (picture_box[2] - picture_box[0]) / 2 * grow, (picture_box[3] - picture_box[1]) / 2 * grow
    if family.layout in ("hero", "classic", "stack") and rng.random() < 0.4:
        _splash(sheet, rng, (cx, cy), mix(design.accent, (255, 255, 255), 0.5))
    if hh > 0.3 and family.width < 0.5 and rng.random() < 0.7:
        sheet.paste(picture, (cx - hw, cy - hh, cx + hw * 0.7, cy + hh * 0.1))
        sheet.paste(picture, (cx - hw * 0.5, cy - hh * 0.1, cx + hw, cy + hh))
    else:
        sheet.paste(picture, (cx - hw, cy - hh, cx + hw, cy + hh))
    plate_on_face = family.layout in ("label", "band")
    under_brand = ground if family.layout == "label" else _ground_at(sheet, brand_box)
    under_item = ground if plate_on_face else _ground_at(sheet, item_box)
    if family.logo != "none":
        mark = logo(family.logo, family.key, family.logo_color, readable_on(family.logo_color, design.second))
        if family.logo == "pill":
            sheet.rectangle(_moved(brand_box, 0, 0), family.logo_color, 0.5)
            under_brand = family.logo_color
        else:
            spot = brand_box[:2] if rng.random() < 0.5 else (0.72, 0.78)
            sheet.paste(mark, (spot[0] - 0.06, spot[1], spot[0] + 0.26, spot[1] + 0.16 * max(family.width, 0.5)))
    sheet.text(family.brand, brand_box, brand_style, readable_on(under_brand, family.logo_color))
    words = family.item.split(" ", 1)
    ink = readable_on(under_item, scaled(design.accent, 0.7) if family.changes != "picture" else family.logo_color)
    if family.layout == "vertical" and not wide:
        sheet.text(family.item, item_box, item_style, ink, turned=True)
    elif len(words) == 2 and family.width < 0.9:
        middle = (item_box[1] + item_box[3]) / 2
        sheet.text(words[0], (item_box[0], item_box[1], item_box[2], middle), item_style, ink)
        sheet.text(words[1], (item_box[0], middle, item_box[2], item_box[3]), item_style, ink)
    else:
        sheet.text(family.item, item_box, item_style, ink)
    under_flavor = ground if plate_on_face else _ground_at(sheet, flavor_box)
    if rng.random() < 0.3 and not plate_on_face:
        sheet.rectangle(flavor_box, design.accent, 0.4)
        under_flavor = design.accent
        flavor_box = (flavor_box[0] + 0.03, flavor_box[1] + 0.008, flavor_box[2] - 0.03, flavor_box[3] - 0.008)
    sheet.text(design.flavor, flavor_box, small_style, readable_on(under_flavor, design.accent))
    sheet.text(design.size, size_box, small_style, readable_on(_ground_at(sheet, size_box), design.accent))
    _claims(sheet, design, rng)


def _claims(sheet: Sheet, design: Design, rng: np.random.Generator) -> None:
    family = design.family
    if rng.random() < 0.55:
        x, y = rng.uniform(0.05, 0.65), rng.uniform(0.3, 0.75)
        tall = 0.3 * family.width
        badge = design.second if rng.random() < 0.5 else design.accent
        sheet.ellipse((x, y, x + 0.3, y + tall), badge)
        sheet.text(
            family.claims[0],
            (x + 0.04, y + tall * 0.35, x + 0.26, y + tall * 0.65),
            family.lettering[2],
            readable_on(badge, (255, 255, 255)),
        )
    for k, claim in enumerate(family.claims[1 : 1 + int(rng.integers(3))]):
        y = rng.uniform(0.45, 0.9)
        box = (0.05 + 0.1 * k, y, 0.6, y + 0.025)
        sheet.text(claim, box, family.lettering[2], readable_on(_ground_at(sheet, box), family.logo_color), "left")


def _splash(sheet: Sheet, rng: np.random.Generator, center: tuple[float, float], color: Color) -> None:
    angles = np.linspace(0, 2 * np.pi, 40)
    radius = 0.3 + 0.05 * np.sin(3 * angles + rng.uniform(0, 6)) + 0.05 * np.sin(7 * angles + rng.uniform(0, 6))
    xs, ys = center[0] + 1.3 * radius * np.cos(angles), center[1] + 0.55 * radius * np.sin(angles)
    sheet.polygon(list(zip(xs.tolist(), ys.tolist(), strict=True)), color)


def _picture(design: Design) -> Image.Image:
    family = design.family
    fruit = _FRUIT.get(design.flavor)
    if family.organic_picture and fruit is not None and family.changes != "words":
        return item(_printed_fruit(design, fruit), 0, 128)
    return illustration(design.illustration, design.accent, family.key)


def _printed_fruit(design: Design, category: str) -> Organic:
    form = next(f for f in FORMS if f.category == category)
    return Organic(
        key=(*design.family.key, 0),
        form=form,
        grower="",
        cultivar="",
        skin=design.accent,
        blush=scaled(design.accent, 0.8),
        pattern=scaled(design.accent, 0.6),
        amount=0.5,
        bias=0.0,
        lit=1.0,
        length=1.0,
        sticker=None,
    )


def _moved(box: Box, dx: float, dy: float) -> Box:
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


def _ground_at(sheet: Sheet, box: Box) -> Color:
    """The mean color under a box, so that ink can be chosen to be read on it."""
    x0, y0, x1, y1 = sheet.pixels(box)
    x0, y0 = min(max(x0, 0), sheet.width - 2), min(max(y0, 0), sheet.height - 2)
    region = sheet.image.crop((x0, y0, max(x0 + 1, min(x1, sheet.width)), max(y0 + 1, min(y1, sheet.height))))
    red, green, blue = np.asarray(region.resize((1, 1), Image.Resampling.BOX))[0, 0]
    return int(red), int(green), int(blue)


def packaging_color(family: Family, design: Design) -> Color:
    """The color of unprinted parts: roofs, folds, lids."""
    return mix(design.base, (255, 255, 255) if luma(design.base) > 90 else design.second, 0.15)
