"""Where the trainer keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home(part: str) -> Path:
    """The folder for one kind of cached files: under ``$XDG_CACHE_HOME``, else under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "itemrec" / part
