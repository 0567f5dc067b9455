import io
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from retrieval.catalog import fetched
from retrieval.catalog.columns import Reading
from retrieval.catalog.read import Catalog, Refusal, read_catalog
from retrieval.errors import CatalogError, DownloadError, ModelMismatchError
from retrieval.index.protocols import Index
from retrieval.indexing.indexer import IndexReport, index_catalog
from retrieval.models.bundle import Bundle
from retrieval.types import CatalogImage, Point
from tests.contract.reference import MemoryIndex
from tests.fakes import PixelEncoder, fake_bundle, picture, use_pixel_encoder, write_catalog
from tests.progress import Recorder
from tests.retrieval.servers import Request, serving


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use_pixel_encoder(monkeypatch)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return fake_bundle(tmp_path / "bundle")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_catalog(tmp_path / "catalog", products=5, views=4)


def run(root: Path, index: Index, bundle: Bundle, **options: bool) -> IndexReport:
    return index_catalog(read_catalog(root), index, bundle, threads=2, **options)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def contents(index: Index) -> dict[str, Point]:
    with index.reader() as (store, _):
        return {p.record.image: p for batch in store.points() for p in batch}


def test_first_run_writes_every_picture_with_its_metadata(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    report = run(root, index, bundle)
    assert (report.added, report.updated, report.unchanged, report.images, report.products) == (20, 0, 0, 20, 5)
    point = contents(index)["p003/2.png"]
    assert point.record.metadata == {"name": "Product 3", "category": "Milk", "price": "3.50"}
    manifest = index.manifest()
    assert manifest is not None
    assert manifest.metadata_keys == ("name", "category", "price")
    assert manifest.model.fingerprint == bundle.fingerprint == report.fingerprint


def test_second_run_embeds_nothing(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    run(root, index, bundle)
    before, PixelEncoder.calls = contents(index), 0
    report = run(root, index, bundle)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 20)
    assert PixelEncoder.calls == 0
    assert contents(index) == before


def test_changed_picture_replaces_its_point(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    run(root, index, bundle)
    before, PixelEncoder.calls = contents(index), 0
    picture(77).save(root / "p001" / "1.png")
    report = run(root, index, bundle)
    assert (report.added, report.updated, report.unchanged, report.images) == (0, 1, 19, 20)
    assert PixelEncoder.calls == 1
    after = contents(index)
    changed = {image for image in after if after[image].record.content_hash != before[image].record.content_hash}
    assert changed == {"p001/1.png"}
    assert after["p001/1.png"].record.image_id == before["p001/1.png"].record.image_id


def test_changed_metadata_are_updated_without_embedding(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    run(root, index, bundle)
    PixelEncoder.calls = 0
    table = root / "products.csv"
    table.write_text(table.read_text().replace("3.50", "2.99"))
    report = run(root, index, bundle)
    assert (report.updated, report.metadata_updated, report.unchanged) == (4, 4, 16)
    assert PixelEncoder.calls == 0
    assert {p.record.metadata["price"] for i, p in contents(index).items() if i.startswith("p003")} == {"2.99"}


def test_prune_removes_only_what_left(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    run(root, index, bundle)
    shutil.rmtree(root / "p000")
    (root / "p001" / "0.png").unlink()
    kept = run(root, index, bundle)
    assert (kept.removed, kept.departed, kept.images) == (0, 5, 20)
    pruned = run(root, index, bundle, prune=True)
    assert (pruned.removed, pruned.departed, pruned.images, pruned.products) == (5, 0, 15, 4)
    assert kept.products_without_pictures == ("p000",)


def test_dry_run_plans_everything_and_writes_nothing(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    first = run(root, index, bundle, dry_run=True)
    assert (first.added, index.manifest(), PixelEncoder.calls) == (20, None, 0)
    run(root, index, bundle)
    picture(77).save(root / "p001" / "1.png")
    picture(78).save(root / "p001" / "new.png")
    (root / "p002" / "0.png").unlink()
    before, PixelEncoder.calls = contents(index), 0
    plan = run(root, index, bundle, dry_run=True, prune=True)
    assert plan.planned == [("replace", "p001/1.png"), ("add", "p001/new.png"), ("remove", "p002/0.png")]
    assert (plan.added, plan.updated, plan.unchanged, plan.removed, plan.images) == (1, 1, 18, 1, 20)
    assert PixelEncoder.calls == 0
    assert contents(index) == before
    document = plan.to_json()
    assert document["dry_run"] is True
    assert {"action": "remove", "image": "p002/0.png"} in document["plan"]


def test_dry_run_foretells_the_products_and_refuses_by_header(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    whole = (root / "p000" / "0.png").read_bytes()
    (root / "p000" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "only-broken").mkdir()
    (root / "only-broken" / "a.jpg").write_bytes(b"no picture")
    for _ in range(2):
        plan = run(root, index, bundle, dry_run=True, prune=True)
        report = run(root, index, bundle, prune=True)
        assert (plan.images, plan.products) == (report.images, report.products)
        assert [(r.path, r.code) for r in plan.refused] == [(r.path, r.code) for r in report.refused]
        assert len(plan.refused) == 2
        shutil.rmtree(root / "p003", ignore_errors=True)
    (root / "p004").rename(root / "p005")
    moved = run(root, index, bundle, dry_run=True)
    assert (moved.images, moved.products, moved.departed, moved.removed) == (16, 4, 0, 4)
    kept = run(root, index, bundle, dry_run=True, keep_moved=True)
    assert (kept.images, kept.products, kept.departed) == (16 + 4, 4 + 1, 4)


def test_broken_pictures_are_named_and_the_rest_is_indexed(root: Path, bundle: Bundle) -> None:
    whole = (root / "p000" / "0.png").read_bytes()
    (root / "p000" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "p000" / "empty.jpg").write_bytes(b"")
    (root / "p000" / "notes.txt").write_text("not a picture")
    report = run(root, MemoryIndex(), bundle)
    assert report.images == 20
    assert {r.path: r.code for r in report.refused} == {
        "p000/cut.png": "truncated",
        "p000/empty.jpg": "empty",
        "p000/notes.txt": "not-a-picture",
    }
    assert all(r.reason and "\n" not in r.reason for r in report.refused)
    assert [r.path for r in report.refused] == sorted(r.path for r in report.refused)


def test_progress_counts_pictures_and_ends_at_their_number(root: Path, bundle: Bundle) -> None:
    (root / "p000" / "empty.jpg").write_bytes(b"")
    for n in range(5):
        (root / f"note-{n}.txt").write_text("not a picture, and no part of the total either")
    catalog, seen = read_catalog(root), Recorder()
    index_catalog(catalog, MemoryIndex(), bundle, threads=2, progress=seen)
    assert seen.done == [*range(1, 22), 21]
    assert seen.stages == [("Indexing", 21, "images")]
    assert seen.notes == ["committing"]
    assert catalog.count() == 21


def test_the_catalog_is_listed_once(root: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []
    entries = Catalog.entries

    def counted(self: Catalog) -> Iterator[CatalogImage | Refusal]:
        walks.append(self)
        return entries(self)

    monkeypatch.setattr(Catalog, "entries", counted)
    run(root, MemoryIndex(), bundle)
    assert len(walks) == 1
    run(root, MemoryIndex(), bundle, dry_run=True)
    assert len(walks) == 2


def test_a_picture_that_breaks_later_keeps_its_point(root: Path, bundle: Bundle) -> None:
    index = MemoryIndex()
    run(root, index, bundle)
    (root / "p000" / "0.png").write_bytes(b"broken")
    report = run(root, index, bundle, prune=True)
    assert (len(report.refused), report.removed, report.images) == (1, 0, 20)


def test_a_folder_that_cannot_be_read_now_keeps_its_points(
    root: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = MemoryIndex()
    run(root, index, bundle)
    shutil.rmtree(root / "p004")
    real = os.scandir

    def scandir(path: os.PathLike[str] | str = ".") -> object:
        if str(path).endswith("p002"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    plan = run(root, index, bundle, prune=True, dry_run=True)
    report = run(root, index, bundle, prune=True)
    assert [r.path for r in report.refused] == ["p002"]
    assert (plan.removed, report.removed, report.images) == (4, 4, 16)
    assert {i.split("/")[0] for i in contents(index)} == {"p000", "p001", "p002", "p003"}


def test_nothing_readable_is_an_error_that_commits_nothing(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "bad" / "p"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"no")
    index = MemoryIndex()
    with pytest.raises(CatalogError, match=r"a\.jpg"):
        run(tmp_path / "bad", index, bundle)
    assert index.manifest() is None


def test_another_model_is_refused_until_a_rebuild(root: Path, bundle: Bundle, tmp_path: Path) -> None:
    index = MemoryIndex()
    run(root, index, bundle)
    other = fake_bundle(tmp_path / "other", name="other", encoder=b"other")
    for dry_run in (False, True):
        with pytest.raises(ModelMismatchError, match="pixels") as error:
            run(root, index, other, dry_run=dry_run)
        assert "--rebuild" in error.value.hint
    PixelEncoder.calls = 0
    report = run(root, index, other, rebuild=True)
    assert (report.added, PixelEncoder.calls) == (20, 20)
    manifest = index.manifest()
    assert manifest is not None
    assert manifest.model.name == "other"


def test_interrupted_run_keeps_what_was_written_and_continues(
    root: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.indexing.indexer.BATCH", 2)
    monkeypatch.setattr("retrieval.indexing.indexer.WRITE_CHUNK", 2)
    index, whole = MemoryIndex(), MemoryIndex()

    def interrupt(done: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_catalog(read_catalog(root), index, bundle, threads=1, progress=Recorder(at=interrupt))
    assert index.manifest() is None
    PixelEncoder.calls = 0
    report = run(root, index, bundle)
    assert report.resumed
    assert report.unchanged == 9
    assert PixelEncoder.calls == 11
    run(root, whole, bundle)
    resumed, uninterrupted = contents(index), contents(whole)
    assert resumed.keys() == uninterrupted.keys()
    for image, point in uninterrupted.items():
        assert resumed[image].record == point.record
        assert (resumed[image].vector == point.vector).all()


def test_damaged_color_profiles_are_said_once(root: Path, bundle: Bundle) -> None:
    for name in ("p000/0.png", "p001/1.png"):
        with Image.open(root / name) as im:
            im.save(root / name, icc_profile=b"no profile at all" * 20)
    report = run(root, MemoryIndex(), bundle)
    assert report.notes == ("Color profiles that are damaged and were ignored: 2 pictures (first: p000/0.png)",)
    assert report.to_json()["flawed_profiles"] == ["p000/0.png", "p001/1.png"]
    assert run(root, MemoryIndex(), bundle, dry_run=True).notes == report.notes


def test_pictures_by_address_become_an_index_and_stay_one_when_their_server_goes(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITEMREC_CACHE", str(tmp_path / "cache"))
    files = {f"/{p}-{v}.png": png(picture(p, v)) for p in range(3) for v in range(2)}
    away, gone = threading.Event(), set[str]()

    def shop(request: Request) -> None:
        if away.is_set() or request.path in gone:
            request.answer(status="404 Not Found")
        elif request.headers.get("if-none-match") == '"1"':
            request.answer(status="304 Not Modified")
        else:
            request.answer(files[request.path], ETag='"1"')

    with serving(shop) as server:
        table = tmp_path / "export.csv"
        table.write_text("sku,title,image_link\n" + "".join(f"p{n[1]},Pear,{server.url(n)}\n" for n in files))
        index, recorder = MemoryIndex(), Recorder()
        mine = Reading(allow_private=True)
        catalog = read_catalog(table, reading=mine)
        catalog.fetch(recorder)
        report = index_catalog(catalog, index, bundle, threads=2, progress=recorder)
        assert (report.added, report.images, report.products) == (6, 6, 3)
        assert recorder.stages[0] == ("Fetching pictures", 6, "images")
        point = contents(index)[server.url("/0-0.png")]
        assert (point.record.product_id, point.record.metadata) == ("p0", {"name": "Pear"})
        again = index_catalog(read_catalog(table, reading=mine), index, bundle, threads=2)
        assert (again.added, again.unchanged) == (0, 6)
        monkeypatch.setattr(fetched, "MOST_UNREACHABLE", 0.2)
        gone.add("/0-0.png")
        pruned = index_catalog(read_catalog(table, reading=mine), index, bundle, threads=2, prune=True)
        assert ([r.code for r in pruned.refused], pruned.removed, pruned.images) == (["unreachable"], 0, 6)
        before = index.manifest()
        away.set()
        with pytest.raises(DownloadError, match="received 2 that are not"):
            index_catalog(read_catalog(table, reading=mine), index, bundle, threads=2, prune=True)
        assert index.manifest() == before
        assert len(contents(index)) == 6
