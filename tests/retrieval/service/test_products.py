"""Products through the service: changed, removed, undone, covers; who may, and what folder and index say after."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retrieval.errors import StoreError
from retrieval.indexing import changes
from retrieval.indexing.run import index as index_catalog
from retrieval.service import jobs
from retrieval.service.access import add_key
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.retrieval.service.asking import asked, photo, settled, tree


def undone(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    return settled(client, client.post(f"/v1/changes/{job['change']}/undo"))


def test_a_product_is_described_and_undo_leaves_the_table_byte_for_byte(shop: Path, client: TestClient) -> None:
    table = shop / "catalog" / "products.csv"
    table.write_bytes(b'\xef\xbb\xbfproduct_id;name;price\r\np000;"Ze\nro";1\r\np001;One;2\r\np002;Two;3')
    before = tree(shop / "catalog")
    body = {"name": "Öne; more", "metadata": {"price": None, "barcode": "0731"}}
    job = settled(client, client.put("/v1/products/p001", json=body))
    assert (job["state"], job["action"]) == ("done", "edit"), job
    assert table.read_bytes().decode("utf-8-sig") == (
        'product_id;name;price;barcode\r\np000;"Ze\nro";1\r\np001;"Öne; more";;0731\r\np002;Two;3'
    )
    (result,) = client.post("/v1/recognize", files={"photo": photo(1)}).json()["results"]
    assert result["matches"][0]["metadata"] == {"name": "Öne; more", "price": "", "barcode": "0731"}
    assert client.get("/v1/products?q=more").json()["products"][0]["product_id"] == "p001"
    assert client.post("/v1/recognize?where=barcode=0731", files={"photo": photo(1)}).status_code == 200
    assert undone(client, job)["state"] == "done"
    assert tree(shop / "catalog") == before
    assert client.get("/v1/products/p001").json()["name"] == "One"


def test_a_removed_product_is_unknown_and_comes_back_whole(shop: Path, client: TestClient) -> None:
    (shop / "catalog" / "p001" / "notes.txt").write_text("its owner's")
    before = tree(shop / "catalog")
    job = settled(client, client.delete("/v1/products/p001"))
    assert job["state"] == "done", job
    assert asked(client, photo(1))[1] != ["p001"]
    assert client.get("/v1/products/p001").status_code == 404
    assert not (shop / "catalog" / "p001").exists()
    assert "p001" not in (shop / "catalog" / "products.csv").read_text()
    # An index run does not look at what was taken out.
    report = index_catalog(shop / "catalog", shop / "index", prune=True)
    assert (report.added, report.removed) == (0, 0)
    (change,) = client.get("/v1/changes").json()["changes"]
    assert (change["change"], change["product_id"], change["pictures"]) == (job["change"], "p001", 2)
    assert undone(client, job)["state"] == "done"
    assert tree(shop / "catalog") == before
    assert asked(client, photo(1))[1] == ["p001"]
    assert client.get("/v1/changes").json()["changes"] == []
    assert client.post(f"/v1/changes/{job['change']}/undo").status_code == 404


def test_any_picture_but_the_last_is_removed_and_the_cover_is_chosen(shop: Path, client: TestClient) -> None:
    first, second = (entry["image"] for entry in client.get("/v1/products/p001").json()["images"])
    before = tree(shop / "catalog")
    chosen = client.put("/v1/products/p001/cover", json={"image": second}).json()
    assert [entry["image"] for entry in chosen["images"]] == [second, first]
    listed = client.get("/v1/products?q=one").json()["products"][0]["images"]
    assert (listed[0]["image"], listed[0]["taught"]) == (second, False)
    taught, own = "p001/taught-0123456789abcdef.jpg", "p001/z.jpg"
    assert changes.cover_of(shop / "catalog", [taught, own]) == own
    job = settled(client, client.delete(f"/v1/products/p001/pictures/{second}?studio=true"))
    assert [entry["image"] for entry in client.get("/v1/products/p001").json()["images"]] == [first]
    assert client.delete(f"/v1/products/p001/pictures/{first}?studio=true").status_code == 422
    undone(client, job)
    # What is shown without a choice is no choice.
    client.put("/v1/products/p001/cover", json={"image": first})
    assert tree(shop / "catalog") == before
    assert len(client.get("/v1/products/p001").json()["images"]) == 2


def test_a_new_product_has_its_row_first_and_then_its_picture(shop: Path, client: TestClient) -> None:
    table = shop / "catalog" / "products.csv"
    table.write_bytes(table.read_bytes().rstrip(b"\n"))
    before = tree(shop / "catalog")
    made = client.put("/v1/products/p7?new=true", json={"name": "Seven", "metadata": {"barcode": "42"}})
    job = settled(client, made)
    one = client.get("/v1/products/p7").json()
    assert (one["metadata"]["barcode"], one["images"]) == ("42", [])
    assert client.put("/v1/products/p7?new=true", json={"name": "Again"}).status_code == 422
    taught = settled(client, client.post("/v1/products/p7/pictures", files={"photo": photo(7)}))
    assert asked(client, photo(7)) == ("match", ["p7"])
    assert [p["product_id"] for p in client.get("/v1/products?taught=true").json()["products"]] == ["p7"]
    settled(client, client.delete(f"/v1/products/p7/pictures/{taught['image']}"))
    undone(client, job)
    assert tree(shop / "catalog") == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/products/nobody", {"name": "x"}, 422),
        ("/v1/products/..%2Fp001", {"name": "x"}, 405),
        ("/v1/products/..%5Cx?new=true", {"name": "x"}, 422),
        ("/v1/products/.itemrec-undo?new=true", {"name": "x"}, 422),
        ("/v1/products/p001", {"metadata": {"image": "../secret.png"}}, 422),
        ("/v1/products/p001", {"metadata": {"Product ID": "p002"}}, 422),
        ("/v1/products/p001", {"metadata": {"a\nb": "x"}}, 422),
        ("/v1/products/p001", {"metadata": {"note": "x" * 70_000}}, 422),
        ("/v1/products/p001", {"metadata": {"note": ["x"]}}, 422),
        ("/v1/products/p001", {"metadata": {"note": "\ud800"}}, 422),
        ("/v1/products/p001", {}, 422),
        ("/v1/products/p001", ["x"], 400),
        ("/v1/products/p001/cover", {"image": "p002/view0.png"}, 422),
        ("/v1/products/p001/cover", {"image": "../../bundle/bundle.json"}, 422),
    ],
)
def test_what_cannot_be_changed_changes_nothing(
    lasting: tuple[TestClient, Path], path: str, body: Any, status: int
) -> None:
    client, shop = lasting
    before = tree(shop / "catalog")
    refused = client.put(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["schema"]) == (status, "itemrec.error/1"), refused.text
    assert tree(shop / "catalog") == before
    assert sorted(p.name for p in (shop / "catalog").iterdir()) == ["p000", "p001", "p002", "products.csv"]


def test_who_may_change_products(shop: Path) -> None:
    keys = shop / "keys.json"
    sent = {}
    for role in ("recognize", "teach", "admin"):
        sent[role] = {"authorization": f"Bearer {add_key(keys, role, role)[1]}"}
    tenant = {"authorization": f"Bearer {add_key(keys, 'tenant', 'admin', where=('name=One',))[1]}"}
    with TestClient(create_app(Settings(index=str(shop / "index"), keys=keys, hosts=()))) as client:
        for role in ("recognize", "teach"):
            assert client.put("/v1/products/p001", json={"name": "x"}, headers=sent[role]).status_code == 403
            assert client.delete("/v1/products/p001", headers=sent[role]).status_code == 403
        made = client.put("/v1/products/p7?new=true", json={"name": "x"}, headers=sent["teach"]).json()
        assert client.post(f"/v1/changes/{made['change']}/undo", headers=sent["recognize"]).status_code == 403
        assert client.post(f"/v1/changes/{made['change']}/undo", headers=sent["teach"]).status_code == 202
        # A tenant changes its own products, into nothing that it would not see, and learns of no other.
        other = client.put("/v1/products/p002", json={"name": "One"}, headers=tenant)
        nobody = client.put("/v1/products/nobody", json={"name": "One"}, headers=tenant)
        assert other.status_code == nobody.status_code == 403
        assert other.json()["message"] == nobody.json()["message"]
        assert client.put("/v1/products/p001", json={"name": "Two"}, headers=tenant).status_code == 403
        assert client.put("/v1/products/p001", json={"metadata": {"price": 9}}, headers=tenant).status_code == 202
        for path in ("p002/pictures", "p8/pictures?new=true&name=Eight"):
            taught = client.post(f"/v1/products/{path}", files={"photo": photo(7)}, headers=tenant)
            assert taught.status_code == 403
        mine = client.post("/v1/products/p001/pictures", files={"photo": photo(7)}, headers=tenant)
        assert mine.status_code == 202


def test_changes_that_a_crash_cut_short_are_completed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(shop / "catalog")
    app = Settings(index=str(shop / "index"))
    with monkeypatch.context() as broken, TestClient(create_app(app)) as client:
        broken.setattr(jobs.Teaching, "_do", lambda *_: time.sleep(3600))
        broken.setattr(jobs.Teaching, "close", lambda _: None)
        assert client.put("/v1/products/p002", json={"name": "Deux"}).status_code == 202

        # The process dies when the record is written and nothing was moved yet.
        def died(*_: object) -> None:
            raise StoreError("killed", hint="")

        broken.setattr(changes, "_apply", died)
        assert client.delete("/v1/products/p001").status_code == 503
    assert (shop / "catalog" / "p001").exists()
    with TestClient(create_app(app)) as client:
        deadline = time.monotonic() + 60
        while {p["name"] for p in client.get("/v1/products").json()["products"]} != {"Zero", "Deux"}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for change in client.get("/v1/changes").json()["changes"]:
            undone(client, change)
        assert tree(shop / "catalog") == before
        assert asked(client, photo(1))[1] == ["p001"]


def test_what_its_owner_does_afterwards_is_his(shop: Path) -> None:
    app = Settings(index=str(shop / "index"))
    table = shop / "catalog" / "products.csv"
    with TestClient(create_app(app)) as client:
        first = settled(client, client.put("/v1/products/p001", json={"name": "Uno"}))
        second = settled(client, client.put("/v1/products/p001", json={"metadata": {"price": 7}}))
        removed = settled(client, client.delete("/v1/products/p002"))
        # Undone in the wrong order, a change would take the later one along.
        refused = client.post(f"/v1/changes/{first['change']}/undo")
        assert (refused.status_code, "later change" in refused.json()["hint"]) == (422, True)
        undone(client, second)
    table.write_text(table.read_text().replace("Uno", "Ein") + "p002,Again,4\n")
    before = table.read_bytes()
    with TestClient(create_app(app)) as client:
        assert client.post(f"/v1/changes/{removed['change']}/undo").status_code == 422
        assert client.post(f"/v1/changes/{first['change']}/undo").status_code == 422
        assert client.get("/v1/products/p002").json()["name"] == "Again"
        assert table.read_bytes() == before


def test_undo_does_not_write_over_what_was_made_since_and_ends_after_thirty_days(
    shop: Path, client: TestClient
) -> None:
    job = settled(client, client.delete("/v1/products/p001"))
    settled(client, client.post("/v1/products/p001/pictures?new=true", files={"photo": photo(7)}))
    refused = client.post(f"/v1/changes/{job['change']}/undo")
    assert (refused.status_code, "made since" in refused.json()["message"]) == (422, True)
    changes.sweep(shop / "catalog", now=datetime.now(UTC))
    assert len(changes.read_changes(shop / "catalog")) == 1
    changes.sweep(shop / "catalog", now=datetime.now(UTC) + changes.KEPT * 1.01)
    assert not (shop / "catalog" / changes.UNDO).exists()
