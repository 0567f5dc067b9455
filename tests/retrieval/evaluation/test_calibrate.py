"""Choosing thresholds on one split, fitting confidence, and what a bundle carries of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.calibration.choose import OpenSetDistances, measure_open_set
from retrieval.calibration.confidence import Confidence, feature_value
from retrieval.calibration.points import Calibration, OperatingPoint
from retrieval.distance import squared_l2
from retrieval.errors import BundleError, UsageError
from retrieval.evaluation import UNKNOWN_SHARE, HeldOut, Setting, Target, calibrate, evaluate
from retrieval.evaluation.answers import answer_all
from retrieval.evaluation.confidence_fit import tempered, trials
from retrieval.metrics import IsotonicMap, LogisticMap, fit_isotonic
from retrieval.models.bundle import read_bundle, set_calibration
from retrieval.recognition.conclusion import EmbeddedPhoto
from retrieval.recognition.recognizer import query_confidence, recognize
from retrieval.types import Evidence, IndexedImage, Match, Point, image_id
from tests.contract.reference import MemoryStore
from tests.evaluate_example import DIMENSION, MODEL, clusters
from tests.fakes import fake_bundle


def splits(products: int = 30, noise: float = 0.16) -> tuple[object, ...]:
    return tuple(clusters(products, 5, noise=noise, seed=seed) for seed in (1, 2, 3))


def match(product: str, score: float) -> Match:
    return Match(product, score, 1, 1.0, 0.1, (Evidence("x", 0.1),))


def test_the_chosen_threshold_keeps_its_target_on_the_photos_it_was_chosen_on() -> None:
    gallery, val, _ = splits()
    for target, key in ((Target("far", 0.01), "far"), (Target("far", 0.05), "far"), (Target("fpir", 0.2), "fpir")):
        found = calibrate(val, gallery, target, measured_on="val: 150 photos")  # type: ignore[arg-type]
        assert found.refusal == ""
        assert found.calibration.chosen == target.name
        point = found.calibration.point(target.name)
        assert point.threshold == found.calibration.threshold
        rate = getattr(point, key)
        assert rate is not None
        assert rate <= target.value
        ends = getattr(point, f"{key}_ci")
        assert ends[0] <= rate <= ends[1]
        document = evaluate(
            val,  # type: ignore[arg-type]
            gallery,  # type: ignore[arg-type]
            Setting("val", "/d", "train", "/t", MODEL, calibration=found.calibration),
        )
        measured = document["pairs"]["at_threshold"]["far"] if key == "far" else document["open_set"]["fpir"]
        assert measured == rate
        assert document["threshold"]["same_photos"]


def test_targets_that_the_data_cannot_bear_get_no_point_and_a_sentence() -> None:
    gallery, val = clusters(12, 3, noise=0.1, seed=1), clusters(12, 3, noise=0.1, seed=2)
    found = calibrate(val, gallery, Target("far", 0.1), measured_on="val")
    names = [point.name for point in found.calibration.points]
    assert "far=0.001" not in names
    assert any("Not enough data for FAR 0.1 %" in s for s in found.left_out)
    few = calibrate(val, gallery, Target("far", 0.001), measured_on="val")
    assert "Not enough data for FAR 0.1 %" in few.refusal
    assert few.calibration.point("far=0.001").note == few.refusal


def test_without_a_gallery_only_pairs_are_calibrated() -> None:
    val = clusters(30, 6, noise=0.16, seed=2)
    found = calibrate(val, None, Target("far", 0.01), measured_on="val")
    assert found.calibration.confidence is None
    assert {p.name for p in found.calibration.points} == {"experiment", "far=0.1", "far=0.01"}
    with pytest.raises(UsageError, match="gallery"):
        calibrate(val, None, Target("fpir", 0.05), measured_on="val")


def test_constant_vectors_have_no_threshold() -> None:
    gallery, val = clusters(30, 3, noise=0.0, seed=1), clusters(30, 3, noise=0.0, seed=2)
    same = np.tile(np.eye(DIMENSION, dtype=np.float32)[0], (90, 1))
    flat = [replace_vectors(photos, same) for photos in (gallery, val)]
    with pytest.raises(UsageError, match="No threshold keeps FAR at 1 %"):
        calibrate(flat[1], flat[0], Target("far", 0.01), measured_on="val")


def replace_vectors(photos, vectors):  # type: ignore[no-untyped-def]
    return type(photos)(
        photos.root,
        photos.sources,
        photos.labels,
        vectors,
        photos.content_hashes,
        photos.picture_hashes,
        photos.hashed,
    )


def test_photos_that_the_gallery_holds_are_not_calibrated_on() -> None:
    gallery, val = clusters(20, 4, noise=0.16, seed=1), clusters(20, 6, noise=0.16, seed=2)
    shared = type(val)(
        val.root,
        val.sources,
        val.labels,
        val.vectors,
        (*gallery.content_hashes[:5], *val.content_hashes[5:]),
        val.picture_hashes,
        val.hashed,
    )
    found = calibrate(shared, gallery, Target("far", 0.05), measured_on="val")
    assert "5 photos are also in the gallery and were excluded." in found.left_out
    rest = calibrate(shared.only(range(5, 120)), gallery, Target("far", 0.05), measured_on="val")
    assert found.calibration.points == rest.calibration.points
    with pytest.raises(UsageError, match="it all has"):
        calibrate(gallery, gallery, Target("far", 0.05), measured_on="val")


def test_confidence_holds_on_other_photos() -> None:
    """Fitted on val, its claims on test are near the truth, and far from what blind certainty would score."""
    gallery, val, test = splits(60, 0.22)
    found = calibrate(val, gallery, Target("far", 0.05), measured_on="val").calibration  # type: ignore[arg-type]
    assert found.confidence is not None
    document = evaluate(
        test,  # type: ignore[arg-type]
        gallery,  # type: ignore[arg-type]
        Setting("test", "/d", "train", "/t", MODEL, calibration=found),
    )
    section = document["confidence"]
    assert section is not None
    assert section["ece"] is not None
    assert section["brier"] is not None
    right = sum(b["right"]["part"] for b in section["bins"]) / section["answers"]
    assert 0.3 < right < 0.98
    assert section["ece"] < 0.06
    assert section["brier"] < right * (1.0 - right)
    assert sum(b["right"]["whole"] for b in section["bins"]) == section["answers"]


def test_strangers_are_the_stated_part_of_the_trials() -> None:
    gallery, val, _ = splits()
    answers = answer_all(val, gallery, 4.0, ())  # type: ignore[arg-type]
    data = trials(answers)
    assert data.unknown.mean() == pytest.approx(UNKNOWN_SHARE, abs=0.01)
    assert not data.right[data.unknown].any()
    again = trials(answers)
    assert again.products.tolist() == data.products.tolist()


def unseen(products: int = 40, each: int = 8, noise: float = 0.16) -> HeldOut:
    """Photos of every other product, and a gallery of the rest, in which each stranger has a near twin."""
    everything = clusters(products, each, noise=noise, seed=9)
    names = everything.products.tolist()
    numbers = np.array([names.index(label) for label in everything.labels])
    strange = numbers % 2 == 0
    vectors = everything.vectors.copy()
    vectors[strange] += 0.8 * everything.vectors[(numbers[strange] + 1) * each]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    everything = replace(everything, vectors=vectors)
    return HeldOut(everything.only(np.flatnonzero(strange)), everything.only(np.flatnonzero(~strange)))


def test_strangers_that_no_training_saw_stand_in_for_those_left_out() -> None:
    gallery, val, _ = splits()
    held_out = unseen()
    target = Target("fpir", 0.2)
    left_out = calibrate(val, gallery, target, measured_on="val")  # type: ignore[arg-type]
    found = calibrate(val, gallery, target, measured_on="val", held_out=[held_out])  # type: ignore[arg-type]
    point = found.calibration.point("fpir=0.2")
    rival = squared_l2(held_out.photos.vectors, held_out.gallery.vectors).min(axis=1)

    def at_catalog_size(threshold: float) -> float:  # 30 products, where those of the strangers' gallery are 20
        return 1 - (1 - float((rival <= threshold).mean())) ** 1.5

    assert point.fpir == pytest.approx(at_catalog_size(point.threshold))
    assert 0.19 < point.fpir <= 0.2
    assert point.fpir_ci[0] < point.fpir < point.fpir_ci[1]  # type: ignore[index]
    assert (point.strangers, point.gallery, point.probes) == (160, 30, 150)
    assert point.threshold < left_out.calibration.threshold
    pair, before = found.calibration.point("far=0.01"), left_out.calibration.point("far=0.01")
    assert (pair.threshold, pair.fnir) == (before.threshold, before.fnir)
    assert pair.fpir == pytest.approx(at_catalog_size(pair.threshold))


def test_distances_of_another_network_are_taken_to_scale() -> None:
    gallery, val, _ = splits()
    plain, scaled = (
        calibrate(
            val,  # type: ignore[arg-type]
            gallery,  # type: ignore[arg-type]
            Target("fpir", 0.2),
            measured_on="val",
            held_out=[replace(unseen(), scale=scale)],
        ).calibration
        for scale in (1.0, 0.5)
    )
    assert scaled.point("fpir=0.2").threshold == pytest.approx(plain.point("fpir=0.2").threshold / 2)
    assert scaled.point("far=0.01").threshold == plain.point("far=0.01").threshold


def test_an_interval_of_other_products_is_wider() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 10)
    distances = rng.uniform(0.2, 1.0, 200) + np.repeat(rng.uniform(0.0, 1.0, 20), 10)
    of_these, of_one_lot, of_two = (
        measure_open_set(OpenSetDistances(distances, labels, distances, labels, 20, others=others), 0.8)
        for others in (0, 1, 2)
    )
    assert of_these.rate == of_one_lot.rate == of_two.rate
    rate = of_these.rate.fpir
    assert of_one_lot.fpir_ci.high - rate == pytest.approx(2**0.5 * (of_these.fpir_ci.high - rate))
    assert of_two.fpir_ci.high - rate == pytest.approx(3**0.5 * (of_these.fpir_ci.high - rate))
    assert of_two.dir_ci == of_these.dir_ci


def test_the_fewest_wrong_answers_can_be_the_target() -> None:
    gallery, val, _ = splits()
    target = Target("strangers", 0.2)
    found = calibrate(val, gallery, target, measured_on="val", held_out=[unseen()])  # type: ignore[arg-type]
    assert found.refusal == ""
    assert found.calibration.chosen == "strangers=0.2"
    point = found.calibration.point("strangers=0.2")
    assert point.threshold == found.calibration.threshold
    assert found.calibration.confidence is None  # probabilities are fitted for each kind of gallery instead
    assert Calibration.from_json(found.calibration.to_json()) == found.calibration
    with pytest.raises(UsageError, match="gallery"):
        calibrate(val, None, target, measured_on="val")  # type: ignore[arg-type]


def test_no_map_claims_certainty() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    right = np.array([False, False, True, False, True, True])
    fitted = fit_isotonic(values, right)
    assert {fitted.probabilities[0], fitted.probabilities[-1]} == {0.0, 1.0}
    humble = tempered(fitted, values)
    assert humble.probabilities[0] == 1 / 4
    assert humble.probabilities[-1] == 3 / 4
    assert list(humble.probabilities) == sorted(humble.probabilities)
    certain = IsotonicMap((0.0, 1.0), (0.0, 1.0))
    assert tempered(certain, np.array([0.5])).probabilities == (0.5, 0.5)


def test_features() -> None:
    one, two = [match("a", 0.8)], [match("a", 0.8), match("b", 0.6)]
    assert [feature_value(f, one) for f in ("score", "lead", "margin")] == [0.8, 0.8, 1.0]  # type: ignore[arg-type]
    assert [feature_value(f, two) for f in ("score", "lead", "margin")] == pytest.approx([0.8, 0.2, 0.25])  # type: ignore[arg-type]


def fitted(threshold: float) -> Confidence:
    return Confidence("margin", LogisticMap(8.0, -2.0), threshold, "val", 120, 0.2)


def test_confidence_travels_in_the_bundle_without_changing_its_fingerprint(tmp_path: Path) -> None:
    bundle = fake_bundle(tmp_path / "b", threshold=0.4)
    point = OperatingPoint("far=0.01", 0.5)
    calibration = Calibration(0.5, "far=0.01", (point,), "val", "ab" * 32, fitted(0.5))
    written = set_calibration(bundle.path, calibration)
    assert written.fingerprint == bundle.fingerprint
    assert read_bundle(bundle.path).calibration == calibration
    assert query_confidence(0.5, written) == calibration.confidence
    assert query_confidence(0.51, written) is None
    assert query_confidence(0.4, bundle) is None


def test_a_confidence_for_another_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="fitted at the threshold"):
        Calibration(0.5, "far=0.01", (OperatingPoint("far=0.01", 0.5),), confidence=fitted(0.4))


@pytest.mark.parametrize(
    "broken",
    [
        {"feature": "mood"},
        {"map": {"kind": "oracle"}},
        {"map": {"kind": "isotonic", "scores": [1.0, 0.0], "probabilities": [0.1, 0.2]}},
        {"map": None},
        {"threshold": 9.0},
        {"threshold": None},
        {"strangers": 2.0},
        {"answers": "many"},
        {"fitted_on": 3},
    ],
)
def test_a_damaged_confidence_is_a_damaged_bundle(tmp_path: Path, broken: dict[str, object]) -> None:
    bundle = fake_bundle(tmp_path / "b", threshold=0.5)
    set_calibration(bundle.path, replace(Calibration.given(0.5), confidence=fitted(0.5)))
    file = bundle.path / "bundle.json"
    description = json.loads(file.read_text())
    description["calibration"]["confidence"] |= broken
    file.write_text(json.dumps(description))
    with pytest.raises(BundleError):
        read_bundle(bundle.path)


def test_an_answer_says_how_probable_its_first_match_is() -> None:
    store = MemoryStore(4)
    vectors = np.eye(4, dtype=np.float32)
    tilted = np.array([0.8, 0.6, 0.0, 0.0], np.float32)
    for name, vector in (("a", vectors[0]), ("b", tilted)):
        store.upsert([Point(IndexedImage(image_id(name, name), name, name, "0" * 64), vector)])
    sure = fitted(1.0)
    answer = recognize(
        EmbeddedPhoto("photo", vectors[0], 1.0, 1.0), store, threshold=1.0, top=1, fingerprint="f", confidence=sure
    )
    two = recognize(EmbeddedPhoto("photo", vectors[0], 1.0, 1.0), store, threshold=1.0, fingerprint="f")
    expected = sure.of(two.matches)
    assert expected is not None
    assert 0.5 < expected < 1.0
    assert answer.matches[0].confidence == expected
    assert answer.to_json()["matches"][0]["confidence"] == expected
    assert "confidence" not in two.to_json()["matches"][0]
    far = recognize(
        EmbeddedPhoto("photo", vectors[3], 1.0, 1.0), store, threshold=1.0, fingerprint="f", confidence=sure
    )
    assert far.matches == ()
