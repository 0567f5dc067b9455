"""A number that two indexes share when they hold the same pictures: what copies compare, and what a commit promises."""

from __future__ import annotations

import hashlib
import json

from retrieval.types import Point

_MODULUS = 2**256


class Checksum:
    """The sum, modulo 2^256, of the SHA-256 of every point: its record as JSON and its vector's bytes.

    So the order of the points does not matter, and a change costs what it changes: the old point is taken
    away and the new one added.
    """

    def __init__(self, count: int = 0, hexadecimal: str = "0") -> None:
        """Begin with nothing, or with what `hex` said of ``count`` points."""
        self.count = count
        self._sum = int(hexadecimal, 16)

    def add(self, point: Point) -> None:
        """Count one point."""
        self.count += 1
        self._sum = (self._sum + int.from_bytes(digest(point))) % _MODULUS

    def remove(self, point: Point) -> None:
        """Take away one point that was counted."""
        self.count -= 1
        self._sum = (self._sum - int.from_bytes(digest(point))) % _MODULUS

    def hex(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum:064x}"


def digest(point: Point) -> bytes:
    """The SHA-256 of a point: equal for equal records and bit-equal vectors."""
    text = json.dumps(record_json(point), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode() + b"\0" + point.vector.astype("<f4").tobytes()).digest()


def record_json(point: Point) -> dict[str, object]:
    """A point's record as a JSON object."""
    record = point.record
    found: dict[str, object] = {
        "image_id": record.image_id,
        "product_id": record.product_id,
        "image": record.image,
        "content_hash": record.content_hash,
        "metadata": dict(record.metadata),
    }
    # What releases of before wrote keeps its checksum.
    return found if record.kind is None else found | {"kind": record.kind}
