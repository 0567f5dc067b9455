"""Pictures that are none of the catalog's: they refuse, name nothing, outlive models, and are taken back exactly."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from retrieval.calibration.sureness import Sureness
from retrieval.errors import ImageError, IndexDamagedError, UsageError
from retrieval.images.pictures import prepare_decoded
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.indexing.run import index as index_catalog
from retrieval.recognition.answer import Answer
from retrieval.recognition.api import Recognizer
from retrieval.recognition.decision import NEARER, NEARER_STUDIO, beside, beside_refusals, near_enough
from retrieval.refusals import KnownRefusals, embed_missing
from retrieval.types import Match
from tests.fakes import PixelEncoder, fake_bundle, picture, use_pixel_encoder, write_catalog


@pytest.fixture(scope="module", autouse=True)
def _pixel_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use_pixel_encoder(patch)
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, _pixel_encoder: None) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    bundle = fake_bundle(folder / "bundle", threshold=0.5)
    write_catalog(folder / "catalog", products=6, views=3)
    index_catalog(folder / "catalog", folder / "index", model=bundle.path)
    for number in (2, 40, 41):
        picture(number, view=9).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def shop(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built / "index", tmp_path / "index")
    return tmp_path / "index"


def answer_of(shop: Path, photo: Path) -> Answer:
    with Recognizer(shop) as recognizer:
        return recognizer.recognize(photo)


def test_a_refused_photo_is_unknown_and_says_which_picture_refused_it(shop: Path, built: Path) -> None:
    before = answer_of(shop, built / "40.png")
    assert before.verdict != "unknown"
    with Recognizer(shop) as recognizer:
        added = recognizer.refuse(built / "40.png", note=" the rival's\n")
        again = recognizer.recognize(built / "40.png")
        assert recognizer.refuse((built / "40.png").read_bytes(), name="40.png").note == ""
        assert [(r.refusal_id, r.note) for r in recognizer.refusals()] == [(added.refusal_id, "the rival's")]
    assert again.verdict == "unknown"
    assert again.refused_by is not None
    assert (again.refused_by.image, again.refused_by.note) == ("40.png", "the rival's")
    assert again.refused_by.distance < 0.01
    assert again.reason == f"refused by 40.png (the rival's), {again.refused_by.distance:.3f} away"
    assert again.to_json()["refused_by"]["image"] == "40.png"
    assert [m.product_id for m in again.nearest] == [m.product_id for m in (*before.matches, *before.nearest)]


def test_a_photo_far_from_every_refusal_is_answered_as_before(shop: Path, built: Path) -> None:
    before = answer_of(shop, built / "2.png")
    assert before.verdict == "match"
    with Recognizer(shop) as recognizer:
        recognizer.refuse(built / "40.png")
    after = answer_of(shop, built / "2.png")
    assert (after.verdict, after.matches[0]) == (before.verdict, before.matches[0])
    assert "refused_by" not in after.to_json()


def test_removing_takes_back_exactly_that(shop: Path, built: Path) -> None:
    with Recognizer(shop) as recognizer:
        before = recognizer.recognize(built / "40.png").to_json()["matches"]
        first = recognizer.refuse(built / "40.png")
        recognizer.refuse(built / "41.png")
        with pytest.raises(UsageError, match="names none"):
            recognizer.remove_refusals("nothing.png", first.short)
        assert [r.image for r in recognizer.remove_refusals(first.short)] == ["40.png"]
        assert [r.image for r in recognizer.refusals()] == ["41.png"]
        assert recognizer.recognize(built / "41.png").verdict == "unknown"
        recognizer.remove_refusals("41.png")
        assert recognizer.recognize(built / "40.png").to_json()["matches"] == before


def test_another_model_sees_them_from_their_pictures_without_their_photos(shop: Path, built: Path) -> None:
    with Recognizer(shop) as recognizer:
        recognizer.refuse(built / "40.png")
        other = fake_bundle(shop.parent / "other", encoder=b"other", threshold=0.5)
        index_catalog(built / "catalog", shop, model=other.path, rebuild=True)
        [kept] = recognizer.refusals()
        assert other.fingerprint in kept.vectors
        # Added by whoever still had the old model while the new one was built.
        recognizer._index.refusals.add([(kept, recognizer._index.refusals.picture(kept.refusal_id))])
        assert recognizer.recognize(built / "40.png").verdict == "unknown"
        assert recognizer.model.fingerprint == other.fingerprint


def test_a_query_embeds_what_an_index_run_could_not_know_of_and_keeps_the_vector(shop: Path, built: Path) -> None:
    with Recognizer(shop) as recognizer:
        recognizer.refuse(built / "40.png")
    other = fake_bundle(shop.parent / "other", encoder=b"other", threshold=0.5)
    store = EmbeddedIndex(shop).refusals
    calls = PixelEncoder.calls
    first, second = (KnownRefusals.load(store, other) for _ in range(2))
    assert PixelEncoder.calls == calls + 1
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_one_that_is_damaged_does_not_count_and_the_others_do(
    shop: Path, built: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Recognizer(shop) as recognizer:
        for number in (40, 41):
            recognizer.refuse(built / f"{number}.png")
    store = EmbeddedIndex(shop).refusals
    first, second = store.read()
    (shop / "refusals" / f"{first.refusal_id}.jpg").write_bytes(b"no picture")
    other = fake_bundle(shop.parent / "other", encoder=b"other", threshold=0.5)
    assert [r.image for r in embed_missing(store, other)] == [second.image]
    assert "does not count" in caplog.text
    (shop / "refusals.json").write_text("{")
    with pytest.raises(IndexDamagedError, match="refused pictures cannot be read"):
        answer_of(shop, built / "40.png")


def test_what_is_no_picture_is_not_kept(shop: Path) -> None:
    with Recognizer(shop) as recognizer:
        with pytest.raises(ImageError):
            recognizer.refuse(b"no picture")
        assert recognizer.refusals() == []


def test_a_refusal_lowers_the_probability_where_it_would_have_lowered_the_threshold() -> None:
    sureness = Sureness((4.0, -8.0, 0.5, 0.0), (3.0, -1.0, 0.5, 0.0), (1, 1000), 100, 100, 10, 0.2)
    ranked = [Match("a", 0.5, 1, 0.9, 0.4, ()), Match("b", 0.1, 1, 0.1, 0.6, ())]
    even = sureness.even(ranked, 10)
    assert even is not None
    assert sureness.at(even, np.log(5.0), 10).in_catalog == pytest.approx(0.5)
    alone = sureness.of(ranked, 10)
    for far in (None, even / NEARER, 4.0):
        assert beside(sureness, ranked, 10, far) == alone
    at_the_limit = beside(sureness, ranked, 10, ranked[0].best_distance / NEARER)
    assert at_the_limit.in_catalog == pytest.approx(0.5)
    assert beside(sureness, ranked, 10, 0.0).in_catalog < 1e-6
    assert beside(sureness, [], 10, 0.1) == sureness.of([], 10)
    # A fit in which distance says nothing has no distance to stretch.
    assert replace(sureness, in_catalog=(1.0, 0.0, 0.5, 0.0)).even(ranked, 10) is None


@pytest.mark.parametrize(("refusal", "limit"), [(None, 0.5), (4.0, 0.5), (0.5, 0.5 * NEARER), (0.0, 0.0)])
def test_a_refusal_lowers_the_threshold_of_what_is_near_it(refusal: float | None, limit: float) -> None:
    assert near_enough(0.5, refusal) == limit


def test_among_studio_pictures_a_refused_photo_may_be_nearer_than_the_product(tmp_path: Path) -> None:
    assert [beside_refusals(share) for share in (None, 0.0, 1.0)] == [NEARER, NEARER, NEARER_STUDIO]
    assert NEARER < beside_refusals(0.5) < NEARER_STUDIO
    bundle = fake_bundle(tmp_path / "bundle", threshold=4.0)
    for number in range(4):
        shown = Image.new("RGB", (64, 64), "white")
        shown.paste(picture(number), (12, 12))
        (tmp_path / "catalog" / f"p{number}").mkdir(parents=True)
        shown.save(tmp_path / "catalog" / f"p{number}" / "studio.png")
    index_catalog(tmp_path / "catalog", tmp_path / "index", model=bundle.path)
    photo = np.asarray(picture(1, view=2))
    rival = np.asarray(Image.blend(picture(1, view=2), picture(0), 0.5))
    with Recognizer(tmp_path / "index") as shop:
        assert shop.manifest.studio == 1.0
        before = shop.recognize(photo)
        refused = shop.refuse(rival)
        near = float(np.square(_vector(photo) - _vector(rival)).sum())
        assert NEARER * near < before.matches[0].best_distance < NEARER_STUDIO * near
        after = shop.recognize(photo)
        assert (after.verdict, after.refused_by) == (before.verdict, None)
        assert shop.recognize(rival).refused_by is not None
        assert [refusal.refusal_id for refusal in shop.refusals()] == [refused.refusal_id]


def _vector(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    encoder = PixelEncoder()
    return encoder.encode(prepare_decoded(pixels, encoder.preprocessing)[None])[0]
