"""Verdicts by probability: which calibration decides, what becomes of limits, and what is promised of a catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.calibration.galleries import Expectation, GalleryShape
from retrieval.calibration.points import Calibration, ForGallery, OperatingPoint
from retrieval.calibration.sureness import DEFAULT, Limits, Sure, Sureness
from retrieval.errors import IndexDamagedError
from retrieval.index.manifest import Manifest
from retrieval.models.bundle import Bundle
from retrieval.recognition.conclusion import ByProbability, EmbeddedPhoto
from retrieval.recognition.decision import by_probability
from retrieval.recognition.expectations import expectations, operating_point
from retrieval.recognition.recognizer import (
    calibration_in_force,
    query_probability,
    recognize,
)
from retrieval.types import Evidence, IndexedImage, Match, ModelIdentity, Point, image_id
from tests.contract.reference import MemoryStore
from tests.fakes import fake_bundle

SURENESS = Sureness((4.0, -6.0, 1.0, 0.0), (2.0, -1.0, 4.0, 0.0), (2, 9), 10, 5, 3, 0.2, "val")
POINT = OperatingPoint("strangers=0.2", 0.4)


def of(sureness: Sureness | None, *galleries: ForGallery, threshold: float = 0.4) -> Calibration:
    point = replace(POINT, threshold=threshold)
    return Calibration(threshold, point.name, (point,), "val", sureness=sureness, galleries=galleries)


STUDIO = ForGallery(
    "studio",
    GalleryShape(81, 81, 1.0),
    of(SURENESS, threshold=0.9),
    (Expectation("trained", 91, 97, 100, 46), Expectation("new", 49, 95, 100, 17)),
)
FEW = ForGallery("few", GalleryShape(81, 400, 0.0), of(SURENESS, threshold=0.5), (Expectation("new", 84, 99, 100, 17),))


def manifest(studio: float | None = 1.0, *, calibration: Calibration | None = None) -> Manifest:
    identity = ModelIdentity("f" * 64, 8, "m", "/m")
    content = None if calibration is None else calibration.to_json()
    return Manifest(1, identity, 81, 81, "/c", (), "0", "e", "now", studio=studio, calibration=content)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return replace(fake_bundle(tmp_path / "b", threshold=0.3), calibration=of(None, STUDIO, FEW))


def match(product: str, score: float, distance: float) -> Match:
    evidence = (Evidence(f"{product}/1.jpg", distance), Evidence(f"{product}/2.jpg", distance + 0.3))
    return Match(product, score, 2, 0.5, distance, evidence)


RANKED = [match("a", 0.5, 0.2), match("b", 0.3, 0.35), match("c", 0.001, 0.9)]


@pytest.mark.parametrize(
    ("sure", "verdict", "matches"),
    [
        (Sure(0.95, (0.9, 0.04, 0.001)), "match", ["a", "b"]),
        (Sure(0.95, (0.5, 0.4, 0.05)), "ambiguous", ["a", "b", "c"]),
        (Sure(0.3, (0.2, 0.1)), "unknown", []),
    ],
)
def test_candidates_are_those_that_are_not_improbable(sure: Sure, verdict: str, matches: list[str]) -> None:
    found, candidates, nearest = by_probability(RANKED, sure, DEFAULT, threshold=0.4)
    assert found == verdict
    assert [m.product_id for m in candidates] == matches
    assert [m.product_id for m in (*candidates, *nearest)] == ["a", "b", "c"]
    assert [m.confidence for m in (*candidates, *nearest)][: len(sure.products)] == list(sure.products)
    assert [m.votes for m in (*candidates, *nearest)] == [1, 1, 0]


def store() -> MemoryStore:
    gallery = MemoryStore(2)
    points = []
    for i, angle in enumerate((0.0, 0.6, 1.5)):
        vector = np.array([np.cos(angle), np.sin(angle)], np.float32)
        image = f"p{i}/1.jpg"
        points.append(Point(IndexedImage(image_id(f"p{i}", image), f"p{i}", image, "0" * 64), vector))
    gallery.upsert(points)
    return gallery


@pytest.mark.parametrize(("limits", "verdict"), [(DEFAULT, "match"), (Limits(0.999), "ambiguous")])
def test_limits_decide_and_the_threshold_only_counts(limits: Limits, verdict: str) -> None:
    photo = EmbeddedPhoto("photo", np.array([1.0, 0.0], np.float32), 1.0, 1.0)
    rule = ByProbability(SURENESS, limits, 3)
    answer = recognize(photo, store(), threshold=0.1, fingerprint="f", probability=rule)
    assert answer.verdict == verdict
    assert answer.matches[0].product_id == "p0"
    assert answer.in_catalog == SURENESS.of(recognize_all(photo), 3).in_catalog
    assert answer.to_json()["in_catalog"] == answer.in_catalog
    assert [m.votes for m in (*answer.matches, *answer.nearest)] == [1, 0, 0]
    by_threshold = recognize(photo, store(), threshold=0.1, fingerprint="f")
    assert by_threshold.in_catalog is None
    assert "in_catalog" not in by_threshold.to_json()


def recognize_all(photo: EmbeddedPhoto) -> tuple[Match, ...]:
    return recognize(photo, store(), threshold=4.0, fingerprint="f").matches


def test_a_far_photo_is_unknown_whatever_the_threshold() -> None:
    photo = EmbeddedPhoto("photo", np.array([-1.0, 0.0], np.float32), 1.0, 1.0)
    answer = recognize(photo, store(), threshold=4.0, fingerprint="f", probability=ByProbability(SURENESS, DEFAULT, 3))
    assert answer.verdict == "unknown"
    assert not answer.matches
    assert len(answer.nearest) == 3


def test_what_fits_the_catalog_is_in_force(bundle: Bundle) -> None:
    found = calibration_in_force(bundle, manifest(1.0))
    assert found is not None
    assert (found.calibration.threshold, found.kind) == (0.9, "studio")
    assert query_probability(found, manifest(1.0), DEFAULT) == ByProbability(SURENESS, DEFAULT, 81)


@pytest.mark.parametrize("studio", [None, 0.5])
def test_where_none_fits_the_threshold_decides(bundle: Bundle, studio: float | None) -> None:
    found = calibration_in_force(bundle, manifest(studio))
    assert found is not None
    assert found.calibration.threshold == 0.4
    assert query_probability(found, manifest(studio), DEFAULT) is None
    assert found.why_not


def test_the_index_has_the_last_word(bundle: Bundle) -> None:
    own = of(None, threshold=0.7)
    found = calibration_in_force(bundle, manifest(1.0, calibration=own))
    assert found is not None
    assert found.calibration == own
    assert "the index's own" in operating_point(found.calibration, own=True)
    with pytest.raises(IndexDamagedError, match="can be read"):
        calibration_in_force(bundle, replace(manifest(), calibration={"threshold": 1.0}))


def test_what_to_expect_is_what_was_measured(bundle: Bundle) -> None:
    found = calibration_in_force(bundle, manifest(1.0))
    first, more, size = expectations(bundle, manifest(1.0), found)
    assert "2 to 9 products" in size
    assert "of 100 phone photos expect 91 first and 97 among five shown for products that it learned" in first
    assert "49 first and 95 among five shown for new products (100 photos of 17 products)" in first
    assert more.startswith("With up to 10 photos of each product: 84 first and 99 among five")


@pytest.mark.parametrize(
    ("products", "said"), [(81, ""), (41, ""), (162, ""), (40, "expect more."), (20_000, "among 20,000 expect fewer.")]
)
def test_what_was_measured_among_few_products_is_no_promise_among_many(
    bundle: Bundle, products: int, said: str
) -> None:
    here = replace(manifest(1.0), products=products, images=products)
    first, *_ = expectations(bundle, here, calibration_in_force(bundle, here))
    assert first.endswith(said or "(100 photos of 17 products).")


def test_how_sure_answers_are_is_not_calibrated_for_far_more_products(bundle: Bundle) -> None:
    for products, said in ((18, False), (19, True)):
        here = replace(manifest(1.0), products=products, images=products)
        lines = expectations(bundle, here, calibration_in_force(bundle, here))
        assert any("measured in catalogs of 2 to 9 products" in line for line in lines) == said


def test_nothing_is_promised_for_another_catalog(bundle: Bundle) -> None:
    said = expectations(bundle, manifest(0.5), calibration_in_force(bundle, manifest(0.5)))
    assert "was not measured" in said[0]
    assert "Not calibrated for this catalog" in said[1]
    bare = replace(bundle, calibration=None)
    assert "is not calibrated" in expectations(bare, manifest(1.0), None)[0]
