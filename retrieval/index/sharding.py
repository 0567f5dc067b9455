"""Pure: which part of a catalog one of several index workers takes."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Self

from retrieval.errors import UsageError

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Worker ``number`` of ``count``; every picture belongs to exactly one.

    The part is decided by the picture's id, a hash of its product and path: the same picture falls to the same worker
    in every run, and the parts are of about equal size whatever the catalog looks like.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``3/8``.

        Raises:
            UsageError: it is no such pair.
        """
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text.strip(), re.ASCII)
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count <= MOST:
            raise UsageError(
                f"expected --shard as NUMBER/COUNT, from 1/1 to {MOST:,}/{MOST:,}, received {text!r}",
                hint="For the third of eight workers: --shard 3/8",
            )
        return cls(number, count)

    def takes(self, image_id: str) -> bool:
        """True for the pictures of this worker.

        Args:
            image_id: a UUID.
        """
        return uuid.UUID(image_id).int % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
