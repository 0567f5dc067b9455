"""Packages as solids: textured quads in space, seen through a pinhole.

Units: the package is 1 high and stands around the origin; x goes right, y down, z toward
the camera. Round packages are drawn once for each turn and stand as one upright quad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from trainer.synthetic import art
from trainer.synthetic.chance import Color, chance, luma, mix, noise_at, scaled
from trainer.synthetic.design import Design

Points = NDArray[np.float64]
ROUND = ("bottle", "jar", "can", "tin", "tub", "cup", "tube")


@dataclass(frozen=True, slots=True, eq=False)
class Quad:
    """A textured rectangle in space.

    Attributes:
        corners: top left, top right, bottom right, bottom left, shape (4, 3).
        mips: its print in RGBA, each picture half as large as the one before.
        flat: is always seen (a billboard), even when it faces away.
    """

    corners: Points
    mips: tuple[Image.Image, ...]
    flat: bool = False


def _quad(corners: Points, texture: Image.Image, shade: float = 1.0, flat: bool = False) -> Quad:
    """A quad whose print is ``shade`` times as bright, under the shop's light from above."""
    if shade != 1.0:
        table = [min(255, round(v * shade)) for v in range(256)]
        texture = texture.point(table * 3 + list(range(256)))
    mips = [texture]
    while min(mips[-1].size) > 24:  # bilinear sampling below half size would alias
        mips.append(mips[-1].reduce(2))
    return Quad(corners, tuple(mips), flat)


@dataclass(frozen=True, slots=True)
class Pose:
    """How the camera sees the package: angles in radians, distance in package heights."""

    yaw: float
    pitch: float
    roll: float
    distance: float = 4.0


def draw_solid(
    canvas: Image.Image, quads: tuple[Quad, ...], pose: Pose, center: tuple[float, float], height: float
) -> None:
    """Draw onto an RGBA canvas.

    Args:
        canvas: changed in place.
        quads: from back to front.
        pose: of the camera.
        center: where the package's middle comes to lie, pixels.
        height: of the package, pixels.
    """
    corners = np.concatenate([quad.corners for quad in quads]) @ _rotation(pose).T
    depth = pose.distance / np.maximum(pose.distance - corners[:, 2], 0.2)
    flat = (corners[:, :2] * (depth[:, None] * height) + center).tolist()
    for k, quad in enumerate(quads):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = ends = flat[4 * k : 4 * k + 4]
        # Twice the signed area: positive when the corners run clockwise, that is, face the camera.
        if quad.flat or (cx - ax) * (dy - by) - (dx - bx) * (cy - ay) > 2.0:
            blit(canvas, quad.mips, ends)


def _rotation(pose: Pose) -> Points:
    cy, sy, cp, sp, cr, sr = (f(a) for a in (pose.yaw, pose.pitch, pose.roll) for f in (math.cos, math.sin))
    # roll (about z) after pitch (about x) after yaw (about y)
    return np.array(
        [
            [cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy],
            [sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy],
            [-cp * sy, sp, cp * cy],
        ]
    )


def blit(canvas: Image.Image, mips: tuple[Image.Image, ...], flat: list[list[float]]) -> None:
    """Warp a picture onto four corners of an RGBA canvas.

    Args:
        canvas: changed in place.
        mips: the picture in RGBA, each half as large as the one before.
        flat: its top left, top right, bottom right and bottom left corner, pixels.
    """
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = flat
    x0, y0 = max(math.floor(min(ax, bx, cx, dx)) - 1, 0), max(math.floor(min(ay, by, cy, dy)) - 1, 0)
    x1 = min(math.ceil(max(ax, bx, cx, dx)) + 1, canvas.width)
    y1 = min(math.ceil(max(ay, by, cy, dy)) + 1, canvas.height)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    texture = mips[0]
    scale = max(math.hypot(bx - ax, by - ay) / texture.width, math.hypot(dx - ax, dy - ay) / texture.height)
    level = min(max(0, round(-math.log2(max(scale, 1e-3)))), len(mips) - 1)
    texture = mips[level]
    coefficients = homography([(x - x0, y - y0) for x, y in flat], texture.size)
    if coefficients is None:
        return
    patch = texture.transform((x1 - x0, y1 - y0), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    canvas.paste(patch, (x0, y0), patch)


def homography(corners: Sequence[Sequence[float]], size: tuple[int, int]) -> list[float] | None:
    """The eight coefficients that Pillow's perspective transform wants.

    The unit square's map onto a quadrilateral (Heckbert 1989, section 2.2.3), inverted.

    Args:
        corners: where the texture's corners lie in the result, clockwise from its top left, pixels.
        size: the texture's width and height, pixels.

    Returns:
        None if the quadrilateral has no area.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    dx1, dx2, dx3 = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, dy3 = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    det = dx1 * dy2 - dx2 * dy1
    if abs(det) < 1e-6:
        return None
    g, h = (dx3 * dy2 - dx2 * dy3) / det, (dx1 * dy3 - dx3 * dy1) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    w, t = size
    low = a * e - b * d
    if abs(low) < 1e-6:
        return None
    rows = (
        (w * (e - f * h), w * (c * h - b), w * (b * f - c * e)),
        (t * (f * g - d), t * (a - c * g), t * (c * d - a * f)),
        (d * h - e * g, b * g - a * h, low),
    )
    return [v / low for row in rows for v in row][:8]


def _solid(texture: Image.Image) -> Image.Image:
    """Opaque with a transparent rim of its own color, so that warped edges are smooth."""
    rgba = texture.convert("RGBA")
    alpha = Image.new("L", rgba.size, 255)
    ImageDraw.Draw(alpha).rectangle([0, 0, rgba.width - 1, rgba.height - 1], outline=60)
    rgba.putalpha(alpha)
    return rgba


def _face(
    center: tuple[float, float, float], right: tuple[float, float, float], down: tuple[float, float, float]
) -> Points:
    c, r, d = np.array(center), np.array(right), np.array(down)
    return np.stack([c - r - d, c + r - d, c + r + d, c - r + d])


@lru_cache(maxsize=512)
def solid(design: Design, height: int, turn: int = 0) -> tuple[Quad, ...]:
    """The quads of a package, from back to front.

    Args:
        design: what it looks like.
        height: pixels of its front texture.
        turn: for round packages: how far it is turned, -1..1 steps; other shapes ignore it.
    """
    if design.family.kind in ROUND:
        return (_round(design, height, turn),)
    if design.family.kind in ("pouch",):
        return (_pouch(design, height),)
    return tuple(_cuboid(design, height))


def _cuboid(design: Design, height: int) -> list[Quad]:
    family = design.family
    rng = chance(*family.key, "solid")
    front, side = _solid(art.front(design, height)), _solid(art.side(design, height))
    color = art.packaging_color(family, design)
    w, d = family.width / 2, family.depth / 2
    gable = family.kind == "gable"
    roof = float(rng.uniform(0.12, 0.2)) if gable else 0.0
    top = -0.5 + roof
    half, middle = (0.5 - top) / 2, (0.5 + top) / 2
    quads = [
        _quad(_face((-w, middle, 0), (0, 0, d), (0, half, 0)), side, 0.8),
        _quad(_face((w, middle, 0), (0, 0, -d), (0, half, 0)), side, 0.72),
    ]
    if gable:
        quads += _gable(design, color, w, d, top, roof, height)
    else:
        lid = Image.new("RGB", (max(8, round(height * family.width)), max(8, round(height * family.depth))), color)
        lid.paste(art.front(design, height).resize(lid.size), (0, 0), Image.new("L", lid.size, 90))
        quads.append(_quad(_face((0, -0.5, 0), (w, 0, 0), (0, 0, d)), _solid(lid), 1.08))
    quads.append(_quad(_face((0, middle, d), (w, 0, 0), (0, half, 0)), front, 1.0))
    if (gable and rng.random() < 0.75) or (family.kind == "brick" and rng.random() < 0.6):
        z = d * 0.5 if gable else 0.0
        y = top - roof * 0.62 if gable else -0.53
        quads.append(_cap(design, float(rng.choice([0.0, 0.0, -w / 3])), y, z, w * float(rng.uniform(0.3, 0.5))))
    return quads


def _gable(design: Design, color: Color, w: float, d: float, top: float, roof: float, height: int) -> list[Quad]:
    slope = art.front(design, height).crop((0, 0, max(8, round(height * w * 2)), max(8, round(height * 0.2))))
    rng = chance(*design.family.key, "roof")
    plain = Image.new("RGB", slope.size, scaled(color, 0.97))
    tinted = (
        Image.blend(slope, plain, 0.75)
        if rng.random() < 0.5
        else Image.new("RGB", slope.size, design.accent if rng.random() < 0.4 else color)
    )
    ridge = top - roof * 0.72
    front = np.array([(-w, ridge, 0.0), (w, ridge, 0.0), (w, top, d), (-w, top, d)])
    left = np.array([(-w, ridge, 0.0), (-w, ridge, 0.0), (-w, top, d), (-w, top, -d)])
    right = np.array([(w, ridge, 0.0), (w, ridge, 0.0), (w, top, -d), (w, top, d)])
    left[0, 2], left[1, 2] = -0.02, 0.02
    right[0, 2], right[1, 2] = 0.02, -0.02
    fin = np.array([(-w, top - roof, 0.0), (w, top - roof, 0.0), (w, ridge, 0.0), (-w, ridge, 0.0)])
    gray = _solid(Image.new("RGB", (12, 12), scaled(color, 0.9)))
    return [
        _quad(left, gray, 0.72),
        _quad(right, gray, 0.66),
        _quad(fin, _solid(Image.new("RGB", (24, 8), color)), 0.94, flat=True),
        _quad(front, _solid(tinted), 1.1),
    ]


def _cap(design: Design, x: float, y: float, z: float, r: float) -> Quad:
    tile = Image.new("RGBA", (48, 40), (*design.cap, 0))
    pen = ImageDraw.Draw(tile)
    pen.rectangle([2, 12, 45, 28], fill=(*scaled(design.cap, 0.8), 255))
    pen.ellipse([2, 18, 45, 38], fill=(*scaled(design.cap, 0.8), 255))
    for k in range(5, 44, 5):
        pen.line([k, 16, k, 34], fill=(*scaled(design.cap, 0.68), 255))
    pen.ellipse([2, 2, 45, 22], fill=(*mix(design.cap, (255, 255, 255), 0.12), 255))
    return _quad(_face((x, y, z), (r, 0, 0), (0, r * 0.83, 0)), tile, 1.0, flat=True)


def _pouch(design: Design, height: int) -> Quad:
    rng = chance(*design.family.key, "pouch")
    face = np.asarray(art.front(design, height)).astype(np.float32)
    h, w = face.shape[:2]
    t, s = np.linspace(0, 1, h), np.linspace(-1, 1, w)
    bulge = np.sin(np.pi * np.clip((t - 0.04) / 0.92, 0, 1)) ** 0.5
    ends = float(rng.uniform(0.86, 0.97))
    half = ends + (1 - ends) * (1 - bulge) + 0.01 * np.sin(t * 40)
    u = s[None, :] / half[:, None]
    creases = noise_at(rng, 1.4, h, w, 128 / h)
    shine = 0.3 * np.exp(-(((u + 0.45 + 0.05 * creases) / 0.14) ** 2)) * (0.4 + design.family.gloss)
    seal = (t < 0.055) | (t > 0.955)
    light = (0.62 + 0.42 * np.sqrt(np.clip(1 - u * u, 0, 1)) + 0.1 * creases + shine) * np.where(seal, 0.9, 1.0)[
        :, None
    ]
    light[seal] *= 1 + 0.12 * np.sin(np.arange(w) * 1.6)[None, :]
    rgba = np.empty((h, w, 4), dtype=np.uint8)
    rgba[..., :3] = np.clip(face * light[..., None] + 60 * shine[..., None], 0, 255)
    rgba[..., 3] = 255 * np.clip((1 - np.abs(u)) * w / 3, 0, 1)
    half_width = design.family.width / 2
    return _quad(_face((0, 0, 0), (half_width, 0, 0), (0, 0.5, 0)), Image.fromarray(rgba), 1.0, flat=True)


def _profile(
    design: Design, t: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Relative radius by height (0 top, 1 bottom), where the cap is, where the label is."""
    kind = design.family.kind
    rng = chance(*design.family.key, "profile")
    radius, cap, label = np.ones_like(t), np.zeros_like(t, dtype=bool), np.ones_like(t, dtype=bool)
    if kind == "bottle":
        neck, shoulder, mouth = rng.uniform(0.08, 0.14), rng.uniform(0.28, 0.5), rng.uniform(0.28, 0.5)
        rise = np.clip((t - neck) / (shoulder - neck), 0, 1)
        radius = mouth + (1 - mouth) * (0.5 - 0.5 * np.cos(np.pi * rise)) ** rng.uniform(0.5, 1.0)
        radius *= 1 - rng.uniform(0, 0.08) * np.exp(-(((t - 0.65) / 0.08) ** 2))
        cap, label = t < neck, (t > shoulder - 0.02) & (t < rng.uniform(0.88, 1.01))
    elif kind == "jar":
        lid = rng.uniform(0.13, 0.2)
        radius = np.where(t < lid, 0.95, 1 - 0.12 * np.exp(-(((t - lid) / 0.05) ** 2)))
        cap, label = t < lid, (t > lid + 0.1) & (t < 0.93)
    elif kind in ("can", "tin"):
        rim = 0.05 if kind == "can" else 0.12
        radius = 1 - 0.1 * np.clip(1 - t / rim, 0, 1) - 0.1 * np.clip(1 - (1 - t) / (rim / 1.5), 0, 1)
        cap, label = t < rim * 0.6, (t > rim * 0.6) & (t < 1 - rim * 0.35)
    elif kind in ("tub", "cup"):
        taper, lid = rng.uniform(0.08, 0.28), rng.uniform(0.05, 0.14)
        radius = np.where(t < lid, 1.0, 0.97 - taper * t)
        cap = t < lid
        label = ~cap
    elif kind == "tube":
        cap, label = (t < 0.06) | (t > 0.97), (t >= 0.06) & (t <= 0.97)
    return radius, cap, label


def _round(design: Design, height: int, turn: int) -> Quad:
    """A body of revolution: column x shows the wrap at longitude arcsin(x / radius)."""
    family = design.family
    texture = np.asarray(art.wrap(design, height)).astype(np.float32)
    rng = chance(*family.key, "round")
    h = height
    w = max(12, round(height * family.width))
    sag = 0.05 * family.width  # the camera looks slightly down: circles show as ellipses
    t, s = np.linspace(0, 1, h), np.linspace(-1, 1, w)
    tt = t[:, None] - sag * (np.sqrt(np.clip(1 - s * s, 0, 1))[None, :] - 1) - sag
    radius, cap, label = _profile(design, np.clip(tt, 0, 1).ravel())
    radius, cap, label = radius.reshape(h, w), cap.reshape(h, w), label.reshape(h, w)
    u = np.clip(s[None, :] / radius, -1, 1)
    longitude = np.arcsin(u)
    columns = (0.5 + (longitude + turn * 0.28) / (2 * np.pi)) % 1.0
    # The printed span of the label fills its own height, whatever the profile leaves for it.
    rows = np.clip(tt, 0, 1)
    if family.kind in ("bottle", "jar"):
        spans = np.flatnonzero(label[:, w // 2])
        low, high = (spans[0] / h, spans[-1] / h) if spans.size else (0.0, 1.0)
        rows = np.clip((tt - low) / max(high - low, 0.1), 0, 1)
    color = texture[(rows * (h - 1)).astype(np.intp), (columns * (texture.shape[1] - 1)).astype(np.intp)]
    bare = np.array(
        design.second if family.kind == "bottle" else design.accent if family.kind == "jar" else (196, 198, 202),
        dtype=np.float32,
    )
    if family.kind in ("tub", "cup", "tube"):
        bare = np.array(design.base, dtype=np.float32)
    color[~label] = bare
    color[cap] = np.array((200, 202, 206) if family.kind in ("can", "tin") else design.cap, dtype=np.float32)
    across = np.cos(longitude)
    side = float(rng.uniform(-0.5, 0.5))
    light = 0.45 + 0.5 * across + 0.1 * np.sin(longitude + side)
    glint = np.exp(-(((u + 0.5) / 0.09) ** 2)) + 0.5 * np.exp(-(((u - 0.62) / 0.05) ** 2))
    strength = 70 * (0.25 + family.gloss) * (1.6 if family.kind in ("can", "bottle", "jar") else 0.6)
    if luma(design.base) > 200:
        strength *= 0.5
    light[cap] *= 1 + 0.06 * np.sin(longitude[cap] * 40)
    rgba = np.empty((h, w, 4), dtype=np.uint8)
    rgba[..., :3] = np.clip(color * light[..., None] + strength * glint[..., None], 0, 255)
    edge = np.clip((radius - np.abs(s)[None, :]) * w / 2.5, 0, 1)
    rgba[..., 3] = 255 * edge * np.clip((1 - np.abs(tt - 0.5) * 2) * h / 2, 0, 1)
    picture = Image.fromarray(rgba)
    return _quad(_face((0, 0, 0), (family.width / 2, 0, 0), (0, 0.5, 0)), picture, 1.0, flat=True)
