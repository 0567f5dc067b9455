"""The inbox over HTTP: kept, listed, labeled in bulk, taken back, exported; tenants, roles, and what strangers send."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retrieval.errors import DiskFullError
from retrieval.inbox.inbox import Inbox
from retrieval.service import inbox_desk
from retrieval.service.access import add_key
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.retrieval.inbox.shop import photo, scene
from tests.retrieval.service.asking import asked, tree

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def client(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(inbox_desk, "AGAIN_SECONDS", 0.01)
    with TestClient(create_app(Settings(index=str(shop / "index"), inbox=shop / "inbox"))) as client:
        yield client


def recognize(client: TestClient, *photos: bytes, **headers: str) -> dict[str, Any]:
    files = [("photo", (f"{n}.jpg", data)) for n, data in enumerate(photos)]
    answered = client.post("/v1/recognize", files=files, headers=headers)
    assert answered.status_code == 200, answered.text
    return answered.json()  # type: ignore[no-any-return]


def ids(document: dict[str, Any]) -> list[str]:
    return [ident for result in document["results"] for ident in result["inbox"]]


def say(client: TestClient, *labels: dict[str, Any], **headers: str) -> dict[str, Any]:
    answered = client.post("/v1/inbox/labels", json={"labels": list(labels)}, headers=headers)
    assert answered.status_code == 200, answered.text
    return answered.json()  # type: ignore[no-any-return]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settled(client: TestClient) -> None:
    until(lambda: client.get("/v1/inbox").json()["held"]["waiting"] == 0)


def test_an_unknown_photo_becomes_a_product_and_undo_leaves_no_trace(shop: Path, client: TestClient) -> None:
    before = tree(shop / "catalog")
    document = recognize(client, photo(7))
    [ident] = ids(document)
    [stack] = client.get("/v1/inbox?verdict=unknown&labeled=false").json()["stacks"]
    [kept] = stack["photos"]
    assert (kept["photo"], kept["request_id"], kept["label"]) == (ident, document["request_id"], None)
    assert kept["nearest"]
    said = say(client, {"photo": ident, "label": "new", "product_id": "p7", "name": HOSTILE})
    assert said["items"] == [{"photo": ident, "ok": True, "state": "waiting", "why": ""}]
    settled(client)
    assert asked(client, photo(7, view=2)) == ("match", ["p7"])
    assert client.get("/v1/products/p7").json()["name"] == HOSTILE
    assert client.get(f"/v1/inbox/{ident}").json()["label"]["state"] == "taught"
    undone = client.post("/v1/inbox/undo", json={"batch": said["batch"]}).json()
    assert undone["items"][0]["ok"]
    settled(client)
    assert tree(shop / "catalog") == before
    assert asked(client, photo(7))[0] == "unknown"


def test_feedback_names_a_request_and_refuses_what_is_not_ours(client: TestClient) -> None:
    document = recognize(client, photo(1, view=1), photo(1, view=5))
    assert [r["verdict"] for r in document["results"]] == ["match", "match"]
    body = {"request_id": document["request_id"], "place": 1, "label": "not-ours", "note": "the rival's"}
    assert client.post("/v1/feedback", json=body).json()["items"][0]["photo"] == ids(document)[1]
    settled(client)
    [result] = recognize(client, photo(1, view=5))["results"]
    assert (result["verdict"], result["refused_by"]["note"]) == ("unknown", "the rival's")
    missing = client.post("/v1/feedback", json={**body, "request_id": "never"})
    assert (missing.status_code, missing.json()["code"]) == (404, "no-request")


def test_pages_filters_and_pictures(client: TestClient) -> None:
    idents = ids(recognize(client, *(scene(n) for n in range(5)), scene(9, side=60)))
    seen, after = list[str](), ""
    while True:
        page = client.get("/v1/inbox", params={"limit": 2, "after": after}).json()
        seen += [entry["photo"] for stack in page["stacks"] for entry in stack["photos"]]
        if not (after := page["after"]):
            break
    assert sorted(seen) == sorted(idents)
    [small] = client.get("/v1/inbox?quality=small").json()["stacks"]
    assert small["photos"][0]["quality"]["badges"] == ["small"]
    link = small["photos"][0]["link"]
    shown = client.get(f"/{link}&size=96")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert client.get(f"/{link}", headers={"if-none-match": shown.headers["etag"]}).status_code in (200, 304)
    for query, status in (
        ("verdict=odd", 422),
        ("quality=odd", 422),
        ("since=yesterday", 422),
        ("since=2026-01-01", 200),
        ("after=nonsense", 422),
        ("limit=0", 422),
    ):
        answered = client.get(f"/v1/inbox?{query}")
        assert answered.status_code == status, query
        assert status == 200 or answered.json()["schema"] == "itemrec.error/1"


def test_bodies_that_are_not_as_described_are_refused(client: TestClient) -> None:
    for path, body, status, code in (
        ("labels", {"labels": []}, 422, "wrong-usage"),
        ("labels", {"labels": [{"photo": "x"}]}, 422, "wrong-usage"),
        ("labels", {"labels": [{"photo": "x", "label": "skip"}] * 1001}, 422, "wrong-usage"),
        ("labels", {"labels": [{"photo": "x", "label": "skip", "more": 1}]}, 422, "wrong-usage"),
        ("labels", [], 400, "broken-json"),
        ("undo", {}, 422, "wrong-usage"),
        ("undo", {"batch": "a", "photos": ["b"]}, 422, "wrong-usage"),
    ):
        answered = client.post(f"/v1/inbox/{path}", json=body)
        assert (answered.status_code, answered.json()["code"]) == (status, code)
        assert "\n" not in answered.json()["message"]
    wrong = client.post("/v1/feedback", json={"request_id": "x", "place": -1, "label": "skip"})
    assert wrong.status_code == 422


def test_each_label_gets_its_own_answer_and_paths_lead_nowhere(shop: Path, client: TestClient) -> None:
    before = tree(shop / "catalog")
    [ident] = ids(recognize(client, scene(1)))
    said = say(
        client,
        {"photo": "../../../etc/passwd", "label": "skip"},
        {"photo": ident, "label": "product", "product_id": "nobody"},
        {"photo": ident, "label": "new", "product_id": "../up"},
        {"photo": ident, "label": "new", "product_id": "p001"},
        {"photo": ident, "label": "new", "product_id": "p9", "name": "two\nlines"},
        {"photo": ident, "label": "skip"},
    )
    assert [item.get("code") for item in said["items"]] == [
        "no-photo",
        "no-product",
        "wrong-usage",
        "product-exists",
        "wrong-usage",
        None,
    ]
    settled(client)
    assert tree(shop / "catalog") == before
    for path in ("/v1/inbox/..%2F..%2Fbundle/picture", f"/v1/inbox/{'a' * 24}/picture", "/v1/inbox/%00"):
        assert client.get(path).status_code == 404


def test_the_export_is_a_dataset(client: TestClient) -> None:
    others = (scene(number, held_out=True) for number in (3, 4))
    held, taught, *strange = ids(recognize(client, scene(1, held_out=True), photo(1, view=3), *others))
    say(
        client,
        {"photo": held, "label": "product", "product_id": "p001"},
        {"photo": taught, "label": "new", "product_id": "p7", "name": HOSTILE, "gtin": "4006381333931"},
        *({"photo": one, "label": "not-ours", "note": note} for one, note in zip(strange, ("Oat", "oat"), strict=True)),
    )
    archive = client.get("/v1/inbox/export")
    assert archive.headers["content-disposition"] == 'attachment; filename="inbox.zip"'
    with zipfile.ZipFile(io.BytesIO(archive.content)) as found:
        names = found.namelist()
        assert f"test/p001/{held}.jpg" in names
        unknown = [name.split("/")[1] for name in names if name.startswith("test/not-ours-")]
        assert (len(unknown), len(set(unknown))) == (2, 1)  # what is called the same is one unknown product
        assert any(name in (f"train/p7/{taught}.jpg", f"val/p7/{taught}.jpg") for name in names)
        assert HOSTILE.replace('"', '""') in found.read("products.csv").decode()
    lines = client.get("/v1/inbox/export?format=ndjson").text.splitlines()
    assert {json.loads(line)["product_id"] for line in lines} >= {"p001", "p7"}


def test_tenants_see_and_label_their_own(shop: Path) -> None:
    keys = shop / "keys.json"
    _, cheap = add_key(keys, "cheap", "teach", where=("price<2",))
    _, other = add_key(keys, "other", "teach", where=("price>=2",))
    _, till = add_key(keys, "till", "recognize")
    _, boss = add_key(keys, "boss", "admin")
    mine, theirs, tills, everything = ({"authorization": f"Bearer {key}"} for key in (cheap, other, till, boss))
    settings = Settings(index=str(shop / "index"), inbox=shop / "inbox", keys=keys, hosts=())
    with TestClient(create_app(settings)) as client:
        document = recognize(client, scene(1), **mine)
        [ident] = ids(document)
        assert client.get("/v1/inbox", headers=theirs).json()["held"]["photos"] == 0
        assert client.get("/v1/inbox", headers=everything).json()["held"]["photos"] == 1
        assert client.get(f"/v1/inbox/{ident}/picture", headers=theirs).status_code == 404
        assert client.get(f"/v1/inbox/{ident}/picture", headers=mine).status_code == 200
        assert client.get(f"/v1/inbox/{ident}/picture").status_code == 401
        feedback = {"request_id": document["request_id"], "label": "skip"}
        assert client.post("/v1/feedback", json=feedback, headers=theirs).status_code == 404
        labels = [
            {"photo": ident, "label": "product", "product_id": "p001"},
            {"photo": ident, "label": "new", "product_id": "p9"},
            {"photo": ident, "label": "product", "product_id": "p000"},
        ]
        said = say(client, *labels, **mine)
        assert [item["ok"] for item in said["items"]] == [False, False, True]
        assert client.post("/v1/inbox/undo", json={"batch": said["batch"]}, headers=theirs).json()["items"] == []
        for path in ("/v1/inbox", f"/v1/inbox/{ident}"):
            assert client.get(path, headers=tills).status_code == 403
        assert client.get("/v1/inbox/export", headers=mine).status_code == 403


def test_a_full_disk_takes_no_answer_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise DiskFullError("Disk full")

    monkeypatch.setattr(Inbox, "keep", full)
    monkeypatch.setattr(inbox_desk, "find_drift", full)
    document = recognize(client, photo(1))
    assert (document["results"][0]["verdict"], document["results"][0]["inbox"]) == ("match", [])
    assert "itemrec_inbox_not_kept_total 1.0" in client.get("/metrics").text


def test_several_photos_of_one_item_are_kept_and_metrics_say_how_many(client: TestClient) -> None:
    files = [("photo", (f"{view}.jpg", photo(1, view))) for view in (0, 1)]
    [result] = client.post("/v1/recognize?same=true", files=files).json()["results"]
    assert len(result["inbox"]) == 2
    assert client.get("/v1/status").json()["inbox"] is True
    assert 'itemrec_inbox_photos{label="no"} 2.0' in client.get("/metrics").text


def test_a_service_without_an_inbox_keeps_nothing_and_says_so(shop: Path) -> None:
    with TestClient(create_app(Settings(index=str(shop / "index")))) as client:
        document = recognize(client, photo(1))
        assert "inbox" not in document["results"][0]
        answered = client.get("/v1/inbox")
        assert (answered.status_code, answered.json()["code"]) == (404, "no-inbox")
        assert client.get("/v1/status").json()["inbox"] is False
    assert not list(shop.glob("inbox*"))


def test_what_an_earlier_process_left_is_carried_out_at_the_start(shop: Path) -> None:
    settings = Settings(index=str(shop / "index"), inbox=shop / "inbox")
    with TestClient(create_app(settings)) as client:
        client.app.state.shared.inbox._follow = lambda: None  # type: ignore[attr-defined]
        [ident] = ids(recognize(client, photo(7)))
        say(client, {"photo": ident, "label": "new", "product_id": "p7"})
        assert asked(client, photo(7, view=2))[0] == "unknown"
    with TestClient(create_app(settings)) as client:
        settled(client)
        assert asked(client, photo(7, view=2)) == ("match", ["p7"])


def test_how_good_it_is_and_calibrating_are_said(client: TestClient) -> None:
    [ident] = ids(recognize(client, photo(1, view=6)))
    say(client, {"photo": ident, "label": "product", "product_id": "p002"})
    document = client.get("/v1/inbox/quality?weeks=3").json()
    assert len(document["weeks"]) == 3
    assert (document["weeks"][-1]["right"]["part"], document["all"]["right"]["whole"]) == (0, 1)
    [confusion] = document["confusions"]
    assert (confusion["said"]["product_id"], confusion["shows"]["product_id"], confusion["count"]) == (
        "p001",
        "p002",
        1,
    )
    assert client.get(f"/{confusion['photos'][0]['link']}").status_code == 200
    assert client.get(f"/{confusion['shows']['link']}").status_code == 200
    assert {p["product_id"] for p in document["never_found"]["products"]} == {"p000", "p002"}
    assert [one["drifted"] for one in document["drift"]] == [False, False]
    assert 'itemrec_drift{of="unknown"} 0.0' in client.get("/metrics").text
    begun = client.post("/v1/calibrate?dry=true")
    assert (begun.status_code, begun.json()["action"]) == (202, "calibrate")
    job = f"/v1/calibrate/{begun.json()['job']}"
    until(lambda: client.get(job).json()["state"] != "running")
    failed = client.get(job).json()
    assert (failed["state"], failed["result"]) == ("failed", None)
    assert "none of them taught" in failed["message"]
    assert client.get("/v1/calibrate/never").status_code == 404
