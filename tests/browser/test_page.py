"""The service's page in a browser: asking, teaching, the catalog, names that are no text, phones, the camera."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from PIL import Image

from retrieval.indexing.run import index as index_catalog
from retrieval.indexing.teach import MOST_TAUGHT
from retrieval.recognition.api import Recognizer
from retrieval.service import inbox_examples
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.browser.chromium import CHROMIUM, needs_chromium
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog
from tests.retrieval.inbox.shop import scene

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


def waited(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def until(page: Page, true: str) -> None:
    """Wait for something to hold. The page's policy forbids Playwright's own way, which evaluates in the page."""
    deadline = time.monotonic() + 60
    while not page.evaluate(true):
        assert time.monotonic() < deadline, true
        time.sleep(0.05)


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A service that runs; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


class _Elsewhere(BaseHTTPRequestHandler):
    """The page of another shop."""

    page = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.page.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Where another shop has its page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def make_shop(folder: Path) -> Path:
    bundle = fake_bundle(folder / "bundle")
    catalog = write_catalog(folder / "catalog", products=4, views=3)
    names = ["Zero", "مصباح", "Two", "Three"]
    rows = [f'p{n:03},"{name}"' for n, name in enumerate(names)]
    (catalog / "products.csv").write_text("\n".join(["product_id,name", *rows]) + "\n", encoding="utf-8")
    index_catalog(catalog, folder / "index", model=bundle.path)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[tuple[str, Path]]:
    """A service that runs, and its folder."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        use_pixel_encoder(patch)
        make_shop(folder)
        with serving(Settings(index=str(folder / "index"), origins=(elsewhere,))) as address:
            yield address, folder


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory, shop: tuple[str, Path]) -> Iterator[tuple[str, Path]]:
    """A service that keeps what it is asked about, and its folder."""
    folder = make_shop(tmp_path_factory.mktemp("keeper"))
    with serving(Settings(index=str(folder / "index"), inbox=folder / "inbox")) as address:
        yield address, folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser whose camera sees the second product."""
    from playwright.sync_api import sync_playwright

    film = tmp_path_factory.mktemp("camera") / "film.mjpeg"
    frame = io.BytesIO()
    picture(1, view=1, side=480).save(frame, "JPEG", quality=95)
    film.write_bytes(frame.getvalue() * 2)
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream"]
    options += [f"--use-file-for-fake-video-capture={film}"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*options, "--use-fake-ui-for-media-stream"], timeout=120_000
        )
        yield chromium
        chromium.close()


ONCE = pytest.mark.parametrize("page", [1280], indirect=True)


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """A page that breaks nothing, is no wider than its window, and asks nobody else."""
    page = browser.new_page(**options)
    page.set_default_timeout(60_000)
    faults: list[str] = []
    asked: set[str] = set()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" and "status of 4" not in m.text else None)
    page.on("request", lambda request: asked.add(request.url.split("/")[2]) if "//" in request.url else None)
    page.goto(address)
    page.wait_for_selector("#held:not(:empty)")
    yield page
    assert page.title() == "itemrec"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
    assert faults == []
    assert {host for host in asked if host} == {address.split("/")[2]}
    page.close()


@pytest.fixture(params=[1280, 390], ids=lambda width: f"{width}px")
def page(request: pytest.FixtureRequest, browser: Browser, shop: tuple[str, Path]) -> Iterator[Page]:
    window = {"width": request.param, "height": 900}
    with opened(browser, shop[0], viewport=window, has_touch=request.param < 500) as page:
        yield page


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
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    until(page, "[...document.querySelectorAll('.tiles img')].every((i) => i.complete && i.naturalWidth > 0)")


def test_several_items_are_outlined_and_counted(page: Page) -> None:
    def item(product_id: str, name: str, left: int, verdict: str = "match") -> dict[str, object]:
        quad = [[left, 10], [left + 40, 10], [left + 40, 100], [left, 100]]
        match = {"product_id": product_id, "metadata": {"name": name}, "link": ""}
        return {"verdict": verdict, "box": [left, 10, left + 40, 100], "quad": quad, "matches": [match]}

    shown = [item("p001", EVIL, 0), item("p002", "Two", 40), item("p002", "Two", 80, "ambiguous")]
    found = {"source": "0 2.png", "size": [120, 120], "items": shown, "counts": {"p002": 2, "p001": 1}, "missing": 0}
    document = {"results": [found | {"regions": [{"verdict": "unknown", "box": [0, 101, 9, 110], "matches": []}]}]}
    nothing = found | {"source": "1 8.png", "items": [], "counts": {}, "regions": []}
    document["results"].append(nothing)
    page.route("**/v1/recognize?many=true", lambda route: route.fulfill(json=document | {"refused": []}))
    page.check("#same")
    page.check("#many")
    assert not page.is_checked("#same")
    page.set_input_files("#file", upload(2, 8))
    page.wait_for_selector(".answer.shelf >> nth=1")
    assert page.locator(".answer .verdict").all_inner_texts() == ["3 items", "Nothing found"]
    assert page.locator(".counted .name").all_inner_texts() == ["Two", EVIL]
    assert page.locator(".counted strong").all_inner_texts() == ["2", "1"]
    assert page.locator(".outlines text").all_text_contents() == ["2", "1", "1?"]
    # The outline (its box counts its stroke in) lies where the photo shows it, however large the page shows the photo.
    image = page.locator(".shelf img").first.bounding_box()
    second = page.locator(".outlines polygon").nth(1).bounding_box()
    assert image is not None
    assert second is not None
    assert second["x"] - image["x"] == pytest.approx(image["width"] / 3, abs=10)
    assert second["height"] == pytest.approx(image["height"] * 90 / 120, abs=18)


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
    assert page.inner_text(".answer .verdict") == "مصباح"
    page.click("#stop")
    assert page.is_hidden("#shooting")


@ONCE
def test_a_camera_that_is_refused_or_not_there_says_so(page: Page) -> None:
    for fault, word in (("NotAllowedError", "refused"), ("NotFoundError", "no camera"), ("", "https")):
        page.evaluate(
            "(name) => Object.defineProperty(navigator, 'mediaDevices', { configurable: true, value: name && "
            "{ getUserMedia: () => Promise.reject(new DOMException('', name)) } })",
            fault,
        )
        page.click("#camera")
        page.wait_for_selector(f"#camera-note >> text={word}")


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


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@ONCE
def test_a_photo_is_dropped_and_pasted(page: Page) -> None:
    carrier = """([event, data]) => {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
        const options = { bubbles: true, dataTransfer: carried, clipboardData: carried };
        dispatchEvent(event === "drop" ? new DragEvent(event, options) : new ClipboardEvent(event, options));
    }"""
    for event, product, name in (("drop", 2, "Two"), ("paste", 3, "Three")):
        page.evaluate(carrier, [event, base64.b64encode(photo(product)).decode()])
        page.wait_for_selector(f".answer .verdict:text-is('{name}')")


def test_a_part_of_a_photo_is_asked_about(page: Page) -> None:
    scene = Image.new("RGB", (400, 400), (90, 90, 90))
    scene.paste(picture(2, view=1, side=120), (20, 260))
    file = io.BytesIO()
    scene.save(file, "PNG")
    page.set_input_files("#file", [{"name": "scene.png", "mimeType": "image/png", "buffer": file.getvalue()}])
    page.wait_for_selector(".answer.unknown")
    page.click("text=Crop…")
    page.wait_for_selector("#crop[open]")
    stage = page.locator("#crop-image").bounding_box()
    assert stage is not None
    at = [(stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]) for x, y in ((0.05, 0.95), (0.35, 0.65))]
    if page.evaluate("innerWidth < 500"):
        finger = page.context.new_cdp_session(page)
        for kind, points in (("touchStart", at[:1]), ("touchMove", at[1:]), ("touchEnd", [])):
            touched = [{"x": x, "y": y} for x, y in points]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
    else:
        page.mouse.move(*at[0])
        page.mouse.down()
        page.mouse.move(*at[1], steps=4)
        page.mouse.up()
    page.click("text=Ask about this part")
    page.wait_for_selector(".answer.match .verdict:text-is('Two')")


@ONCE
def test_shots_of_one_item_get_one_answer_and_are_taught_together(page: Page, shop: tuple[str, Path]) -> None:
    before = tree(shop[1] / "catalog")
    # This Chromium reads no barcodes; phones do.
    page.evaluate(
        "() => { window.BarcodeDetector = class { async detect() { return [{ rawValue: '7310865004703' }]; } }; }"
    )
    page.check("#same")
    page.set_input_files("#file", upload(8))
    page.wait_for_selector(".answer.unknown")
    page.set_input_files("#file", upload(9))
    page.wait_for_selector("figure.several")
    assert page.locator(".answer").count() == 1
    page.click("text=A new product…")
    until(page, "document.querySelector('#make-barcode').value === '7310865004703'")
    page.fill("#make-name", "Lamp")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Learned")
    assert b"7310865004703,Lamp" in (shop[1] / "catalog" / "products.csv").read_bytes()
    assert len(list((shop[1] / "catalog" / "7310865004703").iterdir())) == 2
    page.click("text=Undo")
    page.wait_for_selector("text=Taken back.")
    assert tree(shop[1] / "catalog") == before


@ONCE
def test_not_ours_refuses_the_next_photo(page: Page) -> None:
    page.set_input_files("#file", upload(3))
    page.click(".answer.match >> text=Not ours")
    page.wait_for_selector("text=Learned: not ours")
    page.set_input_files("#file", upload(3))
    page.wait_for_selector(".answer.unknown")
    assert "said not to be ours" in page.inner_text(".answer")
    page.evaluate(
        "fetch('v1/refusals').then((r) => r.json()).then((d) => Promise.all(d.refusals.map((r) => "
        "fetch(`v1/refusals/${r.refusal_id}`, { method: 'DELETE' }))))"
    )


def test_products_are_edited_removed_and_put_back(page: Page, shop: tuple[str, Path]) -> None:
    before = tree(shop[1] / "catalog")
    page.goto(f"{shop[0]}#catalog/p002")
    page.click("text=Edit…")
    page.fill("#edit-fields input >> nth=0", EVIL)
    page.keyboard.press("Enter")
    page.wait_for_selector("#told >> text=Saved.")
    assert page.inner_text("#one h2") == EVIL
    page.click("#told >> text=Undo")
    page.wait_for_selector("#told >> text=Taken back.")
    assert page.inner_text("#one h2") == "Two"
    second = page.get_attribute(".gallery li:nth-child(2) img", "src")
    page.click(".gallery li:nth-child(2) >> text=Cover")
    page.wait_for_selector("#told >> text=is shown")
    assert str(page.get_attribute(".gallery li:nth-child(1) img", "src")).split("?")[0] == str(second).split("?")[0]
    page.click("#told >> text=Undo")
    page.wait_for_selector("#told >> text=Taken back.")
    page.click("#told >> text=×")
    page.click(".gallery li:nth-child(3) >> text=Remove")
    page.wait_for_selector("#told >> text=Picture removed.")
    page.click("#told >> text=Undo")
    page.wait_for_selector("#told >> text=Taken back.")
    page.click("text=Remove this product…")
    page.keyboard.press("Escape")
    page.click("text=Remove this product…")
    page.click("#confirm-act")
    page.wait_for_selector("#told >> text=is removed.")
    waited(lambda: page.locator("#products li").count() == 3)  # it is asked for anew
    page.reload()
    page.click("text=Changed and removed lately")
    page.click("#changes >> text=Put back")
    page.wait_for_selector("#products li >> nth=3")
    assert tree(shop[1] / "catalog") == before


@ONCE
def test_a_product_is_taught_with_the_keyboard_alone(page: Page, shop: tuple[str, Path]) -> None:
    before = tree(shop[1] / "catalog")
    page.set_input_files("#file", upload(8))
    page.wait_for_selector(".answer.unknown")

    def go(text: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == text:
                page.keyboard.press("Enter")
                return
        raise AssertionError(f"Tab does not reach {text}")

    page.focus("#choose")
    go("A new product…")
    page.keyboard.type("lamp")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Learned")
    page.focus("#choose")
    go("Undo")
    page.wait_for_selector("text=Taken back.")
    go("One of ours…")
    page.wait_for_selector("#pick-products li")
    page.keyboard.type("thr")
    until(page, "document.querySelectorAll('#pick-products li').length === 1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Learned: this is Three")
    page.focus("#choose")
    go("Undo")
    page.wait_for_selector("text=Taken back.")
    assert tree(shop[1] / "catalog") == before


def serious(page: Page) -> list[str]:
    """What axe-core finds in what is on the screen."""
    from axe_playwright_python.base import AXE_FILE_PATH

    page.evaluate(Path(AXE_FILE_PATH).read_text(encoding="utf-8"))
    return [
        f"{page.url}: {fault['id']}: {node['html'][:100]}"
        for fault in page.evaluate("axe.run()")["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def test_nothing_serious_stands_in_the_way_of_anybody(page: Page, shop: tuple[str, Path]) -> None:
    # Colors are looked at in both schemes, sizes at both widths.
    page.emulate_media(color_scheme="dark" if page.evaluate("innerWidth < 500") else "light")
    page.set_input_files("#file", upload(1, 8))
    page.wait_for_selector(".answer >> nth=1")
    found = serious(page)
    page.click("text=A new product… >> nth=0")
    found += serious(page)
    page.keyboard.press("Escape")
    page.goto(f"{shop[0]}#catalog")
    page.wait_for_selector("#products li")
    found += serious(page)
    page.click("#products button >> nth=1")
    page.wait_for_selector("#one h2")
    found += serious(page)
    assert found == []


def test_the_page_of_the_guide_asks_from_another_shop(browser: Browser, shop: tuple[str, Path], elsewhere: str) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "serve.md").read_text(encoding="utf-8")
    example = guide.partition("```html\n")[2].partition("```")[0]
    assert len(example.splitlines()) <= 12
    _Elsewhere.page = example.replace("https://shop.example", shop[0].rstrip("/")).replace("irk.…", "irk.none")
    page = browser.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(elsewhere)
    for product, said in ((2, "Two"), (8, "Not sure")):
        page.set_input_files("input", upload(product))
        waited(lambda: page.inner_text("output") != "" or told != [])
        assert (page.inner_text("output"), told) == (said, [])
        page.evaluate("document.querySelector('output').textContent = ''")
    page.close()


def test_two_hundred_photos_are_named_at_once_and_a_reload_loses_nothing(
    browser: Browser, keeper: tuple[str, Path]
) -> None:
    address, folder = keeper
    before = tree(folder / "catalog")
    for start in range(0, 200, 10):
        files = [("photo", (f"{n}.jpg", scene(n, side=160))) for n in range(start, start + 10)]
        assert httpx.post(f"{address}v1/recognize", files=files, timeout=60).status_code == 200
    with opened(browser, f"{address}#inbox", viewport={"width": 1280, "height": 900}) as page:
        page.wait_for_selector("#stacks li >> nth=59")
        assert page.inner_text("#inbox-count").strip() == "200"
        # With Shift all between two, by click and by key.
        page.click("#stacks li:nth-child(2) .shot")
        page.click("#stacks li:nth-child(6) .shot", modifiers=["Shift"])
        assert page.inner_text("#chosen-count") == "5 photos"
        page.keyboard.press("ArrowRight")
        page.focus("#stacks li:nth-child(9) input")
        page.keyboard.press("Shift+Space")
        assert page.inner_text("#chosen-count") == "8 photos"
        while page.is_visible("#inbox-more"):
            count = page.locator("#stacks li").count()
            page.click("#inbox-more")
            page.wait_for_selector(f"#stacks li >> nth={count}")
        page.check("#inbox-all")
        assert page.inner_text("#chosen-count") == "200 photos"
        page.click("#chosen-new")
        page.fill("#make-id", "noise")
        page.fill("#make-name", EVIL)
        page.reload()
        page.wait_for_selector("#make[open]")
        assert (page.input_value("#make-id"), page.input_value("#make-name")) == ("noise", EVIL)
        assert page.inner_text("#chosen-count") == "200 photos"
        page.focus("#make-name")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#told >> text=200 photos: {EVIL}.")
        waited(lambda: len(list((folder / "catalog" / "noise").glob("taught-*.jpg"))) == MOST_TAUGHT)
        page.click("#told >> text=Undo")
        page.wait_for_selector("#told >> text=Taken back.")
        waited(lambda: tree(folder / "catalog") == before)
        assert page.locator("#stacks li").count() == 60


def test_an_unknown_photo_of_the_inbox_becomes_a_product(browser: Browser, keeper: tuple[str, Path]) -> None:
    address, _ = keeper
    with opened(browser, address, viewport={"width": 390, "height": 844}) as page:
        ask = [{"name": "new.jpg", "mimeType": "image/jpeg", "buffer": scene(500)}]
        page.set_input_files("#file", ask)
        page.wait_for_selector(".answer.unknown")
        page.click("nav >> text=Inbox")
        page.click("#stacks li:nth-child(1) .shot")
        assert serious(page) == []
        page.click("#chosen-new")
        page.fill("#make-id", "lamp")
        page.keyboard.press("Enter")
        page.wait_for_selector("#told >> text=1 photo: lamp.")
        # Without a restart: the next photo of it is found, and what its owner says of it is written down there, too.
        page.click("nav >> text=Ask")
        deadline = time.monotonic() + 60
        while page.locator(".answer.match").count() == 0:
            assert time.monotonic() < deadline
            page.set_input_files("#file", ask)
            page.wait_for_selector("#working:empty")
            page.wait_for_timeout(100)
        assert page.inner_text(".answer .verdict") == "lamp"
        page.click("text=Not this")
        page.click("text=Not ours")
        page.wait_for_selector(".teach >> text=/Learned|Noted/")
        page.click(".teach >> text=Undo")
        page.wait_for_selector("text=Taken back.")


def test_how_good_the_answers_are_is_shown(browser: Browser, keeper: tuple[str, Path]) -> None:
    address, _ = keeper
    photos = [scene(600), photo(1)]
    files = [("photo", (f"{n}.jpg", data)) for n, data in enumerate(photos)]
    first, second = (r["inbox"][0] for r in httpx.post(f"{address}v1/recognize", files=files).json()["results"])
    labels = [{"photo": first, "label": "not-ours"}, {"photo": second, "label": "product", "product_id": "p002"}]
    assert httpx.post(f"{address}v1/inbox/labels", json={"labels": labels}).status_code == 200
    found = httpx.get(f"{address}v1/inbox/quality").json()
    window = {"width": 390, "height": 844}
    with opened(browser, f"{address}#good", viewport=window, color_scheme="dark") as page:
        page.wait_for_selector(".chart")
        right = found["all"]["right"]
        assert f"{right['part']} of {right['whole']} named photos" in page.inner_text(".figures")
        assert "مصباح" in page.inner_text(".confusions")
        assert serious(page) == []
        # Too few photos are confirmed here; what it would change is shown as the service documents it.
        page.click("text=See what calibrating changes")
        page.wait_for_selector("text=/expected 100 confirmed/")
        done = inbox_examples.CALIBRATION["responses"][200]["content"]["application/json"]["example"]
        page.route("**/v1/calibrate*", lambda route: route.fulfill(json=done))
        page.click("text=See what calibrating changes")
        page.wait_for_selector(
            f"text=Calibrate with {done['result']['known'] + done['result']['unknown']} confirmed photos"
        )
        with page.expect_download() as download:
            page.click("text=Download as a dataset")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert any("p002/" in name for name in archive.namelist())
        page.click("nav >> text=Catalog")
        page.click("#unfound-count")
        page.wait_for_selector("#unfound-products li")
        assert page.locator("#unfound-products li").count() == found["never_found"]["total"]
