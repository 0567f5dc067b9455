"""A headless Chromium that takes pictures of pages, where one is installed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; on Debian: apt-get install chromium")

_PATIENCE = (40, 120, 240)
"""Seconds. Now and then the clock of a page stands still for good; a new process shows it then."""


def screenshot(url: str, *, size: tuple[int, int] = (1280, 800), seconds: int = 30) -> Image.Image:
    """What a person sees at an address, RGB.

    Args:
        url: the page.
        size: of the window, pixels.
        seconds: of the page's own time, which runs ahead of the clock while the page waits for nothing.
    """
    with tempfile.TemporaryDirectory(prefix="itemrec-chromium-", ignore_cleanup_errors=True) as folder:
        picture = Path(folder) / "page.png"
        webgl = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # drawn by the CPU
        done = _chromium(folder, url, size, seconds, [*webgl, "--hide-scrollbars", f"--screenshot={picture}"])
        assert picture.exists(), done.stderr[-2000:]
        return Image.open(picture).convert("RGB")


def measured(html: str, script: str, *, size: tuple[int, int]) -> Any:
    """What a script says of a page once it is laid out.

    Args:
        html: the page. It is shown in a frame, since windows have a least width that phones do not have.
        script: the body of a function of the page's ``document`` that returns something for ``JSON.stringify``.
        size: of the frame, pixels.
    """
    frame = f'<iframe style="border: 0; width: {size[0]}px; height: {size[1]}px" srcdoc="{escape(html)}"></iframe>'
    ask = f"document.title = JSON.stringify(((document) => {{ {script} }})(frames[0].document));"
    with tempfile.TemporaryDirectory(prefix="itemrec-chromium-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "page.html"
        file.write_text(
            f"<!doctype html><meta charset=utf-8>{frame}<script>onload = () => {{ {ask} }}</script>", "utf-8"
        )
        done = _chromium(folder, file.as_uri(), (1600, 1000), 5, ["--hide-scrollbars", "--dump-dom"])
    title = re.search(r"<title>(.*?)</title>", done.stdout, flags=re.DOTALL)
    assert title is not None, done.stderr[-2000:]
    return json.loads(unescape(title[1]))


def _chromium(
    folder: str, url: str, size: tuple[int, int], seconds: int, options: list[str]
) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    for turn, patience in enumerate(_PATIENCE):
        command = [
            CHROMIUM,
            "--headless=new",
            f"--user-data-dir={folder}/profile-{turn}",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            f"--window-size={size[0]},{size[1]}",
            f"--virtual-time-budget={seconds * 1000}",
            *options,
            url,
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # it has none for root
        with contextlib.suppress(subprocess.TimeoutExpired):
            return subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    pytest.fail(f"expected Chromium to show {url} within {_PATIENCE[-1]} seconds, received nothing")
