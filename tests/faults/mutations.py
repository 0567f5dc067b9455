"""Seeded damage: to bytes, and to values of JSON."""

from __future__ import annotations

from random import Random
from typing import Any

ODD: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 1e308, -0.5, "", "x", "\x1b[31m\n", "é" * 5000, [], {}, [[]], "a" * 64, ["\0"],
]  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    """Change bytes as disks, transfers and strangers do; never returns what it was given."""
    size = len(data)
    at = random.randrange(size) if size else 0
    length = min(size - at, 1 << random.randrange(13))
    kind = random.randrange(7)
    changed = bytearray(data)
    if kind == 0:
        for _ in range(random.choice((1, 3, 36))):
            if size:
                changed[random.randrange(size)] ^= 1 << random.randrange(8)
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        del changed[at : at + length]
    elif kind == 3:
        changed[at : at + length] = bytes(length)
    elif kind == 4:
        changed[at : at + length] = random.randbytes(length)
    elif kind == 5:
        changed[at:at] = data[at : at + length]
    else:
        # Numbers at the edges of their types, where lengths and offsets are.
        changed[at : at + 4] = random.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)))
    return bytes(changed) if changed != data else data + b"\0"


def mutate_json(value: Any, random: Random) -> Any:
    """A copy of a JSON value with one value in it replaced, removed or added."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(sorted(value))
        kind = random.randrange(8)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return value | {"surprise": random.choice(ODD)}
        return value | {key: mutate_json(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        return [*value[:at], mutate_json(value[at], random), *value[at + 1 :]]
    return random.choice(ODD)
