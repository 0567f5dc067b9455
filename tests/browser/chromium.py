"""A headless Chromium that takes pictures of pages, where one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from PIL import Image

_FOUND = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)

needs_chromium = pytest.mark.skipif(_FOUND is None, reason="needs Chromium; on Debian: apt-get install chromium")


def screenshot(url: str, *, size: tuple[int, int] = (1280, 800), seconds: int = 30) -> Image.Image:
    """What a person sees at an address, RGB.

    Args:
        url: the page.
        size: of the window, pixels.
        seconds: of the page's own time, which runs ahead of the clock while the page waits for nothing.
    """
    assert _FOUND is not None
    with tempfile.TemporaryDirectory(prefix="itemrec-chromium-", ignore_cleanup_errors=True) as folder:
        picture = Path(folder) / "page.png"
        command = [
            _FOUND,
            "--headless=new",
            f"--user-data-dir={folder}/profile",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            "--use-gl=angle",  # WebGL drawn by the CPU: test machines have no other
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            f"--window-size={size[0]},{size[1]}",
            f"--virtual-time-budget={seconds * 1000}",
            f"--screenshot={picture}",
            url,
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # it has none for root
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert picture.exists(), done.stderr[-2000:]
        return Image.open(picture).convert("RGB")
