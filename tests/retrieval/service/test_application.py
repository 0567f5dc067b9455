"""The service over HTTP: the documents of the command line, limits, keys, pictures, and what browsers must not do."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from retrieval.indexing.run import index as index_catalog
from retrieval.recognition.api import Recognizer
from retrieval.service import page_files, recognize_routes
from retrieval.service.access import add_key, read_keys, write_keys
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from retrieval.service.uploads import MOST
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog
from tests.hostile import bombs, polyglots, strangers


@pytest.fixture(scope="module", autouse=True)
def _pixel_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use_pixel_encoder(patch)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, _pixel_encoder: None) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    bundle = fake_bundle(folder / "bundle")
    catalog = write_catalog(folder / "catalog", products=6, views=4)
    rows = [f"p{n:03},Prodùct <{n}>,{'odd' if n % 2 else 'even'}" for n in range(6)]
    (catalog / "products.csv").write_text("\n".join(["product_id,name,category", *rows]) + "\n")
    index_catalog(catalog, folder / "index", model=bundle.path)
    return folder / "index"


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(index=str(place)))) as client:
        yield client


def photo(product: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture(product, view=1).save(file, form)
    return file.getvalue()


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    document = response.json()
    assert document["schema"] == "itemrec.error/1"
    assert document["status"] == status
    assert document["request_id"] == response.headers["x-request-id"]
    assert set(document) == {"schema", "error", "status", "code", "message", "hint", "request_id"}
    return document


def test_a_photo_gets_the_document_of_the_command_line(client: TestClient, place: Path) -> None:
    body = client.post("/v1/recognize", content=photo(2), headers={"content-type": "image/png"}).json()
    form = client.post("/v1/recognize?top=2", files={"photo": ("a.png", photo(2))}).json()
    with Recognizer(place) as shop:
        answer = shop.recognize(photo(2)).to_json()
    (result,) = body["results"]
    for match in [*result["matches"], *result["nearest"]]:
        for evidence in match["evidence"]:
            evidence.pop("link")
    assert {**result, "timings_ms": 0, "source": ""} == {
        **json.loads(json.dumps(answer)),
        "timings_ms": 0,
        "source": "",
    }
    assert body["schema"] == "itemrec.query/1"
    assert form["results"][0]["source"] == "a.png"
    assert len(form["results"][0]["matches"]) <= 2


def test_many_photos_keep_their_order_and_broken_ones_are_named(client: TestClient) -> None:
    files = [("photo", (f"{n}.png", photo(n) if n != 3 else b"no picture")) for n in range(6)]
    answered = client.post("/v1/recognize", files=files).json()
    assert [r["source"] for r in answered["results"]] == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert [r["matches"][0]["product_id"] for r in answered["results"]] == ["p000", "p001", "p002", "p004", "p005"]
    assert [(r["path"], r["code"]) for r in answered["refused"]] == [("3.png", "unknown-format")]


def test_filters_keep_products_out(client: TestClient) -> None:
    seen = client.post("/v1/recognize?where=category=odd", files={"photo": photo(2)}).json()
    assert all(m["metadata"]["category"] == "odd" for m in seen["results"][0]["matches"])
    assert (
        problem(client.post("/v1/recognize?where=colour=red", files={"photo": photo(2)}), 422)["error"] == "UsageError"
    )


@pytest.mark.parametrize(
    ("ask", "status", "code"),
    [
        (lambda c: c.post("/v1/recognize", content=b"", headers={"content-type": "image/png"}), 400, "no-photo"),
        (lambda c: c.post("/v1/recognize", files={"other": b"x"}), 400, "no-photo"),
        (lambda c: c.post("/v1/recognize", content=b"x", headers={"content-type": "multipart/form-data"}), 400, None),
        (
            lambda c: c.post(
                "/v1/recognize", content=b"--a\r\nbroken", headers={"content-type": "multipart/form-data; boundary=a"}
            ),
            400,
            None,
        ),
        (lambda c: c.post("/v1/recognize", json={}), 415, "unsupported-type"),
        (lambda c: c.post("/v1/recognize?top=0", files={"photo": photo(1)}), 422, "wrong-usage"),
        (lambda c: c.post("/v1/recognize?top=x", files={"photo": photo(1)}), 422, "wrong-usage"),
        (lambda c: c.post("/v1/recognize", files={"photo": photo(1)[:40]}), 422, None),
        (lambda c: c.post("/v1/recognize", files=[("photo", b"x")] * (MOST + 1)), 413, "too-many-photos"),
        (lambda c: c.get("/v1/recognize"), 405, "wrong-method"),
        (lambda c: c.get("/nowhere"), 404, "no-such-address"),
        (lambda c: c.get("/v1/products/nobody"), 404, "no-product"),
        (lambda c: c.get("/v1/products?limit=0"), 422, "wrong-usage"),
    ],
)
def test_what_cannot_be_answered_says_so_in_one_shape(
    client: TestClient, ask: Any, status: int, code: str | None
) -> None:
    document = problem(ask(client), status)
    assert code in (None, document["code"])
    assert "\n" not in document["message"]
    assert "Traceback" not in json.dumps(document)


@pytest.mark.parametrize("kind", [bombs, polyglots, strangers])
def test_hostile_files_are_refused_never_broken(client: TestClient, kind: Callable[[], dict[str, bytes]]) -> None:
    for name, data in kind().items():
        response = client.post("/v1/recognize", files={"photo": (name, data)})
        assert response.status_code in ((413, 422) if kind is bombs else (200, 400, 413, 422)), name
        if response.status_code != 200:
            problem(response, response.status_code)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: TestClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("retrieval.service.uploads.MAX_BYTES", 1000)
    told = client.post("/v1/recognize", content=b"x" * 1001, headers={"content-type": "image/png"})
    assert problem(told, 413)["code"] == "too-many-bytes"

    def unannounced() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    streamed = client.post("/v1/recognize", content=unannounced(), headers={"content-type": "image/png"})
    assert problem(streamed, 413)["code"] == "too-many-bytes"


def test_uploads_stay_in_memory(client: TestClient, monkeypatch: Any) -> None:
    def spilled(*_: object, **__: object) -> None:
        raise AssertionError("an upload was written to the disk")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", spilled)
    large = Image.effect_noise((1400, 1400), 90).convert("RGB")
    file = io.BytesIO()
    large.save(file, "PNG")
    assert len(file.getvalue()) > 2**20
    assert client.post("/v1/recognize", files={"photo": file.getvalue()}).status_code == 200


def test_pictures_are_shown_by_the_links_of_answers_alone(client: TestClient, place: Path) -> None:
    answered = client.post("/v1/recognize", files={"photo": photo(2)}).json()
    link = "/" + answered["results"][0]["matches"][0]["evidence"][0]["link"]
    shown = client.get(f"{link}&size=100")
    assert shown.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(shown.content)).size) <= 192
    again = client.get(f"{link}&size=100", headers={"if-none-match": shown.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    path, _, signature = link.partition("?sig=")
    assert problem(client.get(path), 403)["code"] == "wrong-link"
    assert problem(client.get(f"{path}x?sig={signature}"), 403)["code"] == "wrong-link"
    assert problem(client.get(f"/v1/pictures/..%2f..%2fetc%2fpasswd?sig={signature}"), 403)["code"] == "wrong-link"


def test_a_signed_path_out_of_the_catalog_shows_nothing(client: TestClient, place: Path) -> None:
    shown = client.app.state.shared.pictures  # type: ignore[attr-defined]
    (place.parent / "secret.png").write_bytes(photo(1))
    (place.parent / "catalog" / "out.png").symlink_to(place.parent / "secret.png")
    for image in ("../secret.png", "out.png", "/etc/passwd", "p001", "gone.png"):
        assert problem(client.get("/" + shown.link(image).replace("../", "..%2F")), 404)["code"] == "no-picture"


def test_products_are_found_as_people_type(client: TestClient) -> None:
    assert client.get("/v1/products").json()["total"] == 6
    found = client.get("/v1/products", params={"q": "PRODUCT <3"}).json()
    assert [p["product_id"] for p in found["products"]] == ["p003"]
    assert [p["product_id"] for p in client.get("/v1/products?limit=2&after=4").json()["products"]] == ["p004", "p005"]
    one = client.get("/v1/products/p003").json()
    assert (one["name"], len(one["images"])) == ("Prodùct <3>", 4)
    assert client.get("/" + one["images"][0]["link"]).status_code == 200


def test_health_metrics_and_the_openapi_document(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    text = client.get("/metrics").text
    assert "itemrec_index_products 6.0" in text
    assert 'itemrec_queries_total{verdict="match"}' in text
    paths = client.get("/openapi.json").json()["paths"]
    assert "example" in paths["/v1/recognize"]["post"]["responses"]["200"]["content"]["application/json"]
    assert client.get("/docs").status_code == 404


def test_answers_keep_browsers_safe(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/page.js").headers["content-type"].startswith("text/javascript")
    elsewhere = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    asked = client.post("/v1/recognize", files={"photo": photo(1)}, headers=elsewhere)
    assert problem(asked, 403)["code"] == "other-origin"
    assert client.get("/v1/status", headers={"host": "evil.example"}).status_code == 400
    sent = client.get("/healthz", headers={"x-request-id": "abc-1"})
    assert sent.headers["x-request-id"] == "abc-1"
    forged = client.get("/healthz", headers={"x-request-id": "a" * 65})
    assert len(forged.headers["x-request-id"]) == 16


def test_every_file_of_the_page_is_served_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    kinds = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for file in sorted(page_files.PAGE.iterdir()):
        served = client.get("/" if file.name == "index.html" else f"/{file.name}")
        assert served.headers["content-type"].startswith(kinds[file.suffix]), file.name
        assert served.content == file.read_bytes()
        found = set(re.findall(r"https?://[^\s\"'`)]+", served.text)) - {"http://www.w3.org/2000/svg"}
        assert found == set(), file.name
    assert "<script>" not in client.get("/").text


def test_a_page_that_is_named_may_ask_from_elsewhere(place: Path) -> None:
    app = create_app(Settings(index=str(place), origins=("https://shop.example",), page=False))
    with TestClient(app) as client:
        mine = {"sec-fetch-site": "cross-site", "origin": "https://shop.example"}
        asked = client.post("/v1/recognize", files={"photo": photo(1)}, headers=mine)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://shop.example"
        assert client.get("/").status_code == 404


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_keys_decide_who_may_ask(place: Path, keys: Path) -> None:
    key, secret = add_key(keys, "till", "recognize")
    with TestClient(create_app(Settings(index=str(place), keys=keys, hosts=()))) as client:
        ask = {"files": {"photo": photo(2)}}
        nobody = problem(client.post("/v1/recognize", **ask), 401)
        assert nobody["code"] == "no-key"
        for wrong in (f"irk.{key.id}.x", secret + "x", "irk.aaaaaaaa.x", "ü", ""):
            sent = {"authorization": f"Bearer {wrong}".encode()}
            assert problem(client.post("/v1/recognize", headers=sent, **ask), 401)
        mine = {"authorization": f"Bearer {secret}"}
        answered = client.post("/v1/recognize", headers=mine, **ask)
        assert answered.status_code == 200
        # A browser shows pictures without headers.
        assert client.get("/" + answered.json()["results"][0]["matches"][0]["evidence"][0]["link"]).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert problem(client.get("/metrics"), 401)
        write_keys(keys, [k for k in read_keys(keys) if k.id != key.id])
        assert problem(client.post("/v1/recognize", headers=mine, **ask), 401)["code"] == "wrong-key"
    assert secret.rpartition(".")[2] not in keys.read_text()
    assert keys.stat().st_mode & 0o077 == 0


def test_a_key_with_a_filter_never_sees_the_rest(place: Path, keys: Path) -> None:
    _, secret = add_key(keys, "partner", "recognize", where=("category=odd",))
    with TestClient(create_app(Settings(index=str(place), keys=keys, hosts=()))) as client:
        mine = {"authorization": f"Bearer {secret}"}
        for terms in ("", "?where=category=odd", "?where=name?", "?where=category=even&where=category=odd"):
            answered = client.post(f"/v1/recognize{terms}", headers=mine, files={"photo": photo(2)}).json()
            (result,) = answered["results"]
            assert {m["metadata"]["category"] for m in [*result["matches"], *result.get("nearest", [])]} <= {"odd"}
        other = client.post("/v1/recognize?where=category=even", headers=mine, files={"photo": photo(2)})
        assert problem(other, 403)["code"] == "not-allowed"
        assert problem(client.get("/v1/products", headers=mine), 403)
        assert problem(client.get("/v1/products/p002", headers=mine), 403)


def test_a_key_that_asks_too_often_waits(place: Path, keys: Path) -> None:
    _, secret = add_key(keys, "eager", "recognize", rate=0.5)
    with TestClient(create_app(Settings(index=str(place), keys=keys, hosts=()))) as client:
        mine = {"authorization": f"Bearer {secret}"}
        assert client.get("/v1/status", headers=mine).status_code == 200
        late = client.get("/v1/status", headers=mine)
        assert problem(late, 429)["code"] == "too-often"
        assert 1 <= int(late.headers["retry-after"]) <= 3


def test_who_comes_when_all_wait_is_sent_away_and_who_waits_too_long(place: Path, monkeypatch: Any) -> None:
    free, entered = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> dict[str, Any]:
        entered.set()
        free.wait(30)
        return {}

    monkeypatch.setattr(recognize_routes, "_document", slow)
    app = create_app(Settings(index=str(place), threads=1, waiting=0, seconds=0.2))
    with TestClient(app) as client:
        first: list[Any] = []
        asking = threading.Thread(target=lambda: first.append(client.post("/v1/recognize", files={"photo": photo(1)})))
        asking.start()
        entered.wait(30)
        second = client.post("/v1/recognize", files={"photo": photo(1)})
        assert problem(second, 503)["code"] == "busy"
        assert second.headers["retry-after"]
        asking.join()
        assert problem(first[0], 504)["code"] == "deadline"
        free.set()


def test_what_goes_live_is_answered_and_other_processes_get_their_turn(tmp_path: Path) -> None:
    bundle = fake_bundle(tmp_path / "bundle")
    catalog = write_catalog(tmp_path / "catalog", products=3, views=2)
    index_catalog(catalog, tmp_path / "index", model=bundle.path)
    with TestClient(create_app(Settings(index=str(tmp_path / "index")))) as client:
        before = client.post("/v1/recognize", files={"photo": photo(5)}).json()
        assert [m["product_id"] for m in before["results"][0]["matches"]] != ["p005"]
        more = write_catalog(tmp_path / "more", products=6, views=2)
        (more / "p005").rename(catalog / "p005")
        # The service keeps the engine open for a moment; whoever waits for it is let in.
        index_catalog(catalog, tmp_path / "index")
        after = client.post("/v1/recognize", files={"photo": photo(5)}).json()
        assert after["results"][0]["matches"][0]["product_id"] == "p005"
        assert client.get("/v1/status").json()["products"] == 4
        assert client.get("/v1/products").json()["total"] == 4


def test_many_items_have_a_document_of_their_own(client: TestClient) -> None:
    answer = client.post("/v1/recognize?many=true", files={"photo": photo(1)})
    assert answer.status_code == 200
    document = answer.json()
    assert document["schema"] == "itemrec.items/1"
    assert document["results"][0]["items"] == []
    broken = client.post("/v1/recognize?many=true", files={"photo": b"no picture"})
    assert broken.json()["refused"][0]["code"] == "unknown-format"
