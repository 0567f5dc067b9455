"""Evaluation on synthetic clusters: textbook values, exclusions, provenance, the document's shape."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.calibration.gap import Scales
from retrieval.calibration.points import Calibration, OperatingPoint
from retrieval.distance import normalize
from retrieval.errors import UsageError
from retrieval.evaluation import EvaluationDoc, Photos, Setting, Target, calibrate, evaluate
from retrieval.evaluation.answers import answer_all, nearest_distances, ranks_by_votes
from retrieval.evaluation.document import RateDoc
from retrieval.evaluation.leakage import find_twins
from retrieval.index.refusals import RefusalPicture, refusal_id_of, refusal_id_of_hash
from retrieval.recognition.decision import decide, split
from retrieval.recognition.recognizer import find
from retrieval.refusals import KnownRefusals
from retrieval.types import IndexedImage, PictureKind, Point
from tests.contract.reference import MemoryStore
from tests.evaluate_example import DIMENSION, MODEL, clusters, example_document, labeled

USE = 0.5


def setting(**changes: object) -> Setting:
    base = Setting("test", "/data", "train", "/data/train", MODEL, threshold=USE)
    return replace(base, **changes)  # type: ignore[arg-type]


def conforms(value: object, hint: object, path: str = "$") -> None:
    """Assert that a JSON value has exactly the type that a TypedDict (or list, dict, union) describes."""
    origin = typing.get_origin(hint)
    if typing.is_typeddict(hint):
        hints = typing.get_type_hints(hint)
        assert isinstance(value, dict), path
        assert value.keys() == hints.keys(), f"{path}: {sorted(value.keys() ^ hints.keys())}"
        for key, inner in hints.items():
            conforms(value[key], inner, f"{path}.{key}")
    elif origin is list:
        assert isinstance(value, list), path
        for i, item in enumerate(value):
            conforms(item, typing.get_args(hint)[0], f"{path}[{i}]")
    elif origin is dict:
        assert isinstance(value, dict), path
        for key, item in value.items():
            assert isinstance(key, str), path
            conforms(item, typing.get_args(hint)[1], f"{path}.{key}")
    elif origin in (types.UnionType, typing.Union):
        if value is None:
            assert type(None) in typing.get_args(hint), path
        else:
            conforms(value, next(a for a in typing.get_args(hint) if a is not type(None)), path)
    elif hint is not typing.Any:
        accepted = (float, int) if hint is float else (hint,)
        assert type(value) in accepted, f"{path}: {value!r} is no {hint}"


def test_the_document_has_the_shape_that_is_documented_and_is_json() -> None:
    document = example_document()
    conforms(document, EvaluationDoc)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_document_is_complete_where_little_can_be_measured() -> None:
    """One product, one photo of it, a gallery of one picture: rates without denominators are null."""
    one = labeled(normalize(np.eye(DIMENSION)[:1]), ["p000"], seed=1)
    picture = labeled(normalize(np.eye(DIMENSION)[:1]), ["p000"], seed=2)
    document = evaluate(one, picture, setting())
    conforms(document, EvaluationDoc)
    json.dumps(document, allow_nan=False)
    assert document["pairs"]["same"] == document["pairs"]["different"] == 0
    assert document["pairs"]["auc"] is document["pairs"]["eer"] is None
    assert document["pairs"]["at_far"]["0.01"]["val"] is None
    assert document["identification"]["top1"] == 1.0
    strangers = document["open_set"]
    assert (strangers["fpir"], strangers["strangers"], strangers["gallery"]) == (None, 0, 0)
    assert strangers["at_fpir"]["0.1"]["threshold"] is None
    assert "Not enough data for FPIR 10 %: 0 photos" in strangers["at_fpir"]["0.1"]["refusal"]
    assert document["probes"][0]["as_stranger"] is None
    assert "FPIR cannot be measured in a gallery of one product" in document["verdict"]


def test_refusals_cost_known_products_and_save_unknown_ones() -> None:
    """Three products in a plane; a refusal beside the second, another beside photos of what the gallery lacks."""
    eye = normalize(np.eye(DIMENSION)[:4])
    gallery = labeled(eye[:3], ["p0", "p1", "p2"], seed=1)
    strange, near = normalize(np.stack([eye[3] + 0.8 * eye[0], eye[1] + eye[3]]))
    photos = labeled(np.stack([*eye[:3], strange, strange]), ["p0", "p1", "p2", "other", "other"], seed=2)
    pictures = [RefusalPicture(refusal_id_of(i.encode()), i, "", "2026", {}) for i in ("other.jpg", "near-p1.jpg")]
    known = KnownRefusals(pictures, np.stack([strange, near]))
    document = evaluate(photos, gallery, setting(threshold=0.9), refusals=known)
    conforms(document, EvaluationDoc)
    section = document["refusals"]
    assert section is not None
    assert counted(section["known"]) == {"before": (3, 3), "after": (3, 3)}
    assert section["outsiders"] is not None
    assert counted(section["outsiders"]) == {"before": (2, 2), "after": (0, 2)}
    assert [(e["image"], e["unknown"], e["known"]) for e in section["each"]] == [
        ("other.jpg", 2, 0),
        ("near-p1.jpg", 0, 0),
    ]
    without = evaluate(photos, gallery, setting(threshold=0.9))
    assert without["refusals"] is None
    assert (without["pairs"], without["open_set"]) == (document["pairs"], document["open_set"])


def test_a_photo_that_is_itself_refused_measures_nothing() -> None:
    eye = normalize(np.eye(DIMENSION)[:2])
    photos = labeled(eye, ["p0", "p1"], seed=2)
    itself = RefusalPicture(refusal_id_of_hash(photos.content_hashes[0]), "p0.jpg", "", "2026", {})
    refused = evaluate(
        photos, labeled(eye, ["p0", "p1"], seed=1), setting(), refusals=KnownRefusals([itself], eye[:1])
    )["refusals"]
    assert refused is not None
    assert refused["same_photos"] == 1
    assert counted(refused["known"]) == {"before": (1, 1), "after": (1, 1)}


def test_several_photos_of_an_item_are_one_probe_whose_noise_averages_out() -> None:
    gallery, photos = clusters(8, 6, noise=0.12, seed=1), clusters(8, 6, noise=0.25, seed=2)
    points = (OperatingPoint("far=0.01", 0.5, val=0.9), OperatingPoint("experiment", 1e-3, val=1.0))
    use = setting(threshold=None, calibration=Calibration(0.5, "far=0.01", points), views=3)
    document = evaluate(photos, gallery, use)
    conforms(document, EvaluationDoc)
    section = document["views"]
    assert section is not None
    assert (section["products"], section["limit"]) == (8, 1e-3)
    assert [(row["photos"], row["items"]) for row in section["rows"]] == [(1, 48), (2, 24), (3, 16)]
    one, _, three = section["rows"]
    # A single photo of an item is what all other sections measure.
    assert one["top1"]["rate"] == document["identification"]["top1"]
    assert one["fpir"]["rate"] == document["open_set"]["fpir"]
    assert one["apart"] is None
    assert three["apart"] is not None
    assert three["apart"]["rate"] == 1.0
    assert three["top1"]["rate"] >= one["top1"]["rate"]
    with pytest.raises(UsageError, match="--views 7, received at most 6"):
        evaluate(photos, gallery, replace(use, views=7))


def counted(rates: dict[str, RateDoc]) -> dict[str, tuple[int, int]]:
    return {when: (rate["part"], rate["whole"]) for when, rate in rates.items()}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([1, 2, 3, 4, 15]), min_size=1, max_size=9),
    noise=st.sampled_from([0.0, 0.05, 0.3]),
    threshold=st.sampled_from([1e-3, 0.2, 1.0, 4.0]),
    scales=st.sampled_from([None, Scales(0.8, 1.1), Scales(1.0, 1.4)]),
)
def test_answers_are_those_of_the_recognizer(
    seed: int, sizes: list[int], noise: float, threshold: float, scales: Scales | None
) -> None:
    """Every probe is answered as `find` answers it on a store, with its product and without."""
    rng = np.random.default_rng(seed)
    centers = normalize(rng.standard_normal((len(sizes) + 1, 8)))
    owners = np.repeat(np.arange(len(sizes)), sizes)
    gallery = labeled(
        normalize(centers[owners] + noise * rng.standard_normal((len(owners), 8))), [f"p{i}" for i in owners]
    )
    kinds = rng.choice(["studio", "photo"], len(owners)).tolist()
    if noise == 0.0:  # of equal pictures either kind may be among the ten that are looked at
        kinds = ["photo"] * len(owners)
    if scales is not None:
        gallery = replace(gallery, factors=np.array([scales.of(kind) for kind in kinds], np.float32))
    asked = rng.integers(0, len(centers), 6)
    probes = labeled(normalize(centers[asked] + noise * rng.standard_normal((6, 8))), [f"p{i}" for i in asked])
    found = answer_all(probes, gallery, threshold, [4.0])
    for i, product in enumerate(probes.labels.tolist()):
        for answer, without in ((found.answers[i], None), (found.left_one_out[i], product)):
            store = store_of(gallery, without, kinds)
            ranked = find(store, probes.vectors[i], threshold=threshold, products=5, scales=scales)
            expected, _ = split(ranked, threshold)
            assert [m.score for m in answer.matches] == pytest.approx([m.score for m in expected], rel=1e-4)
            assert [m.share for m in answer.matches] == pytest.approx([m.share for m in expected], rel=1e-4)
            assert [m.votes for m in answer.matches] == [m.votes for m in expected]
            assert answer.verdict == decide(ranked, threshold=threshold)
            assert not without or without not in [m.product_id for m in answer.matches]
        ids = [m.product_id for m in found.answers[i].matches]
        rank = int(found.outcomes[threshold].ranks[i])
        assert (rank if rank <= 5 else 0) == (ids.index(product) + 1 if product in ids else 0)
        assert found.outcomes[threshold].predicted[i] == (ids[0] if ids else None)
    own, rival = nearest_distances(probes, gallery)
    assert own.tolist() == found.genuine.tolist()
    assert rival.tolist() == found.impostor.tolist()


def store_of(gallery: Photos, without: str | None, kinds: list[PictureKind]) -> MemoryStore:
    store = MemoryStore(gallery.vectors.shape[1])
    rows = zip(gallery.sources, gallery.labels.tolist(), gallery.vectors, kinds, strict=True)
    for source, product, vector, kind in rows:
        if product != without:
            name = f"00000000-0000-0000-0000-{len(store.rows):012}"
            store.upsert([Point(IndexedImage(name, product, source, "0" * 64, {}, kind), vector)])
    return store


def test_perfect_clusters() -> None:
    """Orthogonal products, photos all alike: everything is right and strangers are at distance 2."""
    eye = np.eye(DIMENSION, dtype=np.float32)
    owners = np.repeat(np.arange(12), 4)
    names = [f"p{i:03}" for i in owners]
    document = evaluate(labeled(eye[owners], names, seed=1), labeled(eye[owners], names, seed=2), setting())
    pairs, naming, unknown = document["pairs"], document["identification"], document["open_set"]
    assert (pairs["same"], pairs["different"]) == (12 * 6, 48 * 47 // 2 - 72)
    assert (pairs["auc"], pairs["eer"]) == (1.0, 0.0)
    assert {s["val"] for s in pairs["sweep"]} == {1.0}
    assert {s["far"] for s in pairs["sweep"]} == {0.0}
    assert naming["top1"] == naming["top5"] == naming["knn_top1"] == naming["map_at_r"] == 1.0
    assert naming["matching_test_top5"] == 1.0
    assert (unknown["fpir"], unknown["fnir"]) == (0.0, 0.0)
    assert {p["rival_distance"] for p in document["probes"]} == {2.0}
    assert unknown["verdicts"]["strangers"] == {"match": 0, "ambiguous": 0, "unknown": 48}
    assert document["tone"] == "warn" or document["tone"] == "good"


def test_constant_vectors() -> None:
    """Nothing can be told apart: AUC and EER one half, every stranger gets a name, every verdict is ambiguous."""
    vectors = np.tile(np.eye(DIMENSION, dtype=np.float32)[0], (40, 1))
    names = [f"p{i:03}" for i in np.repeat(np.arange(10), 4)]
    document = evaluate(labeled(vectors, names, seed=1), labeled(vectors, names, seed=2), setting())
    pairs, naming, unknown = document["pairs"], document["identification"], document["open_set"]
    assert (pairs["auc"], pairs["eer"]) == (0.5, 0.5)
    assert {(s["val"], s["far"]) for s in pairs["sweep"]} == {(1.0, 1.0)}
    assert pairs["at_far"]["0.01"]["threshold"] is None
    assert pairs["at_far"]["0.01"]["accepted_different"] == 0
    assert naming["top1"] == 0.1
    assert naming["knn_top1"] == 0.0
    assert unknown["fpir"] == 1.0
    assert unknown["rates"]["fpir_match"]["rate"] == 0.0
    assert unknown["verdicts"]["known"]["ambiguous_wrong"] == 36
    assert unknown["at_fpir"]["0.01"]["threshold"] is None
    assert document["tone"] == "bad"


def test_random_vectors() -> None:
    """Chance: AUC one half, top 1 at about one in the number of products, VAL equal to FAR."""
    rng = np.random.default_rng(7)
    names = [f"p{i:03}" for i in np.repeat(np.arange(40), 8)]
    probes = labeled(normalize(rng.standard_normal((320, DIMENSION))), names, seed=1)
    gallery = labeled(normalize(rng.standard_normal((320, DIMENSION))), names, seed=2)
    document = evaluate(probes, gallery, setting(threshold=1.9))
    assert document["pairs"]["auc"] == pytest.approx(0.5, abs=0.03)
    assert document["pairs"]["eer"] == pytest.approx(0.5, abs=0.03)
    use = document["pairs"]["at_threshold"]
    assert use["val"] == pytest.approx(use["far"], abs=0.04)
    low, high = document["identification"]["rates"]["top1"]["ci"] or (0.0, 0.0)
    assert low <= 1 / 40 <= high
    assert document["open_set"]["fpir"] == 1.0


def test_every_count_follows_from_the_probes() -> None:
    document = example_document()
    probes = document["probes"]
    known = [p for p in probes if p["known"]]
    naming, unknown = document["identification"], document["open_set"]
    assert naming["rates"]["top1"]["part"] == sum(p["rank"] == 1 for p in known)
    assert naming["rates"]["top5"]["part"] == sum(1 <= p["rank"] <= 5 for p in known)
    assert naming["rates"]["knn_top1"]["part"] == sum(p["knn_rank"] == 1 for p in known)
    assert unknown["rates"]["dir"]["part"] == sum(p["right"] for p in known)
    assert unknown["rates"]["fpir"]["part"] == sum(p["as_stranger"]["verdict"] != "unknown" for p in known)
    assert unknown["outsiders"] is not None
    assert unknown["outsiders"]["photos"] == len(probes) - len(known) == 10
    assert sum(unknown["verdicts"]["known"].values()) == len(known)
    assert sum(g["whole"] for g in naming["per_product"]) == len(known)
    assert naming["per_category"] is not None
    assert {g["name"] for g in naming["per_category"]} == {"Juice", "Milk"}
    assert sum(g["part"] for g in naming["per_category"]) == naming["rates"]["top1"]["part"]
    histogram, pairs = document["pairs"]["histogram"], document["pairs"]
    assert (sum(histogram["same"]), sum(histogram["different"])) == (pairs["same"], pairs["different"])
    val = document["pairs"]["at_far"]["0.01"]["accepted_same"]
    assert sum(document["pairs"]["by_product"]["accepted_same"]["0.01"]) == val
    for confusion in naming["confusions"]:
        assert 1 <= confusion["count"] <= confusion["probes"]
        assert all(e["photo"].startswith(confusion["product"]) for e in confusion["examples"])
        assert all(e["image"].startswith(confusion["taken_for"]) for e in confusion["examples"])


def test_planted_duplicates_are_found_excluded_and_counted() -> None:
    gallery = clusters(6, 4, noise=0.1, seed=1)
    test = clusters(6, 4, noise=0.1, seed=2)
    hashes = list(test.content_hashes)
    pictures = test.picture_hashes.copy()
    hashes[3] = gallery.content_hashes[5]  # the same file, under another product
    pictures[6] = gallery.picture_hashes[4] ^ np.uint64(0b11 << 40)  # saved again, same product p001
    pictures[9] = gallery.picture_hashes[0] ^ np.uint64(1 << 7)  # looks like a picture of another product
    hashes[12] = hashes[13]  # twice in the split
    planted = Photos(
        test.root, test.sources, test.labels, test.vectors, tuple(hashes), pictures, test.hashed, test.metadata
    )
    document = evaluate(planted, gallery, setting())
    excluded = document["excluded"]
    assert [(t["source"], t["image"], t["reason"], t["bits"]) for t in excluded["list"]] == [
        ("p000/4.jpg", "p001/2.jpg", "same-hash", 0),
        ("p001/3.jpg", "p001/1.jpg", "near-duplicate", 2),
        ("p003/2.jpg", "p003/1.jpg", "repeated", 0),
    ]
    assert [t["source"] for t in excluded["look_alikes"]] == ["p002/2.jpg"]
    assert (excluded["same_hash"], excluded["near_duplicate"], excluded["repeated"]) == (1, 1, 1)
    assert document["photos"] == 21
    assert document["data"]["found"] == 24
    gone = {t["source"] for t in excluded["list"]}
    assert not gone & {p["source"] for p in document["probes"]}
    said = " ".join(document["warnings"])
    assert "Excluded of 24 photos: 2 that the gallery also holds (1 the same file, 1 nearly the same)." in said
    assert "Mislabeled in one of the two: 1 photo" in said
    assert "Excluded: 1 photo that the split holds twice." in said
    assert "Not excluded: 1 photo nearly the same as a picture of another product, such as p002/2.jpg" in said


def test_pictures_without_structure_are_no_duplicates_and_gone_files_are_counted() -> None:
    gallery, test = clusters(3, 2, noise=0.1, seed=1), clusters(3, 2, noise=0.1, seed=2)
    flat = replace_hashes(test, np.zeros(6, np.uint64))
    gone = Photos(
        gallery.root,
        gallery.sources,
        gallery.labels,
        gallery.vectors,
        gallery.content_hashes,
        np.zeros(6, np.uint64),
        np.array([True] * 4 + [False] * 2),
    )
    exclusion = find_twins(flat, gone)
    assert exclusion.twins == exclusion.look_alikes == ()
    assert exclusion.unchecked == 2


def replace_hashes(photos: Photos, hashes: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> Photos:
    return Photos(
        photos.root,
        photos.sources,
        photos.labels,
        photos.vectors,
        photos.content_hashes,
        hashes,
        photos.hashed,
        photos.metadata,
    )


def test_a_split_that_the_gallery_holds_cannot_be_measured() -> None:
    photos = clusters(3, 2, noise=0.1, seed=1)
    with pytest.raises(UsageError, match="that it all has"):
        evaluate(photos, photos, setting())


def test_a_gallery_of_other_products_is_refused() -> None:
    strangers = labeled(normalize(np.eye(DIMENSION)[:2]), ["x1", "x2"], seed=3)
    with pytest.raises(UsageError, match="none of its"):
        evaluate(strangers, clusters(3, 2, noise=0.1, seed=1), setting())


def test_thresholds_chosen_on_val_are_reported_on_test_with_their_provenance() -> None:
    gallery, val = clusters(20, 5, noise=0.15, seed=1), clusters(20, 6, noise=0.15, seed=2)
    test = clusters(20, 6, noise=0.15, seed=3)
    chosen = calibrate(val, gallery, Target("far", 0.01), measured_on="val: 120 photos").calibration
    document = evaluate(test, gallery, setting(threshold=None, calibration=chosen))
    use = document["threshold"]
    assert (use["source"], use["name"], use["same_photos"]) == ("model", "far=0.01", False)
    assert use["value"] == chosen.threshold
    assert use["chosen_on"] == "val: 120 photos"
    at = document["pairs"]["at_far"]["0.01"]
    assert at["threshold"] == chosen.point("far=0.01").threshold
    assert not at["same_photos"]
    own = evaluate(test, gallery, setting())["pairs"]["at_far"]["0.01"]
    assert own["same_photos"]
    assert own["threshold"] != at["threshold"]
    assert own["far"] is not None
    assert own["far"] <= 0.01


def test_a_threshold_judged_on_its_own_photos_is_said_loudly() -> None:
    gallery, val = clusters(20, 5, noise=0.15, seed=1), clusters(20, 6, noise=0.15, seed=2)
    chosen = calibrate(val, gallery, Target("far", 0.01), measured_on="val").calibration
    document = evaluate(val, gallery, setting(threshold=None, calibration=chosen))
    assert document["threshold"]["same_photos"]
    assert document["pairs"]["at_far"]["0.01"]["same_photos"]
    assert "the very photos measured here" in document["warnings"][0]
    assert document["tone"] != "good"


def test_a_given_threshold_comes_first_and_confidence_holds_at_its_own_threshold_only() -> None:
    gallery, val = clusters(30, 5, noise=0.16, seed=1), clusters(30, 6, noise=0.16, seed=2)
    test = clusters(30, 6, noise=0.16, seed=3)
    chosen = calibrate(val, gallery, Target("far", 0.01), measured_on="val").calibration
    assert chosen.confidence is not None
    assert evaluate(test, gallery, setting(threshold=None, calibration=chosen))["confidence"] is not None
    document = evaluate(test, gallery, setting(threshold=0.8, calibration=chosen))
    assert (document["threshold"]["value"], document["threshold"]["source"]) == (0.8, "given")
    assert document["confidence"] is None
    assert {m["confidence"] for p in document["probes"] for m in p["matches"]} == {None}


def test_the_chosen_point_of_a_calibration_is_always_reported() -> None:
    chosen = Calibration(0.6, "fpir=0.05", (OperatingPoint("fpir=0.05", 0.6),), "elsewhere")
    gallery, test = clusters(8, 4, noise=0.1, seed=1), clusters(8, 4, noise=0.1, seed=2)
    document = evaluate(test, gallery, setting(threshold=None, calibration=chosen))
    assert list(document["open_set"]["at_fpir"]) == ["0.1", "0.05", "0.01"]
    assert document["open_set"]["at_fpir"]["0.05"]["threshold"] == 0.6
    assert document["open_set"]["at_fpir"]["0.05"]["fpir"] == document["open_set"]["fpir"]


def test_without_any_threshold_nothing_is_measured() -> None:
    gallery, test = clusters(3, 2, noise=0.1, seed=1), clusters(3, 2, noise=0.1, seed=2)
    with pytest.raises(UsageError, match="no calibrated threshold, and none was given") as error:
        evaluate(test, gallery, setting(threshold=None))
    assert "--calibrate-on" in error.value.hint
    with pytest.raises(UsageError, match=r"\[0, 4\]"):
        evaluate(test, gallery, setting(threshold=5.0))


def test_too_few_photos_for_a_claim_is_said() -> None:
    gallery, test = clusters(6, 3, noise=0.1, seed=1), clusters(6, 3, noise=0.1, seed=2)
    document = evaluate(test, gallery, setting())
    assert document["pairs"]["at_far"]["0.001"]["refusal"]
    assert any("Not enough data for FAR 0.1 %" in w for w in document["warnings"])
    assert any("Not enough data for FPIR 1 %" in w for w in document["warnings"])


def test_the_order_of_photos_does_not_matter() -> None:
    gallery, test = clusters(8, 4, noise=0.2, seed=1), clusters(8, 4, noise=0.2, seed=2)
    order = np.random.default_rng(0).permutation(len(test))
    one, other = evaluate(test, gallery, setting()), evaluate(test.only(order), gallery.only(order), setting())
    for section in ("sweep", "at_far", "auc", "eer", "histogram", "by_product"):
        assert one["pairs"][section] == other["pairs"][section]
    assert one["open_set"]["verdicts"] == other["open_set"]["verdicts"]
    assert one["data"]["digest"] == other["data"]["digest"]
    assert one["identification"]["top1"] == other["identification"]["top1"]


def test_ranks_of_a_benchmark_are_those_of_queries() -> None:
    gallery, probes = clusters(12, 7, noise=0.3, seed=1), clusters(13, 4, noise=0.3, seed=2)
    ranks = answer_all(probes, gallery, 0.5, [4.0]).outcomes[4.0].ranks
    assert len(set(ranks.tolist())) > 2
    assert ranks_by_votes(probes, gallery).tolist() == ranks.tolist()
