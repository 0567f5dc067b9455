"""What lies behind and before the product: shelves, floors, crates, tables, hands, price tags."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trainer.synthetic import solids
from trainer.synthetic.chance import Color, chance, hsv, mix, noise_at, scaled
from trainer.synthetic.design import is_produce, packaged_design, packaged_family
from trainer.synthetic.marks import PLAIN, word_mask
from trainer.synthetic.organic import Organic, organic_design, organic_family, pile

SCENES = 96
SIDE = 256
_EXTRAS = 990_000_007
"""The seed of the products that only ever stand in the background."""
_CROWD = 45


@lru_cache(maxsize=128)
def _extra(number: int) -> Image.Image:
    """A package of the background crowd, RGBA, 96 pixels high."""
    family, variant = _packaged(number)
    design = packaged_design(_EXTRAS, family, variant)
    height = 96
    canvas = Image.new("RGBA", (round(height * max(design.family.width, 0.3) * 1.35) + 8, height + 24), (20, 20, 20, 0))
    solids.draw_solid(
        canvas,
        solids.solid(design, height),
        solids.Pose(0.12, 0.12, 0.0),
        (canvas.width / 2, canvas.height / 2),
        height,
    )
    box = canvas.getchannel("A").getbbox()
    return canvas.crop(box) if box else canvas


def _packaged(number: int) -> tuple[int, int]:
    family = number // 2
    while is_produce(_EXTRAS, family):
        family += _CROWD + 1
    return family, number % 2 % packaged_family(_EXTRAS, family).variants


def _loose(number: int) -> Organic:
    family = 100_000 + number
    return organic_design(_EXTRAS, family, number % organic_family(_EXTRAS, family).variants)


@lru_cache(maxsize=40)
def shelf_wall(number: int) -> Image.Image:
    """A wall of shelves full of products seen from the front, RGB, 320 x 320 pixels."""
    rng = chance(number, "wall")
    side = 320
    cold = rng.random() < 0.5
    back: Color = (205, 208, 208) if cold and rng.random() < 0.5 else (42, 42, 46)
    wall = Image.new("RGB", (side, side), back)
    pen = ImageDraw.Draw(wall)
    rows = int(rng.integers(3, 6))
    pitch = side / rows
    for row in range(rows + 1):
        floor = round(pitch * (row + 1) - pitch * 0.12)
        x = -float(rng.uniform(0, 30))
        while x < side:
            product = _extra(int(rng.integers(2 * _CROWD)))
            high = pitch * float(rng.uniform(0.55, 0.82))
            high = min(high, pitch * 0.8)
            size = (max(4, round(product.width * high / product.height)), round(high))
            small = product.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5)
            for _ in range(int(rng.integers(2, 6))):
                wall.paste(small, (round(x), floor - size[1]), small)
                x += size[0] * float(rng.uniform(1.0, 1.06))
                if x > side:
                    break
            x += float(rng.uniform(0, 5))
        edge: Color = (238, 238, 235) if rng.random() < 0.7 else hsv(rng.random(), 0.6, 0.6)
        thick = max(3, round(pitch * 0.11))
        pen.rectangle([0, floor, side, floor + thick], fill=edge)
        for tag_x in range(int(rng.integers(0, 30)), side, int(rng.integers(30, 55))):
            _tag(wall, rng, (tag_x, floor - 1, tag_x + 20, floor + thick))
        pen.rectangle([0, floor + thick, side, floor + thick + round(pitch * 0.05)], fill=scaled(back, 0.5))
    return wall


def _tag(image: Image.Image, rng: np.random.Generator, box: tuple[int, int, int, int]) -> None:
    pen = ImageDraw.Draw(image)
    color: Color = ((252, 252, 250), (252, 226, 70), (225, 40, 40))[int(rng.choice([0, 0, 0, 1, 1, 2]))]
    pen.rectangle(box, fill=color)
    mask = word_mask(f"{int(rng.integers(5, 99))}.{int(rng.integers(0, 99)):02d}", PLAIN)
    size = (max(2, round((box[2] - box[0]) * 0.7)), max(2, round((box[3] - box[1]) * 0.6)))
    ink: Color = (255, 255, 255) if color[1] < 100 else (15, 15, 15)
    image.paste(ink, (box[0] + 2, box[1] + 1), mask.resize(size, Image.Resampling.BOX, reducing_gap=1.2))


@lru_cache(maxsize=16)
def _floor(number: int) -> Image.Image:
    rng = chance(number, "floor")
    side = 256
    base = np.array(hsv(rng.uniform(0.05, 0.14), rng.uniform(0.02, 0.18), rng.uniform(0.55, 0.85)), dtype=np.float32)
    grain = 6 * noise_at(rng, 0.8, side, side) + 5 * noise_at(rng, 2.0, side, side)
    floor = Image.fromarray(np.clip(base + grain[..., None], 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(floor)
    step = int(rng.integers(32, 80))
    line = scaled((int(base[0]), int(base[1]), int(base[2])), rng.uniform(0.75, 0.92))
    for k in range(0, side, step):
        pen.line([k, 0, k, side], fill=line, width=2)
        pen.line([0, k, side, k], fill=line, width=2)
    return floor


@lru_cache(maxsize=16)
def _table(number: int) -> Image.Image:
    rng = chance(number, "table")
    side = 256
    base = hsv(rng.uniform(0.04, 0.13), rng.uniform(0.05, 0.65), rng.uniform(0.25, 0.95))
    if rng.random() < 0.3:
        base = hsv(rng.random(), rng.uniform(0, 0.4), rng.uniform(0.3, 0.95))
    fine = noise_at(rng, 1.2, side, side)
    wood = rng.random() < 0.6
    if wood:
        fine = np.repeat(fine[:, :16], 16, axis=1) * 0.7 + 0.3 * fine
    pixels = np.array(base, dtype=np.float32) * (1 + 0.09 * fine)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@lru_cache(maxsize=24)
def crates(number: int) -> Image.Image:
    """Crates of produce from above, RGB, 256 pixels square."""
    rng = chance(number, "crates")
    image = Image.new("RGB", (SIDE, SIDE), (40, 36, 34))
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    w, h = SIDE // columns, SIDE // rows
    pen = ImageDraw.Draw(image)
    rim: Color = ((30, 30, 32), (62, 88, 60), (150, 112, 70), (30, 60, 120))[int(rng.integers(4))]
    for row in range(rows):
        for column in range(columns):
            heap = pile(_loose(int(rng.integers(24))), int(rng.integers(2)), 192)
            x, y = column * w, row * h
            image.paste(heap.resize((max(w, h), max(w, h))).crop((0, 0, w, h)), (x, y))
            pen.rectangle([x, y, x + w - 1, y + h - 1], outline=rim, width=int(rng.integers(3, 9)))
            if rng.random() < 0.3:
                _tag(image, rng, (x + w // 3, y + h - 24, x + w // 3 + 40, y + h - 4))
    return image


@lru_cache(maxsize=SCENES)
def scene(number: int) -> Image.Image:
    """A place in a shop or at home without the product, RGB, 256 pixels square."""
    rng = chance(number, "scene")
    kind = rng.random()
    image = Image.new("RGB", (SIDE, SIDE), hsv(rng.random(), 0.1, rng.uniform(0.2, 0.8)))
    if kind < 0.45:  # an aisle: floor below, shelves to one side
        _lay(image, _floor(int(rng.integers(8))), rng, tilt=0.6)
        left = bool(rng.random() < 0.5)
        near, far = float(rng.uniform(-0.2, 0.3)), float(rng.uniform(0.4, 0.9))
        top, bottom = float(rng.uniform(-0.6, 0.2)), float(rng.uniform(0.8, 1.5))
        corners = [(far, -0.1), (1.3, top - 0.2), (1.3, bottom), (near + 0.3, 0.75)]
        if left:
            corners = [(1 - x, y) for x, y in (corners[1], corners[0], corners[3], corners[2])]
        _hang(image, shelf_wall(int(rng.integers(24))), corners)
    elif kind < 0.65:  # straight at shelves
        d = rng.uniform(-0.35, 0.15, 8)
        _hang(
            image,
            shelf_wall(int(rng.integers(24))),
            [(d[0], d[1]), (1 - d[2], d[3]), (1 - d[4], 1 - d[5]), (d[6], 1 - d[7])],
        )
    elif kind < 0.82:  # produce
        d = rng.uniform(-0.5, 0.0, 8)
        _hang(
            image,
            crates(int(rng.integers(16))),
            [(d[0], d[1]), (1 - d[2], d[3]), (1 - d[4], 1 - d[5]), (d[6], 1 - d[7])],
        )
    elif kind < 0.9:
        _lay(image, _floor(int(rng.integers(8))), rng, tilt=float(rng.uniform(0.0, 0.5)))
    else:
        _lay(image, _table(int(rng.integers(12))), rng, tilt=float(rng.uniform(0.0, 0.6)))
    if rng.random() < 0.3:
        _glass_door(image, rng)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def _lay(image: Image.Image, texture: Image.Image, rng: np.random.Generator, tilt: float) -> None:
    a = float(rng.uniform(-0.3, 0.3))
    _hang(
        image,
        texture,
        [(0.0 + tilt * 0.1, -0.3 + a), (1.0 - tilt * 0.1, -0.3 - a), (1.4 + tilt, 1.4), (-0.4 - tilt, 1.4)],
    )


def _hang(image: Image.Image, texture: Image.Image, corners: list[tuple[float, float]]) -> None:
    target = [(float(x) * SIDE, float(y) * SIDE) for x, y in corners]
    coefficients = solids.homography(target, texture.size)
    if coefficients is None:
        return
    patch = texture.transform(image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).polygon(target, fill=255)
    image.paste(patch, (0, 0), mask)


@lru_cache(maxsize=2 * SCENES)
def far_scene(number: int, level: int) -> Image.Image:
    """A scene 1, 2 or 4 times smaller: enlarged again it looks out of focus, for next to nothing."""
    return scene(number).reduce(2**level) if level else scene(number)


def _glass_door(image: Image.Image, rng: np.random.Generator) -> None:
    veil = Image.new("RGB", image.size, (235, 238, 240))
    mask = Image.new("L", image.size)
    pen = ImageDraw.Draw(mask)
    x, lean = float(rng.uniform(20, 236)), float(rng.uniform(-90, 90))
    for offset, width, strength in ((0, rng.uniform(4, 12), 255), (24, rng.uniform(10, 60), 45)):
        pen.line([x + offset, -5, x + offset + lean, 261], fill=strength, width=int(width))
    image.paste(veil, (0, 0), mask)


@lru_cache(maxsize=48)
def hand(number: int, grip: bool) -> tuple[Image.Image, ...]:
    """Fingers (``grip``) or palm and wrist of a hand that comes from the left, RGBA.

    The held thing's edge is at the right quarter of the square.

    Returns:
        160, 80 and 40 pixels square.
    """
    rng = chance(number, "hand")
    side = 160
    axis = np.linspace(0, 1, side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    height = np.zeros((side, side), dtype=np.float32)
    lift = float(rng.uniform(-0.08, 0.08))
    bones: list[tuple[float, float, float, float, float]] = []
    if grip:  # the thumb, and sometimes finger tips below it
        bones.append((0.2, 0.5 + lift, 0.62, 0.42 + lift + rng.uniform(-0.1, 0.1), 0.085))
        bones.append((0.62, 0.42 + lift, rng.uniform(0.8, 0.97), 0.36 + lift + rng.uniform(-0.08, 0.1), 0.07))
    else:
        bones.append((-0.4, 0.98 + lift, 0.25, 0.62 + lift, 0.2))
        bones.append((0.2, 0.6 + lift, 0.6, 0.58 + lift, 0.21))
        bones.extend((0.5, 0.5 + lift + 0.11 * k, 0.93, 0.47 + lift + 0.12 * k, 0.07) for k in range(4))
    for x0, y0, x1, y1, r in bones:
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        off = r * r - (x - x0 - along * dx) ** 2 - (y - y0 - along * dy) ** 2
        height = np.maximum(height, np.sqrt(np.maximum(off, 0)))
    gy, gx = np.gradient(height * side)
    light = np.clip((0.75 - 0.35 * gx - 0.5 * gy) / np.sqrt(gx * gx + gy * gy + 1), 0, 1)
    tone = mix(hsv(0.055, 0.42, 0.9), hsv(0.06, 0.6, 0.38), float(rng.beta(1.2, 2.2)))
    skin = np.array(tone, dtype=np.float32) * (1 + 0.05 * noise_at(rng, 1.0, side, side))[..., None]
    if not grip and rng.random() < 0.4:  # a sleeve
        cuff = x + 0.3 * y < rng.uniform(0.15, 0.4)
        skin[cuff] = np.array(hsv(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.1, 0.7)))
    rgba = np.empty((side, side, 4), dtype=np.uint8)
    rgba[..., :3] = np.clip(skin * (0.4 + 0.72 * light)[..., None], 0, 255)
    rgba[..., 3] = 255 * np.clip(height * side / 5, 0, 1)
    picture = Image.fromarray(rgba)
    if grip:
        pen = ImageDraw.Draw(picture)
        x1, y1 = bones[-1][2] * side, bones[-1][3] * side
        pen.ellipse([x1 - 7, y1 - 7, x1 + 9, y1 + 4], fill=mix(tone, (255, 225, 215), 0.5))
    picture = picture.filter(ImageFilter.SMOOTH)
    return picture, picture.reduce(2), picture.reduce(4)


def price_tag(rng: np.random.Generator, width: int) -> Image.Image:
    """A price tag, RGB."""
    tag = Image.new("RGB", (max(12, width), max(8, round(width * 0.55))), (255, 255, 255))
    _tag(tag, rng, (0, 0, tag.width, tag.height))
    return tag
