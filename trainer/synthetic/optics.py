"""From the scene to the file: light, lens, sensor, JPEG. Mostly table look-ups, to be fast."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from trainer.synthetic.chance import chance

_GRID = 12
_RAMP = np.linspace(0, 1, 256)[None, :]


def develop(canvas: Image.Image, rng: np.random.Generator, difficulty: float) -> Image.Image:
    """A phone photo of a drawn scene.

    Args:
        canvas: RGB; not changed.
        rng: where the chance comes from.
        difficulty: 0..1; scales shadows, glare, blur, noise and compression.
    """
    image = ImageChops.multiply(canvas, _light(rng, difficulty, canvas.size))
    if rng.random() < 0.15 + 0.35 * difficulty:
        image = ImageChops.screen(image, _glare(rng, difficulty, canvas.size))
    image = _blurred(image, rng, difficulty)
    image = image.convert("RGB", _saturation(rng, difficulty))
    image = image.point(_tone(rng, difficulty, _brightness(image)))
    if rng.random() < 0.35:  # phones sharpen
        image = image.filter(ImageFilter.SHARPEN)
    image = _noisy(image, rng, difficulty)
    return _compressed(image, rng, difficulty)


def _light(rng: np.random.Generator, difficulty: float, size: tuple[int, int]) -> Image.Image:
    """Fall-off across the picture, vignetting and a soft shadow, as a factor of 255."""
    axis = np.linspace(-1, 1, _GRID)
    x, y = axis[None, :], axis[:, None]
    direction = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.15 + 0.35 * difficulty)
    gain = 1 + slope * (x * np.cos(direction) + y * np.sin(direction) - 1.0)
    gain = gain - rng.uniform(0, 0.15) * (x * x + y * y) / 2
    if rng.random() < 0.3 * difficulty * 2:
        a, at = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6)
        edge = (x * np.cos(a) + y * np.sin(a) - at) * rng.uniform(2, 6)
        gain = gain * (1 - rng.uniform(0.15, 0.45) / (1 + np.exp(-np.clip(edge, -30, 30))))
    small = np.clip(255 * gain, 20, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)] * 3)


def _glare(rng: np.random.Generator, difficulty: float, size: tuple[int, int]) -> Image.Image:
    side = 32
    axis = np.linspace(-1, 1, side)
    x, y = axis[None, :], axis[:, None]
    light = np.zeros((side, side))
    for _ in range(int(rng.integers(1, 3))):
        a, cx, cy = rng.uniform(0, np.pi), *rng.uniform(-0.7, 0.7, 2)
        along = (x - cx) * np.cos(a) + (y - cy) * np.sin(a)
        across = (y - cy) * np.cos(a) - (x - cx) * np.sin(a)
        light += np.exp(-((along / rng.uniform(0.2, 0.9)) ** 2) - (across / rng.uniform(0.04, 0.2)) ** 2)
    level = np.clip(255 * light * rng.uniform(0.2, 0.4 + 0.5 * difficulty), 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(level).resize(size, Image.Resampling.BICUBIC)] * 3)


def _blurred(image: Image.Image, rng: np.random.Generator, difficulty: float) -> Image.Image:
    unit = image.width / 160
    kind = rng.random()
    if kind < 0.15 + 0.2 * difficulty:
        radius = rng.uniform(0.2, 0.4 + 1.0 * difficulty) * unit
        return image.filter(ImageFilter.BoxBlur(float(radius)))
    if kind < 0.2 + 0.35 * difficulty:
        # Two halvings of the smear: the mean of four copies along its line.
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 1.6 + 2.2 * difficulty) * unit
        for step in (length / 3, 2 * length / 3):
            shifted = image.copy()
            shifted.paste(image, (round(step * np.cos(angle)), round(step * np.sin(angle))))
            image = Image.blend(image, shifted, 0.5)
    return image


def _brightness(image: Image.Image) -> float:
    """Between the means of all channels and of the brightest, 0..1: what the exposure meter sees."""
    mean = np.asarray(image.resize((1, 1), Image.Resampling.BOX, reducing_gap=2.0))[0, 0].astype(np.float64) / 255
    return float(0.5 * mean.mean() + 0.42 * mean.max())


def _saturation(rng: np.random.Generator, difficulty: float) -> tuple[float, ...]:
    """A color matrix (3 x 4, row by row) that moves colors away from gray, or toward it."""
    s = float(np.exp(rng.normal(0.12, 0.08 + 0.12 * difficulty)))
    r, g, b = (w * (1 - s) for w in (0.299, 0.587, 0.114))
    return (r + s, g, b, 0, r, g + s, b, 0, r, g, b + s, 0)


def _tone(rng: np.random.Generator, difficulty: float, brightness: float) -> list[int]:
    """Exposure, contrast and white balance as one table of 3 x 256.

    The phone brings most of the way what it sees to a medium brightness, as real ones do.
    """
    automatic = (0.44 / max(brightness, 0.08)) ** rng.uniform(0.4, 0.9)
    exposure = float(np.clip(automatic, 0.6, 2.6)) * np.exp(rng.normal(0.0, 0.05 + 0.14 * difficulty))
    contrast = np.exp(rng.normal(0.06, 0.06 + 0.1 * difficulty))
    gamma = np.exp(rng.normal(0.0, 0.05 + 0.08 * difficulty))
    warmth = rng.normal(0.09, 0.04 + 0.08 * difficulty)
    tint = rng.normal(0.0, 0.01 + 0.03 * difficulty)
    black = rng.uniform(0, 12)
    balance = np.array([1 + warmth, 1 + tint, 1 - warmth])
    y = (_RAMP * (exposure * balance)[:, None]) ** gamma  # (3, 256)
    y = 0.45 + (y - 0.45) * contrast
    y = np.where(y > 0.72, 0.72 + 0.28 * np.tanh((y - 0.72) / 0.28), y)  # highlights roll off
    table: list[int] = np.clip(black + y * (255 - black), 0, 255).astype(np.uint8).ravel().tolist()
    return table


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.int16]:
    """Sensor noise of standard deviation 16, shape (512, 512, 3)."""
    return np.round(16 * chance("grain").standard_normal((512, 512, 3))).astype(np.int16)


def _noisy(image: Image.Image, rng: np.random.Generator, difficulty: float) -> Image.Image:
    strength = int(rng.uniform(-3, 3 + 12 * difficulty))  # of 16: the noise's standard deviation, 0..255
    w, h = image.size
    if strength <= 0 or max(w, h) > 512:
        return image
    y, x = int(rng.integers(0, 513 - h)), int(rng.integers(0, 513 - w))
    pixels = np.asarray(image) + ((_grain()[y : y + h, x : x + w] * strength) >> 4)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _compressed(image: Image.Image, rng: np.random.Generator, difficulty: float) -> Image.Image:
    if rng.random() < 0.35:
        return image
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(round(85 - 55 * difficulty), 95)))
    buffer.seek(0)
    with Image.open(buffer) as compressed:
        return compressed.convert("RGB")
