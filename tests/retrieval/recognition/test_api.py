"""`Recognizer`: every form of a photo, many at once, what goes live meanwhile, threads, and notebooks."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.errors import ImageError, IndexNotFoundError, ModelMismatchError, UsageError
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.indexing.run import index as index_catalog
from retrieval.models.bundle import Bundle
from retrieval.recognition.answer import Answer
from retrieval.recognition.api import CHUNK, Recognizer
from retrieval.recognition.photo_source import PhotoSource
from retrieval.recognition.recognizer import RefusedPhoto
from tests.fakes import PixelEncoder, fake_bundle, picture, use_pixel_encoder, write_catalog
from tests.qdrant import double


@pytest.fixture(scope="module", autouse=True)
def _pixel_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use_pixel_encoder(patch)
        yield


def build(folder: Path) -> Path:
    """A bundle, a catalog and an index of it, in a folder."""
    bundle = fake_bundle(folder / "bundle")
    catalog = write_catalog(folder / "catalog", products=6, views=4)
    rows = [f"p{n:03},Product <{n}>,{'odd' if n % 2 else 'even'}" for n in range(6)]
    (catalog / "products.csv").write_text("\n".join(["product_id,name,category", *rows]) + "\n")
    index_catalog(catalog, folder / "index", model=bundle.path)
    return folder / "index"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, _pixel_encoder: None) -> Path:
    """An index for tests that only ask it."""
    return build(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An index of its own, for a test that changes it."""
    return build(tmp_path)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    picture(2, view=1).save(file)
    return file


def without_times(answer: Answer) -> Answer:
    return replace(answer, source="", timings_ms={})


def test_every_form_of_a_photo_gets_the_same_answer(place: Path, photo: Path) -> None:
    im = Image.open(photo)
    forms = [photo, str(photo), photo.read_bytes(), im, np.asarray(im), PhotoSource("mine", photo.read_bytes)]
    with Recognizer(place) as shop:
        answers = [shop.recognize(form) for form in forms]
        named = shop.recognize(photo.read_bytes(), name="from the till")
    assert answers[0].verdict == "match"
    assert answers[0].matches[0].product_id == "p002"
    assert answers[0].matches[0].picture.is_file()
    assert {repr(without_times(a)) for a in answers} == {repr(without_times(answers[0]))}
    assert [a.source for a in answers] == [str(photo), str(photo), "bytes", "pixels", "pixels", "mine"]
    assert named.source == "from the till"


def test_what_is_no_photo_is_refused(place: Path, tmp_path: Path) -> None:
    with Recognizer(place) as shop:
        with pytest.raises(UsageError, match="received int"):
            shop.recognize(7)  # type: ignore[arg-type]
        with pytest.raises(ImageError) as missing:
            shop.recognize(tmp_path / "nowhere.jpg")
        assert missing.value.reason == "missing"
        with pytest.raises(ImageError) as float_pixels:
            shop.recognize(np.zeros((40, 40, 3), np.float32))  # type: ignore[arg-type]
        assert float_pixels.value.reason == "unsupported-pixels"
        with pytest.raises(UsageError, match="at least 1 product"):
            shop.recognize(b"", top=0)


def test_many_photos_come_back_in_order_and_broken_ones_are_named(place: Path, tmp_path: Path) -> None:
    files = []
    for n in range(20):
        file = tmp_path / f"{n}.png"
        if n == 7:
            file.write_bytes(b"not a picture")
        else:
            picture(n % 6).save(file)
        files.append(file)
    with Recognizer(place, threads=3) as shop:
        results = list(shop.recognize_all(files, top=2))
    assert [Path(r.source).name for r in results] == [f.name for f in files]
    assert [Path(r.source).name for r in results if isinstance(r, RefusedPhoto)] == ["7.png"]
    found = [r.matches[0].product_id for r in results if isinstance(r, Answer)]
    assert found == [f"p{n % 6:03}" for n in range(20) if n != 7]
    assert all(len(r.matches) <= 2 for r in results if isinstance(r, Answer))


def test_photos_are_read_as_they_are_needed(place: Path, photo: Path) -> None:
    data, read = photo.read_bytes(), list[int]()

    def endless() -> Iterator[bytes]:
        while True:
            read.append(1)
            yield data

    with Recognizer(place) as shop:
        results = shop.recognize_all(endless())
        assert isinstance(next(results), Answer)
    assert len(read) == CHUNK


def test_filters(place: Path, photo: Path) -> None:
    with Recognizer(place, threshold=4.0) as shop:
        assert shop.manifest.metadata_keys == ("name", "category")
        odd = shop.recognize(photo, where={"category": "odd"})
        assert {m.product_id for m in odd.matches} == {"p001", "p003", "p005"}
        assert shop.recognize(photo, where=["category=odd"]).matches == odd.matches
        both = shop.recognize(photo, top=9, where={"category": ["odd", "even"]})
        assert len(both.matches) == 6
        with pytest.raises(UsageError, match="color"):
            shop.recognize(photo, where={"color": "red"})
        assert sorted(shop.values("category")) == [("even", 12), ("odd", 12)]


def test_what_goes_live_meanwhile_answers(own: Path, photo: Path, tmp_path: Path) -> None:
    with Recognizer(own) as shop:
        picture(40).save(tmp_path / "new.png")
        assert shop.recognize(tmp_path / "new.png").verdict == "unknown"
        (tmp_path / "catalog" / "p040").mkdir()
        picture(40, view=2).save(tmp_path / "catalog" / "p040" / "a.png")
        before = shop.manifest.generation
        index_catalog(tmp_path / "catalog", own)
        answer = shop.recognize(tmp_path / "new.png")
        assert (answer.verdict, answer.matches[0].product_id) == ("match", "p040")
        assert shop.manifest.generation > before


def test_also_when_another_model_built_it(own: Path, photo: Path, tmp_path: Path) -> None:
    other = fake_bundle(tmp_path / "other", name="other", encoder=b"other", threshold=0.01)
    with Recognizer(own) as shop, Recognizer(own, model=tmp_path / "bundle") as faithful:
        index_catalog(tmp_path / "catalog", own, model=other.path, rebuild=True)
        answer = shop.recognize(photo)
        assert answer.fingerprint == shop.model.fingerprint == other.fingerprint
        assert (answer.threshold, shop.threshold) == (0.01, 0.01)
        with pytest.raises(ModelMismatchError):
            faithful.recognize(photo)


def test_photos_of_one_call_are_embedded_again_when_their_generation_is_gone(
    own: Path, photo: Path, tmp_path: Path
) -> None:
    other = fake_bundle(tmp_path / "other", name="other", encoder=b"other")
    with Recognizer(own) as shop:
        results = shop.recognize_all(iter([photo] * (CHUNK + 3)))
        first = next(results)
        index_catalog(tmp_path / "catalog", own, model=other.path, rebuild=True)
        EmbeddedIndex(own).collect()
        fingerprints = [r.fingerprint for r in [first, *results] if isinstance(r, Answer)]
    assert len(fingerprints) == CHUNK + 3
    assert set(fingerprints[CHUNK:]) == {other.fingerprint}
    assert other.fingerprint not in fingerprints[:CHUNK]


def test_the_engine_is_open_only_while_it_searches(place: Path, photo: Path) -> None:
    with Recognizer(place) as shop:
        shop.recognize(photo)
        with EmbeddedIndex(place, patience=0.0).reader() as (store, _):
            assert store.count() == 24
        results = shop.recognize_all([photo] * 3)
        next(results)
        with EmbeddedIndex(place, patience=0.0).reader():
            pass


def test_many_threads_may_ask_at_once(place: Path, tmp_path: Path) -> None:
    files = []
    for n in range(6):
        picture(n, view=1).save(tmp_path / f"{n}.png")
        files.append(tmp_path / f"{n}.png")
    start = threading.Barrier(8)

    def ask(worker: int) -> list[str]:
        start.wait()
        return [shop.recognize(files[(worker + n) % 6]).matches[0].product_id for n in range(6)]

    with Recognizer(place) as shop, ThreadPoolExecutor(8) as pool:
        for worker, found in enumerate(pool.map(ask, range(8))):
            assert found == [f"p{(worker + n) % 6:03}" for n in range(6)]


def test_an_index_on_a_server_answers_alike(place: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITEMREC_GRPC_PORT", "0")
    with double.serving() as server:
        url = server.url("/shop")
        report = index_catalog(place.parent / "catalog", url, model=place.parent / "bundle")
        assert (report.images, report.products) == (24, 6)
        with Recognizer(url, threshold=4.0) as far, Recognizer(place, threshold=4.0) as near:
            expected = near.recognize(photo).matches
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(far.recognize, [photo] * 8))
            assert sorted(far.values("category")) == [("even", 12), ("odd", 12)]
        nearest = [m.best_distance for m in expected]
        for answer in answers:
            found = [(m.product_id, m.votes, m.metadata) for m in answer.matches]
            assert found == [(m.product_id, m.votes, m.metadata) for m in expected]
            assert [m.best_distance for m in answer.matches] == pytest.approx(nearest, abs=1e-6)
        with pytest.raises(UsageError, match="closed"):
            far.recognize(photo)


def test_a_place_without_an_index_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        Recognizer(tmp_path / "nothing")


def test_a_threshold_out_of_range(place: Path) -> None:
    with pytest.raises(UsageError, match=r"\[0, 4\]"):
        Recognizer(place, threshold=4.5)


def test_closed_is_closed(place: Path, photo: Path) -> None:
    with Recognizer(place) as shop:
        pass
    with pytest.raises(UsageError, match="closed"):
        shop.recognize(photo)


def test_a_model_is_loaded_once(place: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    def load(bundle: Bundle, threads: int = 1) -> PixelEncoder:
        loaded.append(threads)
        return PixelEncoder()

    monkeypatch.setattr("retrieval.models.embedding.load_encoder", load)
    with Recognizer(place, threads=2) as shop:
        for _ in range(5):
            shop.recognize(photo)
        assert loaded == [2]
        for _ in range(3):
            list(shop.recognize_all([photo] * 10))
    assert len(loaded) <= 3


def test_a_notebook_shows_pictures_and_runs_nothing(place: Path, photo: Path, tmp_path: Path) -> None:
    evil = tmp_path / "<img onerror=alert(1)>.png"
    evil.write_bytes(photo.read_bytes())
    with Recognizer(place) as shop:
        answer = shop.recognize(evil)
        shown = answer._repr_html_()
        assert "<img onerror" not in shown
        assert "&lt;img onerror" in shown
        assert shown.count("data:image/jpeg;base64,") == 1 + len(answer.matches)
        match = answer.matches[0]._repr_html_()
        assert "Product &lt;2&gt;" in match
        assert match.count("data:image/jpeg;base64,") == len(answer.matches[0].evidence[:5])
        for form in (photo.read_bytes(), Image.open(photo), np.asarray(Image.open(photo))):
            assert shop.recognize(form)._repr_html_().count("data:image/jpeg;base64,") == 1 + len(answer.matches)
        gone = shop.recognize(evil)
        evil.unlink()
        assert gone._repr_html_().count("data:image/jpeg;base64,") == len(answer.matches)


def test_unknown_is_shown_as_such(place: Path, tmp_path: Path) -> None:
    picture(77).save(tmp_path / "unknown.png")
    with Recognizer(place) as shop:
        answer = shop.recognize(tmp_path / "unknown.png")
    assert answer.verdict == "unknown"
    assert "nothing within 0.050" in answer._repr_html_()
    assert "nearest, not near enough" in answer._repr_html_()
    assert answer.nearest[0].product_id in answer._repr_html_()


def test_bytes_stay_out_of_what_is_kept_of_many(place: Path, photo: Path) -> None:
    with Recognizer(place) as shop:
        (answer,) = shop.recognize_all([io.BytesIO(photo.read_bytes()).getvalue()])
    assert isinstance(answer, Answer)
    assert answer.photo is None


def test_a_photo_that_shows_nothing_is_unknown_whatever_is_near(place: Path) -> None:
    with Recognizer(place, threshold=4.0) as shop:
        answers = [shop.recognize(np.full((30, 40, 3), level, np.uint8)) for level in (0, 128, 255)]
        seen = shop.recognize(np.asarray(picture(2)))
    for answer in answers:
        assert (answer.verdict, answer.matches, answer.blanks) == ("unknown", (), ("pixels",))
        assert answer.nearest
        assert answer.reason == "it shows nothing: one color, or noise"
        assert answer.to_json()["blanks"] == ["pixels"]
    assert (seen.verdict, seen.blanks) == ("match", ())
    assert "blanks" not in seen.to_json()
