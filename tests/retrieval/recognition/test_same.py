"""Several photos of one item: one vector, a threshold that keeps its promise, and what cannot be one item."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli import options
from cli.main import invoke
from retrieval.calibration.points import Calibration, OperatingPoint
from retrieval.distance import normalize
from retrieval.errors import ImageError, UsageError
from retrieval.indexing.run import index as index_catalog
from retrieval.models.bundle import set_calibration
from retrieval.recognition.api import Recognizer
from retrieval.recognition.same import apart, farthest, lowered, one_vector, together
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog

MEASURED = Calibration(
    0.5,
    "far=0.01",
    (
        OperatingPoint("far=0.01", 0.5, val=0.9),
        OperatingPoint("far=0.1", 0.6, val=0.995),
        OperatingPoint("experiment", 0.7, val=1.0),
    ),
)


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    for name in ("ITEMREC_INDEX", "ITEMREC_MODEL"):
        monkeypatch.delenv(name, raising=False)
    options._config.cache_clear()
    use_pixel_encoder(monkeypatch)
    bundle = fake_bundle(tmp_path / "bundle")
    set_calibration(bundle.path, MEASURED)
    write_catalog(tmp_path / "catalog", products=6, views=3)
    index_catalog("catalog", model=bundle.path)
    for number in (2, 40):
        for view in (7, 8):
            picture(number, view=view).save(tmp_path / f"{number}-{view}.png")
    return tmp_path


def test_the_mean_of_unit_vectors_is_one_and_says_how_alike_they_were() -> None:
    a, b = np.eye(4, dtype=np.float32)[:2]
    vector, length = one_vector(np.stack([a, b]))
    np.testing.assert_allclose(vector, normalize((a + b)[None])[0], atol=1e-7)
    assert vector.dtype == np.float32
    assert length == pytest.approx(0.5**0.5)
    for equal in ([a], [a, a, a]):
        same, full = one_vector(np.stack(equal))
        np.testing.assert_array_equal(same, a)
        assert full == 1.0
    np.testing.assert_array_equal(one_vector(np.stack([a, -a]))[0], a)


@pytest.mark.parametrize(("length", "expected"), [(1.0, 0.5), (0.5, 2 - 1.5 / 0.5**0.25), (0.0, 0.0), (0.1, 0.0)])
def test_the_threshold_is_lowered_by_how_much_the_photos_differ(length: float, expected: float) -> None:
    assert lowered(0.5, length) == pytest.approx(expected)


def test_what_nearly_all_pairs_of_one_product_keep_to_is_read_from_the_calibration() -> None:
    assert farthest(MEASURED) == 0.6
    assert farthest(Calibration.given(0.5)) is None
    assert farthest(None) is None
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    assert [(p.photos, p.distance) for p in apart(vectors, ["a", "b", "c"], 0.6)] == [
        (("a", "c"), 2.0),
        (("b", "c"), 2.0),
    ]
    assert apart(vectors, ["a", "b", "c"], None) == ()


def test_many_photos_have_a_short_name() -> None:
    assert [together(names) for names in (["a"], ["a", "b"], ["a", "b", "c", "d"])] == ["a", "a, b", "a and 3 more"]


def test_one_answer_for_all_photos(shop: Path) -> None:
    with Recognizer(".itemrec") as recognizer:
        answer = recognizer.recognize_same(["2-7.png", (shop / "2-8.png").read_bytes()])
        alone = recognizer.recognize_same(["2-7.png"])
        single = recognizer.recognize("2-7.png")
    assert (answer.verdict, answer.matches[0].product_id) == ("match", "p002")
    assert (answer.photos, answer.apart, answer.source) == (("2-7.png", "bytes"), (), "2-7.png, bytes")
    assert alone.matches == single.matches
    assert "photos" not in single.to_json()
    assert alone.to_json()["threshold"] == single.threshold


def test_photos_that_cannot_show_one_item_are_said_so(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tight = Calibration(0.001, "far=0.01", (OperatingPoint("far=0.01", 0.001, val=0.995),))
    set_calibration(shop / "bundle", replace(tight))
    assert invoke(["query", "--same", "2-7.png", "40-7.png", "--threshold", "0.5", "--json"]) in (0, 1)
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    [result] = document["results"]
    assert result["photos"] == ["2-7.png", "40-7.png"]
    assert [pair["photos"] for pair in result["apart"]] == [["2-7.png", "40-7.png"]]
    assert "2-7.png and 40-7.png can hardly show one item" in captured.err


def test_the_command_prints_one_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["query", "--same", "2-7.png", "2-8.png"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2-7.png, 2-8.png: match (")
    assert out.count(": match") == 1


def test_what_cannot_be_read_ends_it(shop: Path) -> None:
    (shop / "bad.png").write_bytes(b"no picture")
    with Recognizer(".itemrec") as recognizer:
        with pytest.raises(ImageError):
            recognizer.recognize_same(["2-7.png", "bad.png"])
        with pytest.raises(UsageError, match="received none"):
            recognizer.recognize_same([])


def test_a_photo_that_shows_nothing_does_not_count(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30), "gray").save("gray.png")
    with Recognizer() as asked:
        alone = asked.recognize_same(["2-7.png"])
        beside = asked.recognize_same(["gray.png", "2-7.png"])
        nothing = asked.recognize_same(["gray.png", "gray.png"])
    assert beside.matches == alone.matches
    assert (beside.photos, beside.blanks) == (("gray.png", "2-7.png"), ("gray.png",))
    assert (nothing.verdict, nothing.reason) == ("unknown", "it shows nothing: one color, or noise")
    assert invoke(["query", "--same", "gray.png", "2-7.png"]) == 0
    assert "gray.png shows nothing, one color or noise, and does not count" in capsys.readouterr().err
    with Recognizer(threshold=0.01) as strict:
        strange = strict.recognize_same(["gray.png", "40-7.png"])
    assert (strange.verdict, strange.blanks, strange.blank) == ("unknown", ("gray.png",), False)
    assert strange.reason != nothing.reason
    assert invoke(["query", "--same", "gray.png", "40-7.png", "--threshold", "0.01"]) == 1
    assert "gray.png shows nothing, one color or noise, and does not count" in capsys.readouterr().err
