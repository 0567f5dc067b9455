from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import UsageError
from retrieval.evaluation.compare import compare_documents, read_document
from tests.retrieval.evaluations import drawn_document

ROWS = ["top1", "top5", "map_at_r", "dir", "fpir", "val@far=0.1", "val@far=0.01", "val@far=0.001"]


@pytest.fixture(scope="module")
def worse() -> dict[str, Any]:
    return drawn_document(noise=1.6)


@pytest.fixture(scope="module")
def better() -> dict[str, Any]:
    return drawn_document(noise=1.2)


def test_rates_are_those_of_the_documents(worse: dict[str, Any], better: dict[str, Any]) -> None:
    rows = {row.name: row for row in compare_documents(worse, better).rows}
    assert list(rows) == ROWS
    for document, side in ((worse, "before"), (better, "now")):
        identification, open_set = document["identification"], document["open_set"]
        expected = {
            "top1": identification["top1"],
            "top5": identification["top5"],
            "map_at_r": identification["map_at_r"],
            "dir": open_set["rates"]["dir"]["rate"],
            "fpir": open_set["rates"]["fpir"]["rate"],
        } | {f"val@far={far}": at["val"] for far, at in document["pairs"]["at_far"].items()}
        for name, rate in expected.items():
            assert getattr(rows[name], side) == pytest.approx(rate, abs=1e-12), name
    for row in rows.values():
        assert row.difference == pytest.approx(row.now - row.before)
        assert row.ci[0] <= row.difference <= row.ci[1]
        assert row.products == 24


def test_a_better_model_is_better_and_the_other_way_round_worse(worse: dict[str, Any], better: dict[str, Any]) -> None:
    forward, backward = compare_documents(worse, better), compare_documents(better, worse)
    clear = {"top1", "top5", "map_at_r", "dir", "val@far=0.1", "val@far=0.01"}
    for one, other in zip(forward.rows, backward.rows, strict=True):
        if one.name in clear:
            assert (one.verdict, other.verdict) == ("better", "worse")
            assert (one.probability_better, other.probability_better) == (1.0, 0.0)
    assert forward.verdict.startswith("Better: top1, top5, map_at_r, dir")
    assert "Worse: top1, top5" in backward.verdict
    assert (forward.photos, forward.left_out, forward.same_gallery) == (240, 0, True)


def test_a_model_is_not_better_than_itself(worse: dict[str, Any]) -> None:
    comparison = compare_documents(worse, worse)
    assert {row.verdict for row in comparison.rows} == {"no clear difference"}
    assert {row.difference for row in comparison.rows} == {0.0}
    assert comparison.verdict == "No significant difference."


def test_naming_more_strangers_is_worse(worse: dict[str, Any]) -> None:
    generous = copy.deepcopy(worse)
    for number, probe in enumerate(generous["probes"]):
        if number % 2:
            probe["as_stranger"]["verdict"] = "match"
    rows = {row.name: row for row in compare_documents(worse, generous).rows}
    assert rows["fpir"].difference > 0
    assert (rows["fpir"].verdict, rows["fpir"].probability_better) == ("worse", 0.0)
    assert {row.verdict for name, row in rows.items() if name != "fpir"} == {"no clear difference"}
    assert compare_documents(generous, worse).verdict == "Better: fpir."


def test_one_lucky_photo_is_no_difference(worse: dict[str, Any]) -> None:
    lucky = copy.deepcopy(worse)
    probe = next(p for p in lucky["probes"] if p["rank"] > 1)
    probe["rank"] = 1
    row = compare_documents(worse, lucky).rows[0]
    assert row.difference == pytest.approx(1 / 240)
    assert row.verdict == "no clear difference"


def test_photos_that_only_one_measured_are_left_out_and_counted(worse: dict[str, Any]) -> None:
    fewer = copy.deepcopy(worse)
    dropped = fewer["probes"][:10]
    del fewer["probes"][:10]
    comparison = compare_documents(worse, fewer)
    assert (comparison.photos, comparison.left_out) == (230, 10)
    assert "only one of the two measured them: 10 photos" in comparison.verdict
    kept = [p for p in worse["probes"] if p not in dropped]
    assert comparison.rows[0].before == sum(p["rank"] == 1 for p in kept) / 230


def test_photos_that_one_gallery_could_not_know_do_not_count_as_missed(worse: dict[str, Any]) -> None:
    other = copy.deepcopy(worse)
    gone = other["probes"][0]["product"]
    for probe in other["probes"]:
        if probe["product"] == gone:
            probe["known"], probe["rank"] = False, 0
    other["gallery"]["digest"] = "another"
    comparison = compare_documents(worse, other)
    rows = {row.name: row for row in comparison.rows}
    assert rows["top1"].before == rows["top1"].now
    assert (rows["top1"].products, rows["fpir"].products) == (23, 24)
    assert not comparison.same_gallery
    assert "galleries differ" in comparison.verdict


def test_one_product_is_too_few_to_tell(worse: dict[str, Any]) -> None:
    lone = copy.deepcopy(worse)
    only = lone["probes"][0]["product"]
    lone["probes"] = [p for p in lone["probes"] if p["product"] == only]
    lone["pairs"]["by_product"] = {"products": [only], "same": [3], "accepted_same": {"0.01": [1]}}
    comparison = compare_documents(lone, lone)
    assert {row.verdict for row in comparison.rows} == {"too few products"}
    assert comparison.rows[0].to_json()["ci"] is None
    json.dumps(comparison.to_json(), allow_nan=False)


def test_a_comparison_is_json(worse: dict[str, Any], better: dict[str, Any]) -> None:
    comparison = compare_documents(worse, better)
    read = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert read["verdict"] == comparison.verdict
    assert [row["name"] for row in read["rows"]] == ROWS
    assert read["rows"][4]["lower_is_better"] is True


def test_documents_that_cannot_be_compared_are_wrong_usage(worse: dict[str, Any]) -> None:
    def changed(change: Any) -> dict[str, Any]:
        document = copy.deepcopy(worse)
        change(document)
        return document

    cases = [
        (changed(lambda d: d.update(schema="itemrec.query/1")), "expected a document of schema"),
        (changed(lambda d: d.pop("probes")), "what became of each photo"),
        (changed(lambda d: d.update(probes=[{"source": "a"}])), "what became of each photo"),
        (changed(lambda d: d.update(probes=[])), "received none in common"),
        (changed(lambda d: d["probes"].append(d["probes"][0])), "each photo once"),
        (changed(lambda d: d["probes"][0].update(product="other")), "to show one product in both"),
        (changed(lambda d: d["probes"][0].pop("as_stranger")), "complete probes and pairs"),
        (changed(lambda d: d["probes"][0].update(rank=None)), "complete probes and pairs"),
        (changed(lambda d: d["pairs"]["by_product"]["same"].pop()), "complete probes and pairs"),
        (changed(lambda d: d["pairs"]["by_product"]["accepted_same"].update({"0.01": [1]})), "complete probes"),
        (changed(lambda d: d["pairs"].update(by_product=[])), None),
    ]
    for document, message in cases:
        if message is None:
            assert "val@far=0.01" not in {row.name for row in compare_documents(worse, document).rows}
            continue
        for pair in ((worse, document), (document, worse)):
            with pytest.raises(UsageError, match=message) as caught:
                compare_documents(*pair)
            assert caught.value.hint


def test_a_document_is_read_back(worse: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps(worse))
    assert read_document(file) == worse


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read the evaluation .*: No such file"),
        (b"", "received no JSON"),
        (b"\xff\xfe", "received no JSON"),
        (b"[" * 100_000, "received no JSON"),
        (b"[1]", "received a JSON list"),
        (b'{"schema": "itemrec.query/1"}', "expected a document of schema"),
    ],
)
def test_a_file_that_is_no_evaluation_is_wrong_usage(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_document(file)
    assert caught.value.hint
