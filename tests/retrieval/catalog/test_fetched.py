"""Pictures by address: fetched once, asked about again, refused by name, and never from where they may not come."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from retrieval.catalog import fetched
from retrieval.catalog.columns import Reading
from retrieval.catalog.fetched import address_name, cache_folder, locate, place
from retrieval.catalog.read import Catalog, Refusal, read_catalog
from retrieval.errors import DownloadError
from retrieval.types import CatalogImage
from tests.retrieval.catalogs import PIXELS
from tests.retrieval.servers import Request, Server, serving

MINE = Reading(allow_private=True)


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITEMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetched, "_PAUSE", 0.0)


def table(folder: Path, server: Server, *paths: str) -> Path:
    rows = "".join(f"p{n},{server.url(path)}\n" for n, path in enumerate(paths))
    file = folder / "products.csv"
    file.write_text("product_id,image\n" + rows)
    return file


def shop(request: Request) -> None:
    """Answers with the path as content; ``/gone`` is gone, ``/busy`` never ready, ``/weak`` has a date only."""
    if request.path.startswith("/gone"):
        request.answer(status="404 Not Found")
    elif request.path.startswith("/busy"):
        request.answer(status="503 Service Unavailable")
    elif request.headers.get("if-none-match") == '"v1"' or "if-modified-since" in request.headers:
        request.answer(status="304 Not Modified")
    elif request.path.startswith("/weak"):
        request.answer(PIXELS, Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")
    else:
        request.answer(PIXELS + request.path.encode(), ETag='"v1"')


def pictures(catalog: Catalog) -> list[CatalogImage]:
    return [entry for entry in catalog.entries() if isinstance(entry, CatalogImage)]


def test_fetched_once_then_asked_about(tmp_path: Path) -> None:
    with serving(shop) as server:
        file = table(tmp_path, server, "/a.jpg?w=1", "/weak.jpg", "/a.jpg?w=1")
        catalog = read_catalog(file, reading=MINE)
        found = pictures(catalog)
        assert [(p.product_id, p.image) for p in found] == [
            ("p0", server.url("/a.jpg?w=1")),
            ("p1", server.url("/weak.jpg")),
            ("p2", server.url("/a.jpg?w=1")),
        ]
        assert catalog.read(found[0]) == PIXELS + b"/a.jpg?w=1"
        assert all(p.file.is_relative_to(cache_folder()) for p in found)
        assert catalog.notes == ("Pictures by address: 2 fetched",)
        assert catalog.count() == 3
        assert len(server.requests) == 2  # walks do not ask again
        again = read_catalog(file, reading=MINE)
        assert pictures(again) == found
        assert again.notes == ("Pictures by address: 2 unchanged",)
        assert len(server.requests) == 4
        # Whoever knows an indexed picture's address finds its file.
        assert locate(tmp_path, found[0].image)[0].read_bytes() == catalog.read(found[0])
        assert locate(tmp_path, "a/b.jpg") == (tmp_path / "a/b.jpg", tmp_path)


def test_a_file_that_the_cache_lost_is_fetched_again(tmp_path: Path) -> None:
    with serving(shop) as server:
        file = table(tmp_path, server, "/a.jpg", "/b.jpg")
        first, second = pictures(read_catalog(file, reading=MINE))
        first.file.unlink()
        second.file.write_bytes(b"cut")
        catalog = read_catalog(file, reading=MINE)
        assert catalog.read(pictures(catalog)[1]) == PIXELS + b"/b.jpg"
        assert catalog.notes == ("Pictures by address: 2 fetched",)


def test_eight_at_a_time(tmp_path: Path) -> None:
    most, now, lock = 0, 0, threading.Lock()
    together = threading.Barrier(8)

    def slowly(request: Request) -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        together.wait(10)
        with lock:
            now -= 1
        request.answer(PIXELS)

    with serving(slowly) as server:
        file = table(tmp_path, server, *(f"/{n}.jpg" for n in range(24)))
        assert len(pictures(read_catalog(file, reading=MINE))) == 24
    assert most == 8


def test_counting_fetches_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PIXELS)
    with serving(shop) as server:
        file = table(tmp_path, server, "/a.jpg", "/b.jpg")
        file.write_text(file.read_text() + "p9,a.jpg\np9,missing.jpg\n")
        assert read_catalog(file, reading=MINE).count() == 3
        assert server.requests == []


def test_a_picture_that_is_gone_is_refused_by_name(tmp_path: Path) -> None:
    with serving(shop) as server:
        file = table(tmp_path, server, "/gone.jpg", *(f"/{n}.jpg" for n in range(19)))
        catalog = read_catalog(file, reading=MINE)
        refused = [entry for entry in catalog.entries() if isinstance(entry, Refusal)]
        assert [(r.path, r.code) for r in refused] == [(server.url("/gone.jpg"), "unreachable")]
        assert "HTTP 404" in refused[0].reason
        assert catalog.count() == 19
        assert catalog.products_without_pictures() == ("p0",)


def test_more_than_one_in_twenty_stops_the_run(tmp_path: Path) -> None:
    with serving(shop) as server:
        file = table(tmp_path, server, "/gone.jpg", "/busy.jpg", *(f"/{n}.jpg" for n in range(30)))
        catalog = read_catalog(file, reading=MINE)
        with pytest.raises(DownloadError, match="at least 95% of 32 pictures to be reachable, received 2") as caught:
            catalog.fetch()
        assert "/gone.jpg: HTTP 404" in caught.value.message
        asked = Counter(request.path for request in server.requests)
        assert (asked["/busy.jpg"], asked["/gone.jpg"]) == (3, 1)


def test_pictures_whose_server_is_away_are_used_as_they_were(tmp_path: Path) -> None:
    away = threading.Event()

    def sometimes(request: Request) -> None:
        if away.is_set() and request.path == "/0.jpg":
            request.reset()
        else:
            shop(request)

    with serving(sometimes) as server:
        file = table(tmp_path, server, *(f"/{n}.jpg" for n in range(20)))
        read_catalog(file, reading=MINE).fetch()
        away.set()
        catalog = read_catalog(file, reading=MINE)
        assert len(pictures(catalog)) == 20
        assert catalog.notes == (
            "Pictures by address: 19 unchanged, 1 used as they were, since their server does not answer",
        )


def test_whoever_stops_waits_for_no_slow_server(tmp_path: Path) -> None:
    began: list[threading.Event] = []

    def drip(request: Request) -> None:
        if request.path.startswith("/gone"):
            request.answer(status="404 Not Found")
            return
        left = threading.Event()
        began.append(left)
        try:
            request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not request.closed.wait(0.02):
                request.send(b"x")
        except OSError:
            left.set()

    with serving(drip) as server:
        file = table(tmp_path, server, "/gone.jpg", "/0.jpg", "/1.jpg", "/2.jpg")
        with pytest.raises(DownloadError, match="HTTP 404"):
            read_catalog(file, reading=MINE).fetch()
        assert all(left.wait(20) for left in began)


def test_private_addresses_are_refused(tmp_path: Path) -> None:
    with serving(shop) as server:
        with pytest.raises(DownloadError, match="no public address"):
            read_catalog(table(tmp_path, server, "/a.jpg")).fetch()
        assert server.requests == []


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(request: Request) -> None:
        request.answer(PIXELS, Content_Encoding="gzip")

    with serving(packed) as server, pytest.raises(DownloadError, match="encoded as gzip"):
        read_catalog(table(tmp_path, server, "/a.jpg"), reading=MINE).fetch()
    monkeypatch.setattr(fetched, "MAX_BYTES", 8)
    with serving(shop) as server, pytest.raises(DownloadError, match="at most 8 bytes"):
        read_catalog(table(tmp_path, server, "/b.jpg"), reading=MINE).fetch()
    monkeypatch.undo()
    monkeypatch.setenv("ITEMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetched, "SECONDS", -1.0)
    with serving(shop) as server, pytest.raises(DownloadError, match="did not arrive within"):
        read_catalog(table(tmp_path, server, "/c.jpg"), reading=MINE).fetch()


def test_other_addresses_and_files_beside(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PIXELS)
    (tmp_path / "images.csv").write_text("product_id,image\np,ftp://x.example/a.jpg\np,a.jpg\n")
    catalog = read_catalog(tmp_path)
    assert [entry.image for entry in pictures(catalog)] == ["a.jpg"]
    assert [entry.code for entry in catalog.entries() if isinstance(entry, Refusal)] == ["not-fetchable"]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("https://x.example/p/a.jpg?w=3", "a.jpg"),
        ("https://x.example/", "picture"),
        ("https://x.example:80/a:b.jpg#c", "a_b.jpg"),
    ],
)
def test_the_name_of_an_address(image: str, name: str) -> None:
    assert address_name(image) == name


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ITEMREC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, home = place("https://x.example/a.jpg")
    assert home == tmp_path / "itemrec" / "pictures"
    assert file.parent.parent == home
