"""What is served by probability is measured by probability, and the probabilities against what is true."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cli.evaluate_text import print_document
from retrieval.calibration.in_force import InForce
from retrieval.calibration.points import Calibration, OperatingPoint
from retrieval.calibration.sureness import Sureness
from retrieval.errors import ImageError
from retrieval.evaluation import Setting, evaluate
from retrieval.evaluation.compare import compare_documents
from retrieval.evaluation.requirements import check, parse_requirement
from retrieval.evaluation.served import reliability_doc, served_doc
from retrieval.evaluation.sureness_fit import Trial, fit_sureness, try_known_and_left_out
from retrieval.index.refusals import RefusalPicture
from retrieval.refusals import KnownRefusals
from retrieval.report.evaluation import evaluation_page
from retrieval.types import ModelIdentity
from tests.evaluate_example import clusters

MODEL = ModelIdentity("a" * 64, 16, "tiny", "-")


def trial(product: str, distance: float, rank: int) -> Trial:
    return Trial(product, distance, 1.0, rank, rank > 0, "near", distance, 10)


SURENESS = Sureness((4.0, -8.0, 0.0, 0.0), (3.0, -2.0, 0.0, 0.0), (10, 10), 100, 100, 10, 0.2)
KNOWN = [trial(f"k{i % 7}", 0.1 + 0.01 * i, 1 + (i % 5 == 0)) for i in range(40)]
UNKNOWN = [trial(f"u{i % 4}", 0.4 + 0.02 * i, 0) for i in range(12)]


def test_unknown_photos_weigh_their_share_whatever_their_number() -> None:
    once, often = (served_doc(KNOWN, UNKNOWN * times, SURENESS)["reliability"] for times in (1, 5))
    for key in ("first", "in_catalog"):
        assert often[key]["photos"] == once[key]["photos"] + 4 * len(UNKNOWN)
        for name in ("ece", "brier"):
            assert often[key][name] == pytest.approx(once[key][name])  # type: ignore[literal-required]
    # A fifth of the weight is false for P(in catalog), and the mean claim of all bins is that of the weighted photos.
    bins = once["in_catalog"]["bins"]
    claims = np.array([SURENESS.at(t.distance, 1.0, 10).in_catalog for t in (*KNOWN, *UNKNOWN)])
    weights = np.repeat([0.8 / len(KNOWN), 0.2 / len(UNKNOWN)], [len(KNOWN), len(UNKNOWN)])
    for one in bins:
        inside = (claims >= one["low"]) & (claims < one["high"])
        assert one["photos"] == inside.sum()
        if inside.any():
            true = weights[inside & (np.arange(52) < 40)].sum() / weights[inside].sum()
            assert one["true"] == pytest.approx(true)
            assert one["ci"] is not None
            assert one["ci"][0] - 1e-9 <= true <= one["ci"][1] + 1e-9


def test_claims_that_hold_have_no_error_and_those_that_do_not_have() -> None:
    rng = np.random.default_rng(0)
    claimed = rng.random(20_000)
    true, products = rng.random(20_000) < claimed, rng.integers(0, 50, 20_000).astype(str)
    weights = np.ones(20_000)
    assert (reliability_doc(claimed, true, products, weights)["ece"] or 1.0) < 0.02
    assert (reliability_doc(claimed**3, true, products, weights)["ece"] or 0.0) > 0.2


def test_the_rule_that_queries_go_by_is_what_the_document_says(capsys: pytest.CaptureFixture[str]) -> None:
    gallery, probes = clusters(12, 6, noise=0.2, seed=1), clusters(13, 9, noise=0.2, seed=2)
    known, unknown = try_known_and_left_out(probes, gallery)
    assert len(unknown) == len(known) + 9  # the thirteenth product is in no gallery
    sureness = fit_sureness(known, unknown, fitted_on="val")
    assert sureness is not None
    calibration = Calibration(0.5, "given", (OperatingPoint("given", 0.5),), "val", sureness=sureness)
    setting = Setting("val", "-", "folder", "-", MODEL, calibration, in_force=InForce(calibration, None, True))
    document = evaluate(probes, gallery, setting)
    served = document["served"]
    assert served is not None
    counts = {group["group"]: group for group in served["verdicts"]["groups"]}
    right = served["match"]["part"]
    assert counts["known"]["match_right"] == right > 0
    assert served["coverage_of_match"]["part"] == right + counts["known"]["match_wrong"]
    assert served["unknown_match"]["whole"] == len(unknown)
    assert sum(one["photos"] for one in served["claimed"]) == served["photos"] == len(known) + len(unknown)
    assert "From a probability of 80 % on" in document["verdict"]
    json.dumps(document, allow_nan=False)

    def gone(name: str) -> bytes:
        raise ImageError(f"expected a picture, received nothing at {name}", reason="missing")

    page = evaluation_page(document, photo=gone, gallery=gone)
    assert page.count('aria-label="Reliability of P(') == 2
    print_document(document)
    printed = capsys.readouterr().out
    assert "Does P(right) hold" in printed
    assert "Does P(in catalog) hold" in printed

    by_hand = evaluate(probes, gallery, replace(setting, threshold=0.5))
    assert by_hand["served"] is None
    assert by_hand["verdict"].startswith("At threshold 0.500")


def test_refusals_views_comparisons_and_requirements_go_by_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    gallery, probes = clusters(12, 6, noise=0.2, seed=1), clusters(13, 9, noise=0.2, seed=2)
    known, unknown = try_known_and_left_out(probes, gallery)
    # Claims more of far photos than is true, so that some unknown ones get a name.
    sureness = Sureness((6.0, -2.0, 1.0, 0.0), (6.0, -1.0, 1.0, 0.0), (12, 12), len(known), len(unknown), 13, 0.2)
    calibration = Calibration(0.5, "given", (OperatingPoint("given", 0.5),), "val", sureness=sureness)
    setting = Setting("val", "-", "folder", "-", MODEL, calibration, in_force=InForce(calibration, None, True), views=2)
    outside = np.flatnonzero(~np.isin(probes.labels, gallery.labels))
    strange = RefusalPicture("0", "strange.png", "the rival's", "2026")
    refusals = KnownRefusals([strange], probes.vectors[outside[:1]])
    document = evaluate(probes, gallery, setting, refusals=refusals)
    served = document["served"]
    assert served is not None

    # What became of each photo sums up to the rates.
    each = [(probe["product"], probe["known"], probe["served"]) for probe in document["probes"]]
    right = sum(known and one["verdict"] == "match" and one["product"] == p for p, known, one in each if one)
    left = sum(one["left_out"]["verdict"] == "match" for _, _, one in each if one and one["left_out"])
    out = sum(one["verdict"] == "match" for _, known, one in each if one and not known)
    assert (served["match"]["part"], served["unknown_match"]["part"]) == (right, left + out)

    section, views = document["refusals"], document["views"]
    assert section is not None
    assert views is not None
    by_verdict = section["served"]
    assert by_verdict is not None
    assert by_verdict["before"]["match_right"]["part"] == right
    assert by_verdict["before"]["unknown_match"]["part"] == left
    was, now = (by_verdict[when]["outsiders_match"] for when in ("before", "after"))
    assert was is not None
    assert now is not None
    assert (was["part"], now["part"]) == (out, 0)
    assert out > 0
    one, two = (row["served"] for row in views["rows"])
    assert one is not None
    assert two is not None
    assert (one["match_right"]["part"], one["unknown_match"]["part"]) == (right, left)
    assert two["match_right"]["whole"] < one["match_right"]["whole"]

    rows = {row.name: row for row in compare_documents(document, document).rows}
    assert (rows["match_right"].now, rows["unknown_match"].now) == (right / len(known), (left + out) / len(unknown))
    assert rows["match_right"].difference == rows["match_wrong"].difference == 0.0
    held = check(map(parse_requirement, ("match>=0.5", "coverage>=0.99", "unknown_match<=0.9")), document)
    assert [c.value for c in held] == [served[n]["rate"] for n in ("match", "coverage_of_match", "unknown_match")]

    print_document(document)
    printed = capsys.readouterr().out
    assert "match, and right" in printed
    assert "leave-one-out unknowns: match" in printed
    by_hand = evaluate(probes, gallery, replace(setting, threshold=0.5), refusals=refusals)
    assert by_hand["refusals"] is not None
    assert by_hand["refusals"]["served"] is None
    assert all(probe["served"] is None for probe in by_hand["probes"])
    assert not {"match_right", "unknown_match"} & {row.name for row in compare_documents(by_hand, document).rows}
