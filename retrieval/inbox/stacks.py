"""Near-equal shots are one stack, and a stack is held out as a whole.

Else a near-equal shot of a photo that is measured on would be taught.
"""

from __future__ import annotations

import hashlib
import sqlite3

from retrieval.images.perceptual_hash import NEAR_BITS, nearest

HELD_OUT = 5
"""One photo in so many is held out, by its hash."""


class Stacks:
    """The perceptual hashes of an inbox's photos, so that a new photo finds the stack that it belongs to."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._last = 0
        self._by_tenant: dict[str, tuple[list[int], list[tuple[str, bool]]]] = {}

    def stack_of(
        self, rows: sqlite3.Connection, photo: str, content: str, picture_hash: int, tenant: str
    ) -> tuple[str, bool]:
        """The stack of a photo that is about to be added, and whether it is held out.

        Args:
            rows: in the transaction that adds it.
            photo: its id.
            content: SHA-256 of its bytes, in hex.
            picture_hash: its perceptual hash.
            tenant: whose it is.
        """
        for row in rows.execute(
            "SELECT n, tenant, picture_hash, stack, held_out FROM photos WHERE n > ? ORDER BY n", (self._last,)
        ):
            self._last = row["n"]
            hashes, stacks = self._by_tenant.setdefault(row["tenant"], ([], []))
            hashes.append(unsigned(row["picture_hash"]))
            stacks.append((row["stack"], bool(row["held_out"])))
        hashes, stacks = self._by_tenant.get(tenant, ([], []))
        if rows.execute("SELECT 1 FROM taught WHERE photo = ?", (photo,)).fetchone():
            return photo, False  # it made a product once, and had to go meanwhile
        # Pictures without structure all have the hash 0: they are alike in nothing.
        if picture_hash and hashes:
            [where], [bits] = nearest([picture_hash], hashes)
            if bits <= NEAR_BITS:
                stack = stacks[int(where)][0]
                now = rows.execute("SELECT held_out FROM photos WHERE stack = ? LIMIT 1", (stack,)).fetchone()
                return stack, bool(now["held_out"]) if now else stacks[int(where)][1]
        return photo, is_held_out(content)


def is_held_out(content_hash: str) -> bool:
    """Whether a photo is one of the fifth that is measured on and never taught: its hash decides, for ever.

    Args:
        content_hash: SHA-256 of its bytes, in hex.
    """
    return int(hashlib.sha256(f"held out\n{content_hash}".encode()).hexdigest()[:12], 16) % HELD_OUT == 0


def signed(bits: int) -> int:
    """A hash as SQLite keeps it, which has no unsigned numbers."""
    return bits - 2**64 if bits >= 2**63 else bits


def unsigned(number: int) -> int:
    """The hash that `signed` was given."""
    return number % 2**64
