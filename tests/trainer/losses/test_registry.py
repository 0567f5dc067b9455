import numpy as np
import pytest

from retrieval.errors import UsageError
from tests.lazily import lazily

keras = lazily("keras")
losses = lazily("trainer.losses")

NAMES = [
    "supcon",
    "supcon+softmax",
    "triplet-random",
    "triplet-semi-hard",
    "triplet-batch-hard",
    "triplet-batch-all",
    "multi-similarity",
    "proxy-anchor",
    "normalized-softmax",
    "arcface",
]


def value(loss, labels, outputs):
    return keras.ops.convert_to_numpy(loss(labels, outputs))


def test_the_names_are_those_that_recipes_use():
    assert set(losses.LOSSES) == set(NAMES)
    assert losses.DEFAULT_LOSS == "supcon+softmax"


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_can_compile_and_train_with_any_of_them(name):
    spec = losses.LOSSES[name]
    built = losses.build_losses(name)
    assert set(built.losses) == set(built.weights) == set(spec.heads)
    assert built.parameters == spec.parameters
    assert built.scale > 0
    source = keras.Input((6,))
    outputs = {"embeddings": keras.layers.UnitNormalization()(keras.layers.Dense(4)(source))}
    if "cosines" in spec.heads:
        outputs["cosines"] = losses.cosine_classifier(3)(outputs["embeddings"])
    model = keras.Model(source, outputs)
    model.compile(
        "sgd",
        built.losses,
        loss_weights=built.weights,
        metrics={"embeddings": losses.pair_metrics()},
        jit_compile=False,
    )
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 4)
    logs = model.train_on_batch(
        rng.normal(size=(12, 6)).astype("float32"), dict.fromkeys(outputs, labels), return_dict=True
    )
    assert np.isfinite(logs["loss"])
    assert logs["loss"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_losses_that_compare_within_the_batch_want_pk_batches(name):
    spec = losses.LOSSES[name]
    assert spec.batches == ("pk" if "embeddings" in spec.heads else "random")
    assert spec.unit == (not name.startswith("triplet"))
    assert spec.use


def test_the_default_is_supcon_with_half_a_normalized_softmax():
    built = losses.build_losses()
    assert built.weights == {"embeddings": 1.0, "cosines": 1.0}
    assert built.parameters == {"temperature": 0.1, "classifier_temperature": 0.05, "classifier_weight": 1.0}
    assert losses.build_losses(overrides={"classifier_weight": 2}).weights["cosines"] == 2.0


def test_overrides_reach_the_loss():
    labels, x = np.array([0, 0, 1, 1]), np.zeros((4, 3), "float32")
    assert value(losses.build_losses("triplet-batch-hard").losses["embeddings"], labels, x) == pytest.approx(0.2)
    built = losses.build_losses("triplet-batch-hard", {"margin": 0.7})
    assert value(built.losses["embeddings"], labels, x) == pytest.approx(0.7)
    assert built.scale == built.parameters["margin"] == 0.7
    soft = losses.build_losses("triplet-batch-all", {"soft": True})
    assert value(soft.losses["embeddings"], labels, x) == pytest.approx(np.log(2.0))
    assert soft.scale == 1.0
    cosines = np.array([[0.5, -0.5]] * 4, "float32")
    one, two = (
        value(losses.build_losses(overrides={"classifier_temperature": t}).losses["cosines"], labels, cosines)
        for t in (1, 2)
    )
    assert not np.allclose(one, two)


@pytest.mark.parametrize("name", ["arcface", "proxy-anchor", "supcon"])
def test_a_margin_of_cosines_is_no_scale_of_distances(name):
    assert losses.build_losses(name).scale == 0.2


def test_random_triplets_follow_the_seed_of_the_run():
    rng = np.random.default_rng(0)
    labels, x = np.repeat(np.arange(4), 4), rng.normal(size=(16, 3)).astype("float32")
    one, again, other = (
        value(losses.build_losses("triplet-random", seed=seed).losses["embeddings"], labels, x) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert "seed" not in losses.LOSSES["triplet-random"].parameters


def test_an_unknown_loss_is_refused_with_the_choices():
    with pytest.raises(UsageError, match="expected a known loss, received 'triplet'") as caught:
        losses.build_losses("triplet")
    for name in NAMES:
        assert name in caught.value.hint


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("supcon", {"margin": 0.2}, "a parameter of supcon, received 'margin'"),
        ("triplet-random", {"seed": 1}, "a parameter of triplet-random, received 'seed'"),
        ("supcon", {"temperature": 0}, "above 0"),
        ("supcon+softmax", {"classifier_temperature": 0.0}, "above 0"),
        ("arcface", {"scale": -1.0}, "above 0"),
        ("multi-similarity", {"mining_margin": -0.1}, "at least 0"),
        ("triplet-semi-hard", {"margin": float("nan")}, "finite number"),
        ("triplet-semi-hard", {"margin": "0.2"}, "finite number"),
        ("triplet-semi-hard", {"margin": True}, "finite number"),
        ("triplet-batch-hard", {"soft": 1.0}, "true or false"),
    ],
)
def test_impossible_parameters_are_refused(name, overrides, words):
    with pytest.raises(UsageError, match=words):
        losses.build_losses(name, overrides)
