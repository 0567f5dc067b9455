"""The shipped bundle is what its card says, and the code around it does what it says."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from retrieval.distance import is_unit
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import read_bundle
from retrieval.models.installed import starter_path
from retrieval.system.progress import Silent
from trainer.starter.baselines import color_histogram
from trainer.starter.calibrate import CHOSEN, FAR_TARGETS, FPIR_TARGETS, calibrate
from trainer.starter.drawings import Drawings, render
from trainer.starter.measure import drawn_trials, encoder_of, measure, with_unknown_products
from trainer.starter.photo_set import PhotoSet

FRESH = Drawings(products=36, seed=9, photos=7, studio=1, difficulty=(0.2, 0.7))


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(starter_path())  # verifies sizes, hashes and fingerprint


@pytest.fixture(scope="module")
def fresh(bundle, tmp_path_factory):
    return render(FRESH, bundle.preprocessing, tmp_path_factory.mktemp("drawings"), processes=2)


def test_the_bundle_is_small_and_complete(bundle):
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= 5_000_000
    assert bundle.name == "starter"
    assert bundle.dimension == 128
    assert bundle.calibration is not None
    assert bundle.calibration.chosen == CHOSEN
    names = {point.name for point in bundle.calibration.points}
    assert names >= {"fpir=0.05", "fpir=0.1", "far=0.001", "far=0.01", "far=0.05", "experiment"}
    assert "What it is not" in bundle.card()


def test_the_bundle_was_made_by_the_recipe_that_is_here(bundle):
    from trainer.starter import recipe

    def plain(values):
        return json.loads(json.dumps(asdict(values)))

    assert bundle.training["drawings"] == plain(recipe.TRAIN)
    assert bundle.training["recipe"] == plain(recipe.RECIPE)
    assert bundle.preprocessing == recipe.PREPROCESSING
    assert bundle.training["export"]["weights"] == recipe.WEIGHTS


def test_products_it_never_saw_are_found_far_more_often_than_by_color(bundle, fresh):
    (trial, _) = drawn_trials(fresh, "fresh")
    starter, color = measure(trial, encoder_of(bundle)), measure(trial, color_histogram)
    assert starter.top1.whole >= 40
    assert starter.top1.value >= 0.5
    assert starter.top1.value >= color.top1.value + 0.1
    assert starter.val.value >= color.val.value + 0.1


def test_embeddings_do_not_depend_on_the_batch(bundle, fresh):
    embed = encoder_of(bundle)
    whole = embed(fresh.pixels[:20])
    assert is_unit(whole)
    np.testing.assert_allclose(embed(fresh.pixels[7:8]), whole[7:8], atol=1e-5)


def test_drawings_are_cached_and_the_same_for_the_same_seed(tmp_path):
    few = Drawings(products=3, seed=11, photos=2, studio=1, difficulty=(0.3, 0.3))
    small = Preprocessing(48, 48)
    first = render(few, small, tmp_path, processes=1)
    files = list(tmp_path.iterdir())
    stamp = files[0].stat().st_mtime_ns
    again = render(few, small, tmp_path, processes=1)
    elsewhere = render(few, small, tmp_path / "other", processes=1)
    assert len(files) == 1
    assert files[0].stat().st_mtime_ns == stamp
    assert first.pixels.shape == (9, 48, 48, 3)
    assert first.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert first.studio.tolist() == [True, False, False] * 3
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.pixels, elsewhere.pixels)


def made_up(products=40, photos=8, seed=0):
    """Pictures whose mean color is their product's, with families of two."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(0, 256, (products, 1, 1, 1, 3))
    noise = rng.normal(0, 12, (products, photos + 1, 6, 6, 3))
    pixels = np.clip(colors + noise, 0, 255).astype(np.uint8).reshape(-1, 6, 6, 3)
    return PhotoSet(
        pixels,
        np.repeat(np.arange(products), photos + 1),
        tuple(f"p{i}" for i in range(products)),
        np.arange(products) // 2,
        np.tile(np.arange(photos + 1) == 0, products),
    )


def mean_color(pixels):
    centered = pixels.mean(axis=(1, 2)) - 127.5
    return (centered / np.linalg.norm(centered, axis=1, keepdims=True)).astype(np.float32)


def test_trials_keep_strangers_and_their_families_out_of_the_gallery():
    photos = made_up()
    with_photos, studio = drawn_trials(photos, "made up")
    families = photos.families[photos.labels]
    for trial in (with_photos, studio):
        assert not set(families[trial.gallery]) & set(families[trial.unknown])
        assert set(trial.labels[trial.probes]) <= set(trial.labels[trial.gallery])
        assert not (trial.gallery & (trial.probes | trial.unknown)).any()
        assert not (trial.probes & trial.unknown).any()
        assert trial.unknown.any()
    assert photos.studio[studio.gallery].all()
    assert not photos.studio[with_photos.gallery].all()
    reduced = with_unknown_products(with_photos)
    assert not set(reduced.labels[reduced.gallery]) & set(reduced.labels[reduced.unknown])
    assert reduced.unknown.sum() > with_photos.unknown.sum()


def test_calibration_keeps_its_targets_and_the_default_rejects_strangers():
    calibration = calibrate(mean_color, made_up(products=120), progress=Silent())
    assert calibration.chosen == CHOSEN
    for target in FPIR_TARGETS:
        point = calibration.point(f"fpir={target:g}")
        assert point.fpir <= target
        assert point.fpir_ci[0] <= point.fpir <= point.fpir_ci[1]
        assert point.gallery > 0
    for target in FAR_TARGETS:
        assert calibration.point(f"far={target:g}").far <= target
    assert calibration.point("experiment").far < 0.2


def test_the_color_histogram_is_a_unit_vector_that_ignores_places():
    pixels = made_up(products=4).pixels
    vectors = color_histogram(pixels)
    assert vectors.shape == (len(pixels), 512)
    assert is_unit(vectors)
    np.testing.assert_allclose(color_histogram(pixels[:, ::-1, ::-1]), vectors, atol=1e-6)


def test_a_baseline_by_hand():
    picture = np.zeros((1, 2, 2, 3), np.uint8)
    picture[0, 0, 0] = (255, 0, 0)
    vector = color_histogram(picture)[0]
    assert vector[7 * 64] == pytest.approx(0.5)
    assert vector[0] == pytest.approx(np.sqrt(0.75))


def test_the_command_maps_errors_to_exit_codes(tmp_path, capsys):
    from trainer.starter.__main__ import main

    assert main(["measure", "--bundle", str(tmp_path), "--cache", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "expected a bundle" in captured.err
