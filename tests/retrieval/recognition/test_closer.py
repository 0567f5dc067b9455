"""A closer look at close calls: when, what it makes of what was seen, and a whole index with and without it."""

from __future__ import annotations

import math
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from retrieval.calibration.sureness import Limits, Sureness
from retrieval.errors import UsageError
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.indexing import keypoints_of_index
from retrieval.indexing.keypoints_of_index import make_keypoints
from retrieval.indexing.run import index as index_catalog
from retrieval.models.bundle import Bundle
from retrieval.recognition import closer
from retrieval.recognition.api import Recognizer
from retrieval.recognition.conclusion import ByProbability, EmbeddedPhoto, Ranked, conclude
from retrieval.recognition.decision import NEARER, near_enough
from retrieval.types import Evidence, Match, RefusedBy, Sighting
from retrieval.verification.kept import KeptLooks, keypoints_file
from tests.qdrant import double
from tests.retrieval.verification.drawn import label, photo_of

QUAD = [(90, 40), (300, 70), (290, 320), (70, 300)]
RIVAL_QUAD = [(22, 12), (366, 18), (358, 347), (20, 342)]
"""Held so that it is neither too near nor too far for a look, as the tiny model sees it."""
REFUSAL = "6f1c1d0e-3c57-5d0a-9d7a-1f4b7c1e7a10"


def ranked(*scores: float) -> list[Match]:
    names = "abcdef"
    return [
        Match(names[n], score, 1, 0.2, 0.5 + n / 100, (Evidence(f"{names[n]}/1.jpg", 0.5 + n / 100),))
        for n, score in enumerate(scores)
    ]


def seen(product: str, inliers: int, color: float) -> Sighting:
    return Sighting(product, f"{product}/1.jpg", inliers, ((0.0, 0.0),) * 4, 0.5, color)


def answered(  # type: ignore[no-untyped-def]
    products: list[Match],
    sightings: list[Sighting],
    probability: ByProbability | None = None,
    refusal: float | None = None,
    threshold: float = 1.0,
):
    import numpy as np

    photo = EmbeddedPhoto("photo", np.zeros(2, np.float32), 1.0, 1.0)
    refused = None if refusal is None else RefusedBy(REFUSAL, "rival.jpg", "", refusal)
    limit = near_enough(threshold, refusal)
    found = Ranked(photo, products, threshold, limit, refused, probability, 1.0, 1.0)
    asked: list[list[str]] = []

    def glance(wanted, near):  # type: ignore[no-untyped-def]
        asked.append([match.product_id for match in wanted] + (["rival"] if near else []))
        return sightings

    return conclude(found, top=5, fingerprint="f", glance=glance), asked


def test_only_close_calls_are_looked_at() -> None:
    clear, close = ranked(0.3, 0.3 * math.exp(-closer.CLOSE - 0.01)), ranked(0.3, 0.29, 0.25, 0.24, 0.01)
    answer, asked = answered(clear, [seen("b", 90, 0.9)])
    assert not asked
    assert "look" not in answer.timings_ms
    assert "closer_look" not in answer.to_json()
    assert not closer.candidates(ranked(0.3))
    _, asked = answered(close, [])
    assert asked == [["a", "b", "c"]]


def test_the_one_that_is_seen_better_comes_first_and_scores_stay_what_the_pictures_said() -> None:
    answer, _ = answered(ranked(0.3, 0.29), [seen("a", 30, 0.2), seen("b", 60, 0.9)])
    assert [match.product_id for match in answer.matches] == ["b", "a"]
    assert [match.score for match in answer.matches] == [0.29, 0.3]
    look = answer.to_json()["closer_look"]
    assert look["changed"]
    assert look["before"] == {"product_id": "a", "verdict": "ambiguous", "confidence": None}
    assert [(one["product_id"], one["inliers"]) for one in look["seen"]] == [("a", 30), ("b", 60)]


@pytest.mark.parametrize(
    "sightings",
    [
        [],
        [Sighting("a", "a/1.jpg"), Sighting("b", "b/1.jpg")],
        [seen("b", 60, 0.9)],
    ],
    ids=["no keypoints", "nothing found", "one that could not be looked for"],
)
def test_a_look_that_tells_nothing_changes_nothing(sightings: list[Sighting]) -> None:
    answer, _ = answered(ranked(0.3, 0.29), sightings)
    assert [match.product_id for match in answer.matches] == ["a", "b"]
    assert answer.verdict == "ambiguous"
    assert answer.closer_look is None


def test_a_look_makes_surer_or_less_sure_but_not_more_of_the_catalog() -> None:
    sureness = Sureness((6.0, -4.0, 1.0, 0.0), (0.5, 0.0, 5.0, 0.0), (1, 100), 10, 10, 5, 0.25)
    by = ByProbability(sureness, Limits(), 10)
    before, _ = answered(ranked(0.3, 0.25), [], by)
    surer, _ = answered(ranked(0.3, 0.25), [seen("a", 60, 0.9), seen("b", 30, 0.1)], by)
    other, _ = answered(ranked(0.3, 0.25), [seen("a", 30, 0.1), seen("b", 60, 0.9)], by)
    assert before.verdict == "ambiguous"
    assert surer.verdict == "match"
    assert surer.in_catalog == before.in_catalog == other.in_catalog
    assert surer.matches[0].confidence > before.matches[0].confidence
    assert other.matches[0].product_id == "b"
    assert sum(match.confidence for match in other.matches) <= other.in_catalog + 1e-9


NEAR = 0.5 / NEARER
"""How far a refusal lies that draws its line where the first product of `ranked` lies."""
CLEAR = (0.3, 0.1)
BY = ByProbability(Sureness((6.0, -4.0, 1.0, 0.0), (0.5, 0.0, 5.0, 0.0), (1, 100), 10, 10, 5, 0.25), Limits(), 10)


@pytest.mark.parametrize("by", [None, BY], ids=["by threshold", "by probability"])
def test_a_refusal_is_looked_for_only_where_it_is_near_enough_to_matter(by: ByProbability | None) -> None:
    for times, wanted in ((1.05, True), (0.95, True), (1.7, False), (0.59, False)):
        answer, asked = answered(ranked(*CLEAR), [], by, NEAR * times)
        assert asked == ([["a", "rival"]] if wanted else [])
        assert ("look" in answer.timings_ms) is wanted
    # Unknown without the refusal, so unknown whatever is seen of it.
    even = math.inf if by is None else by.sureness.even(ranked(*CLEAR), by.products)
    assert even > 0.5
    products = ranked(*CLEAR) if by is None else [replace(match, best_distance=3.9) for match in ranked(*CLEAR)]
    _, asked = answered(products, [], by, products[0].best_distance / NEARER, threshold=0.4)
    assert not asked
    # A close call is one as ever; where a refusal is near, both are looked for at once.
    assert answered(ranked(0.3, 0.29), [], by, 3.9)[1] == [["a", "b"]]
    assert answered(ranked(0.3, 0.29), [], by, NEAR)[1] == [["a", "b", "rival"]]


@pytest.mark.parametrize("by", [None, BY], ids=["by threshold", "by probability"])
def test_what_is_seen_of_product_and_refusal_decides_between_them(by: ByProbability | None) -> None:
    ours, theirs = seen("a", 60, 0.9), seen("a", 10, 0.1)
    rival, no_rival = (
        replace(seen("", 60, 0.9), refusal_id=REFUSAL),
        replace(Sighting("", "rival.jpg"), refusal_id=REFUSAL),
    )
    refused, _ = answered(ranked(*CLEAR), [], by, NEAR * 0.95)
    named, _ = answered(ranked(*CLEAR), [], by, NEAR * 1.05)
    assert (refused.verdict, named.verdict) == ("unknown", "match" if by is None else "ambiguous")
    freed, _ = answered(ranked(*CLEAR), [ours, no_rival], by, NEAR * 0.95)
    assert freed.verdict == "match"
    assert freed.refused_by is None
    pushed, _ = answered(ranked(*CLEAR), [theirs, rival], by, NEAR * 1.05)
    assert pushed.verdict == "unknown"
    assert pushed.refused_by is not None
    assert pushed.refused_by.distance == NEAR * 1.05
    look = pushed.to_json()["closer_look"]
    assert look["changed"]
    assert look["before"]["verdict"] == named.verdict
    assert [one["product_id"] for one in look["seen"]] == ["a"]
    assert (look["refusal"]["refusal_id"], look["refusal"]["inliers"]) == (REFUSAL, 60)
    assert "product_id" not in look["refusal"]
    if by is not None:
        assert pushed.in_catalog < named.in_catalog < freed.in_catalog
    # Look-alikes, both seen alike: what they differ in decides.
    alike = seen("a", 60, 0.9)
    for lean, verdict in ((0.5, "match" if by is None else "ambiguous"), (-0.5, "unknown")):
        said, _ = answered(
            ranked(*CLEAR), [replace(alike, leaning=lean), rival], by, NEAR * (1.05 if lean < 0 else 0.95)
        )
        assert said.verdict == verdict
        assert said.to_json()["closer_look"]["seen"][0]["leaning"] == lean
    # Fruit, and what could not be looked for: as if nobody had looked.
    for nothing in ([Sighting("a", "a/1.jpg"), no_rival], [ours], [rival], []):
        assert answered(ranked(*CLEAR), nothing, by, NEAR * 0.95)[0].verdict == "unknown"
        assert answered(ranked(*CLEAR), nothing, by, NEAR * 1.05)[0].to_json() | {"timings_ms": 0} == (
            named.to_json() | {"timings_ms": 0}
        )


def test_the_refusal_is_weighed_against_the_product_that_comes_first_after_the_look() -> None:
    rival = replace(seen("", 40, 0.6), refusal_id=REFUSAL)
    sightings = [seen("a", 10, 0.1), seen("b", 90, 0.9), rival]
    answer, asked = answered(ranked(0.3, 0.29), sightings, BY, NEAR)
    alone, _ = answered(ranked(0.3, 0.29), sightings[:2], BY, NEAR)
    assert asked == [["a", "b", "rival"]]
    assert (answer.matches or answer.nearest)[0].product_id == "b"
    assert answer.in_catalog > alone.in_catalog


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Path:
    """A catalog of two labels that differ in a band, a third, and a photo of the second."""
    folder = tmp_path_factory.mktemp("labels")
    labels = {"red": label(1), "blue": label(1, band=(60, 120, 60)), "soup": label(3, words=("tomato", "SOUP", "4"))}
    for name, pixels in labels.items():
        (folder / "catalog" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "catalog" / name / "1.png")
    Image.fromarray(photo_of(labels["blue"], QUAD)).save(folder / "photo.png")
    index_catalog(folder / "catalog", folder / "index", model=tiny_bundle.path)
    return folder


def test_an_index_without_keypoints_answers_as_ever_and_one_with_them_looks_closer(shop: Path) -> None:
    place, photo = shop / "index", shop / "photo.png"
    with Recognizer(place, threshold=4.0) as before:
        first = before.recognize(photo)
    assert first.closer_look is None
    report = index_catalog(shop / "catalog", place, verify=True)
    assert report.to_json()["keypoints"] == {"made": 3, "unread": 0, "forgotten": 0}
    assert report.unchanged == 3
    with Recognizer(place, threshold=4.0) as looking, Recognizer(place, threshold=4.0, verify=False) as off:
        answer, (again,) = looking.recognize(photo), looking.recognize_all([photo])
        without = off.recognize(photo)
        pixels = looking.recognize(Image.open(photo))
    assert without.matches == first.matches
    assert without.closer_look is None
    look = answer.closer_look
    assert look is not None
    assert again.closer_look == look == pixels.closer_look
    by_name = {sighting.product_id: sighting for sighting in look.seen}
    assert by_name["blue"].inliers > 30
    assert by_name["blue"].quad[0] == pytest.approx((90, 40), abs=6)
    assert by_name["blue"].color > by_name["red"].color
    assert answer.matches[0].product_id == "blue"
    assert "look" in answer.timings_ms
    # What a look misses is made, where the catalog can be read.
    KeptLooks(str(place)).prune([])
    with Recognizer(place, threshold=4.0) as looking:
        assert looking.recognize(photo).closer_look == look
    assert KeptLooks(str(place)).count() == len(look.seen)


def test_of_several_photos_of_one_item_the_one_that_shows_most_is_compared(shop: Path, tmp_path: Path) -> None:
    front, back = tmp_path / "front.png", tmp_path / "back.png"
    Image.fromarray(photo_of(label(1, band=(60, 120, 60)), QUAD)).save(front)
    Image.fromarray(photo_of(label(77, words=("nobody", "knows", "this")), QUAD)).save(back)
    with Recognizer(shop / "index", threshold=4.0, verify=True) as looking:
        answer = looking.recognize_same([back, front])
        alone = looking.recognize(front)
    assert answer.closer_look is not None
    assert alone.closer_look is not None
    one, other = ({s.product_id: s for s in a.closer_look.seen if s.inliers} for a in (answer, alone))
    assert one["blue"].quad == other["blue"].quad
    assert {s.photo for s in answer.closer_look.seen} == {str(front)}
    assert answer.to_json()["closer_look"]["seen"][0]["photo"] == str(front)
    assert answer.photo is not None
    assert answer.photo() == front.read_bytes()
    assert "photo" not in alone.to_json()["closer_look"]["seen"][0]
    first, second = [seen("a", 30, 0.2), seen("b", 5, 0.1)], [seen("a", 30, 0.5), seen("b", 60, 0.9)]
    assert closer.clearest([first, second]) == second
    assert closer.clearest([]) == ()


def test_keypoints_follow_the_catalog_and_a_run_that_breaks_off_loses_nothing(
    tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "catalog" / name).mkdir(parents=True)
        Image.fromarray(label(ord(name))).save(tmp_path / "catalog" / name / "1.png")
    (tmp_path / "catalog" / "d").mkdir()
    (tmp_path / "catalog" / "d" / "same.png").write_bytes((tmp_path / "catalog" / "a" / "1.png").read_bytes())
    place = str(tmp_path / "index")
    monkeypatch.setattr(keypoints_of_index, "_WRITTEN", 1)
    put, calls = KeptLooks.put, []

    def breaks(self: KeptLooks, made: list[tuple[str, str, bytes]]) -> None:
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        put(self, made)

    monkeypatch.setattr(KeptLooks, "put", breaks)
    with pytest.raises(KeyboardInterrupt):
        index_catalog(tmp_path / "catalog", place, model=tiny_bundle.path, verify=True)
    monkeypatch.setattr(KeptLooks, "put", put)
    kept = KeptLooks(place)
    index = EmbeddedIndex(Path(place))
    assert index.manifest() is not None
    assert kept.count() == 1
    # Four pictures, of which two are the same bytes; the next run looks without being told, for there are some.
    report = index_catalog(tmp_path / "catalog", place)
    assert report.keypoints is not None
    assert kept.count() == 3
    (tmp_path / "catalog" / "b" / "1.png").unlink()
    report = index_catalog(tmp_path / "catalog", place, prune=True)
    assert report.keypoints == (0, 0, 1)
    assert kept.count() == 2
    # Another release's file, and a damaged one, are begun anew.
    with sqlite3.connect(keypoints_file(place)) as database:
        database.execute("PRAGMA user_version = 99")
    assert kept.get(["whatever"]) == {}
    assert make_keypoints(index).made == 3
    keypoints_file(place).write_bytes(b"no database at all, but long enough for a header" * 30)
    assert kept.get(["whatever"]) == {}
    assert make_keypoints(index).made == 3
    (tmp_path / "catalog" / "c" / "1.png").write_bytes(b"gone bad")
    keypoints_file(place).unlink()
    assert make_keypoints(index) == (2, 1, 0)


def test_the_page_shows_the_photo_beside_what_was_looked_for_in_it(shop: Path, tmp_path: Path) -> None:
    from cli.main import invoke

    index_catalog(shop / "catalog", shop / "index", verify=True)
    page = tmp_path / "look.html"
    arguments = ["query", str(shop / "photo.png"), "--index", str(shop / "index"), "--threshold", "4"]
    assert invoke([*arguments, "--explain", "--html", str(page)]) == 0
    text = page.read_text()
    assert "points agree" in text
    assert "what differs" in text
    assert text.count("data:image/jpeg;base64,") >= 8
    assert invoke([*arguments, "--html", str(page)]) == 2
    assert invoke([*arguments, "--explain", "--no-verify", "--html", str(page)]) == 0
    assert "Not looked at closer" in page.read_text()


def test_what_cannot_be_looked_at_leaves_the_answer_as_it_was(
    shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    index_catalog(shop / "catalog", shop / "index", verify=True)
    wall = tmp_path / "wall.png"
    seen = Image.new("RGB", (7200, 7000), (190, 180, 170))
    seen.paste((160, 150, 140), (0, 4000, 7200, 7000))
    seen.save(wall, compress_level=1)
    with Recognizer(shop / "index", threshold=4.0) as looking:
        answer = looking.recognize(wall)
        assert answer.closer_look is None
        assert answer.matches
        # The same index on a machine without OpenCV.
        monkeypatch.setattr("retrieval.verification.opencv.available", lambda: False)
        assert looking.recognize(shop / "photo.png").closer_look is None
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match="OpenCV is not installed"):
        Recognizer(shop / "index", threshold=4.0, verify=True)
    with pytest.raises(UsageError, match="OpenCV is not installed"):
        index_catalog(shop / "catalog", tmp_path / "other", verify=True)
    assert not (tmp_path / "other").exists()


def test_an_evaluation_says_what_looks_mend_and_spoil(shop: Path, tmp_path: Path) -> None:
    from cli.evaluate_text import print_document
    from retrieval.evaluation.run import evaluate_dataset
    from retrieval.report.evaluation import evaluation_page

    index_catalog(shop / "catalog", shop / "index", verify=True)
    for name, pixels in {"blue": label(1, band=(60, 120, 60)), "red": label(1)}.items():
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.fromarray(photo_of(pixels, QUAD, seed=1)).save(tmp_path / "test" / name / "1.png")
    report = evaluate_dataset(tmp_path, index=shop / "index", threshold=4.0)
    section = report.document["closer_look"]
    assert section is not None
    assert section["photos"] == 2
    assert section["close"]["rate"] > 0.0
    assert section["top1"]["after"]["rate"] == 1.0
    assert section["spoiled"] == 0
    print_document(report.document)
    page = evaluation_page(report.document, photo=lambda name: b"", gallery=lambda name: b"")
    assert "A closer look at close calls" in page
    without = evaluate_dataset(tmp_path, index=shop / "index", threshold=4.0, verify=False)
    assert without.document["closer_look"] is None


def test_an_index_on_a_server_is_looked_at_with_keypoints_in_the_local_cache(
    shop: Path, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITEMREC_GRPC_PORT", "0")
    monkeypatch.setenv("ITEMREC_CACHE", str(tmp_path))
    with double.serving() as server:
        url = server.url("/labels")
        index_catalog(shop / "catalog", url, model=tiny_bundle.path)
        with Recognizer(url, threshold=4.0) as plain:
            assert plain.recognize(shop / "photo.png").closer_look is None
        # This machine can read the catalog's pictures: their keypoints are made when somebody asks for a look.
        with Recognizer(url, threshold=4.0, verify=True) as asked:
            first = asked.recognize(shop / "photo.png").closer_look
        assert first is not None
        assert keypoints_file(url).is_relative_to(tmp_path)
        assert KeptLooks(url).count() == len(first.seen)
        with Recognizer(url, threshold=4.0) as later:
            assert later.recognize(shop / "photo.png").closer_look == first
            # A refused picture comes from the server when it is first looked for, and from the cache from then on.
            rival = tmp_path / "rival.png"
            Image.fromarray(photo_of(label(1, band=(40, 60, 200)), RIVAL_QUAD)).save(rival)
            refusal = later.refuse(rival)
            look = later.recognize(shop / "photo.png").closer_look
        assert look is not None
        assert look.refusal is not None
        assert look.refusal.inliers > 30
        assert KeptLooks(url).get([refusal.refusal_id])


def test_a_refused_picture_is_looked_for_beside_the_product_and_shown(
    shop: Path, tmp_path: Path, tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    from cli.main import invoke

    place, photo, back = tmp_path / "index", shop / "photo.png", tmp_path / "back.png"
    index_catalog(shop / "catalog", place, model=tiny_bundle.path, verify=True)
    Image.fromarray(photo_of(label(77, words=("nobody", "knows", "this")), QUAD)).save(back)
    rival = tmp_path / "rival.png"
    Image.fromarray(photo_of(label(1, band=(40, 60, 200)), RIVAL_QUAD)).save(rival)
    with Recognizer(place, threshold=4.0) as looking, Recognizer(place, threshold=4.0, verify=False) as off:
        refusal = looking.refuse(rival)
        without, answer, same = off.recognize(photo), looking.recognize(photo), looking.recognize_same([back, photo])
        kept = looking.kept_refused_look(refusal.refusal_id)
    assert without.refused_by is not None
    assert without.verdict == "unknown"
    look = answer.closer_look
    assert look is not None
    assert look.refusal is not None
    assert (look.refusal.refusal_id, look.refusal.image) == (refusal.refusal_id, "rival.png")
    assert look.refusal.inliers > 30
    assert look.seen[0].leaning > 0.1
    assert look.refusal.leaning is None
    assert look.refusal.color < look.seen[0].color
    assert answer.matches[0].product_id == "blue"
    assert kept is not None
    assert same.closer_look is not None
    assert {s.photo for s in (*same.closer_look.seen, same.closer_look.refusal)} == {str(photo)}
    # An index run forgets the keypoints of a refused picture with the picture, and not before.
    count = KeptLooks(str(place)).count()
    assert index_catalog(shop / "catalog", place).keypoints == (0, 0, 0)
    page = tmp_path / "look.html"
    arguments = ["query", str(photo), "--index", str(place), "--threshold", "4", "--explain", "--html", str(page)]
    capsys.readouterr()
    assert invoke(arguments) == 0
    said = capsys.readouterr().out
    assert "Changed by the look: it was unknown, blue" in said
    assert "refused rival.png: " in said
    assert "Refused: rival.png" in page.read_text()
    with Recognizer(place, threshold=4.0) as looking:
        looking.remove_refusals(refusal.refusal_id)
    assert index_catalog(shop / "catalog", place).keypoints == (0, 0, 1)
    assert KeptLooks(str(place)).count() == count - 1
