"""Packages of one family at one place: which one it is, and when that is not sure."""

import numpy as np
import pytest
from PIL import Image

from retrieval.detection.candidates import Candidate
from retrieval.detection.finder import SURE, rivals
from retrieval.detection.known import KnownPicture
from retrieval.detection.siblings import Laid, lay, tell
from retrieval.verification.geometry import Place
from retrieval.verification.opencv import opencv
from tests.retrieval.verification.drawn import label

WORDS = (("oats", "plain", "500 g"), ("oats", "honey", "500 g"))
QUAD = np.array([(60, 30), (210, 40), (205, 230), (55, 215)], np.float32)


def picture(words: tuple[str, ...]) -> np.ndarray:
    """A studio picture: a label before a plain background."""
    canvas = Image.new("RGB", (260, 300), "white")
    canvas.paste(Image.fromarray(label(1, words=words)), (30, 20))
    return np.asarray(canvas)


@pytest.fixture(scope="module")
def pictures() -> list[KnownPicture]:
    return [KnownPicture.of(picture(words)) for words in WORDS]


def place(known: KnownPicture, off: float = 0.0) -> Place:
    left, top, right, bottom = known.box
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    homography = opencv().getPerspectiveTransform(corners, QUAD + np.float32(off)).astype(np.float64)
    return Place(homography, (QUAD + off).astype(np.float64), np.arange(20))


def photo(shown: int, pictures: list[KnownPicture], *, dark: float = 0.8, blur: float = 0.7) -> np.ndarray:
    """A photo of one of them: bent as on a can, darker and blurred."""
    cv2 = opencv()
    flat = cv2.warpPerspective(
        pictures[shown].pixels, place(pictures[shown]).homography, (270, 260), borderValue=(90, 110, 60)
    )
    y, x = np.mgrid[:260, :270].astype(np.float32)
    bent = cv2.remap(flat, x + 4 * np.sin(x / 40), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (cv2.GaussianBlur(bent, (0, 0), blur) * dark).astype(np.uint8)


def laid(pictures: list[KnownPicture], seen: np.ndarray) -> Laid:
    return lay([(known, place(known, off).homography) for known, off in zip(pictures, (0.0, 2.0), strict=True)], seen)


@pytest.mark.parametrize("shown", [0, 1])
def test_one_word_tells_two_apart_though_the_package_is_bent_and_each_lies_a_little_off(
    pictures: list[KnownPicture], shown: int
) -> None:
    found = tell(laid(pictures, photo(shown, pictures)), 0, 1)
    assert found is not None
    assert (found.towards > 0.4, found.towards < -0.4) == (shown == 0, shown == 1)
    assert found.strength > 20
    other_way = tell(laid(pictures, photo(shown, pictures)), 1, 0)
    assert other_way is not None
    assert other_way.towards == pytest.approx(-found.towards, abs=0.02)


def test_pictures_that_are_the_same_tell_nothing(pictures: list[KnownPicture]) -> None:
    same = (pictures[0], place(pictures[0]).homography)
    assert tell(lay([same, same], photo(0, pictures)), 0, 1) is None


def candidates(pictures: list[KnownPicture], *pixels: float) -> list[Candidate]:
    return [
        Candidate(number, place(known), (55, 30, 210, 230), correlation, 0.9, 1.0)
        for number, (known, correlation) in enumerate(zip(pictures, pixels, strict=True))
    ]


def test_the_one_that_is_there_comes_first_however_alike_the_other_seemed(pictures: list[KnownPicture]) -> None:
    item = candidates(pictures, 0.9, 0.6)
    ranked, unsure = rivals(item, "pq".__getitem__, pictures, photo(1, pictures))
    assert ([one.number for one in ranked], unsure) == ([1, 0], False)
    ranked, unsure = rivals(item, "pq".__getitem__, pictures, photo(0, pictures))
    assert ([one.number for one in ranked], unsure) == ([0, 1], False)


def test_past_so_many_places_the_most_alike_comes_first(pictures: list[KnownPicture]) -> None:
    seen = photo(1, pictures)
    for second, unsure in ((0.85, True), (0.6, False)):
        item = candidates(pictures, 0.9, second)
        ranked, said = rivals(item, "pq".__getitem__, pictures, seen, told=False)
        assert ([one.number for one in ranked], said) == ([0, 1], unsure)


def test_what_cannot_be_told_is_not_sure_and_neither_is_what_looks_too_little_like_it(
    pictures: list[KnownPicture],
) -> None:
    twice = [pictures[0], pictures[0]]
    assert rivals(candidates(twice, 0.9, 0.85), "pq".__getitem__, twice, photo(0, twice))[1]
    assert not rivals(candidates(twice, 0.9, 0.7), "pq".__getitem__, twice, photo(0, twice))[1]
    alone = candidates(pictures[:1], SURE - 0.9 - 0.01)
    assert rivals(alone, "pq".__getitem__, pictures, photo(0, pictures))[1]
