"""A backbone in two parts is still the same function, wherever it is divided."""

import numpy as np
import pytest

from retrieval.errors import UsageError
from retrieval.images.preprocessing import Preprocessing
from tests.lazily import lazily
from tests.trainer.datasets import forward, write_weights
from trainer.networks.projections import discriminant, joint, whitening

keras = lazily("keras")
NetworkSpec, assemble, encoder, in_batches, embedding_above, start_head = lazily(
    "trainer.networks.assemble", "NetworkSpec", "assemble", "encoder", "in_batches", "embedding_above", "start_head"
)
Runner, freeze_points, freeze_point, taps = lazily(
    "trainer.networks.stem", "Runner", "freeze_points", "freeze_point", "taps"
)

PREPROCESSING = Preprocessing(64, 64, scale=1 / 127.5, mean=(1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(write_weights(tmp_path_factory.mktemp("weights") / "net.weights.h5"))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def test_everything_flows_through_a_freeze_point(model):
    points = freeze_points(model)
    assert {"block_12_add", "block_5_add", "block_2_add", "block_16_expand_relu"} <= set(points)
    # Inside a residual block a second path goes around.
    assert "block_11_expand_relu" not in points
    assert "block_12_project_BN" not in points


@pytest.mark.parametrize(("freeze", "name"), [("16", "block_12_add"), ("8", "block_5_add"), ("4", "block_2_add")])
def test_a_stride_names_the_last_narrow_point(model, freeze, name):
    assert freeze_point(model, freeze) is freeze_points(model)[name]


@pytest.mark.parametrize("freeze", ["block_12_add", "8", "block_13_expand_relu"])
def test_stem_and_top_are_the_whole(model, freeze, pixels):
    at = freeze_point(model, freeze)
    low, top = keras.Model(model.inputs, at), keras.Model(at, model.output)
    tensor = PREPROCESSING.tensor(pixels)
    np.testing.assert_allclose(forward(top, forward(low, tensor)), forward(model, tensor), atol=1e-5)


@pytest.mark.parametrize(
    ("freeze", "says"), [("7", "a stride that"), ("block_11_expand_relu", "everything flows through")]
)
def test_a_freeze_that_cannot_be_is_refused_with_those_that_can(model, freeze, says):
    with pytest.raises(UsageError, match=says) as caught:
        freeze_point(model, freeze)
    assert "16" in caught.value.hint


def test_it_is_read_out_at_the_widest_point_of_each_coarse_stride(model):
    assert [t.shape[-1] for t in taps(model, freeze_point(model, "16"), coarsest_from=16)] == [576, 1280]
    assert [t.shape[-1] for t in taps(model, freeze_point(model, "all"), coarsest_from=16)] == [576, 1280]
    assert [t.shape[-1] for t in taps(model, freeze_point(model, "block_16_project_BN"), coarsest_from=16)] == [1280]


def test_the_runner_computes_what_keras_computes(model, pixels):
    stem = keras.Model(model.inputs, freeze_point(model, "16"))
    runner = Runner(stem, PREPROCESSING)
    assert runner.shape == (4, 4, 96)
    parts = list(runner.run([lambda: pixels[:3], lambda: pixels[3:]]))
    assert [len(part) for part in parts] == [3, 2]
    expected = forward(stem, PREPROCESSING.tensor(pixels))
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-4)


def test_the_runners_key_follows_weights_and_preprocessing(model):
    stem = keras.Model(model.inputs, freeze_point(model, "4"))
    same, other = Runner(stem, PREPROCESSING).key, Runner(stem, Preprocessing(64, 64)).key
    assert same == Runner(stem, PREPROCESSING).key
    assert other != same
    clone = keras.models.clone_model(stem)
    assert Runner(clone, PREPROCESSING).key != same


@pytest.mark.parametrize("freeze", ["16", "8", "all", "none"])
def test_the_served_encoder_is_head_and_projected_features(weights, freeze, pixels):
    network = assemble(NetworkSpec("MobileNetV2", size=64, weights=weights, freeze=freeze, dimension=12, features=0.5))
    tensor = network.preprocessing.tensor(pixels)
    low = forward(network.stem, tensor) if network.stem is not None else tensor
    pooled = in_batches(network.pooled, [low])
    np.testing.assert_allclose(start_head(network, pooled), forward(network.model, low), atol=1e-5)
    unit = joint([pooled])
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-5)
    served = forward(encoder([network], embedding_above([network], (unit, np.arange(5)))), tensor)
    mean, matrix = whitening(unit, 6)
    white = (unit - mean) @ matrix
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    head = forward(network.model, low)
    expected = np.concatenate([head, white], axis=1) / np.sqrt(2)
    np.testing.assert_allclose(served, expected, atol=1e-4)


def test_steps_that_see_less_change_what_is_learned_not_what_is_served(weights, pixels):
    whole = assemble(NetworkSpec("MobileNetV2", size=64, weights=weights, freeze="16", dimension=12, features=0.5))
    part = assemble(
        NetworkSpec("MobileNetV2", size=64, weights=weights, freeze="16", dimension=12, features=0.5, feature_crop=0.75)
    )
    assert (whole.shape[:2], part.shape[:2]) == ((4, 4), (3, 3))
    assert forward(part.model, np.zeros((2, *part.shape), np.float32)).shape == (2, 6)
    tensor = whole.preprocessing.tensor(pixels)
    low = forward(whole.stem, tensor)
    pooled = in_batches(whole.pooled, [low])
    np.testing.assert_array_equal(in_batches(part.pooled, [low]), pooled)
    served = []
    for network in (whole, part):
        start_head(network, pooled)
        served.append(forward(encoder([network], embedding_above([network], (joint([pooled]), np.arange(5)))), tensor))
    np.testing.assert_array_equal(*served)
    assert len(part.slow) == len(whole.slow) > 0


def test_an_ensemble_is_served_with_their_heads_beside_the_features_of_all(weights, pixels):
    wanted = NetworkSpec("MobileNetV2", size=64, weights=weights, freeze="16", dimension=12, features=0.5, ensemble=2)
    first, second = assemble(wanted), assemble(wanted)
    tensor = first.preprocessing.tensor(pixels)
    low = forward(first.stem, tensor)
    features = joint([in_batches(network.pooled, [low]) for network in (first, second)])
    labels = np.array([0, 0, 1, 1, 1])
    served = forward(encoder([first, second], embedding_above([first, second], (features, labels))), tensor)
    assert first.dimension == 12 + 6
    heads = [forward(network.model, low) for network in (first, second)]
    assert np.abs(heads[0] - heads[1]).max() > 1e-3
    np.testing.assert_allclose(served[:, :12], np.concatenate(heads, axis=1) / 2, atol=1e-4)
    mean, matrix = discriminant(features, labels, 6)
    projected = (features - mean) @ matrix
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(served[:, 12 : 12 + projected.shape[1]], projected / np.sqrt(2), atol=1e-4)


def test_a_stem_of_random_weights_is_refused():
    with pytest.raises(UsageError, match="frozen layers") as caught:
        assemble(NetworkSpec(size=64, weights="none", freeze="16"))
    assert "--freeze none" in caught.value.hint
