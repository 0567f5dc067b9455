"""Teaching through the service: the folder first, then the index; new products, undo, crashes, and who may not."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from retrieval.images import pictures
from retrieval.index.open import open_index
from retrieval.indexing.run import index as index_catalog
from retrieval.service import jobs
from retrieval.service.access import add_key
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.retrieval.service.asking import asked, photo, settled, tree


def test_an_unknown_photo_becomes_a_new_product_and_undo_leaves_no_trace(shop: Path, client: TestClient) -> None:
    table = shop / "catalog" / "products.csv"
    table.write_bytes(table.read_bytes().rstrip())  # as some editors leave it
    before = tree(shop / "catalog")
    assert asked(client, photo(7))[0] == "unknown"
    job = settled(client, client.post("/v1/products/p7/pictures?new=true&name=Söven", files={"photo": photo(7)}))
    assert job["state"] == "done", job
    assert asked(client, photo(7)) == ("match", ["p7"])
    assert client.get("/v1/products/p7").json()["name"] == "Söven"
    with Image.open(shop / "catalog" / job["image"]) as kept:
        assert not kept.getexif()
    assert table.read_text("utf-8").endswith("\np7,Söven,")
    undone = settled(client, client.delete(f"/v1/products/p7/pictures/{job['image']}"))
    assert undone["state"] == "done"
    assert tree(shop / "catalog") == before
    assert asked(client, photo(7))[0] == "unknown"


def test_an_index_run_finds_nothing_to_do_after_teaching(shop: Path, client: TestClient) -> None:
    settled(client, client.post("/v1/products/p001/pictures", files={"photo": photo(7)}))
    settled(client, client.post("/v1/products/p8/pictures?new=true&name=Eight", files={"photo": photo(8)}))
    assert asked(client, photo(7))[1] == ["p001"]
    live = open_index(str(shop / "index"))
    with live.reader() as (store, _):
        taught = {r.image_id: (r.product_id, r.image, r.content_hash, dict(r.metadata)) for r in store.records()}
    report = index_catalog(shop / "catalog", shop / "index", prune=True)
    assert (report.added, report.updated, report.removed) == (0, 0, 0)
    with live.reader() as (store, _):
        again = {r.image_id: (r.product_id, r.image, r.content_hash, dict(r.metadata)) for r in store.records()}
    assert {i: r[:3] for i, r in again.items()} == {i: r[:3] for i, r in taught.items()}


def test_the_same_photo_is_one_picture(client: TestClient, shop: Path) -> None:
    first = settled(client, client.post("/v1/products/p001/pictures", files={"photo": photo(7)}))
    again = settled(client, client.post("/v1/products/p001/pictures", files={"photo": photo(7)}))
    assert first["image"] == again["image"]
    assert client.get("/v1/status").json()["images"] == 7


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/products/nobody/pictures", "a product of the catalog"),
        ("/v1/products/p001/pictures?new=true", "a new product"),
        ("/v1/products/..%5Cx/pictures?new=true", "can name a folder"),
        ("/v1/products/.hidden/pictures?new=true", "can name a folder"),
        ("/v1/products/a%0Ab/pictures?new=true", "can name a folder"),
        ("/v1/products/CON%3A/pictures?new=true", "can name a folder"),
        (f"/v1/products/{'x' * 300}/pictures?new=true", "can name a folder"),
    ],
)
def test_what_cannot_be_taught_changes_nothing(lasting: tuple[TestClient, Path], path: str, message: str) -> None:
    client, shop = lasting
    before = tree(shop / "catalog")
    refused = client.post(path, files={"photo": photo(7)})
    assert refused.status_code == 422
    assert message in refused.json()["message"]
    assert client.post("/v1/products/p001/pictures", files={"photo": b"no picture"}).status_code == 422
    assert tree(shop / "catalog") == before


def test_pictures_of_the_catalog_are_not_removed(lasting: tuple[TestClient, Path]) -> None:
    client, shop = lasting
    own = client.get("/v1/products/p001").json()["images"][0]["image"]
    before = tree(shop / "catalog")
    for image in (own, "p002/taught-0123456789abcdef.jpg", "..%2F..%2Fbundle%2Fbundle.json"):
        assert client.delete(f"/v1/products/p001/pictures/{image}").status_code in (404, 422)
    assert tree(shop / "catalog") == before


def test_a_product_is_not_drowned_in_taught_pictures(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.indexing.teach.MOST_TAUGHT", 1)
    settled(client, client.post("/v1/products/p001/pictures", files={"photo": photo(7)}))
    refused = client.post("/v1/products/p001/pictures", files={"photo": photo(8)})
    assert "fewer than 1 taught" in refused.json()["message"]


def test_what_was_acknowledged_before_a_crash_is_taken_up_by_the_next_process(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken, TestClient(create_app(Settings(index=str(shop / "index")))) as client:
        # The process dies after its answer and before the index changed.
        broken.setattr(jobs.Teaching, "_do", lambda *_: time.sleep(3600))
        broken.setattr(jobs.Teaching, "close", lambda _: None)
        assert client.post("/v1/products/p7/pictures?new=true", files={"photo": photo(7)}).status_code == 202
    with TestClient(create_app(Settings(index=str(shop / "index")))) as client:
        deadline = time.monotonic() + 60
        while asked(client, photo(7))[1] != ["p7"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_teaching_waits_for_an_index_run(shop: Path, client: TestClient) -> None:
    index = open_index(str(shop / "index"))
    manifest = index.manifest()
    assert manifest is not None
    with index.writer(manifest.model) as build:
        job = client.post("/v1/products/p001/pictures", files={"photo": photo(7)}).json()
        time.sleep(0.1)
        assert client.get(f"/v1/jobs/{job['job']}").json()["state"] in ("waiting", "running")
        assert asked(client, photo(1))[1][0] == "p001"
        build.discard()
    deadline = time.monotonic() + 60
    while client.get(f"/v1/jobs/{job['job']}").json()["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert asked(client, photo(7))[1] == ["p001"]


def test_what_is_not_ours_stays_unknown_until_it_is_taken_back(client: TestClient) -> None:
    assert asked(client, photo(1, view=5))[0] == "match"
    kept = client.post("/v1/refusals?note=rival", files={"photo": ("r.png", photo(1, view=5))})
    assert kept.status_code == 201
    (result,) = client.post("/v1/recognize", files={"photo": photo(1, view=5)}).json()["results"]
    assert (result["verdict"], result["refused_by"]["note"]) == ("unknown", "rival")
    assert [r["image"] for r in client.get("/v1/refusals").json()["refusals"]] == ["r.png"]
    assert client.delete("/v1/refusals/nothing").status_code == 404
    assert client.delete(f"/v1/refusals/{kept.json()['refusal_id']}").json()["refusals"] == []
    assert asked(client, photo(1, view=5))[0] == "match"


def test_several_photos_of_one_item_give_one_answer(client: TestClient) -> None:
    files = [("photo", (f"{view}.png", photo(1, view))) for view in (0, 1)]
    (result,) = client.post("/v1/recognize?same=true", files=files).json()["results"]
    assert (result["matches"][0]["product_id"], result["photos"]) == ("p001", ["0.png", "1.png"])


def test_a_key_that_only_recognizes_does_not_teach(shop: Path) -> None:
    keys = shop / "keys.json"
    _, may_not = add_key(keys, "till", "recognize")
    _, may = add_key(keys, "manager", "teach")
    with TestClient(create_app(Settings(index=str(shop / "index"), keys=keys, hosts=()))) as client:
        ask = {"files": {"photo": photo(7)}}
        refused = client.post("/v1/products/p001/pictures", headers={"authorization": f"Bearer {may_not}"}, **ask)
        assert refused.status_code == 403
        allowed = client.post("/v1/products/p001/pictures", headers={"authorization": f"Bearer {may}"}, **ask)
        assert allowed.status_code == 202


def test_a_large_photo_is_kept_small_and_without_its_place(client: TestClient, shop: Path) -> None:
    im = Image.effect_noise((2000, 1000), 40).convert("RGB")
    exif = im.getexif()
    exif[0x010F] = "camera"
    file = io.BytesIO()
    im.save(file, "JPEG", exif=exif)
    job = settled(client, client.post("/v1/products/p001/pictures", files={"photo": file.getvalue()}))
    kept = (shop / "catalog" / job["image"]).read_bytes()
    assert b"camera" not in kept
    assert pictures.decode(kept).size == (1024, 512)
