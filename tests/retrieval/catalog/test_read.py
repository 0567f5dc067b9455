"""A catalog is read whole: every file is a picture, a refusal with its reason, or counted litter."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from retrieval.catalog.fetched import locate
from retrieval.catalog.read import Refusal, read_catalog
from retrieval.errors import ImageError
from retrieval.images.pictures import read_file
from retrieval.types import CatalogImage
from tests.hostile import make_hostile_folder
from tests.retrieval.catalogs import PIXELS, pictures, put, refusals


def test_product_folders(tmp_path: Path) -> None:
    put(tmp_path, "milk/b.jpg", "milk/a.JPG", "milk/side/deep/c.webp", "bread/1.heic", "bread/2.jpeg")
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "folders"
    assert pictures(catalog) == [
        ("bread", "bread/1.heic"),
        ("bread", "bread/2.jpeg"),
        ("milk", "milk/a.JPG"),
        ("milk", "milk/b.jpg"),
        ("milk", "milk/side/deep/c.webp"),
    ]
    assert refusals(catalog) == {}
    assert catalog.count() == 5
    assert list(catalog.products) == ["bread", "milk"]
    assert catalog.metadata("milk") == {}
    assert catalog.metadata("nothing") == {}
    assert catalog.root == tmp_path
    for entry in catalog.entries():
        assert isinstance(entry, CatalogImage)
        assert entry.file.read_bytes() == PIXELS


def test_a_walk_is_fresh_every_time(tmp_path: Path) -> None:
    put(tmp_path, "milk/a.jpg")
    catalog = read_catalog(tmp_path)
    assert catalog.count() == 1
    put(tmp_path, "milk/b.jpg", "new/c.jpg")
    assert pictures(catalog) == [("milk", "milk/a.jpg"), ("milk", "milk/b.jpg"), ("new", "new/c.jpg")]
    (tmp_path / "milk/a.jpg").unlink()
    assert catalog.count() == 2


def test_a_relative_path_stays_valid_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "shop/milk/a.jpg")
    monkeypatch.chdir(tmp_path)
    catalog = read_catalog(Path("shop"))
    monkeypatch.chdir("/")
    assert catalog.count() == 1


def test_nothing_is_skipped_silently(tmp_path: Path) -> None:
    put(
        tmp_path,
        "milk/a.jpg",
        "milk/notes.txt",
        "milk/raw.cr2",
        "milk/noending",
        "stray.jpg",
        "README.md",
        "milk/.hidden.jpg",
        "milk/._a.jpg",
        "milk/.DS_Store",
        "milk/Thumbs.db",
        "milk/desktop.ini",
        "milk/@eaDir/a.jpg",
        ".git/config",
        "milk/deep/.cache/x.jpg",
    )
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [("milk", "milk/a.jpg")]
    assert refusals(catalog) == {
        "README.md": "not-a-picture",
        "milk/noending": "not-a-picture",
        "milk/notes.txt": "not-a-picture",
        "milk/raw.cr2": "not-a-picture",
        "stray.jpg": "outside-product",
    }
    assert catalog.ignored == 8
    catalog.count()
    assert catalog.ignored == 8


def test_names_with_spaces_emoji_and_newlines(tmp_path: Path) -> None:
    names = ["my milk/a b.jpg", "смайлик 😀/é.jpg", "new\nline/x\ny\x1b[31m.jpg", "back\\slash/q'uote\".jpg"]
    put(tmp_path, *names, "new\nline/bad\n.txt")
    catalog = read_catalog(tmp_path)
    found = pictures(catalog)
    assert sorted(image for _, image in found) == sorted(names)
    assert {product for product, _ in found} == {name.split("/")[0] for name in names}
    assert refusals(catalog) == {"new\\nline/bad\\n.txt": "not-a-picture"}


def test_names_that_are_not_utf8_are_text_that_leads_back(tmp_path: Path) -> None:
    put(tmp_path, "milk/a.jpg", "milk/50%E9.jpg")
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/bad-\xe9")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    for name in (b"/milk/\xff\xfe.jpg", b"/bad-\xe9/\xc3\xa9\xe9.jpg", b"/bad-\xe9/\xe9.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + name)).write_bytes(PIXELS + name)
    (tmp_path / "products.csv").write_text("product_id,name\nbad-%E9,Bad\n")
    catalog = read_catalog(tmp_path)
    assert sorted(pictures(catalog)) == [
        ("bad-%E9", "bad-%E9/\u00e9%E9.jpg"),
        ("milk", "milk/%FF%FE.jpg"),
        ("milk", "milk/50%E9.jpg"),
        ("milk", "milk/a.jpg"),
    ]
    assert refusals(catalog) == {"bad-%E9/%E9.txt": "not-a-picture"}
    assert list(catalog.products) == ["bad-%E9", "milk"]
    assert catalog.metadata("bad-%E9") == {"name": "Bad"}
    for entry in catalog.entries():
        if isinstance(entry, CatalogImage):
            entry.image.encode()
            assert locate(tmp_path, entry.image) == (entry.file, tmp_path)


def test_flat_names_that_are_not_utf8(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(PIXELS)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert pictures(read_catalog(tmp_path)) == [("a", "a.jpg"), ("caf%E9", "caf%E9.jpg")]


def test_links(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "root-outside"
    put(root, "milk/a.jpg", "bread/b.jpg", "bread/more/c.jpg")
    put(outside, "x.jpg")
    (root / "milk/in.jpg").symlink_to("../bread/b.jpg")
    (root / "milk/out.jpg").symlink_to(outside / "x.jpg")
    (root / "milk/gone.jpg").symlink_to("nothing.jpg")
    (root / "milk/loop.jpg").symlink_to("loop.jpg")
    (root / "milk/folder-out").symlink_to(outside)
    (root / "milk/self").symlink_to(".")
    (root / "milk/up").symlink_to("..")
    (root / "milk/other").symlink_to("../bread")
    (root / "bread/back").symlink_to("../milk")
    (root / "away").symlink_to(outside)
    (root / "everything").symlink_to(".")
    (root / "toast").symlink_to("bread")
    catalog = read_catalog(root)
    assert pictures(catalog) == [
        ("bread", "bread/b.jpg"),
        ("bread", "bread/back/a.jpg"),
        ("bread", "bread/back/in.jpg"),
        ("bread", "bread/more/c.jpg"),
        ("milk", "milk/a.jpg"),
        ("milk", "milk/in.jpg"),
        ("milk", "milk/other/b.jpg"),
        ("milk", "milk/other/more/c.jpg"),
        ("toast", "toast/b.jpg"),
        ("toast", "toast/back/a.jpg"),
        ("toast", "toast/back/in.jpg"),
        ("toast", "toast/more/c.jpg"),
    ]
    found = refusals(catalog)
    codes = {path: code for path, code in found.items() if "/back/" not in path and "/other/" not in path}
    assert codes == {
        "away": "outside-catalog",
        "everything": "link-loop",
        "milk/folder-out": "outside-catalog",
        "milk/gone.jpg": "missing",
        "milk/loop.jpg": "unreadable",
        "milk/out.jpg": "outside-catalog",
        "milk/self": "link-loop",
        "milk/up": "link-loop",
    }
    for entry in catalog.entries():
        if isinstance(entry, CatalogImage):
            assert read_file(entry.file, root=catalog.root) == PIXELS


def test_many_crossed_links_end_soon(tmp_path: Path) -> None:
    """Folders that all link to each other have factorially many paths; each is entered once a product."""
    names = [f"p{number}" for number in range(12)]
    put(tmp_path, *(f"{name}/a.jpg" for name in names))
    for name in names:
        for other in names:
            (tmp_path / name / f"to-{other}").symlink_to(f"../{other}")
    assert len(pictures(read_catalog(tmp_path))) == 12 * 12


def test_folders_that_never_end_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "milk/a.jpg")
    deep = tmp_path / "milk"
    for _ in range(80):
        deep = deep / "d"
        deep.mkdir()
    put(deep, "b.jpg")
    found = refusals(read_catalog(tmp_path))
    assert list(found.values()) == ["too-deep"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_are_refused_without_waiting(tmp_path: Path) -> None:
    put(tmp_path, "milk/a.jpg")
    os.mkfifo(tmp_path / "milk/pipe.jpg")
    assert refusals(read_catalog(tmp_path)) == {"milk/pipe.jpg": "not-a-file"}


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "milk/a.jpg", "bread/b.jpg")
    catalog = read_catalog(tmp_path)
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if str(path).endswith("milk"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert pictures(catalog) == [("bread", "bread/b.jpg")]
    assert refusals(catalog) == {"milk": "unreadable"}


def test_a_product_id_of_endless_length(tmp_path: Path) -> None:
    try:
        put(tmp_path, "milk/a.jpg", "m" * 255 + "/b.jpg")
    except OSError:
        pytest.skip("this file system takes shorter names")
    assert read_catalog(tmp_path).count() == 2


def walk_peak(root: Path) -> int:
    """Most bytes that Python holds during a walk."""
    catalog = read_catalog(root)
    gc.collect()
    tracemalloc.start()
    for _ in catalog.entries():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_the_walk_holds_one_folder_at_a_time(tmp_path: Path) -> None:
    put(tmp_path, *(f"small/p{p}/{n:03}.jpg" for p in range(4) for n in range(40)))
    put(tmp_path, *(f"large/p{p}/{n:03}.jpg" for p in range(40) for n in range(40)))
    small, large = (min(walk_peak(tmp_path / name) for _ in range(3)) for name in ("small", "large"))
    # What may grow is a few hundred bytes a product; 36 x 40 more pictures would be some 150 KB.
    assert large - small < 36 * 600


def test_a_hostile_folder_as_a_product(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    expected = make_hostile_folder(root / "milk")
    catalog = read_catalog(root)
    outcomes: dict[Path, str | None] = {}
    for entry in catalog.entries():
        if isinstance(entry, Refusal):
            outcomes[root / entry.path] = entry.code
        else:
            try:
                read_file(entry.file, root=catalog.root)
                outcomes[entry.file] = None
            except ImageError as error:
                outcomes[entry.file] = Refusal.of(entry, error).code
    assert outcomes[root / "milk/pipe.jpg"] == "not-a-file"
    # A folder named like a picture is a folder; the picture it links to lies in the catalog's parent.
    assert outcomes[root / "milk/link-out.jpg"] is None
    assert outcomes.keys() == (expected.keys() | {root / "outside-milk.jpg"}) - {root / "milk/folder.jpg"}
