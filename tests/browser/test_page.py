"""The service's page in a browser: asking, teaching, names that are no text, phones, the camera."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn

from retrieval.indexing.run import index as index_catalog
from retrieval.recognition.api import Recognizer
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.browser.chromium import CHROMIUM, needs_chromium
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_chromium

EVIL = "<img src=x onerror=\"document.title='run'\">"


def photo(product: int) -> bytes:
    file = io.BytesIO()
    picture(product, view=1, side=120).save(file, "PNG")
    return file.getvalue()


def upload(*products: int) -> list[dict[str, object]]:
    return [{"name": f"{n}.png", "mimeType": "image/png", "buffer": photo(n)} for n in products]


def until(page: Page, true: str) -> None:
    """Wait for something to hold. The page's policy forbids Playwright's own way, which evaluates in the page."""
    deadline = time.monotonic() + 60
    while not page.evaluate(true):
        assert time.monotonic() < deadline, true
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A service that runs, and its folder."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        use_pixel_encoder(patch)
        bundle = fake_bundle(folder / "bundle")
        catalog = write_catalog(folder / "catalog", products=4, views=3)
        names = ["Zero", "مصباح", "Two", "Three"]
        rows = [f'p{n:03},"{name}"' for n, name in enumerate(names)]
        (catalog / "products.csv").write_text("\n".join(["product_id,name", *rows]) + "\n", encoding="utf-8")
        index_catalog(catalog, folder / "index", model=bundle.path)
        listener = socket.create_server(("127.0.0.1", 0))
        app = create_app(Settings(index=str(folder / "index")))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", folder
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*options, "--use-fake-ui-for-media-stream"], timeout=120_000
        )
        yield chromium
        chromium.close()


@pytest.fixture(params=[1280, 390], ids=lambda width: f"{width}px")
def page(request: pytest.FixtureRequest, browser: Browser, shop: tuple[str, Path]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.set_default_timeout(60_000)
    faults: list[str] = []
    asked: set[str] = set()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" and "status of 422" not in m.text else None)
    page.on("request", lambda request: asked.add(request.url.split("/")[2]) if "//" in request.url else None)
    page.goto(shop[0])
    page.wait_for_selector("#held:not(:empty)")
    yield page
    assert page.title() == "itemrec"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
    assert faults == []
    assert {host for host in asked if host} == {shop[0].split("/")[2]}
    page.close()


def test_photos_get_the_answers_of_the_library(page: Page, shop: tuple[str, Path]) -> None:
    page.set_input_files("#file", upload(2, 8, 1))
    page.wait_for_selector(".answer >> nth=2")
    shown = [verdict.inner_text() for verdict in page.query_selector_all(".answer .verdict")]
    with Recognizer(shop[1] / "index") as recognizer:
        expected = []
        for n in (2, 8, 1):
            answer = recognizer.recognize(photo(n))
            expected.append(answer.matches[0].metadata["name"] if answer.verdict == "match" else "Unknown")
    assert shown == expected
    assert shown[1:] == ["Unknown", "مصباح"]
    page.wait_for_function(
        "[...document.querySelectorAll('.tiles img')].every((i) => i.complete && i.naturalWidth > 0)"
    )


def test_an_unknown_photo_is_named_found_and_taken_back(page: Page, shop: tuple[str, Path]) -> None:
    before = sorted(p.name for p in (shop[1] / "catalog").rglob("*"))
    page.set_input_files("#file", upload(8))
    page.wait_for_selector(".answer.unknown")
    page.click("text=A new product…")
    page.fill("#make-id", "lamp")
    page.fill("#make-name", EVIL)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Learned")
    undo = page.locator("text=Undo")
    page.evaluate("window.kept = document.querySelector('.teach')")
    page.set_input_files("#file", upload(8))
    page.wait_for_selector(".answer.match")
    assert page.inner_text(".answer .verdict") == EVIL
    assert undo.count() == 0
    # The first answer's button still works after its card left the page.
    page.evaluate("window.kept.querySelector('p button').click()")
    until(page, "window.kept.querySelector('p').textContent === 'Taken back.'")
    page.set_input_files("#file", upload(8))
    page.wait_for_selector(".answer.unknown")
    assert sorted(p.name for p in (shop[1] / "catalog").rglob("*")) == before


def test_the_camera_takes_a_photo(page: Page) -> None:
    page.click("#camera")
    page.wait_for_selector("#shooting:not([hidden])")
    until(page, "document.querySelector('#video').videoWidth > 0")
    page.click("#shoot")
    page.wait_for_selector(".answer")
    page.click("#stop")
    assert page.is_hidden("#shooting")


def test_the_catalog_is_searched_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#products li >> nth=3")
    page.focus("#words")
    page.keyboard.type("thre")
    until(page, "document.querySelectorAll('#products li').length === 1")
    assert "Three" in page.inner_text("#products")
    page.go_back()
    page.wait_for_selector("#drop", state="visible")


def test_what_is_no_photo_is_said(page: Page) -> None:
    page.set_input_files("#file", [{"name": "x.png", "mimeType": "image/png", "buffer": b"not a picture"}])
    page.wait_for_selector(".answer.refused")
    assert "picture" in page.inner_text(".answer")
