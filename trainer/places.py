"""Where a training reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where a training reads and writes.

    Attributes:
        dataset: a folder with train/ and, better, val/; or of product folders, which is all training then.
        catalog: catalog pictures that join the training, or None.
        run: the run directory: logs and checkpoint.
        cache: keeps features by content hash.
    """

    dataset: Path
    catalog: Path | None
    run: Path
    cache: Path
