"""A dataset follows its source and its options; nobody else's file is touched."""

import json
from pathlib import Path

import pytest

from retrieval.errors import UsageError
from tests.trainer.prepare.samples import (
    encoded,
    files,
    manifest,
    photo,
    pictures,
    run,
    splits,
    write,
    write_raw,
)
from trainer.prepare.types import Ratios


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "raw", products=3, views=10)


@pytest.fixture
def out(raw: Path, tmp_path: Path) -> Path:
    run(raw, tmp_path / "out")
    return tmp_path / "out"


def fresh(raw: Path, tmp_path: Path, **options: object) -> dict[str, bytes]:
    run(raw, tmp_path / "fresh", **options)
    return files(tmp_path / "fresh")


def test_added_changed_and_removed_pictures(raw: Path, out: Path, tmp_path: Path) -> None:
    before = splits(out)
    write(raw, "p0/new.png", encoded(photo(500), "PNG"))
    write(raw, "p3/1.jpg", encoded(photo(501)))
    write(raw, "p1/4.jpg", encoded(photo(502)))
    (raw / "p2/7.jpg").unlink()
    report = run(raw, out)
    assert files(out) == fresh(raw, tmp_path)
    assert len(report.changes.added) + len(report.changes.moved) + len(report.changes.replaced) <= 3 + 2 * 3
    assert len(report.changes.kept) >= 30 - 2 * 3 - 2
    after = splits(out)
    stayed = [source for source in before if source in after and source != "p1/4.jpg"]
    assert sum(before[source] != after[source] for source in stayed) <= 2 * 3


def test_a_product_that_left_takes_its_folders_along(raw: Path, out: Path, tmp_path: Path) -> None:
    for file in (raw / "p1").iterdir():
        file.unlink()
    (raw / "p1").rmdir()
    report = run(raw, out)
    assert len(report.changes.removed) == 10
    assert not list(out.glob("*/p1"))
    assert files(out) == fresh(raw, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 7},
        {"by": "product"},
        {"ratios": Ratios.parse("1:1:1")},
        {"ratios": Ratios.parse("1:0:0")},
        {"max_side": 100},
    ],
    ids=str,
)
def test_other_options_change_only_what_they_must(
    raw: Path, out: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    report = run(raw, out, **options)
    assert not report.up_to_date
    assert files(out) == fresh(raw, tmp_path, **options)
    if "max_side" not in options:
        assert report.changes.added == report.changes.replaced == ()
    assert run(raw, out, **options).up_to_date
    run(raw, out)
    assert files(out) == fresh(raw, tmp_path)


def test_pictures_that_change_places_change_places(raw: Path, out: Path, tmp_path: Path) -> None:
    one, other = raw / "p0/0.jpg", raw / "p0/1.jpg"
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    run(raw, out)
    assert files(out) == fresh(raw, tmp_path)


def test_lost_and_damaged_files_are_made_again(raw: Path, out: Path) -> None:
    before = files(out)
    paths = sorted(pictures(out))
    (out / paths[0]).unlink()
    (out / paths[1]).write_bytes(b"")
    (out / paths[2]).write_bytes(before[paths[2]][:-10])
    report = run(raw, out)
    assert report.changes.added == (paths[0],)
    assert report.changes.replaced == (paths[1], paths[2])
    assert files(out) == before


def test_foreign_files_are_never_touched(raw: Path, out: Path) -> None:
    mine = ["train/p0/mine.jpg", "train/p0/notes.txt", "train/mine/1.jpg", "README.md"]
    for path in mine:
        write(out, path, b"mine")
    run(raw, out, seed=3)
    for file in (raw / "p0").iterdir():
        file.unlink()
    run(raw, out)
    assert all((out / path).read_bytes() == b"mine" for path in mine)
    assert sorted(path for path in files(out) if "/p0/" in path) == sorted(mine[:2])


def test_a_foreign_file_in_the_way_is_refused_before_anything_changes(raw: Path, out: Path) -> None:
    write(raw, "p0/new.jpg", encoded(photo(600)))
    dry = run(raw, out, dry_run=True)
    path = next(path for _, path in dry.planned() if path.endswith("new.jpg"))
    write(out, path, b"mine")
    before = files(out)
    with pytest.raises(UsageError, match="another file where one must go"):
        run(raw, out)
    assert files(out) == before


def test_a_file_that_somebody_changed_is_not_removed(raw: Path, out: Path) -> None:
    path = next(image["path"] for image in manifest(out)["images"] if image["source"] == "p2/3.jpg")
    (out / path).write_bytes(b"retouched")
    (raw / "p2/3.jpg").unlink()
    report = run(raw, out)
    assert report.changes.left == (path,)
    assert (out / path).read_bytes() == b"retouched"


def test_a_manifest_by_hand_removes_nothing_elsewhere(raw: Path, out: Path, tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.jpg", b"mine")
    document = manifest(out)
    from retrieval.images.pictures import content_hash

    for path in ("../secret.jpg", str(secret), "train/../../secret.jpg", "README.md"):
        document["images"].append(document["images"][0] | {"path": path, "sha256": content_hash(b"mine")})
    write(out, "README.md", b"mine")
    (out / "manifest.json").write_text(json.dumps(document))
    run(raw, out)
    assert secret.read_bytes() == (out / "README.md").read_bytes() == b"mine"


def test_a_found_picture_of_a_dropped_duplicate_comes_back(raw: Path, out: Path) -> None:
    write(raw, "p0/copy.jpg", encoded(photo(3), quality=40))
    run(raw, out)
    assert "p0/copy.jpg" not in splits(out)
    (raw / "p0/3.jpg").unlink()
    run(raw, out)
    assert "p0/copy.jpg" in splits(out)
    assert "p0/3.jpg" not in splits(out)
