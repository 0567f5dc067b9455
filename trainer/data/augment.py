"""Views: what a second photo of the same thing could have looked like, made from one picture.

One affine map (crop, zoom, turn, stretch), then light, color, sensor noise and a covered
patch. Colors move little: which color a package has is half of what tells it from its twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_NOISE_SCALE = 32
_NOISE_SHIFTS = 64


@dataclass(frozen=True, slots=True)
class Views:
    """How far a view may be from its picture.

    Attributes:
        zoom: smallest and largest side of the cut-out, relative to the picture's side.
        stretch: largest ratio by which the cut-out's width and height may differ.
        turn: standard deviation of the rotation, degrees.
        brightness: standard deviation of log brightness.
        contrast: standard deviation of log contrast.
        saturation: standard deviation of log saturation.
        white_balance: standard deviation of each channel's log gain.
        noise: largest standard deviation of sensor noise, of 255; a third of the views has none.
        mirror: share of views that are mirrored.
        cover: share of views in which a patch is covered.
        bars: share of views with white bars on two sides, as `fit="pad"` gives to pictures that are not square.
    """

    zoom: tuple[float, float] = (0.65, 1.05)
    stretch: float = 1.2
    turn: float = 6.0
    brightness: float = 0.2
    contrast: float = 0.15
    saturation: float = 0.15
    white_balance: float = 0.05
    noise: float = 8.0
    mirror: float = 0.0
    cover: float = 0.25
    bars: float = 0.1


def make_views(pictures: NDArray[np.uint8], *, size: int, rng: np.random.Generator, views: Views) -> NDArray[np.uint8]:
    """One random view of each picture.

    Args:
        pictures: RGB, uint8, shape (n, h, w, 3).
        size: height and width of the views, pixels.
        rng: where the chance comes from.
        views: how far they may go.

    Returns:
        RGB, uint8, shape (n, size, size, 3).
    """
    cut = np.stack([_cut_out(picture, size, rng, views) for picture in pictures])
    return _relight(cut, rng, views)


def _cut_out(picture: NDArray[np.uint8], size: int, rng: np.random.Generator, views: Views) -> NDArray[np.uint8]:
    from PIL import Image

    height, width = picture.shape[:2]
    side = rng.uniform(*views.zoom)
    ratio = np.exp(rng.uniform(-0.5, 0.5) * np.log(views.stretch))
    cut_width, cut_height = side * width * ratio, side * height / ratio
    center_x = width / 2 + rng.uniform(-0.5, 0.5) * abs(width - cut_width)
    center_y = height / 2 + rng.uniform(-0.5, 0.5) * abs(height - cut_height)
    angle = np.deg2rad(rng.normal(0.0, views.turn))
    flip = -1.0 if rng.random() < views.mirror else 1.0
    a, b = flip * np.cos(angle) * cut_width / size, -np.sin(angle) * cut_height / size
    c, d = flip * np.sin(angle) * cut_width / size, np.cos(angle) * cut_height / size
    half = size / 2
    matrix = (a, b, center_x - a * half - b * half, c, d, center_y - c * half - d * half)
    red, green, blue = (int(v) for v in picture[rng.integers(height), rng.integers(width)])
    view = Image.fromarray(picture).transform(
        (size, size),
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=(red, green, blue),
    )
    pixels = np.array(view)
    if rng.random() < views.cover:
        patch_height, patch_width = (int(size * rng.uniform(0.1, 0.4)) for _ in range(2))
        top = rng.integers(size - patch_height)
        left = rng.integers(size - patch_width)
        pixels[top : top + patch_height, left : left + patch_width] = rng.integers(0, 256, 3)
    if rng.random() < views.bars:
        bar = int(size * rng.uniform(0.05, 0.2))
        sides = pixels if rng.random() < 0.5 else pixels.transpose(1, 0, 2)
        sides[:bar] = sides[size - bar :] = 255
    return pixels


def _relight(pixels: NDArray[np.uint8], rng: np.random.Generator, views: Views) -> NDArray[np.uint8]:
    """Light, color and noise in whole numbers: one color matrix and one addition a picture.

    Beside the affine map they cost next to nothing (`benchmarks/augment.py`).
    """
    from PIL import Image

    height, width = pixels.shape[1:3]
    field = _noise_field(height, width)
    out = np.empty_like(pixels)
    for source, target in zip(pixels, out, strict=True):
        saturation = np.exp(rng.normal(0.0, views.saturation))
        contrast = np.exp(rng.normal(0.0, views.contrast))
        gain = np.exp(rng.normal(0.0, views.brightness) + rng.normal(0.0, views.white_balance, 3))
        sigma = round(max(rng.uniform(-0.5, 1.0), 0.0) * views.noise * _NOISE_SCALE)
        down, right = rng.integers(0, _NOISE_SHIFTS, 2)
        # gain * (mean + contrast * (saturated - mean)), with saturated = gray + saturation * (x - gray)
        mix = (1.0 - saturation) / 3.0 + saturation * np.eye(3)
        mean = mix @ source[::4, ::4].reshape(-1, 3).mean(axis=0)
        matrix = np.column_stack([gain[:, None] * contrast * mix, gain * (1.0 - contrast) * mean])
        lit = Image.fromarray(source).convert("RGB", tuple(matrix.ravel().tolist()))
        if sigma:
            noise = field[down : down + height, right : right + width] * np.int32(sigma)
            noise //= _NOISE_SCALE**2
            noise += np.asarray(lit)
            np.clip(noise, 0, 255, out=noise)
            target[...] = noise
        else:
            target[...] = lit
    return out


@lru_cache(maxsize=4)
def _noise_field(height: int, width: int) -> NDArray[np.int32]:
    """One field of normal noise, seen through a window at a random place: fresh draws would cost more than all else."""
    shape = (height + _NOISE_SHIFTS, width + _NOISE_SHIFTS, 3)
    normal = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return np.rint(normal * _NOISE_SCALE).astype(np.int32)
