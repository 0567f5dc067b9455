"""Calibrations for each kind of gallery: what can be shown, what is measured, and that it is what was claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.calibration.points import Calibration
from retrieval.calibration.sureness import MOST_LEAD
from retrieval.evaluation import Photos, Target
from retrieval.evaluation.by_gallery import Enrolled, HeldOutProducts, Measured, calibrate_kind, measure_kinds
from retrieval.evaluation.sureness_fit import (
    cross_checked,
    fit_sureness,
    fold_of,
    try_all,
    try_known_and_left_out,
    verdict_table,
)
from tests.evaluate_example import clusters, labeled

TARGET = Target("fpir", 0.3)


def enrolled(photos: Photos, studio_noise: float = 0.3, seed: int = 7) -> Enrolled:
    """Photos, and one studio picture of each product, which lies farther off."""
    rng = np.random.default_rng(seed)
    centers = np.stack([photos.vectors[photos.labels == p].mean(axis=0) for p in photos.products])
    vectors = centers + studio_noise * rng.standard_normal(centers.shape) / centers.shape[1] ** 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pictures = labeled(vectors.astype(np.float32), photos.products.tolist(), seed=seed)
    both = Enrolled(photos, np.zeros(len(photos), bool))
    return both.joined(Enrolled(pictures, np.ones(len(pictures), bool)))


@pytest.fixture(scope="module")
def measured(world: tuple[Photos, Enrolled, HeldOutProducts]) -> dict[str, Measured]:
    probes, pictures, held_out = world
    return {one.kind: one for one in measure_kinds(probes, pictures, [held_out])}


@pytest.fixture(scope="module")
def world() -> tuple[Photos, Enrolled, HeldOutProducts]:
    """Forty products; another network learned twenty-four of them, and is of the same kind."""
    probes = clusters(40, 3, noise=0.17, seed=2)
    pictures = enrolled(clusters(40, 12, noise=0.17, seed=1))
    unknown = pictures.photos.products[24:]
    others = np.isin(pictures.photos.labels, unknown)
    held_out = HeldOutProducts(
        pictures.photos.only(np.flatnonzero(others)),
        pictures.studio[others],
        Enrolled(pictures.photos.only(np.flatnonzero(~others)), pictures.studio[~others]),
        probes.only(np.flatnonzero(~np.isin(probes.labels, unknown))),
    )
    return probes, pictures, held_out


def test_every_kind_that_the_pictures_show_is_measured(
    world: tuple[Photos, Enrolled, HeldOutProducts], measured: dict[str, Measured]
) -> None:
    _, _, held_out = world
    found = measured
    assert list(found) == ["studio", "few", "many", "mixed"]
    assert [found[kind].shape.kind for kind in found] == list(found)
    assert found["studio"].shape.pictures == 40
    assert found["few"].shape.pictures == 200
    assert found["many"].shape.pictures == 480
    for one in found.values():
        assert one.distances.growth == pytest.approx(40 / 24)
        assert {t.gallery for t in one.known} == {40, 20, 10}
        assert {t.product for t in one.unknown} == set(held_out.probes.products)
        assert one.whole == (120, 16 * 12)
        assert {e.who for e in one.expect} == ({"trained"} if one.kind == "mixed" else {"trained", "new"})
    assert np.median(found["studio"].distances.unknown) > np.median(found["many"].distances.unknown)


def test_photos_alone_show_no_studio(world: tuple[Photos, Enrolled, HeldOutProducts]) -> None:
    probes, pictures, _ = world
    photos = Enrolled(pictures.photos.only(np.flatnonzero(~pictures.studio)), np.zeros((~pictures.studio).sum(), bool))
    shown = [kind for kind in ("studio", "few", "many", "mixed") if photos.of_kind(kind)]  # type: ignore[arg-type]
    assert shown == ["few", "many"]
    assert measure_kinds(probes, photos, []) == []


def test_a_catalog_of_one_product_shows_nothing(world: tuple[Photos, Enrolled, HeldOutProducts]) -> None:
    probes, pictures, held_out = world
    assert measure_kinds(probes, pictures.of(["p000"]), [held_out]) == []


def test_what_is_claimed_holds_where_it_was_measured(measured: dict[str, Measured]) -> None:
    found = calibrate_kind(measured["many"], TARGET, measured_on="val")
    assert found is not None
    assert found.calibration.chosen == "fpir=0.3"
    sureness, table = found.calibration.sureness, found.calibration.verdicts
    assert sureness is not None
    assert table is not None
    assert sureness.unknown_products == 16
    known = next(group for group in table.groups if group.group == "known")
    assert known.photos == 120
    assert sum(group.photos for group in table.groups) == 120 + 16 * 12
    # Of those that it calls a match, as many are right as it says at least: 0.8.
    unknown = [group for group in table.groups if group.group != "known"]
    share = 0.25 * known.photos / sum(group.photos for group in unknown)
    wrong = known.match_wrong + share * sum(group.match_wrong for group in unknown)
    assert known.match_right / (known.match_right + wrong) >= 0.8
    assert Calibration.from_json(found.calibration.to_json()) == found.calibration


def test_another_network_is_taken_to_scale(world: tuple[Photos, Enrolled, HeldOutProducts]) -> None:
    probes, pictures, held_out = world
    rng = np.random.default_rng(0)

    def blurred(photos: Photos) -> Photos:
        vectors = photos.vectors + 0.1 * rng.standard_normal(photos.vectors.shape)
        return replace(photos, vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))

    other = HeldOutProducts(
        blurred(held_out.photos),
        held_out.studio,
        Enrolled(blurred(held_out.enrolled.photos), held_out.enrolled.studio),
        blurred(held_out.known),
    )
    gallery = pictures.of_kind("many")
    assert gallery is not None
    assert held_out.against(gallery, probes).scale == pytest.approx(1.0)
    found = other.against(gallery, probes)
    assert len(found.gallery) == 24 * 12
    assert found.scale < 0.9  # what is noisier lies farther apart
    [measured] = [one for one in measure_kinds(probes, pictures, [other]) if one.kind == "many"]
    plain = try_all(other.probes, found.gallery)
    counted = measured.unknown[: measured.whole[1]]
    ratios = [
        (scaled.distance / raw.distance, scaled.lead / raw.lead)
        for raw, scaled in zip(plain, counted, strict=True)
        if raw.lead > 0.0 and scaled.lead < MOST_LEAD
    ]
    assert len(ratios) > 20
    np.testing.assert_allclose(ratios, np.broadcast_to(ratios[0], (len(ratios), 2)), rtol=1e-6)
    assert ratios[0][0] == pytest.approx(found.scale)
    assert ratios[0][1] > 1.1  # and its first product leads by less


def test_probabilities_are_fitted_without_the_product_that_they_judge() -> None:
    gallery, probes = clusters(30, 8, noise=0.2, seed=1), clusters(30, 6, noise=0.2, seed=2)
    known, unknown = try_known_and_left_out(probes, gallery)
    assert known == try_all(probes, gallery)
    assert (len(known), len(unknown)) == (180, 180)
    assert all(trial.rank == 0 and trial.gallery == 29 and trial.nearest != trial.product for trial in unknown)
    fitted = fit_sureness(known, unknown, fitted_on="val")
    assert fitted is not None
    assert fitted.in_catalog[1] < 0.0  # the farther, the less probable
    seen, crossed = verdict_table(known, unknown, fitted), cross_checked(known, unknown)
    assert crossed is not None
    assert seen.groups[0].photos == crossed.groups[0].photos == 180
    assert len({fold_of(product) for product in probes.products}) == 5
    assert fit_sureness(known[:50], unknown, fitted_on="") is None
    assert fit_sureness(known, [], fitted_on="") is None


def test_pictures_tell_whether_they_are_from_a_studio(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, plain in (("a", True), ("b", False)):
        pixels = rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)
        if plain:
            pixels[:12] = pixels[-12:] = 250
            pixels[:, :12] = pixels[:, -12:] = 250
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    photos = replace(
        labeled(np.eye(3, dtype=np.float32), ["a", "b", "c"]), root=tmp_path, sources=("a.png", "b.png", "gone.png")
    )
    assert Enrolled.of_sources(photos, None).studio.tolist() == [False, False, False]
    assert Enrolled.of_sources(photos, photos).studio.tolist() == [False, False, False, True, False, False]
