"""Which colors the numbers of a picture stand for: ICC profiles as they are, other descriptions made into one."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from retrieval.system.text import plural, printable

MAX_PROFILE = 4 * 2**20
"""Bytes of a profile that are read; printers' profiles take one or two million."""

_SRGB_COLORANTS = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
_COLORANT_TOLERANCE = 0.003
_CURVE_TOLERANCE = 0.002
_PROBES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9)

_D65 = (0.3127, 0.3290)
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))

Chromaticities = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
Matrix = Sequence[Sequence[float]]

_SRGB_PRIMARIES: Chromaticities = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_PRIMARIES: dict[int, Chromaticities] = {
    1: _SRGB_PRIMARIES,
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
"""By the numbers of ITU-T H.273: BT.709, BT.2020, DCI-P3, Display P3."""

_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_LIKE_SRGB = frozenset({1, 2, 6, 13, 14, 15})
"""Transfers that screens show as sRGB, and none named. PQ and HLG are not among them: they need tone mapping."""


_heard = threading.local()


@contextmanager
def noticing() -> Iterator[list[str]]:
    """Gather what is wrong with profiles of pictures that this thread opens meanwhile, a line each.

    What is wrong with a profile is no fault of the picture: viewers show it as sRGB, and so do we. But a person who
    wonders about colors wants to know.
    """
    before, _heard.lines = getattr(_heard, "lines", None), list[str]()
    try:
        yield _heard.lines
    finally:
        _heard.lines = before


def notice(line: str) -> None:
    """Tell whoever is `noticing` in this thread."""
    if (lines := getattr(_heard, "lines", None)) is not None:
        lines.append(line)


def flawed_note(images: Sequence[str]) -> str:
    """A line about pictures whose profiles were ignored."""
    first = printable(min(images))
    return f"Color profiles that are damaged and were ignored: {plural(len(images), 'picture')} (first: {first})"


def usable(profile: bytes) -> bytes:
    """The profile, or nothing where it changes no color or cannot be one: sRGB costs no conversion.

    Args:
        profile: an ICC profile, or bytes that claim to be one.
    """
    if not 128 < len(profile) <= MAX_PROFILE or profile[36:40] != b"acsp" or profile[16:20] not in _SPACES:
        if profile:
            notice("damaged")
        return b""
    return b"" if _is_srgb(profile) else profile


_SPACES = frozenset({b"RGB ", b"GRAY", b"CMYK"})


def from_cicp(primaries: int, transfer: int) -> bytes:
    """A profile for color described by ITU-T H.273 code points; nothing for sRGB and for what is not converted."""
    if primaries not in _PRIMARIES or not (transfer in _LIKE_SRGB or transfer in _GAMMAS):
        return b""
    if primaries == 1 and transfer in _LIKE_SRGB:
        return b""
    return matrix_profile(_PRIMARIES[primaries], _GAMMAS.get(transfer))


def from_gamma(gamma: float, chromaticities: Chromaticities | None) -> bytes:
    """A profile for the gAMA and cHRM of a PNG; nothing for those of sRGB.

    Args:
        gamma: of the file, such as 0.45455.
        chromaticities: red, green, blue, white; None for those of sRGB.
    """
    if not 0.1 <= gamma <= 5.0:
        return b""
    like = abs(gamma - 1 / 2.2) < 0.01
    primaries = chromaticities or _SRGB_PRIMARIES
    near = all(
        abs(a - b) < 0.005
        for found, expected in zip(primaries, _SRGB_PRIMARIES, strict=True)
        for a, b in zip(found, expected, strict=True)
    )
    return b"" if like and near else matrix_profile(primaries, None if like else 1 / gamma)


@lru_cache(maxsize=32)
def matrix_profile(chromaticities: Chromaticities, gamma: float | None) -> bytes:
    """An ICC profile, version 4, of three primaries, a white and one curve; nothing where they make no sense.

    Args:
        chromaticities: x and y of red, green, blue and white.
        gamma: of the curve; None for that of sRGB.
    """
    try:
        white = _xyz(chromaticities[3])
        columns = [_xyz(p) for p in chromaticities[:3]]
        primaries = [[column[row] for column in columns] for row in range(3)]
        scale = _apply(_inverse(primaries), white)
        to_d50 = _adaptation(white)
        colorants = [_apply(to_d50, [v * scale[i] for v in columns[i]]) for i in range(3)]
        tags = {
            b"rXYZ": _xyz_tag(colorants[0]),
            b"gXYZ": _xyz_tag(colorants[1]),
            b"bXYZ": _xyz_tag(colorants[2]),
            b"wtpt": _xyz_tag(_D50),
            b"chad": b"sf32" + bytes(4) + b"".join(_fixed(v) for row in to_d50 for v in row),
        }
    except (ZeroDivisionError, struct.error):
        return b""
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045) if gamma is None else (gamma,)
    curve = b"para" + bytes(4) + struct.pack(">HH", 0 if gamma else 3, 0) + b"".join(map(_fixed, numbers))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    text = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 2, 28) + b"\x00p"
    tags |= {b"desc": text, b"cprt": text}
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", at + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x", at + len(body), 0x04200000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    ) + b"".join(map(_fixed, _D50))
    return head.ljust(128, b"\x00") + table + body


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile has the primaries and the curve of sRGB, whatever it is called."""
    try:
        tags = {}
        for at in range(132, 132 + 12 * min(int.from_bytes(profile[128:132], "big"), 100), 12):
            name, start, size = struct.unpack_from(">4sII", profile, at)
            tags[name] = profile[start : start + size]
        if b"A2B0" in tags or profile[16:20] != b"RGB ":
            return False
        for name, expected in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _SRGB_COLORANTS, strict=True):
            found = [value / 65536 for value in struct.unpack_from(">3i", tags[name], 8)]
            if any(abs(a - b) > _COLORANT_TOLERANCE for a, b in zip(found, expected, strict=True)):
                return False
        return all(
            abs(_curve(tags[name], x) - (((x + 0.055) / 1.055) ** 2.4 if x > 0.04045 else x / 12.92))
            <= _CURVE_TOLERANCE
            for name in (b"rTRC", b"gTRC", b"bTRC")
            for x in _PROBES
        )
    except (KeyError, struct.error, IndexError, ValueError, OverflowError, ZeroDivisionError, TypeError):
        return False


def _curve(tag: bytes, x: float) -> float:
    """A tone curve at a value of 0 to 1."""
    if tag[:4] == b"curv":
        count = int.from_bytes(tag[8:12], "big")
        if count == 0:
            return x
        if count == 1:
            return float(x ** (int.from_bytes(tag[12:14], "big") / 256))
        place = x * (count - 1)
        low = int(place)
        one, other = struct.unpack_from(">2H", tag, 12 + 2 * low)
        return float((one + (other - one) * (place - low)) / 65535)
    kind = int.from_bytes(tag[8:10], "big")
    count = (1, 3, 4, 5, 7)[kind]
    numbers = [value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12)]
    g, a, b, c, d, e, f = numbers + [0.0] * (7 - count)
    if kind == 0:
        return float(x**g)
    if kind in (1, 2):
        return float((a * x + b) ** g + c) if x >= -b / a else c
    return float((a * x + b) ** g + e) if x >= d else c * x + f


def _xyz(xy: tuple[float, float]) -> list[float]:
    x, y = xy
    return [x / y, 1.0, (1 - x - y) / y]


def _apply(matrix: Matrix, vector: Sequence[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _product(one: Matrix, other: Matrix) -> list[list[float]]:
    return [[sum(row[k] * other[k][j] for k in range(3)) for j in range(3)] for row in one]


def _inverse(m: Matrix) -> list[list[float]]:
    minors = [
        [
            m[(j + 1) % 3][(i + 1) % 3] * m[(j + 2) % 3][(i + 2) % 3]
            - m[(j + 1) % 3][(i + 2) % 3] * m[(j + 2) % 3][(i + 1) % 3]
            for j in range(3)
        ]
        for i in range(3)
    ]
    determinant = sum(m[0][i] * minors[i][0] for i in range(3))
    return [[value / determinant for value in row] for row in minors]


def _adaptation(white: Sequence[float]) -> list[list[float]]:
    """From a white to D50, as Bradford has it."""
    cones = [a / b for a, b in zip(_apply(_BRADFORD, _D50), _apply(_BRADFORD, white), strict=True)]
    scaled = [[cones[i] * v for v in row] for i, row in enumerate(_BRADFORD)]
    return _product(_inverse(_BRADFORD), scaled)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz_tag(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))
