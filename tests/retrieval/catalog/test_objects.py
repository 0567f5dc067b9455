"""Catalogs in object stores: copied once, then only what changed; on fsspec's own file systems and a stand-in of S3."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import pytest

from retrieval.catalog import objects
from retrieval.catalog.objects import local_copy, mirror, shown_source, store_address
from retrieval.catalog.read import read_catalog
from retrieval.errors import CatalogError, DownloadError
from tests.progress import Recorder
from tests.retrieval.catalogs import PIXELS, pictures, refusals
from tests.retrieval.servers import Request, Server, serving


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITEMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "_PAUSE", 0.0)


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A file system of fsspec, and the folder of a shop in it."""
    system = fsspec.filesystem(request.param)
    folder = "/shop" if request.param == "memory" else str(tmp_path / "shop")
    for name in ("pear/a.jpg", "pear/b.jpg", "apple/1.png", "notes.txt"):
        system.makedirs(f"{folder}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{folder}/{name}", PIXELS + name.encode())
    system.pipe_file(f"{folder}/products.csv", b"product_id,name\npear,Pear\n")
    yield system, folder
    system.rm(folder, recursive=True)


class Slashed:
    """A file system whose paths begin with a slash, which no address of a store does."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def find(self, prefix: str, *, detail: bool) -> Any:
        return self._system.find(f"/{prefix}", detail=detail)

    def cat_file(self, key: str) -> Any:
        return self._system.cat_file(key)


def copied(store: tuple[Any, str], progress: Recorder | None = None) -> objects.Mirrored:
    system, folder = store
    return mirror(f"s3:/{folder}", filesystem=Slashed(system), progress=progress or Recorder())


def test_a_catalog_in_a_store_is_copied_once(store: tuple[Any, str]) -> None:
    recorder = Recorder()
    made = copied(store, recorder)
    catalog = read_catalog(made.folder)
    assert pictures(catalog) == [("apple", "apple/1.png"), ("pear", "pear/a.jpg"), ("pear", "pear/b.jpg")]
    assert refusals(catalog) == {"notes.txt": "not-a-picture"}
    assert catalog.metadata("pear") == {"name": "Pear"}
    assert (made.folder / "pear/a.jpg").read_bytes() == PIXELS + b"pear/a.jpg"
    assert (made.folder / "notes.txt").read_bytes() == b""  # it is named, not fetched
    assert recorder.stages[-1] == ("Fetching objects", 5, "images")
    assert made.note.endswith("5 objects, 5 fetched, 0 unchanged")
    assert copied(store).note.endswith("5 objects, 0 fetched, 5 unchanged")


def test_what_changed_is_fetched_and_what_left_is_gone(store: tuple[Any, str]) -> None:
    made = copied(store)
    system, folder = store
    system.rm(f"{folder}/pear/b.jpg")
    system.pipe_file(f"{folder}/pear/a.jpg", PIXELS + b"new and longer")
    system.rm(f"{folder}/apple", recursive=True)
    system.pipe_file(f"{folder}/apple.jpg", PIXELS)  # a file takes the place of a folder's name, nearly
    (made.folder / "products.csv").unlink()
    again = copied(store)
    assert again.note.endswith("4 objects, 3 fetched, 1 unchanged")
    assert (made.folder / "pear/a.jpg").read_bytes() == PIXELS + b"new and longer"
    assert sorted(p.relative_to(made.folder).as_posix() for p in made.folder.rglob("*") if p.is_file()) == [
        "apple.jpg",
        "notes.txt",
        "pear/a.jpg",
        "products.csv",
    ]


def test_pictures_that_are_too_large_are_refused_unfetched(
    store: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MAX_BYTES", 8)
    made = copied(store)
    file = made.folder / "pear/a.jpg"
    assert file.stat().st_size == len(PIXELS + b"pear/a.jpg")
    assert set(file.read_bytes()) == {0}
    assert copied(store).note.endswith("0 fetched, 5 unchanged")


class Broken:
    """A store whose objects have names that no file can have, or that fails."""

    def __init__(self, names: dict[str, int], error: Exception | None = None) -> None:
        self.names = names
        self.error = error
        self.asked = 0

    def find(self, prefix: str, detail: bool) -> dict[str, dict[str, Any]]:
        return {f"b/{name}": {"size": size, "ETag": "1", "type": "file"} for name, size in self.names.items()}

    def cat_file(self, key: str) -> bytes:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return PIXELS


def test_names_that_no_file_can_have_stay_where_they_are(tmp_path: Path) -> None:
    names = ("../../out.jpg", "/etc/x.jpg", "a//b.jpg", "a/./b.jpg", "p/a.jpg", "p/a.jpg/b.jpg", "x" * 300 + ".jpg")
    made = mirror("s3://b", filesystem=Broken({name: len(PIXELS) for name in names}))
    assert [p.relative_to(made.folder).as_posix() for p in made.folder.rglob("*.jpg")] == ["p/a.jpg"]
    assert made.note.endswith("1 object, 1 fetched, 0 unchanged; 6 left out, whose names no file can have")
    assert not list(tmp_path.rglob("out.jpg"))


def test_a_store_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="received nothing"):
        mirror("s3://b", filesystem=Broken({}))
    busy = Broken({"p/a.jpg": 3}, TimeoutError("no answer\nat all"))
    with pytest.raises(DownloadError, match=r"Cannot read s3://b/p/a\.jpg: no answer$"):
        mirror("s3://b", filesystem=busy)
    assert busy.asked == objects.ATTEMPTS
    shut = Broken({"p/a.jpg": 3}, PermissionError("Access Denied"))
    with pytest.raises(DownloadError, match="Access Denied"):
        mirror("s3://b", filesystem=shut)
    assert shut.asked == 1


def test_addresses() -> None:
    assert store_address("s3://bucket/a b/") == "s3://bucket/a b"
    assert store_address(Path("gs://bucket/shop")) == "gs://bucket/shop"
    assert store_address("catalog") is store_address("./s3:x") is store_address("s3:/") is None
    assert shown_source(Path("s3://bucket/x")) == "s3://bucket/x"
    assert local_copy("catalog") == ("catalog", ())


def test_a_package_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", absent)
    with pytest.raises(CatalogError, match=r"s3fs.*catalog at s3://") as caught:
        read_catalog("s3://bucket/shop")
    assert "[s3]" in str(caught.value.hint)


def s3(objects_: dict[str, bytes]) -> Any:
    """What S3 answers to a list of a bucket and to a GET of an object."""

    def answer(request: Request) -> None:
        url = urlsplit(request.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        asked = parse_qs(url.query)
        if bucket != "bucket":
            request.answer(b"<Error><Code>NoSuchBucket</Code></Error>", "404 Not Found")
        elif key:
            found = objects_.get(key)
            if found is None:
                request.answer(b"<Error><Code>NoSuchKey</Code></Error>", "404 Not Found")
            else:
                request.answer(found, ETag=f'"{hashlib.md5(found).hexdigest()}"')
        else:
            prefix = asked.get("prefix", [""])[0]
            rows = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(data)}</Size><ETag>{hashlib.md5(data).hexdigest()}</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
                for name, data in sorted(objects_.items())
                if name.startswith(prefix)
            )
            head = f"<Name>bucket</Name><Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated>"
            request.answer(f"<ListBucketResult>{head}{rows}</ListBucketResult>".encode(), Content_Type="text/xml")

    return answer


def gets(server: Server) -> list[str]:
    return sorted(r.path.partition("?")[0] for r in server.requests if r.method == "GET" and "list-type" not in r.path)


def test_a_catalog_in_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    content = {
        "shop/": b"",
        "shop/pear/a.jpg": PIXELS,
        "shop/apple/b.jpg": PIXELS + b"b",
        "shop/products.csv": b"product_id,name\npear,Pear\n",
        "shopping/c/d.jpg": PIXELS,
    }
    with serving(s3(content)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url(""))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        catalog = read_catalog("s3://bucket/shop")
        assert pictures(catalog) == [("apple", "apple/b.jpg"), ("pear", "pear/a.jpg")]
        assert catalog.metadata("pear") == {"name": "Pear"}
        assert catalog.notes == ("s3://bucket/shop: 3 objects, 3 fetched, 0 unchanged",)
        fetched = len(gets(server))
        content["shop/pear/a.jpg"] = PIXELS + b"changed"
        assert read_catalog("s3://bucket/shop").notes == ("s3://bucket/shop: 3 objects, 1 fetched, 2 unchanged",)
        assert len(gets(server)) == fetched + 1
        table = read_catalog("s3://bucket/shop/products.csv")
        assert table.metadata("pear") == {"name": "Pear"}
        with pytest.raises((CatalogError, DownloadError)):
            read_catalog("s3://other/shop")
