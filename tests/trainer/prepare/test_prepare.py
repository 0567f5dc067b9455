"""From folders to a dataset: what comes out, what is left out, and that a second run does nothing."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.catalog.read import read_catalog
from retrieval.errors import CatalogError, StoreError, UsageError
from retrieval.images.perceptual_hash import near_duplicates_within, perceptual_hash
from retrieval.images.pictures import content_hash
from tests.pictures import DATA, exif
from tests.trainer.prepare.samples import encoded, files, manifest, photo, pictures, run, splits, write, write_raw
from trainer.prepare.types import Ratios


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photos, and everything that goes wrong with photos. Read only."""
    root = write_raw(tmp_path_factory.mktemp("raw"))
    first = (root / "p0/0.jpg").read_bytes()
    write(root, "p0/empty.jpg", b"")
    write(root, "p0/cut in half.jpg", first[: len(first) // 2])
    write(root, "p0/text.jpg", b"hello")
    write(root, "p0/notes.txt", b"hello")
    write(root, "loose.jpg", encoded(photo(70)))
    write(root, "p0/Thumbs.db", b"litter")
    write(root, "p0/copy \U0001f600.jpg", first)
    write(root, "p0/deep/er/copy.jpg", first)
    write(root, "p1/half.png", encoded(photo(1001).resize((80, 60)), "PNG"))
    write(root, "p1/low quality.jpg", encoded(photo(1002), quality=30))
    write(root, "p2/wrong label.jpg", (root / "p3/3.jpg").read_bytes())
    write(root, "p2/wrong label.webp", encoded(photo(3004), "WEBP", quality=70))
    turned = photo(80, (300, 200)).transpose(Image.Transpose.ROTATE_90)
    write(root, "p3/turned.jpg", encoded(turned, quality=95, exif=exif(6)))
    write(root, "p3/cmyk.jpg", encoded(photo(81).convert("CMYK"), quality=95))
    write(root, "p3/IMG_1.HEIC", (DATA / "upright.heic").read_bytes())
    write(root, "p3/large.png", encoded(photo(82, (1800, 1200)), "PNG"))
    write(root, "lonely/1.jpg", encoded(photo(90)))
    (root / "nothing").mkdir()
    (root / "products.csv").write_text("product_id,name\np0,Apple\np1,Pear\nunseen,Nothing\n")
    return root


@pytest.fixture(scope="module")
def dataset(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "out"
    run(raw, out)
    return out


def test_everything_is_an_rgb_jpeg_without_metadata(dataset: Path) -> None:
    found = pictures(dataset)
    assert len(found) == 40 - 2 + 4 + 1
    for path, data in found.items():
        split, product, _ = path.split("/")
        assert split in ("train", "val", "test")
        assert product in {"p0", "p1", "p2", "p3", "lonely"}
        im = Image.open(io.BytesIO(data))
        im.load()
        assert (im.format, im.mode) == ("JPEG", "RGB")
        assert max(im.size) <= 1024
        assert not im.getexif()
        assert "icc_profile" not in im.info


def photo_of(file: Path) -> Image.Image:
    return Image.open(io.BytesIO(file.read_bytes()))


def place(dataset: Path, source: str) -> Image.Image:
    path = next(image["path"] for image in manifest(dataset)["images"] if image["source"] == source)
    return Image.open(io.BytesIO((dataset / path).read_bytes()))


def test_pictures_are_turned_converted_and_reduced(dataset: Path) -> None:
    for source, expected in (
        ("p3/turned.jpg", photo(80, (300, 200))),
        ("p3/cmyk.jpg", photo(81)),
        ("p3/large.png", photo(82, (1024, 683))),
    ):
        im = place(dataset, source)
        assert im.size == expected.size
        assert np.abs(np.asarray(im, int) - np.asarray(expected, int)).mean() < 8
    assert place(dataset, "p3/IMG_1.HEIC").size == (96, 64)


def test_upright_small_jpegs_keep_their_pixels(raw: Path, dataset: Path) -> None:
    assert np.array_equal(np.asarray(place(dataset, "p2/5.jpg")), np.asarray(photo_of(raw / "p2/5.jpg")))


def test_what_cannot_be_used_is_named_with_a_reason(dataset: Path) -> None:
    dropped = {d["path"]: d["code"] for d in manifest(dataset)["dropped"]}
    assert dropped == {
        "p0/empty.jpg": "empty",
        "p0/cut in half.jpg": "truncated",
        "p0/text.jpg": "unknown-format",
        "p0/notes.txt": "not-a-picture",
        "loose.jpg": "outside-product",
    }
    assert all(d["reason"].startswith("expected") for d in manifest(dataset)["dropped"])


def test_duplicates_and_conflicts(dataset: Path) -> None:
    document = manifest(dataset)
    assert {(d["source"], d["kept"], d["kind"]) for d in document["duplicates"]} == {
        ("p0/copy \U0001f600.jpg", "p0/0.jpg", "same-file"),
        ("p0/deep/er/copy.jpg", "p0/0.jpg", "same-file"),
        ("p1/half.png", "p1/1.jpg", "near"),
        ("p1/low quality.jpg", "p1/2.jpg", "near"),
    }
    assert [[p["source"] for p in c["pictures"]] for c in document["conflicts"]] == [
        ["p2/wrong label.jpg", "p3/3.jpg"],
        ["p2/wrong label.webp", "p3/4.jpg"],
    ]
    assert [c["kind"] for c in document["conflicts"]] == ["same-file", "near"]
    assert not {"p2/wrong label.jpg", "p3/3.jpg", "p2/wrong label.webp", "p3/4.jpg"} & set(splits(dataset))


def test_the_manifest_says_what_is_there(raw: Path, dataset: Path) -> None:
    document = manifest(dataset)
    assert document["schema"] == "itemrec.dataset/1"
    assert document["source"] == {"path": str(raw), "layout": "folders"}
    assert document["options"]["seed"] == 0
    assert {image["path"] for image in document["images"]} == set(pictures(dataset))
    for image in document["images"]:
        data = (dataset / image["path"]).read_bytes()
        assert image["sha256"] == content_hash(data)
        assert image["bytes"] == len(data)
        assert int(image["perceptual_hash"], 16) == perceptual_hash(data)
        assert tuple(image["size"]) == Image.open(io.BytesIO(data)).size
        source = (raw / image["source"]).read_bytes()
        assert image["source_sha256"] == content_hash(source)
        assert image["source_bytes"] == len(source)
        assert image["path"].split("/")[:2] == [image["split"], image["product"]]
    counts = document["counts"]
    assert counts["images"] == len(document["images"]) == sum(n["images"] for n in counts["splits"].values())
    assert document["few_views"] == [{"product": "lonely", "images": 1}]
    assert document["single_view"] == ["lonely"]
    assert document["lost_products"] == ["nothing", "unseen"]


def test_it_is_what_training_and_evaluation_read(dataset: Path) -> None:
    from trainer.data.dataset import read_pictures

    train = read_catalog(dataset / "train")
    assert train.count() == manifest(dataset)["counts"]["splits"]["train"]["images"]
    assert train.metadata("p0") == {"name": "Apple"}
    assert train.metadata("p2") == {}
    photos = read_pictures(dataset / "train")
    assert photos.products == ("lonely", "p0", "p1", "p2", "p3")


def test_no_picture_repeats_one_of_another_split(dataset: Path) -> None:
    found = pictures(dataset)
    near = near_duplicates_within([perceptual_hash(data) for data in found.values()])
    assert near == []
    assert len(set(map(content_hash, found.values()))) == len(found)


def test_a_second_run_does_nothing(raw: Path, dataset: Path) -> None:
    before = {
        path: (file.stat().st_mtime_ns, file.stat().st_ino) for path in files(dataset) for file in [dataset / path]
    }
    report = run(raw, dataset)
    assert report.up_to_date
    assert not report.resumed
    after = {
        path: (file.stat().st_mtime_ns, file.stat().st_ino) for path in files(dataset) for file in [dataset / path]
    }
    assert after == before
    assert os.listdir(dataset / ".prepare") == ["lock"]


def test_elsewhere_at_another_time_the_result_is_the_same(raw: Path, dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for source in sorted((f for f in raw.rglob("*") if f.is_file()), reverse=True):  # created in another order
        write(copy, str(source.relative_to(raw)), source.read_bytes())
    (copy / "nothing").mkdir()
    run(copy, tmp_path / "out")
    assert pictures(tmp_path / "out") == pictures(dataset)
    assert manifest(tmp_path / "out") | {"source": 0} == manifest(dataset) | {"source": 0}


def test_a_dry_run_writes_nothing(raw: Path, tmp_path: Path) -> None:
    report = run(raw, tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert not report.up_to_date
    run(raw, tmp_path / "out")
    assert {path for _, path in report.planned()} == files(tmp_path / "out").keys() - {"manifest.json"}
    assert report.manifest == manifest(tmp_path / "out")
    before = files(tmp_path / "out")
    changed = run(raw, tmp_path / "out", dry_run=True, seed=3)
    assert changed.planned()
    assert {action for action, _ in changed.planned()} <= {"move", "replace"}
    assert files(tmp_path / "out") == before


def test_conflicts_can_be_kept_and_stay_together(raw: Path, tmp_path: Path) -> None:
    for seed in range(3):
        run(raw, tmp_path / "out", keep_conflicts=True, seed=seed)
        where = splits(tmp_path / "out")
        assert where["p2/wrong label.jpg"] == where["p3/3.jpg"]
        assert where["p2/wrong label.webp"] == where["p3/4.jpg"]
    assert all(c["kept"] for c in manifest(tmp_path / "out")["conflicts"])
    run(raw, tmp_path / "out", keep_conflicts=True, by="product")
    assert len({splits(tmp_path / "out")[f"p{n}/{k}.jpg"] for n in (2, 3) for k in range(5)}) == 1


def test_look_alikes_are_kept_and_named(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", products=2)
    red, green, blue = photo(0).split()
    write(raw, "p1/other color.jpg", encoded(Image.merge("RGB", (blue, green, red)), quality=90))
    near = perceptual_hash((raw / "p1/other color.jpg").read_bytes()) ^ perceptual_hash((raw / "p0/0.jpg").read_bytes())
    run(raw, tmp_path / "out", near_bits=max(6, near.bit_count()))
    document = manifest(tmp_path / "out")
    assert document["conflicts"] == []
    assert [[p["source"] for p in a["pictures"]] for a in document["look_alikes"]] == [
        ["p0/0.jpg", "p1/other color.jpg"]
    ]
    assert document["counts"]["images"] == 21


def test_unseen_products(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "out", by="product", ratios=Ratios.parse("2:1:1"))
    products = [{path.split("/")[1] for path in pictures(tmp_path / "out") if path.startswith(s)} for s in
                ("train", "val", "test")]  # fmt: skip
    assert all(products)
    assert sum(map(len, products)) == len(set.union(*products)) == 5


def test_given_splits_are_kept_and_leaks_removed(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for split, views in (("train", range(8)), ("val", range(8, 10)), ("test", range(10, 12))):
        for view in views:
            write(raw, f"{split}/p/{view}.jpg", encoded(photo(view), quality=90))
    write(raw, "train/p/leak exact.jpg", (raw / "test/p/10.jpg").read_bytes())
    write(raw, "train/p/leak near.png", encoded(photo(8, (640, 480)), "PNG"))
    with pytest.raises(UsageError, match="divided already"):
        run(raw, tmp_path / "out")
    report = run(raw, tmp_path / "out", keep_splits=True)
    assert {d["source"]: d["kept"] for d in manifest(tmp_path / "out")["duplicates"] if d["leak"]} == {
        "train/p/leak exact.jpg": "test/p/10.jpg",
        "train/p/leak near.png": "val/p/8.jpg",
    }
    assert report.manifest["counts"]["leaks"] == 2
    assert set(pictures(tmp_path / "out")) == {
        *(f"train/p/{n}.jpg" for n in range(8)),
        *(f"val/p/{n}.jpg" for n in range(8, 10)),
        *(f"test/p/{n}.jpg" for n in range(10, 12)),
    }
    assert run(raw, tmp_path / "out", keep_splits=True).up_to_date


def test_a_flat_table(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    rows = ["product_id,image,name"]
    for n in range(12):
        write(raw, f"all/{n}.jpg", encoded(photo(n)))
        rows.append(f"p{n % 2},all/{n}.jpg,Name {n % 2}")
    (raw / "images.csv").write_text("\n".join([*rows, "p1,all/0.jpg,Name 1", "a/b,all/1.jpg,"]) + "\n")
    run(raw, tmp_path / "out")
    document = manifest(tmp_path / "out")
    assert document["source"]["layout"] == "table"
    assert [[p["product"] for p in c["pictures"]] for c in document["conflicts"]] == [["p0", "p1"]]
    assert document["counts"]["images"] == 11
    assert {path.split("/")[1] for path in pictures(tmp_path / "out")} == {"p0", "p1"}
    assert [d["code"] for d in document["dropped"]] == ["bad-product-id"]


def test_a_dataset_beside_the_table_that_it_is_made_from(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    for number in range(6):
        write(shop, f"p{number % 2}/{number}.jpg", encoded(photo(number)))
    table = shop / "list.csv"
    table.write_text("sku,image\n" + "".join(f"p{n % 2},p{n % 2}/{n}.jpg\n" for n in range(6)))
    run(table, shop / "out")
    assert manifest(shop / "out")["source"]["layout"] == "table"
    made = pictures(shop / "out")
    assert len(made) == 6
    run(table, shop / "out")
    assert pictures(shop / "out") == made
    with pytest.raises(UsageError, match="apart from its source"):
        run(table, shop)


def test_folders_that_must_not_be_mixed(raw: Path, tmp_path: Path) -> None:
    for out in (raw, raw / "p0" / "out", raw.parent):
        with pytest.raises(UsageError, match="apart from its source"):
            run(raw, out)
    (tmp_path / "link").symlink_to(raw)
    with pytest.raises(UsageError, match="apart from its source"):
        run(raw, tmp_path / "link" / "out")
    write(tmp_path / "mine", "thesis.doc", b"years of work")
    with pytest.raises(UsageError, match=r"with thesis\.doc"):
        run(raw, tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["thesis.doc"]
    write(tmp_path / "other", "manifest.json", b'{"schema": "somebody/1"}')
    with pytest.raises(UsageError, match="somebody/1"):
        run(raw, tmp_path / "other")
    write(tmp_path / "broken", "manifest.json", b'{"schema": "itemrec.dataset/1"}')
    with pytest.raises(StoreError, match="damaged"):
        run(raw, tmp_path / "broken")
    write(tmp_path, "file", b"")
    with pytest.raises(StoreError, match="Not a directory"):
        run(raw, tmp_path / "file")


def test_nothing_readable(tmp_path: Path) -> None:
    write(tmp_path / "raw", "p/1.jpg", b"text")
    with pytest.raises(CatalogError, match=r"received none; the first of 1 is p/1\.jpg"):
        run(tmp_path / "raw", tmp_path / "out")
    assert pictures(tmp_path) == {"raw/p/1.jpg": b"text"}


def test_one_run_at_a_time(raw: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    out = tmp_path / "out"
    (out / ".prepare").mkdir(parents=True)
    with FileLock(out / ".prepare" / "lock"), pytest.raises(StoreError, match="Another run is at work in this dataset"):
        run(raw, out)
    shutil.rmtree(out)
