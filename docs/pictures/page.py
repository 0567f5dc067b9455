"""Draw docs/pictures/page.png: the page of `itemrec serve`, asked about photos of the demo's catalog.

python docs/pictures/page.py CHROMIUM
"""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from retrieval.indexing.run import index
from retrieval.recognition.api import Recognizer
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from trainer.synthetic import write_demo

OUT = Path(__file__).with_name("page.png")


def main(chromium: str) -> None:
    """Draw the picture.

    Args:
        chromium: path of the browser.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layout = write_demo(folder)
        index(layout.catalog, folder / "index", model="starter")
        with Recognizer(folder / "index") as shop:
            verdicts = {photo: shop.recognize(photo).verdict for photo in sorted(layout.truth)}
        # One of each kind tells most.
        shown = [next((p for p, v in verdicts.items() if v == kind), None) for kind in ("match", "unknown")]
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(Settings(index=str(folder / "index"))), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1000, "height": 700})
            page.goto(f"http://127.0.0.1:{listener.getsockname()[1]}/")
            page.wait_for_selector("#held:not(:empty)")
            photos = [str(photo) for photo in shown if photo is not None]
            page.set_input_files("#file", photos)
            page.wait_for_selector(f".answer >> nth={len(photos) - 1}")
            page.evaluate("for (const image of document.images) image.loading = 'eager'")
            page.wait_for_load_state("networkidle")
            page.screenshot(path=OUT, full_page=True)
            browser.close()
        server.should_exit = True
        thread.join()
    # A picture of few colors: an eighth of the bytes.
    Image.open(OUT).convert("RGB").quantize(256).save(OUT, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
