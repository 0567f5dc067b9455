"""From two pictures to where one lies in the other and how alike they are, on drawn labels and on what is hostile."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from retrieval.errors import UsageError
from retrieval.verification import Keypoints, Place, compare, find_keypoints, leaning, locate, match
from retrieval.verification.keypoints import LARGEST, MOST
from tests.retrieval.verification.drawn import Pixels, label, photo_of

QUAD = [(90, 40), (300, 70), (290, 320), (70, 300)]


def place_of(picture: Pixels, photo: Pixels) -> Place | None:
    one, other = find_keypoints(picture), find_keypoints(photo)
    return locate(one, other, match(one, other))


def test_a_label_is_found_where_it_is_held_and_looks_like_itself() -> None:
    picture = label(1)
    photo = photo_of(picture, QUAD)
    place = place_of(picture, photo)
    assert place is not None
    assert np.abs(place.quad - QUAD).max() < 6.0
    alike = compare(picture, photo, place)
    assert alike is not None
    assert alike.correlation > 0.9
    assert alike.color > 0.9
    assert alike.seen > 0.95


def test_a_band_of_another_color_is_seen() -> None:
    photo = photo_of(label(1), QUAD)
    twin = label(1, band=(40, 60, 200))
    place = place_of(twin, photo)
    assert place is not None
    own = place_of(label(1), photo)
    assert own is not None
    right, wrong = compare(label(1), photo, own), compare(twin, photo, place)
    assert right is not None
    assert wrong is not None
    assert wrong.color < right.color - 0.2


def test_a_photo_leans_to_the_one_of_two_look_alikes_that_it_shows() -> None:
    one, other = label(1), label(1, band=(40, 60, 200))
    for shown, sign in ((one, 1.0), (other, -1.0)):
        photo = photo_of(shown, QUAD)
        # Two photos of them from other sides, as refused pictures are.
        rival = photo_of(other, [(30, 60), (330, 40), (340, 330), (40, 310)], seed=1)
        places = place_of(one, photo), place_of(rival, photo)
        assert places[0] is not None
        assert places[1] is not None
        printed = np.array([(20, 20), (180, 20), (180, 240), (20, 240)], np.float32)
        found = leaning(one, rival, photo, (places[0], places[1]), printed=printed)
        assert found is not None
        assert found * sign > 0.3
        assert leaning(one, one, photo, (places[0], places[0]), printed=printed) is None
        tiny = np.array([(20, 20), (24, 20), (24, 24)], np.float32)
        assert leaning(one, rival, photo, (places[0], places[1]), printed=tiny) is None


def test_a_label_half_out_of_the_photo_is_compared_where_it_is_seen() -> None:
    picture = label(2)
    photo = photo_of(picture, [(250, 40), (490, 40), (490, 340), (250, 340)])
    place = place_of(picture, photo)
    assert place is not None
    alike = compare(picture, photo, place)
    assert alike is not None
    assert 0.4 < alike.seen < 0.8
    assert alike.correlation > 0.85


@pytest.mark.parametrize(
    "shown", [label(1)[:, ::-1], label(3, words=("tomato", "SOUP 4", "gram"))], ids=["mirrored", "another label"]
)
def test_what_is_not_there_is_not_found(shown: Pixels) -> None:
    assert place_of(label(1), photo_of(np.ascontiguousarray(shown), QUAD)) is None


def test_a_mosaic_of_thousands_of_equal_tiles_is_bounded_and_matches_nothing() -> None:
    tile = label(4, (24, 24))
    mosaic = np.tile(tile, (60, 60, 1))
    found = find_keypoints(mosaic, side=1024)
    assert 0 < len(found) <= MOST
    assert found.descriptors.shape == (len(found), 128)
    assert locate(found, found, match(find_keypoints(tile), found)) is None


@pytest.mark.parametrize(
    "blank",
    [
        np.full((300, 300, 3), 200, np.uint8),
        np.zeros((8, 5000, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (200, 1, 3)),
    ],
    ids=["a wall", "a strip", "a pixel", "a slope"],
)
def test_what_has_nothing_on_it_has_no_place(blank: Pixels) -> None:
    assert len(find_keypoints(blank)) <= MOST
    assert place_of(label(1), blank) is None
    assert place_of(blank, label(1)) is None


def test_a_catalog_of_one_texture_finds_no_place_where_there_is_none() -> None:
    texture = np.tile(label(6, (40, 40)), (5, 5, 1))
    shown = photo_of(label(1), QUAD)
    one, other = find_keypoints(texture), find_keypoints(shown)
    assert locate(one, other, match(one, other), steady=True) is None


def test_points_on_a_line_are_no_place() -> None:
    line = np.stack([np.arange(12, dtype=np.float32) * 10, np.full(12, 50, np.float32)], axis=1)
    points = Keypoints((200, 200), line, np.zeros((12, 128), np.uint8))
    assert locate(points, points, np.stack([np.arange(12)] * 2, axis=1), steady=True) is None


def test_fifty_megapixels_are_reduced_before_anything_else() -> None:
    photo = np.broadcast_to(np.uint8(127), (7000, 7200, 3)).copy()
    small = label(1)
    photo[2000:4600, 3000:5000] = np.repeat(np.repeat(small, 10, 0), 10, 1)
    place = place_of(small, photo)
    assert place is not None
    assert np.abs(place.quad - [(3000, 2000), (5000, 2000), (5000, 4600), (3000, 4600)]).max() < 120
    alike = compare(small, photo, place)
    assert alike is not None
    assert alike.correlation > 0.9


def test_noise_against_noise_agrees_on_nothing() -> None:
    random = np.random.default_rng(0)
    one, other = (random.integers(0, 255, (256, 256, 3), np.uint8).astype(np.uint8) for _ in range(2))
    assert place_of(one, other) is None


def test_the_same_pictures_give_the_same_place() -> None:
    picture, photo = label(5), photo_of(label(5), QUAD)
    one, other = place_of(picture, photo), place_of(picture, photo)
    assert one is not None
    assert other is not None
    assert np.array_equal(one.homography, other.homography)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="RGB pixels"):
        find_keypoints(np.zeros((20, 20), np.uint8))
    with pytest.raises(ValueError, match="side"):
        find_keypoints(label(1), side=LARGEST + 1)


def test_without_opencv_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match="OpenCV is not installed") as raised:
        find_keypoints(label_without_opencv())
    assert "[verify]" in raised.value.hint


def label_without_opencv() -> Pixels:
    return np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8).astype(np.uint8)
