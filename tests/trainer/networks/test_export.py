"""What is trained exports to the same function; views are what they say."""

import numpy as np
import pytest

from retrieval.distance import is_unit
from retrieval.errors import EncoderError
from retrieval.images.preprocessing import Preprocessing
from tests.lazily import lazily
from trainer.data.augment import Views, make_views

keras = lazily("keras")
embed, export_litert, run_litert = lazily("trainer.networks.export", "embed", "export_litert", "run_litert")
small_cnn = lazily("trainer.networks.small_cnn", "small_cnn")

PREPROCESSING = Preprocessing(32, 32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def striped_photos(products=12, views=6, seed=0):
    """Products are color pairs in stripes; photos differ in shift and light."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(20, 235, (products, 2, 3))
    pixels = np.zeros((products * views, 40, 40, 3), np.uint8)
    for i in range(len(pixels)):
        stripe = ((np.arange(40) + rng.integers(0, 8)) // 4) % 2
        row = colors[i // views][stripe] * rng.uniform(0.8, 1.1)
        pixels[i] = np.clip(row, 0, 255).astype(np.uint8)[None]
    return pixels


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(1)
    model = small_cnn(size=32, dimension=16, width=4)
    # Statistics of a trained network, so that folding them into the convolutions is tried too.
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            rng = np.random.default_rng(2)
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def probes():
    return striped_photos(seed=3)[:16, :32, :32]


@pytest.fixture(scope="module")
def full(encoder, probes):
    return export_litert(encoder, PREPROCESSING, probes)


def test_float32_export_is_the_same_function_for_any_batch(full, probes):
    export = full
    assert export.max_difference <= 1e-4
    assert export.pictures == 16
    whole = run_litert(export.model, PREPROCESSING.tensor(probes))
    assert is_unit(whole)
    for n in (1, 5):
        part = run_litert(export.model, PREPROCESSING.tensor(probes[:n]))
        np.testing.assert_allclose(part, whole[:n], atol=1e-5)


def test_float16_weights_make_a_smaller_file_and_state_their_difference(encoder, full, probes):
    half = export_litert(encoder, PREPROCESSING, probes, weights="float16")
    assert len(half.model) < 0.8 * len(full.model)
    assert 0.0 < half.max_difference <= 2e-2
    assert half.min_cosine > 0.999
    received = run_litert(half.model, PREPROCESSING.tensor(probes))
    assert np.abs(received - embed(encoder, probes, PREPROCESSING)).max() == pytest.approx(
        half.max_difference, abs=1e-6
    )


def test_an_export_that_computes_something_else_is_refused(encoder, full, probes, monkeypatch):
    from trainer.networks import export

    right = export.embed
    monkeypatch.setattr(export, "convert_litert", lambda *_: full.model)
    monkeypatch.setattr(export, "embed", lambda *a: -right(*a))
    with pytest.raises(EncoderError, match=r"agree with Keras within 0\.0001"):
        export_litert(encoder, PREPROCESSING, probes)


def test_views_keep_shape_and_depend_on_the_generator_only():
    pictures = striped_photos()[:6]
    one, two = (make_views(pictures, size=24, rng=np.random.default_rng(5), views=Views()) for _ in "ab")
    assert one.shape == (6, 24, 24, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)
    other = make_views(pictures, size=24, rng=np.random.default_rng(6), views=Views())
    assert not np.array_equal(one, other)


def test_views_without_any_freedom_are_the_picture():
    still = Views((1.0, 1.0), 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    pictures = striped_photos()[:3]
    views = make_views(pictures, size=40, rng=np.random.default_rng(0), views=still)
    assert np.abs(views.astype(int) - pictures).max() <= 1
