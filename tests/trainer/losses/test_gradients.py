"""Gradients: right on ordinary batches, finite on those that tempt a division or a root by 0."""

import numpy as np
import pytest

from tests.lazily import lazily
from tests.trainer.losses import oracles as oracle
from tests.trainer.losses.oracles import batch

losses = lazily("trainer.losses")
tf = lazily("tensorflow")

# name: (makes the loss, oracle or None)
ON_EMBEDDINGS = {
    "supcon": (lambda: losses.supcon(), oracle.supcon),
    "random": (lambda: losses.triplet_random(), None),
    "batch hard": (lambda: losses.triplet_batch_hard(), oracle.batch_hard),
    "batch hard, soft": (lambda: losses.triplet_batch_hard(soft=True), lambda y, x: oracle.batch_hard(y, x, soft=True)),
    "semi-hard": (lambda: losses.triplet_semi_hard(), oracle.semi_hard),
    "batch all": (lambda: losses.triplet_batch_all(), oracle.batch_all),
    "batch all, soft": (lambda: losses.triplet_batch_all(soft=True), lambda y, x: oracle.batch_all(y, x, soft=True)),
    "multi-similarity": (lambda: losses.multi_similarity(), oracle.multi_similarity),
}
ON_COSINES = {
    "normalized softmax": (lambda: losses.normalized_softmax(), oracle.normalized_softmax),
    "arcface": (lambda: losses.arcface(), oracle.arcface),
    "proxy anchor": (lambda: losses.proxy_anchor(), oracle.proxy_anchor),
}


def loss_and_gradient(loss, labels, outputs):
    """The rows, and the gradient of their mean, with respect to the outputs."""
    variable = tf.Variable(outputs)
    with tf.GradientTape() as tape:
        rows = loss(tf.constant(labels), variable)
        mean = tf.reduce_mean(rows)
    return rows.numpy(), tape.gradient(mean, variable).numpy()


def slope(expected, labels, outputs, direction, step=1e-6):
    """Of the oracle's mean, by central difference in float64."""
    ahead, behind = (np.mean(expected(labels, outputs.astype(float) + s * direction)) for s in (step, -step))
    return (ahead - behind) / (2.0 * step)


CHECKED = {k: (v, 1) for k, v in ON_EMBEDDINGS.items() if v[1]} | {k: (v, 2) for k, v in ON_COSINES.items()}


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_the_slopes_of_the_formula(name, seed):
    (make, expected), part = CHECKED[name]
    data = batch(seed, n=10, d=6, products=3)
    labels, outputs = data[0], data[part]
    _, gradient = loss_and_gradient(make(), labels, outputs)
    direction = np.random.default_rng(seed).normal(size=outputs.shape)
    assert (gradient * direction).sum() == pytest.approx(
        slope(expected, labels, outputs, direction), rel=2e-3, abs=1e-4
    )


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("name", ON_EMBEDDINGS)
@pytest.mark.parametrize(
    "case", ["all rows coincide", "positives coincide", "one product", "all alone", "one is alone"]
)
def test_losses_on_embeddings_and_their_gradients_stay_finite(name, case, unit):
    labels = np.array([0, 0, 1, 1, 2, 2])
    x = np.eye(6, 8, dtype=np.float32) if unit else 7.0 * np.ones((6, 8), np.float32) + np.eye(6, 8, dtype=np.float32)
    if case == "all rows coincide":
        x[:] = x[0]
    elif case == "positives coincide":
        x = x[labels]
    elif case == "one product":
        labels[:] = 0
    elif case == "all alone":
        labels = np.arange(6)
    else:
        labels[5] = 3
    rows, gradient = loss_and_gradient(ON_EMBEDDINGS[name][0](), labels, x)
    assert rows.shape == (6,)
    assert np.isfinite(rows).all()
    assert np.isfinite(gradient).all()
    if case == "all alone":
        np.testing.assert_array_equal(rows, 0.0)
        np.testing.assert_array_equal(gradient, 0.0)
    if case == "one is alone":
        assert (rows[4:] == 0.0).all()


@pytest.mark.parametrize("name", [n for n in ON_EMBEDDINGS if n not in ("supcon", "multi-similarity")])
def test_triplets_of_coincident_rows_cost_the_margin(name):
    rows, gradient = loss_and_gradient(ON_EMBEDDINGS[name][0](), [0, 0, 1, 1, 2, 3], np.full((6, 4), 7.0, np.float32))
    assert rows.mean() == pytest.approx(np.log(2.0) if "soft" in name else 0.2)  # also where two have no positive
    np.testing.assert_array_equal(gradient, 0.0)  # why nothing leads out of a collapse


@pytest.mark.parametrize("name", ON_COSINES)
@pytest.mark.parametrize("filling", [0.0, 1.0, -1.0, 1.4, -1.4])
@pytest.mark.parametrize("products", [1, 5])
def test_losses_on_cosines_and_their_gradients_stay_finite(name, filling, products):
    labels = np.array([0, 0, 0, products - 1])
    cosines = np.full((4, products), filling, np.float32)
    rows, gradient = loss_and_gradient(ON_COSINES[name][0](), labels, cosines)
    assert np.isfinite(rows).all()
    assert (rows >= -1e-5).all()
    assert np.isfinite(gradient).all()


def test_arcface_stays_finite_through_a_picture_that_is_its_product():
    variable = tf.Variable([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    with tf.GradientTape() as tape:
        unit = variable / tf.norm(variable, axis=1, keepdims=True)
        rows = losses.arcface()(tf.constant([0, 1, 0]), tf.matmul(unit, tf.eye(2)))
    assert np.isfinite(rows.numpy()).all()
    assert np.isfinite(tape.gradient(rows, variable).numpy()).all()
