"""Where every drawing gets its chance from: keyed generators, fields of noise, colors."""

from __future__ import annotations

import colorsys
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
FloatField = NDArray[np.float32]
FIELD = 256
"""Side of the noise fields, pixels; they tile."""


def chance(*key: int | str) -> np.random.Generator:
    """A generator that depends on its key only, never on process, order or platform."""
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


@lru_cache(maxsize=32)
def noise(index: int, roughness: float) -> FloatField:
    """A field of 1/f noise that tiles, mean 0, standard deviation 1, shape (256, 256).

    Args:
        index: which of the fields.
        roughness: amplitude falls as ``f ** -roughness``: 0.6 is grainy, 2 is cloudy.
    """
    white = chance("noise", index).standard_normal((FIELD, FIELD))
    f = np.hypot(np.fft.fftfreq(FIELD)[:, None], np.fft.fftfreq(FIELD)[None, :])
    f[0, 0] = 1.0
    spectrum = np.fft.fft2(white) * f**-roughness
    spectrum[0, 0] = 0.0
    field = np.fft.ifft2(spectrum).real
    scaled: FloatField = (field / field.std()).astype(np.float32)
    return scaled


def noise_at(rng: np.random.Generator, roughness: float, height: int, width: int, zoom: float = 1.0) -> FloatField:
    """A random window of a noise field, shape (height, width); ``zoom`` > 1 shows finer detail."""
    field = noise(int(rng.integers(6)), roughness)
    rows = (int(rng.integers(FIELD)) + np.arange(height) * zoom).astype(np.intp) % FIELD
    columns = (int(rng.integers(FIELD)) + np.arange(width) * zoom).astype(np.intp) % FIELD
    window: FloatField = field[rows[:, None], columns[None, :]]
    return window


def hsv(h: float, s: float, v: float) -> Color:
    """RGB, 0..255, of a hue in turns with saturation and value in [0, 1]."""
    r, g, b = colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))
    return round(r * 255), round(g * 255), round(b * 255)


def mix(a: Color, b: Color, t: float) -> Color:
    """Between two colors: ``a`` at t = 0, ``b`` at t = 1."""
    red, green, blue = (round(x + (y - x) * t) for x, y in zip(a, b, strict=True))
    return red, green, blue


def scaled(color: Color, gain: float) -> Color:
    """A color made darker (gain < 1) or lighter."""
    red, green, blue = (min(255, max(0, round(c * gain))) for c in color)
    return red, green, blue


def luma(color: Color) -> float:
    """Perceived brightness in [0, 255] (ITU-R BT.601 weights)."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def readable_on(background: Color, ink: Color) -> Color:
    """``ink`` pushed toward black or white until it can be read on ``background``."""
    target: Color = (20, 20, 24) if luma(background) > 120 else (250, 250, 246)
    for step in (0.0, 0.35, 0.65, 1.0):
        color = mix(ink, target, step)
        if abs(luma(color) - luma(background)) > 75:
            return color
    return target


def jittered(rng: np.random.Generator, color: Color, hue: float, sat: float = 0.06, val: float = 0.06) -> Color:
    """A color nearby; ``hue``, ``sat`` and ``val`` are half-widths in turns and in [0, 1]."""
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in color))
    dh, ds, dv = rng.uniform(-1, 1, 3)
    return hsv(h + hue * dh, s + sat * ds, v + val * dv)
