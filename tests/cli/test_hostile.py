"""A catalog of broken, misleading and malicious files: each named with a reason, the good ones indexed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import invoke
from retrieval.system.text import printable
from tests.fakes import fake_bundle, use_pixel_encoder
from tests.hostile import make_hostile_folder


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    use_pixel_encoder(monkeypatch)
    fake_bundle(tmp_path / "bundle")
    return tmp_path


def hostile_catalog(shop: Path) -> tuple[Path, dict[Path, str | None]]:
    """A catalog with one product of hostile files, and what must be said of each file."""
    catalog = shop / "catalog"
    expected = make_hostile_folder(catalog / "product")
    # Its link must leave the catalog, not only the product's folder.
    outside = next(catalog.glob("outside-*"))
    outside.rename(shop / "elsewhere.jpg")
    (catalog / "product" / "link-out.jpg").unlink()
    (catalog / "product" / "link-out.jpg").symlink_to(shop / "elsewhere.jpg")
    return catalog, {p: reason for p, reason in expected.items() if p.is_symlink() or not p.is_dir()}


def test_index_names_every_bad_file_and_indexes_the_good(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog, expected = hostile_catalog(shop)
    assert invoke(["index", str(catalog), "--model", "bundle", "--json"]) == 0
    streams = capsys.readouterr()
    report = json.loads(streams.out)
    said = {r["path"]: r["code"] for r in report["refused"]}
    bad = {p: reason for p, reason in expected.items() if reason is not None}
    for path, reason in bad.items():
        name = printable(str(path.relative_to(catalog)))
        assert name in said, f"{name} was skipped silently"
        # Links and pipes are refused by the walk, under its own codes.
        assert said[name] == reason or path.is_symlink() or not path.is_file(), name
    assert report["images"] == len(expected) - len(bad) == report["added"]
    assert len(said) == len(bad)
    assert "Traceback" not in streams.err
    assert all("\n" not in r["reason"] and "\x1b" not in r["reason"] for r in report["refused"])


def test_query_takes_the_same_folder(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog, expected = hostile_catalog(shop)
    invoke(["index", str(catalog), "--model", "bundle", "-q"])
    capsys.readouterr()
    assert invoke(["query", str(catalog / "product"), "--json", "--no-thumbnails"]) == 2
    streams = capsys.readouterr()
    answer = json.loads(streams.out)
    # A photo is a file of the user's own choosing: links may lead anywhere.
    good = [p for p, reason in expected.items() if reason in (None, "outside-catalog")]
    assert len(answer["results"]) == len(good)
    assert "\x1b[31m" not in streams.err
    assert invoke(["query", str(catalog / "product"), "--no-thumbnails"]) == 2
    assert "\x1b[31m" not in capsys.readouterr().out


def test_a_photo_from_standard_input_may_be_anything() -> None:
    for data in (b"", b"\xff\xd8\xff\xe0", b"%PDF-1.7\n", bytes(range(256)) * 10):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "query", "-", "--index", "nowhere", "--json"],
            input=data,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 2
        assert json.loads(done.stdout)["schema"] == "itemrec.error/1"
        assert b"Traceback" not in done.stderr
