"""Photos of shelves, and where each product stands in them.

A wall of rows is laid out flat: facings of a product side by side, other products between, price tags before their
feet, here and there one that stands before another. The wall is seen from a little aside, then the photo is blurred,
noisy and compressed. Any pictures of fronts will do, drawn or real.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trainer.synthetic import scene, solids
from trainer.synthetic.camera import package_front
from trainer.synthetic.chance import chance
from trainer.synthetic.products import SyntheticProduct

_WIDER = 1.25
"""How much larger the wall is than the photo: its edges lie outside."""
_UNKNOWN_SHARE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """A product as it stands on a shelf.

    Attributes:
        product_id: which; empty for one that no catalog has.
        picture: RGBA, cropped to what is seen of it.
    """

    product_id: str
    picture: Image.Image


@dataclass(frozen=True, slots=True)
class Standing:
    """One item of a shelf photo.

    Attributes:
        product_id: which; empty for one that no catalog has.
        quad: its corners in the photo, pixels, clockwise from its upper left.
        visible: part of it that nothing covers and that lies within the photo, in [0, 1].
        row: counted from the top.
        height: pixels in the photo.
    """

    product_id: str
    quad: tuple[tuple[float, float], ...]
    visible: float
    row: int
    height: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        xs, ys = zip(*self.quad, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """A photo of a shelf.

    Attributes:
        photo: RGB.
        items: what stands in it, those of no catalog included.
        blur: its standard deviation, pixels.
    """

    photo: Image.Image
    items: tuple[Standing, ...]
    blur: float


def fronts_of(products: Sequence[SyntheticProduct], *, height: int = 320) -> list[Front]:
    """Drawn packages seen from the front; loose produce is left out.

    Args:
        products: which.
        height: pixels.
    """
    return [
        Front(product.product_id, package_front(product, height=height))
        for product in products
        if product.kind != "produce"
    ]


def draw_shelf(
    fronts: Sequence[Front],
    others: Sequence[Front],
    *,
    seed: int,
    size: tuple[int, int] = (1280, 960),
    rows: int = 3,
    blur: float = 0.0,
    tilt: float = 0.5,
) -> Shelf:
    """A photo of a shelf on which some products stand; the same for the same arguments.

    Args:
        fronts: products of the catalog.
        others: products that it does not have; their ``product_id`` does not matter.
        seed: of everything by chance.
        size: of the photo, (width, height), pixels.
        rows: of products.
        blur: standard deviation, pixels of the photo.
        tilt: how far from straight ahead the camera looks, 0 to 1.
    """
    rng = chance(seed, "shelf")
    wide, high = (round(side * _WIDER) for side in size)
    wall = scene.shelf_wall(int(rng.integers(24))).resize((wide, high)).filter(ImageFilter.GaussianBlur(6))
    owner = np.full((high, wide), -1, np.int32)
    placed: list[tuple[str, tuple[int, int, int, int], int]] = []
    pitch = high / rows
    for row in range(rows):
        floor = round(pitch * (row + 0.9))
        x = float(rng.uniform(-0.1, 0.02)) * wide
        while x < wide:
            unknown = bool(others) and rng.random() < _UNKNOWN_SHARE
            pool = others if unknown else fronts
            front = pool[int(rng.integers(len(pool)))]
            tall = pitch * float(rng.uniform(0.6, 0.8))
            for _ in range(int(rng.integers(1, 5))):
                if x > wide:
                    break
                x += _put(wall, owner, placed, front, "" if unknown else front.product_id, (x, floor), tall, row, rng)
            x += float(rng.uniform(0.0, 0.02)) * wide
        _edge(wall, owner, rng, floor, pitch)
    return _photographed(wall, owner, placed, rng, size, blur, tilt)


def _put(
    wall: Image.Image,
    owner: np.ndarray,
    placed: list[tuple[str, tuple[int, int, int, int], int]],
    front: Front,
    name: str,
    foot: tuple[float, int],
    tall: float,
    row: int,
    rng: np.random.Generator,
) -> float:
    """Stand one item on a row; how far the next one is."""
    tall = tall * float(rng.uniform(0.97, 1.03))
    item = front.picture.resize(
        (max(4, round(front.picture.width * tall / front.picture.height)), max(4, round(tall))),
        Image.Resampling.LANCZOS,
    )
    turned = item.rotate(float(rng.normal(0, 1.2)), Image.Resampling.BICUBIC, expand=True)
    left, top = round(foot[0]), round(foot[1] - turned.height + rng.uniform(-2, 3))
    wall.paste(turned, (left, top), turned)
    number = len(placed)
    mask = np.asarray(turned.getchannel("A")) > 127
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(owner.shape[0], top + turned.height), min(owner.shape[1], left + turned.width)
    if y1 > y0 and x1 > x0:
        owner[y0:y1, x0:x1][mask[y0 - top : y1 - top, x0 - left : x1 - left]] = number
    placed.append((name, (left, top, left + turned.width, top + turned.height), row))
    return turned.width * float(rng.uniform(1.0, 1.05) if rng.random() < 0.85 else rng.uniform(0.65, 0.95))


def _edge(wall: Image.Image, owner: np.ndarray, rng: np.random.Generator, floor: int, pitch: float) -> None:
    """The front of a shelf, with price tags that cover a little of what stands on it."""
    thick = max(4, round(pitch * 0.09))
    pen = ImageDraw.Draw(wall)
    pen.rectangle([0, floor, wall.width, floor + thick], fill=(236, 236, 233))
    pen.rectangle([0, floor + thick, wall.width, floor + round(pitch * 0.13)], fill=(30, 30, 32))
    owner[floor : floor + round(pitch * 0.13)] = -1
    x = float(rng.uniform(0, pitch * 0.4))
    while x < wall.width:
        tag = scene.price_tag(rng, round(pitch * rng.uniform(0.18, 0.3)))
        top = floor - round(tag.height * float(rng.uniform(0.0, 0.35)))
        wall.paste(tag, (round(x), top))
        owner[max(0, top) : top + tag.height, round(x) : round(x) + tag.width] = -1
        x += pitch * float(rng.uniform(0.4, 1.1))


def _photographed(
    wall: Image.Image,
    owner: np.ndarray,
    placed: Sequence[tuple[str, tuple[int, int, int, int], int]],
    rng: np.random.Generator,
    size: tuple[int, int],
    blur: float,
    tilt: float,
) -> Shelf:
    width, height = size
    margin = (_WIDER - 1) / 2
    d = rng.uniform(-1, 1, 8) * margin * 0.5 * tilt
    ends = [(d[0], d[1]), (1 + d[2], d[3]), (1 + d[4], 1 + d[5]), (d[6], 1 + d[7])]
    corners = [((x * _WIDER - margin) * width, (y * _WIDER - margin) * height) for x, y in ends]
    coefficients = solids.homography(corners, wall.size)
    assert coefficients is not None
    photo = wall.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    to_wall = np.array([*coefficients, 1.0]).reshape(3, 3)
    to_photo = np.linalg.inv(to_wall)
    owners = Image.fromarray(owner).transform(
        size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.NEAREST, fillcolor=-1
    )
    seen = np.bincount(np.asarray(owners).ravel() + 1, minlength=len(placed) + 1)[1:]
    items = []
    for number, (name, (left, top, right, bottom), row) in enumerate(placed):
        ends3 = np.array([(left, top, 1), (right, top, 1), (right, bottom, 1), (left, bottom, 1)], float) @ to_photo.T
        quad = ends3[:, :2] / ends3[:, 2:]
        x, y = quad[:, 0], quad[:, 1]
        area = 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
        visible = float(seen[number]) / max(area, 1.0)
        if visible > 0.02:
            high = math.dist(quad[0], quad[3])
            items.append(Standing(name, tuple((float(a), float(b)) for a, b in quad), min(1.0, visible), row, high))
    return Shelf(_developed(photo, rng, blur), tuple(items), blur)


def _developed(photo: Image.Image, rng: np.random.Generator, blur: float) -> Image.Image:
    """Light that falls off, blur, noise, JPEG."""
    pixels = np.asarray(photo, np.float32)
    high, wide = pixels.shape[:2]
    across = np.linspace(-1, 1, wide, dtype=np.float32)[None, :, None]
    down = np.linspace(-1, 1, high, dtype=np.float32)[:, None, None]
    light = 1.0 + float(rng.uniform(-0.2, 0.2)) * across + float(rng.uniform(-0.2, 0.2)) * down
    tint = np.array([rng.uniform(0.92, 1.08), 1.0, rng.uniform(0.9, 1.08)], np.float32)
    pixels = np.clip(pixels * light * tint * float(rng.uniform(0.75, 1.1)), 0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    noise = rng.normal(0, 3.0, (high, wide, 1)).astype(np.float32)
    image = Image.fromarray(np.clip(np.asarray(image, np.float32) + noise, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(70, 92)))
    file.seek(0)
    with Image.open(file) as compressed:
        return compressed.convert("RGB")
