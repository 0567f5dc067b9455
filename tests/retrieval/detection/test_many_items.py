"""Many items in one photo: each is found where it stands, repeats too; what cannot be looked at is bounded."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.main import invoke
from retrieval.detection import finder, known
from retrieval.detection.candidates import content_box, overlap
from retrieval.detection.finder import look_for, photo_points
from retrieval.detection.known import KnownPicture
from retrieval.detection.known import looked_at as known_bytes
from retrieval.errors import UsageError
from retrieval.indexing.run import index as index_catalog
from retrieval.models.bundle import Bundle
from retrieval.recognition import many
from retrieval.recognition.api import Recognizer
from retrieval.verification.keypoints import Keypoints
from tests.retrieval.verification.drawn import label
from trainer.synthetic.shelves import Front, Shelf, draw_shelf

IDS = [f"p{n}" for n in range(6)]
SOLD = IDS[:4]


def front(number: int) -> Image.Image:
    """A drawn label; each has words and a band of its own."""
    band = tuple(int(c) for c in np.random.default_rng(number + 50).integers(0, 255, 3))
    return Image.fromarray(label(number, band=band, words=(f"No {number}", "fresh", "1 liter")))


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    fronts = [Front(name, front(number).convert("RGBA")) for number, name in enumerate(IDS)]
    return draw_shelf(fronts[:4], fronts[4:], seed=3, size=(640, 480), rows=3, blur=0.6)


@pytest.fixture(autouse=True, scope="module")
def _points_of_a_photo_are_found_once() -> Iterator[None]:
    """Most tests look at one and the same photo, and finding its points is most of what that takes."""
    found: dict[tuple[bytes, tuple[int, ...]], Keypoints] = {}

    def points(photo: np.ndarray) -> Keypoints:
        key = (photo.tobytes(), photo.shape)
        if key not in found:
            found[key] = photo_points(photo)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many, "photo_points", points)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Path:
    root = tmp_path_factory.mktemp("shelf")
    rows = ["product_id,name,kind"]
    for number, name in enumerate(SOLD):
        (root / "catalog" / name).mkdir(parents=True)
        canvas = Image.new("RGB", (300, 340), "white")
        canvas.paste(front(number), (50, 40))
        canvas.save(root / "catalog" / name / "studio.png")
        rows.append(f"{name},Label {number},{'even' if number % 2 == 0 else 'odd'}")
    (root / "catalog" / "products.csv").write_text("\n".join(rows) + "\n")
    index_catalog(root / "catalog", root / "index", model=tiny_bundle.path)
    return root / "index"


@pytest.fixture(scope="module")
def shop(place: Path) -> Iterator[Recognizer]:
    with Recognizer(place) as shop:
        yield shop


def test_every_item_is_found_where_it_stands_repeats_too(shop: Recognizer, shelf: Shelf) -> None:
    found = shop.find(shelf.photo, name="shelf")
    standing = [item for item in shelf.items if item.product_id]
    clear = [item for item in standing if item.visible >= 0.6]
    assert len(clear) >= 10
    assert max(Counter(item.product_id for item in clear).values()) >= 3

    def found_at(item):  # type: ignore[no-untyped-def]
        left, top, right, bottom = item.box
        box = (max(left, 0), max(top, 0), min(right, 640), min(bottom, 480))
        return [one for one in found.items if one.product_id == item.product_id and overlap(one.box, box) >= 0.5]

    assert all(len(found_at(item)) == 1 for item in clear)
    assert sum(len(found_at(item)) for item in standing) == len(found.items)
    assert found.size == (640, 480)
    assert found.counts == dict(Counter(item.product_id for item in found.items))
    assert sum(map(len, found.rows())) == len(found.items)
    assert found.items[0].matches[0].metadata["name"].startswith("Label")


def test_places_are_in_the_pixels_of_the_photo_as_it_was_given(shop: Recognizer, shelf: Shelf) -> None:
    large = shelf.photo.resize((1280, 960))
    found, there = shop.find(np.asarray(large)), shop.find(shelf.photo)
    assert found.size == (1280, 960)
    assert abs(len(found.items) - len(there.items)) <= 2
    first = next(item for item in there.items if item.box[0] > 50)
    assert any(overlap([value / 2 for value in item.box], first.box) > 0.8 for item in found.items)


def test_only_what_the_filter_leaves_is_looked_for(shop: Recognizer, shelf: Shelf) -> None:
    found = shop.find(shelf.photo, where={"kind": "even"})
    assert set(found.counts) <= {"p0", "p2"}
    assert found.pictures == 2


def test_of_a_large_catalog_products_near_windows_are_looked_for(
    shop: Recognizer, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "TRIED", 3)
    monkeypatch.setattr(many, "CHOSEN", 3)
    found = shop.find(shelf.photo)
    assert 1 <= len(found.chosen) <= 3
    assert found.to_json()["chosen"] == len(found.chosen)
    assert set(found.counts) <= set(found.chosen)


def test_pictures_that_are_gone_are_counted(tmp_path: Path, place: Path, shelf: Shelf, tiny_bundle: Bundle) -> None:
    catalog = tmp_path / "catalog"
    for name in SOLD:
        (catalog / name).mkdir(parents=True)
        front(int(name[1:])).save(catalog / name / "a.png")
    index_catalog(catalog, tmp_path / "index", model=tiny_bundle.path)
    (catalog / "p0" / "a.png").unlink()
    with Recognizer(tmp_path / "index") as shop:
        found = shop.find(shelf.photo)
    assert (found.missing, found.pictures) == (1, 3)
    assert "p0" not in found.counts


def test_what_was_seen_of_pictures_is_kept_for_the_next_process(
    shop: Recognizer, place: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shop.find(shelf.photo).items
    looked = []
    monkeypatch.setattr(known, "looked_at", lambda pixels: looked.append(1) or known_bytes(pixels))
    with Recognizer(place) as other:
        assert other.find(shelf.photo).items == before
    assert looked == []
    (place / known.SHELVES_FILE).write_bytes(b"no database at all, but long enough for a header" * 30)
    with Recognizer(place) as other:
        assert other.find(shelf.photo).items == before
    assert len(looked) == len(SOLD)
    with Recognizer(place) as other:
        assert other.find(shelf.photo).items == before
    assert len(looked) == len(SOLD)


def test_no_more_is_kept_than_may_be_and_nothing_where_nothing_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "MOST_KEPT", 2)
    data = known_bytes(np.asarray(front(0)))
    kept = known.KeptPictures(str(tmp_path))
    kept.put([("a", data), ("b", data)])
    kept.put([("c", data)])
    assert set(kept.get(["a", "b", "c"])) == {"b", "c"}
    (tmp_path / "file").write_text("no folder")
    pictures = known.KnownPictures(str(tmp_path / "file"))
    seen, gone = pictures.get([("a", lambda: np.asarray(front(0))), ("b", lambda: None)])
    assert seen is not None
    assert gone is None


@pytest.mark.parametrize("kind", ["blank", "tiny", "noise"])
def test_a_photo_without_items_has_none(shop: Recognizer, kind: str) -> None:
    pixels = np.full((240, 320, 3), 240, np.uint8)
    if kind == "tiny":
        pixels = pixels[:8, :8]
    elif kind == "noise":
        pixels = np.random.default_rng(0).integers(0, 255, pixels.shape, np.uint8)
    assert shop.find(pixels).items == ()


def test_a_mosaic_and_a_catalog_of_one_texture_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = np.asarray(front(0).resize((40, 52)))
    mosaic = np.tile(tile, (12, 20, 1))
    labels = [KnownPicture.of(np.asarray(front(0)))] * 4
    monkeypatch.setattr(finder, "MOST_PLACES", 70)
    items = look_for(labels, mosaic, photo_points(mosaic))
    assert sum(map(len, items)) <= 120
    stripes = np.tile(np.array([[[0] * 3] * 4 + [[255] * 3] * 4], np.uint8), (200, 25, 1))
    wall = np.tile(stripes, (2, 3, 1))
    assert len(look_for([KnownPicture.of(stripes)] * 3, wall, photo_points(wall))) < 70


def test_a_plain_background_is_no_part_of_an_item() -> None:
    picture = np.full((100, 100, 3), 255, np.uint8)
    picture[20:80, 30:60] = (200, 30, 30)
    assert content_box(picture) == (30, 20, 60, 80)
    assert content_box(np.full((50, 60, 3), 255, np.uint8)) == (0, 0, 60, 50)
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    assert content_box(noise) == (0, 0, 60, 50)


def test_the_command_says_draws_and_compares(
    place: Path, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shelf.photo.save("shelf.png")
    Image.new("RGB", (300, 200), "white").save("wall.png")
    asked = ["query", "--many", "--index", str(place)]
    assert invoke([*asked, "shelf.png", "--json", "--out", "drawn.jpg", "--html", "page.html"]) == 0
    document = json.loads(capsys.readouterr().out)
    (result,) = document["results"]
    assert document["schema"] == "itemrec.items/1"
    assert result["counts"] == dict(Counter(item["matches"][0]["product_id"] for item in result["items"]))
    assert {len(item["box"]) for item in result["items"]} == {4}
    with Image.open("drawn.jpg") as drawn:
        assert drawn.size == (640, 480)
    assert "data:image/jpeg;base64" in Path("page.html").read_text()
    assert invoke([*asked, "wall.png"]) == 1
    assert "wall.png: nothing found" in capsys.readouterr().out
    Path("rows.csv").write_text("p0,p1\n")
    assert invoke([*asked, "shelf.png", "--planogram", "rows.csv"]) == 1
    out = capsys.readouterr().out
    assert "items of 4 products" in out
    assert "too many" in out
    assert invoke(["query", "shelf.png", "--index", str(place), "--planogram", "rows.csv"]) == 2
    assert "expected --many with --planogram" in capsys.readouterr().err


def test_without_the_extra_one_line_says_so(shop: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(UsageError, match="OpenCV is not installed; finding many items in a photo needs it") as refused:
        shop.find(np.zeros((20, 20, 3), np.uint8))
    assert "[verify]" in refused.value.hint


def test_windows_cover_the_photo() -> None:
    boxes = list(many.windows(640, 480))
    covered = np.zeros((480, 640), bool)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 480
        covered[top:bottom, left:right] = True
    assert covered.all()
    assert len(boxes) < 400
