"""A rate that keeps its counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rate:
    """``part`` of ``whole``, with 0 <= part <= whole."""

    part: int
    whole: int

    def __post_init__(self) -> None:
        if not 0 <= self.part <= self.whole:
            raise ValueError(f"expected 0 <= part <= whole, received {self.part} of {self.whole}")

    @property
    def value(self) -> float:
        """``part / whole``; nan when there is nothing to count."""
        return self.part / self.whole if self.whole else math.nan

    def to_json(self) -> dict[str, Any]:
        """``{"rate", "part", "whole"}``; the rate is null when there is nothing to count."""
        return {"rate": self.value if self.whole else None, "part": self.part, "whole": self.whole}
