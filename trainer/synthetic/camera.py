"""The photographer: studio pictures for the shop's catalog, phone pictures in the shop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from trainer.synthetic import scene, solids
from trainer.synthetic.chance import chance, scaled
from trainer.synthetic.design import packaged_design
from trainer.synthetic.optics import develop
from trainer.synthetic.organic import BODY, SPRITES, Organic, item, organic_design, pile
from trainer.synthetic.products import SyntheticProduct
from trainer.synthetic.solids import Pose, draw_solid, solid

_DIM = [round(v * 0.6) for v in range(256)] * 3 + [255] * 256
_BODY = [max(0, min(255, (v - 154) * 3)) for v in range(256)]


def studio_picture(product: SyntheticProduct, *, size: int = 320, view: int = 0) -> Image.Image:
    """The product alone on white, as a web shop shows it.

    Args:
        product: what to show.
        size: width and height, pixels.
        view: another number, another angle or another item.

    Returns:
        RGB, ``size`` x ``size``.
    """
    rng = chance(*product.key, view, "studio")
    ground = 255 if rng.random() < 0.8 else int(rng.integers(243, 255))
    big = Image.new("RGBA", (size * 2, size * 2), (ground, ground, ground, 255))
    if product.kind == "produce":
        _studio_produce(big, organic_design(*product.key), rng)
    else:
        design = packaged_design(*product.key)
        height = size * 2 * min(0.92, 0.92 / (design.family.width + 0.25 * design.family.depth))
        yaw = (0.38, 0.0, -0.38, 0.2)[view % 4] * float(rng.uniform(0.8, 1.2))
        turn = int(rng.integers(-1, 2)) if view else 0
        pose = Pose(yaw if design.family.kind not in solids.ROUND else 0.0, float(rng.uniform(0.03, 0.16)), 0.0, 6.0)
        quads = solid(design, _texture(size), turn)
        draw_solid(big, quads, pose, (size * 1.0, size * 1.0), height)
    return big.convert("RGB").reduce(2)


def package_front(product: SyntheticProduct, *, height: int) -> Image.Image:
    """A package from the front, a little from above, RGBA, cropped to what is seen of it."""
    rng = chance(*product.key, "front")
    pose = Pose(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(0.0, 0.1)), 0.0, 8.0)
    return _cut_out(product, pose, height, 0, height)


def _studio_produce(big: Image.Image, organic: Organic, rng: np.random.Generator) -> None:
    side = big.width
    count = 1 if organic.form.aspect > 0.5 and rng.random() < 0.6 else int(rng.integers(2, 5))
    for k in range(count):
        reach = side * (0.9 if count == 1 else 0.62)
        sprite = item(organic, (k + int(rng.integers(SPRITES))) % SPRITES, 256).resize((round(reach), round(reach)))
        # On white the halo of a pile would be a gray disc: keep the body only.
        sprite.putalpha(sprite.getchannel("A").point(_BODY))
        x, y = (0.5, 0.5) if count == 1 else rng.uniform(0.36, 0.64, 2)
        big.paste(sprite, (round(x * side - reach / 2), round(y * side - reach / 2)), sprite)


def photograph(
    product: SyntheticProduct,
    *,
    seed: int,
    size: int = 320,
    neighbors: Sequence[SyntheticProduct] = (),
    difficulty: float = 0.5,
) -> Image.Image:
    """One phone photo of the product in a shop or at home.

    Args:
        product: what to photograph.
        seed: another seed, another photo.
        size: width and height, pixels.
        neighbors: what may stand beside it; the background has its own crowd.
        difficulty: 0 is held straight in good light, 1 is crooked, covered, blurred and dark.

    Returns:
        RGB, ``size`` x ``size``.

    Raises:
        ValueError: the difficulty is outside [0, 1] or the size below 16.
    """
    if not 0.0 <= difficulty <= 1.0 or size < 16:
        raise ValueError(f"expected a difficulty in [0, 1] and a size of 16 or more, received {difficulty} and {size}")
    rng = chance(seed, *product.key, "photo")
    shot = _Shot(rng, size, difficulty)
    if product.kind == "produce":
        canvas = _produce_photo(shot, organic_design(*product.key), neighbors)
    else:
        canvas = _package_photo(shot, product, neighbors)
    return develop(canvas.convert("RGB"), rng, difficulty)


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    rng: np.random.Generator
    size: int
    difficulty: float

    def background(self) -> Image.Image:
        """A window of a scene, RGBA, somewhat out of focus, near or far."""
        place = scene.far_scene(int(self.rng.integers(scene.SCENES)), int(self.rng.integers(3)))
        reach = self.rng.uniform(0.4, 1.0) * place.width
        x, y = self.rng.uniform(0, place.width - reach, 2)
        window = place.resize((self.size, self.size), Image.Resampling.BILINEAR, box=(x, y, x + reach, y + reach))
        if self.rng.random() < 0.5:
            window = window.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return window.convert("RGBA")

    def spread(self, low: float, high: float) -> float:
        """A half-width that grows with difficulty."""
        return float(self.rng.normal(0.0, low + (high - low) * self.difficulty))


def _texture(size: int) -> int:
    """Height of the textures for pictures of a size: one for all poses, so that it is drawn once."""
    return 128 if size <= 112 else 176 if size <= 200 else 384


def _package_photo(shot: _Shot, product: SyntheticProduct, neighbors: Sequence[SyntheticProduct]) -> Image.Image:
    kind = shot.rng.random()
    if kind < 0.48:
        return _in_hand(shot, product)
    if kind < 0.78:
        return _on_shelf(shot, product, neighbors)
    return _on_surface(shot, product, neighbors)


def _in_hand(shot: _Shot, product: SyntheticProduct) -> Image.Image:
    rng, size = shot.rng, shot.size
    canvas = shot.background()
    design = packaged_design(*product.key)
    w = design.family.width
    height = size * float(rng.uniform(0.6, 0.98)) / max(1.0, w * 1.1)
    center = (size * (0.5 + shot.spread(0.02, 0.08)), size * (0.5 + shot.spread(0.02, 0.07)))
    yaw = float(rng.uniform(-0.75, 0.75)) * (0.4 + 0.6 * shot.difficulty) if rng.random() < 0.85 else 0.0
    roll = shot.spread(0.05, 0.22)
    pose = Pose(yaw, float(rng.uniform(-0.1, 0.4)), roll, float(rng.uniform(2.5, 5.0)))
    mirrored = rng.random() < 0.25
    number = int(rng.integers(24))
    reach = round(height * float(rng.uniform(0.7, 0.95)))
    edge = w * height * 0.5 * (-1 if not mirrored else 1)
    bend = float(rng.normal(0.0, 0.3))
    grip_y = center[1] + height * float(rng.uniform(-0.05, 0.3))
    spot = (center[0] + edge * 0.75, grip_y)
    if rng.random() < 0.85:
        _paste_hand(canvas, number, False, reach, spot, mirrored, bend)
    _stand(canvas, product, pose, center, height, int(rng.integers(-1, 2)), size)
    if rng.random() < 0.85:
        _paste_hand(canvas, number, True, round(reach * 0.8), (center[0] + edge * 0.62, grip_y), mirrored, bend)
    return canvas


def _paste_hand(
    canvas: Image.Image,
    number: int,
    grip: bool,
    reach: int,
    spot: tuple[float, float],
    mirrored: bool,
    roll: float = 0.0,
) -> None:
    left, right = (0.25, -0.75) if mirrored else (-0.75, 0.25)
    if mirrored:
        roll = -roll
    c, s = math.cos(roll) * reach, math.sin(roll) * reach
    ends = ((left, -0.45), (right, -0.45), (right, 0.55), (left, 0.55))
    flat = [[spot[0] + c * x - s * y, spot[1] + s * x + c * y] for x, y in ends]
    if mirrored:
        flat = [flat[1], flat[0], flat[3], flat[2]]
    mips = scene.hand(number, grip)
    if not grip:  # the arm goes on to the edge of the picture
        red, green, blue, _ = np.asarray(mips[0])[140, 2].tolist()
        wrist = (flat[0][0] + 0.86 * (flat[3][0] - flat[0][0]), flat[0][1] + 0.86 * (flat[3][1] - flat[0][1]))
        out = -1.0 if not mirrored else 1.0
        elbow = (wrist[0] + out * 1.5 * canvas.width, wrist[1] + 0.9 * canvas.width)
        ImageDraw.Draw(canvas).line([wrist, elbow], fill=(red, green, blue, 255), width=max(2, round(0.36 * reach)))
    solids.blit(canvas, mips, flat)


def _stand(
    canvas: Image.Image,
    product: SyntheticProduct,
    pose: Pose,
    center: tuple[float, float],
    height: float,
    turn: int,
    size: int,
) -> None:
    design = packaged_design(*product.key)
    quads = solid(design, _texture(size), turn)
    if design.family.kind in solids.ROUND or design.family.kind == "pouch":
        pose = Pose(pose.yaw * 0.25, pose.pitch, pose.roll, pose.distance)
    draw_solid(canvas, quads, pose, center, height)


def _on_shelf(shot: _Shot, product: SyntheticProduct, neighbors: Sequence[SyntheticProduct]) -> Image.Image:
    rng, size = shot.rng, shot.size
    canvas = shot.background().point(_DIM)
    design = packaged_design(*product.key)
    w = design.family.width
    height = size * float(rng.uniform(0.5, 0.95)) / max(1.0, w * 0.9)
    pose = Pose(shot.spread(0.08, 0.3), float(rng.uniform(-0.12, 0.35)), shot.spread(0.02, 0.1), 4.0)
    step = w * height * float(rng.uniform(1.02, 1.15)) + abs(math.sin(pose.yaw)) * design.family.depth * height * 0.6
    x0, y0 = size * float(rng.uniform(0.35, 0.65)), size * float(rng.uniform(0.42, 0.62))
    rise = math.tan(pose.roll)
    others = [n for n in neighbors if n.kind != "produce"]
    alone = rng.random() < 0.2
    sprites = {0: _cut_out(product, pose, height, int(rng.integers(-1, 2)), size)}
    for side in (-1, 1):  # what stands to the left and to the right from the second place on
        if others and rng.random() < 0.45:
            other = others[int(rng.integers(len(others)))]
            high = min(height * 1.1, step / packaged_design(*other.key).family.width)
            sprites[side] = _cut_out(other, pose, high, int(rng.integers(-1, 2)), size)
        else:
            sprites[side] = sprites[0]
    reach = min(3, math.ceil(size / step))
    rows = (-1, 0) if rng.random() < 0.4 else (0,)
    for row in rows:
        for k in sorted(range(-reach, reach + 1), key=abs, reverse=True):
            near = 1 if alone else 2
            sprite = sprites[0] if abs(k) < near else sprites[1 if k > 0 else -1]
            if alone and k != 0 and sprite is sprites[0]:
                continue
            x = x0 + k * step + (shot.spread(0.4, 1.2) if k else 0.0)
            foot = y0 + height * 0.5 + row * height * 1.25 + rise * k * step
            canvas.paste(sprite, (round(x - sprite.width / 2), round(foot - sprite.height * 0.97)), sprite)
    edge = round(size * float(rng.uniform(0.06, 0.12)))
    _shelf_edge(canvas, rng, y0 + height * 0.53, pose.roll, edge)
    return canvas


def _cut_out(product: SyntheticProduct, pose: Pose, height: float, turn: int, size: int) -> Image.Image:
    """The package alone, RGBA, cropped to what is seen of it."""
    design = packaged_design(*product.key)
    room = round(height * (1.3 + 1.3 * (design.family.width + design.family.depth)))
    canvas = Image.new("RGBA", (room, round(height * 1.7)), (24, 22, 22, 0))
    _stand(canvas, product, pose, (room / 2, canvas.height / 2), height, turn, size)
    box = canvas.getchannel("A").getbbox()
    return canvas.crop(box) if box else canvas


def _shelf_edge(canvas: Image.Image, rng: np.random.Generator, y: float, tilt: float, thick: int) -> None:
    size = canvas.width
    if y > size:
        return
    rise = math.tan(tilt) * size / 2
    color = (235, 235, 232) if rng.random() < 0.6 else scaled((120, 125, 130), float(rng.uniform(0.3, 1.6)))
    pen = ImageDraw.Draw(canvas)
    pen.polygon([(0, y - rise), (size, y + rise), (size, y + rise + thick), (0, y - rise + thick)], fill=color)
    pen.polygon(
        [(0, y - rise + thick), (size, y + rise + thick), (size, y + size), (0, y + size)], fill=scaled(color, 0.3)
    )
    for _ in range(int(rng.integers(1, 4))):
        tag = scene.price_tag(rng, round(size * rng.uniform(0.1, 0.22)))
        canvas.paste(tag, (round(rng.uniform(-0.05, 0.95) * size), round(y + thick * 0.05)))


def _on_surface(shot: _Shot, product: SyntheticProduct, neighbors: Sequence[SyntheticProduct]) -> Image.Image:
    rng, size = shot.rng, shot.size
    canvas = shot.background()
    design = packaged_design(*product.key)
    w = design.family.width
    height = size * float(rng.uniform(0.5, 1.25)) / max(1.0, w * 1.1)
    center = (size * (0.5 + shot.spread(0.03, 0.09)), size * (0.5 + shot.spread(0.03, 0.08)))
    pose = Pose(
        shot.spread(0.2, 0.5), float(rng.uniform(0.0, 0.6)), shot.spread(0.05, 0.35), float(rng.uniform(2.2, 5))
    )
    others = [n for n in neighbors if n.kind != "produce"]
    for _ in range(int(rng.integers(0, 3)) if others else 0):
        beside = others[int(rng.integers(len(others)))]
        x = center[0] + float(rng.choice([-1, 1])) * size * float(rng.uniform(0.3, 0.6))
        _stand(canvas, beside, pose, (x, center[1] - size * 0.08), height * float(rng.uniform(0.6, 0.95)), 0, size)
    shadow = Image.new("L", (16, 16))
    ImageDraw.Draw(shadow).ellipse([2, 2, 14, 13], fill=150)
    reach = (round(height * w * 1.7) + 4, round(height * 1.15) + 4)
    soft = shadow.filter(ImageFilter.BoxBlur(2)).resize(reach, Image.Resampling.BILINEAR)
    dark = (round(center[0] - reach[0] * 0.45), round(center[1] - reach[1] * 0.42))
    canvas.paste((10, 10, 12), dark, soft)
    _stand(canvas, product, pose, center, height, int(rng.integers(-1, 2)), size)
    if rng.random() < 0.25 * shot.difficulty * 2:
        _cover(canvas, rng)
    return canvas


def _cover(canvas: Image.Image, rng: np.random.Generator) -> None:
    size = canvas.width
    if rng.random() < 0.5:
        tag = scene.price_tag(rng, round(size * rng.uniform(0.15, 0.35)))
        canvas.paste(tag, (round(rng.uniform(0, 0.8) * size), round(rng.uniform(0.5, 0.95) * size)))
    else:
        reach = round(size * rng.uniform(0.5, 0.8))
        spot = (size * float(rng.uniform(0.1, 0.45)), size * float(rng.uniform(0.5, 1.0)))
        _paste_hand(canvas, int(rng.integers(24)), False, reach, spot, False)


def _produce_photo(shot: _Shot, organic: Organic, neighbors: Sequence[SyntheticProduct]) -> Image.Image:
    rng, size = shot.rng, shot.size
    kind = rng.random()
    if kind < 0.2:
        return _item_in_hand(shot, organic)
    heap = pile(organic, int(rng.integers(3)), 224)
    canvas = shot.background()
    angle, zoom = shot.spread(0.1, 0.4), float(rng.uniform(0.5, 1.0))
    c, s = math.cos(angle) * zoom * 224 / size, math.sin(angle) * zoom * 224 / size
    room = max(0.0, 224 * (1 - zoom * 1.2))
    cx, cy = 112 + rng.uniform(-0.5, 0.5) * room, 112 + rng.uniform(-0.5, 0.5) * room
    keystone = float(rng.uniform(-0.3, 0.6)) * shot.difficulty / size
    half = size / 2
    matrix = (c, -s, cx - half * (c - s), s, c, cy - half * (s + c), 0.0, keystone)
    view = heap.transform((size, size), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BILINEAR)
    if kind < 0.6:
        mask = _covered(heap.size, (size, size), matrix)
        canvas.paste(view, (0, 0), mask)
        return canvas
    # A crate among others: the heap ends at a rim.
    loose = [n for n in neighbors if n.kind == "produce" and n.key != organic.key]
    beside = pile(organic_design(*loose[int(rng.integers(len(loose)))].key), 0, 224) if loose else None
    if beside is not None:
        canvas = beside.resize((size, size), Image.Resampling.BILINEAR)
    elif rng.random() < 0.6:
        canvas = scene.crates(int(rng.integers(16))).resize((size, size), Image.Resampling.BILINEAR)
    d = rng.uniform(-0.25, 0.18, 8) * size
    corners = [(d[0], d[1]), (size - d[2], d[3]), (size - d[4], size - d[5]), (d[6], size - d[7])]
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    canvas.paste(view, (0, 0), ImageChops.darker(mask, _covered(heap.size, (size, size), matrix)))
    rim = ((28, 28, 30), (60, 90, 62), (150, 112, 70), (205, 205, 205))[int(rng.integers(4))]
    pen = ImageDraw.Draw(canvas)
    pen.line(
        [(float(x), float(y)) for x, y in [*corners, corners[0]]],
        fill=rim,
        width=max(2, round(size * rng.uniform(0.02, 0.05))),
    )
    if rng.random() < 0.35:
        tag = scene.price_tag(rng, round(size * rng.uniform(0.15, 0.4)))
        canvas.paste(tag, (round(rng.uniform(0, 0.8) * size), round(rng.choice([0.0, 0.85]) * size)))
    return canvas


def _covered(source: tuple[int, int], target: tuple[int, int], matrix: tuple[float, ...]) -> Image.Image:
    white = Image.new("L", (8, 8), 255)
    sx, sy = source[0] / 8, source[1] / 8
    a, b, c, d, e, f, g, h = matrix
    small = (a / sx, b / sx, c / sx, d / sy, e / sy, f / sy, g, h)
    return white.transform(target, Image.Transform.PERSPECTIVE, small, Image.Resampling.NEAREST)


def _item_in_hand(shot: _Shot, organic: Organic) -> Image.Image:
    rng, size = shot.rng, shot.size
    canvas = shot.background()
    reach = round(size * float(rng.uniform(0.5, 0.95)))
    sprite = item(organic, int(rng.integers(SPRITES)), BODY)
    x, y = size * float(rng.uniform(0.4, 0.65)), size * float(rng.uniform(0.4, 0.6))
    number = int(rng.integers(24))
    hand_reach = round(size * float(rng.uniform(0.8, 1.1)))
    held = (x - 0.05 * size, y + 0.2 * reach)
    _paste_hand(canvas, number, False, hand_reach, held, False)
    r = reach / 2
    solids.blit(canvas, (sprite,), [[x - r, y - r], [x + r, y - r], [x + r, y + r], [x - r, y + r]])
    if rng.random() < 0.7:
        _paste_hand(canvas, number, True, round(hand_reach * 0.7), (x - 0.2 * reach, y + 0.25 * reach), False)
    return canvas
