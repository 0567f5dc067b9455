"""How far two kinds of pictures lie apart, and what that does to distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.calibration.gap import MOST, Scales, measure_gap, scales, studio_part
from retrieval.distance import normalize
from retrieval.indexing.kinds import Kinds, look_at_kinds
from retrieval.types import PictureKind, Point
from tests.contract.reference import MemoryStore
from tests.contract.samples import record

PRODUCTS = np.array([f"p{i}" for i in range(60)])


def pictures(apart: float, photos: NDArray[np.bool_]) -> NDArray[np.float32]:
    """One of each product; photos and the others lie in clouds so far apart."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((len(PRODUCTS), 32)) * 0.5
    vectors[:, 0] += np.where(photos, apart, -apart)
    vectors[:, 1] += 2.0
    return normalize(vectors)


@pytest.mark.parametrize("photos", [PRODUCTS == "p7", np.arange(60) < 25, np.arange(60) < 50])
def test_kinds_that_lie_apart_have_a_gap_and_others_none(photos: NDArray[np.bool_]) -> None:
    far = measure_gap(pictures(1.0, photos), PRODUCTS, ~photos)
    near = measure_gap(pictures(0.0, photos), PRODUCTS, ~photos)
    assert far is not None
    assert near is not None
    assert 1.0 <= near < 1.2  # one picture alone may lie anywhere
    assert 1.3 < far <= MOST


def test_no_gap_is_told_of_one_kind_or_of_few_products() -> None:
    photos = np.arange(60) < 10
    assert measure_gap(pictures(1.0, photos), PRODUCTS, np.ones(60, bool)) is None
    assert measure_gap(pictures(1.0, photos)[:19], PRODUCTS[:19], ~photos[:19]) is None


def test_a_cloud_of_its_own_is_no_other_kind() -> None:
    """Book covers among toys: far from them, and as far from each other."""
    rng = np.random.default_rng(5)
    covers = np.arange(60) < 30
    vectors = np.where(covers[:, None], 0.0, 0.3) * rng.standard_normal((60, 32))
    vectors[:, 0] += np.where(covers, 0.0, 1.0)
    vectors += np.where(covers[:, None], 1.0, 0.0) * rng.standard_normal((60, 32))
    assert measure_gap(normalize(vectors), PRODUCTS, ~covers) == 1.0


def test_the_rarer_kind_comes_to_the_scale_of_the_other() -> None:
    assert scales(1.0, 1.4) == Scales(studio=1.0, photo=1.4)
    assert scales(0.0, 1.4) == Scales(studio=pytest.approx(1 / 1.4), photo=1.0)
    even = scales(0.5, 1.4)
    assert even is not None
    assert (even.photo / even.studio, even.of(None)) == (pytest.approx(1.4), 1.0)
    assert scales(0.5, 9.0) == even
    assert [scales(None, 1.4), scales(0.5, None), scales(0.5, 1.0)] == [None, None, None]


def test_the_part_is_of_products_and_not_of_pictures() -> None:
    products = np.array(["a", "b", "b", "b", "b"])
    assert studio_part(products, np.array([True, True, False, False, False])) == pytest.approx(0.625)


def filled(kinds: list[PictureKind | None], vectors: NDArray[np.float32]) -> MemoryStore:
    store = MemoryStore(vectors.shape[1])
    rows = zip(PRODUCTS.tolist(), kinds, vectors, strict=True)
    store.upsert([Point(record(f"{product}.jpg", product, kind=kind), vector) for product, kind, vector in rows])
    return store


def test_an_index_says_what_it_holds() -> None:
    photos = np.arange(60) < 15
    kinds: list[PictureKind | None] = ["photo" if photo else "studio" for photo in photos]
    assert look_at_kinds(filled(kinds, pictures(1.0, photos)), Path("/nowhere")) == Kinds(0.75, MOST)


def test_a_first_photo_tells_although_no_sample_has_it() -> None:
    photos = PRODUCTS == "p7"
    vectors = pictures(1.0, photos)
    store = filled(["studio"] * 60, vectors)
    new = Point(record("taught.jpg", "p7", kind="photo"), vectors[7])
    assert look_at_kinds(store, Path("/nowhere"), [new]) == Kinds(1.0, pytest.approx(1.34, abs=0.06))
    assert look_at_kinds(store, Path("/nowhere")) == Kinds(1.0, None)


def test_pictures_of_a_release_of_before_say_nothing(tmp_path: Path) -> None:
    photos = np.arange(60) < 15
    assert look_at_kinds(filled([None] * 60, pictures(1.0, photos)), tmp_path) == Kinds(None, None)
