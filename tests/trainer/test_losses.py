"""Each loss against a brute-force oracle in numpy loops, and its gradient where rows coincide."""

import keras
import numpy as np
import pytest
from keras import ops

from trainer.losses import (
    anchor_negative,
    anchor_positive,
    cosine_classifier,
    embedding_spread,
    normalized_softmax,
    squared_distances,
    supcon,
    triplet_batch_hard,
    triplet_random,
    triplet_semi_hard,
)


def batch(seed, n=12, d=5, products=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return rng.integers(0, products, n), x.astype(np.float32)


def distance(x, i, j):
    return float(((x[i].astype(float) - x[j].astype(float)) ** 2).sum())


def oracle_supcon(labels, x, t):
    losses = []
    for i in range(len(x)):
        positives = [j for j in range(len(x)) if j != i and labels[j] == labels[i]]
        total = sum(np.exp(float(x[i] @ x[j]) / t) for j in range(len(x)) if j != i)
        terms = [-np.log(np.exp(float(x[i] @ x[p]) / t) / total) for p in positives]
        losses.append(np.mean(terms) if terms else 0.0)
    return losses


def oracle_batch_hard(labels, x, margin, soft):
    losses = []
    for i in range(len(x)):
        positives = [distance(x, i, j) for j in range(len(x)) if j != i and labels[j] == labels[i]]
        negatives = [distance(x, i, j) for j in range(len(x)) if labels[j] != labels[i]]
        if not positives or not negatives:
            losses.append(0.0)
            continue
        gap = max(positives) - min(negatives)
        losses.append(np.log1p(np.exp(gap)) if soft else max(0.0, gap + margin))
    return losses


def oracle_semi_hard(labels, x, margin):
    losses = []
    for i in range(len(x)):
        negatives = [distance(x, i, j) for j in range(len(x)) if labels[j] != labels[i]]
        terms = []
        for p in range(len(x)):
            if p == i or labels[p] != labels[i] or not negatives:
                continue
            to_positive = distance(x, i, p)
            farther = [n for n in negatives if n > to_positive]
            negative = min(farther) if farther else max(negatives)
            terms.append(max(0.0, to_positive - negative + margin))
        losses.append(np.mean(terms) if terms else 0.0)
    return losses


def value(loss, labels, x):
    return ops.convert_to_numpy(loss(ops.convert_to_tensor(labels), ops.convert_to_tensor(x)))


@pytest.mark.parametrize("seed", range(5))
class TestAgainstBruteForce:
    def test_supcon(self, seed):
        labels, x = batch(seed)
        np.testing.assert_allclose(value(supcon(0.2), labels, x), oracle_supcon(labels, x, 0.2), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("soft", [False, True])
    def test_batch_hard(self, seed, soft):
        labels, x = batch(seed)
        np.testing.assert_allclose(
            value(triplet_batch_hard(0.3, soft=soft), labels, x),
            oracle_batch_hard(labels, x, 0.3, soft),
            rtol=1e-4,
            atol=1e-5,
        )

    def test_semi_hard(self, seed):
        labels, x = batch(seed)
        np.testing.assert_allclose(
            value(triplet_semi_hard(0.3), labels, x), oracle_semi_hard(labels, x, 0.3), rtol=1e-4, atol=1e-5
        )

    def test_random_triplets_are_possible_triplets_and_all_of_them_occur(self, seed):
        labels, x = batch(seed, n=8, products=3)
        loss = triplet_random(0.3, seed=seed)
        drawn = np.stack([value(loss, labels, x) for _ in range(200)])
        for i in range(len(x)):
            possible = {
                round(max(0.0, distance(x, i, p) - distance(x, i, n) + 0.3), 4)
                for p in range(len(x))
                for n in range(len(x))
                if p != i and labels[p] == labels[i] and labels[n] != labels[i]
            } or {0.0}
            seen = {round(float(v), 4) for v in drawn[:, i]}
            for v in seen:
                assert min(abs(v - p) for p in possible) < 2e-4
            assert len(seen) >= 0.8 * len(possible)

    def test_normalized_softmax(self, seed):
        labels, x = batch(seed)
        layer = cosine_classifier(4)
        cosines = ops.convert_to_numpy(layer(x))
        expected = [-np.log(np.exp(c[y] / 0.1) / np.exp(c / 0.1).sum()) for c, y in zip(cosines, labels, strict=True)]
        np.testing.assert_allclose(
            value(normalized_softmax(0.1), labels[:, None], cosines), expected, rtol=1e-4, atol=1e-5
        )

    def test_batch_statistics(self, seed):
        labels, x = batch(seed)
        same = labels[:, None] == labels[None, :]
        d = np.array([[distance(x, i, j) for j in range(len(x))] for i in range(len(x))])
        positives = [[d[i, j] for j in range(len(x)) if same[i, j] and i != j] for i in range(len(x))]
        np.testing.assert_allclose(
            value(anchor_positive, labels, x), [np.mean(p) if p else 0 for p in positives], atol=1e-5
        )
        np.testing.assert_allclose(
            value(anchor_negative, labels, x), (d * ~same).sum(1) / np.maximum((~same).sum(1), 1), atol=1e-5
        )
        assert value(embedding_spread, labels, x).mean() == pytest.approx(x.var(axis=0).sum(), abs=1e-5)


EMBEDDING_LOSSES = {
    "supcon": supcon(0.1),
    "random": triplet_random(0.2, seed=1),
    "batch hard": triplet_batch_hard(0.2),
    "batch hard, soft": triplet_batch_hard(0.2, soft=True),
    "semi-hard": triplet_semi_hard(0.2),
}


@pytest.mark.parametrize("name", EMBEDDING_LOSSES)
@pytest.mark.parametrize("case", ["all rows coincide", "positives coincide", "one product", "all alone"])
def test_values_and_gradients_stay_finite(name, case):
    import tensorflow as tf

    labels = np.array([0, 0, 1, 1, 2, 2])
    x = np.eye(6, 8, dtype=np.float32)
    if case == "all rows coincide":
        x[:] = x[0]
    elif case == "positives coincide":
        x = x[labels]
    elif case == "one product":
        labels[:] = 0
    else:
        labels = np.arange(6)
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        unit = variable / tf.norm(variable, axis=1, keepdims=True)
        loss = EMBEDDING_LOSSES[name](tf.constant(labels), unit)
    gradient = tape.gradient(loss, variable)
    assert loss.shape == (6,)
    assert np.isfinite(loss.numpy()).all()
    assert gradient is not None
    assert np.isfinite(gradient.numpy()).all()
    if case == "all alone":
        np.testing.assert_allclose(loss.numpy(), 0.0, atol=1e-6)


def test_distances_of_unnormalized_rows_have_a_finite_gradient_at_zero():
    import tensorflow as tf

    x = tf.Variable(np.full((3, 4), 7.0, np.float32))
    with tf.GradientTape() as tape:
        d = squared_distances(x)
    np.testing.assert_allclose(d.numpy(), 0.0, atol=1e-3)
    assert np.isfinite(tape.gradient(d, x).numpy()).all()


def test_the_classifier_keeps_unit_columns_after_a_step():
    source = keras.Input((6,))
    model = keras.Model(source, cosine_classifier(5)(source))
    model.compile(keras.optimizers.SGD(1.0), normalized_softmax(0.1), jit_compile=False)
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.normal(size=(8, 6)).astype("float32"), rng.integers(0, 5, 8))
    norms = np.linalg.norm(model.layers[-1].get_weights()[0], axis=0)
    np.testing.assert_allclose(norms, 1.0, atol=1e-5)
