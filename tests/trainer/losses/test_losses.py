"""Each loss against its paper in plain loops, and what must hold for any batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lazily import lazily
from tests.trainer.losses import oracles as oracle
from tests.trainer.losses.oracles import batch, distance, negatives, positives, triplets

keras = lazily("keras")
losses = lazily("trainer.losses")

# name: (makes the loss, oracle)
ON_EMBEDDINGS = {
    "supcon": (lambda: losses.supcon(0.2), lambda y, x: oracle.supcon(y, x, 0.2)),
    "batch hard": (lambda: losses.triplet_batch_hard(0.3), lambda y, x: oracle.batch_hard(y, x, 0.3)),
    "batch hard, soft": (lambda: losses.triplet_batch_hard(soft=True), lambda y, x: oracle.batch_hard(y, x, soft=True)),
    "semi-hard": (lambda: losses.triplet_semi_hard(0.3), lambda y, x: oracle.semi_hard(y, x, 0.3)),
    "batch all": (lambda: losses.triplet_batch_all(0.3), lambda y, x: oracle.batch_all(y, x, 0.3)),
    "batch all, soft": (lambda: losses.triplet_batch_all(soft=True), lambda y, x: oracle.batch_all(y, x, soft=True)),
    "multi-similarity": (lambda: losses.multi_similarity(), oracle.multi_similarity),
    "active triplets": (lambda: losses.active_triplets(0.3), lambda y, x: oracle.active_triplets(y, x, 0.3)),
}
ON_COSINES = {
    "normalized softmax": (lambda: losses.normalized_softmax(0.1), lambda y, c: oracle.normalized_softmax(y, c, 0.1)),
    "arcface": (lambda: losses.arcface(), oracle.arcface),
    "proxy anchor": (lambda: losses.proxy_anchor(), oracle.proxy_anchor),
}
TRIPLETS = {
    "random": lambda margin: losses.triplet_random(margin, seed=3),
    "batch hard": lambda margin: losses.triplet_batch_hard(margin),
    "semi-hard": lambda margin: losses.triplet_semi_hard(margin),
    "batch all": lambda margin: losses.triplet_batch_all(margin),
}

batches = st.builds(
    batch,
    st.integers(0, 2**31),
    n=st.integers(2, 14),
    d=st.integers(2, 9),
    products=st.integers(1, 6),
)


def value(loss, labels, x):
    ops = keras.ops
    return ops.convert_to_numpy(loss(ops.convert_to_tensor(labels), ops.convert_to_tensor(x)))


def agrees(received, expected):
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ON_EMBEDDINGS)
@settings(max_examples=25)
@given(data=batches)
def test_losses_on_embeddings_are_what_their_papers_say(name, data):
    make, expected = ON_EMBEDDINGS[name]
    loss = make()
    labels, x, _ = data
    received = value(loss, labels, x)
    assert received.shape == (len(x),)
    agrees(received, expected(labels, x))
    agrees(value(loss, labels[:, None].astype("float32"), x), received)  # as Keras hands labels over


@pytest.mark.parametrize("name", ON_COSINES)
@settings(max_examples=25)
@given(data=batches)
def test_losses_on_cosines_are_what_their_papers_say(name, data):
    make, expected = ON_COSINES[name]
    loss = make()
    labels, _, cosines = data
    received = value(loss, labels, cosines)
    assert received.shape == (len(labels),)
    agrees(received, expected(labels, cosines))
    agrees(value(loss, labels[:, None].astype("float32"), cosines), received)


@pytest.mark.parametrize("name", [n for n in ON_EMBEDDINGS if n not in ("supcon", "multi-similarity")])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_triplets_take_vectors_of_any_length_and_place(name, offset):
    make, expected = ON_EMBEDDINGS[name]
    loss = make()
    labels, x, _ = batch(1, n=16, d=8, unit=False)
    x = x + np.float32(offset)  # no digits are lost to a common offset
    np.testing.assert_allclose(value(loss, labels, x), expected(labels, x), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", TRIPLETS)
@settings(max_examples=20)
@given(data=batches, factor=st.sampled_from([0.25, 2.0, 8.0]))
def test_triplets_scale_with_the_square_of_the_vectors(name, data, factor):
    labels, x, _ = data
    small, large = value(TRIPLETS[name](0.2), labels, x), value(TRIPLETS[name](0.2 * factor**2), labels, factor * x)
    np.testing.assert_allclose(large, factor**2 * small, rtol=1e-4, atol=2e-5 * factor**2)


@pytest.mark.parametrize("name", ON_EMBEDDINGS)
@settings(max_examples=20)
@given(data=batches, seed=st.integers(0, 2**31))
def test_order_rotation_and_the_names_of_products_do_not_matter(name, data, seed):
    labels, x, _ = data
    loss = ON_EMBEDDINGS[name][0]()
    rng = np.random.default_rng(seed)
    before = value(loss, labels, x)
    order = rng.permutation(len(x))
    agrees(value(loss, labels[order], x[order]), before[order])
    agrees(value(loss, rng.permutation(1000)[labels], x), before)
    turn, _ = np.linalg.qr(rng.normal(size=(x.shape[1], x.shape[1])))
    agrees(value(loss, labels, (x @ turn).astype("float32")), before)


@pytest.mark.parametrize("name", ON_COSINES)
@settings(max_examples=20)
@given(data=batches, seed=st.integers(0, 2**31))
def test_order_of_pictures_and_products_does_not_matter(name, data, seed):
    labels, _, cosines = data
    loss = ON_COSINES[name][0]()
    rng = np.random.default_rng(seed)
    before = value(loss, labels, cosines)
    order = rng.permutation(len(labels))
    agrees(value(loss, labels[order], cosines[order]), before[order])
    columns = rng.permutation(cosines.shape[1])
    agrees(value(loss, np.argsort(columns)[labels], cosines[:, columns]), before)


@settings(max_examples=25)
@given(data=batches)
def test_the_hardest_triplet_costs_most_and_an_anchor_alone_costs_nothing(data):
    labels, x, _ = data
    hardest = value(losses.triplet_batch_hard(0.2), labels, x)
    assert (hardest >= 0.0).all()
    for easier in (losses.triplet_random(0.2), losses.triplet_semi_hard(0.2)):
        assert (value(easier, labels, x) <= hardest + 1e-5).all()
    for name, (make, _) in ON_EMBEDDINGS.items():
        needs_negative = name != "supcon"
        for i, row in enumerate(value(make(), labels, x)):
            if not positives(labels, i) or (needs_negative and not negatives(labels, i)):
                assert row == 0.0, name


@settings(max_examples=25)
@given(data=batches)
def test_arcface_without_a_margin_is_the_normalized_softmax_and_with_one_costs_more(data):
    labels, _, cosines = data
    plain = value(losses.normalized_softmax(1 / 16), labels, cosines)
    np.testing.assert_allclose(value(losses.arcface(0.0, 16.0), labels, cosines), plain, rtol=1e-4, atol=2e-2)
    assert (value(losses.arcface(0.3, 16.0), labels, cosines) >= plain - 2e-2).all()


@pytest.mark.parametrize("seed", range(5))
def test_random_triplets_are_possible_triplets_and_all_of_them_occur(seed):
    labels, x, _ = batch(seed, n=8, products=3)
    usable = {a for a, _, _ in triplets(labels)}
    drawn = np.stack([value(losses.triplet_random(0.3, seed=s), labels, x) for s in range(100)])
    drawn *= len(usable) / len(x)  # back from the mean over usable anchors
    for i in range(len(x)):
        possible = {
            round(max(0.0, distance(x, i, p) - distance(x, i, m) + 0.3), 4) for a, p, m in triplets(labels) if a == i
        } or {0.0}
        seen = {round(float(v), 4) for v in drawn[:, i]}
        for v in seen:
            assert min(abs(v - p) for p in possible) < 2e-4
        assert len(seen) >= 0.8 * len(possible)


def test_random_triplets_are_a_function_of_the_batch_and_differ_when_it_is_shuffled():
    labels, x, _ = batch(0, n=32, products=4)
    loss = losses.triplet_random(0.3, seed=1)
    np.testing.assert_array_equal(value(loss, labels, x), value(loss, labels, x))
    order = np.random.default_rng(0).permutation(len(x))
    assert np.abs(value(loss, labels[order], x[order]) - value(loss, labels, x)[order]).max() > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_batch_statistics(seed):
    labels, x, _ = batch(seed)
    own = [[distance(x, i, j) for j in positives(labels, i)] for i in range(len(x))]
    others = [[distance(x, i, j) for j in negatives(labels, i)] for i in range(len(x))]
    agrees(value(losses.anchor_positive, labels, x), [np.mean(d) if d else 0 for d in own])
    agrees(value(losses.anchor_negative, labels, x), [np.mean(d) if d else 0 for d in others])
    assert value(losses.embedding_spread, labels, x).mean() == pytest.approx(x.var(axis=0).sum(), abs=1e-5)


def test_metrics_are_means_over_the_anchors_that_have_what_they_compare():
    labels = np.array([0, 0, 1, 2, 3, 4, 5, 6])  # two anchors of eight have a positive
    x = np.eye(8, dtype="float32")
    x[1] = x[0] * 0.6 + x[1] * 0.8  # squared L2 to row 0: 2 - 2 * 0.6
    metrics = {metric.name: metric for metric in losses.pair_metrics(2.0)}
    for _ in range(2):
        for metric in metrics.values():
            metric.update_state(labels, x)
    for metric in metrics.values():  # a batch without any positive changes nothing about positives
        metric.update_state(np.arange(8), np.eye(8, dtype="float32"))
    received = {name: float(metric.result()) for name, metric in metrics.items()}
    assert received["anchor_positive"] == pytest.approx(0.8, abs=1e-5)
    assert received["active_triplets"] == pytest.approx(1.0)
    assert 1.9 < received["anchor_negative"] <= 2.0
    assert 0.8 < received["embedding_spread"] < 0.9


def test_the_classifier_keeps_unit_columns_after_a_step():
    source = keras.Input((6,))
    model = keras.Model(source, losses.cosine_classifier(5)(source))
    model.compile(keras.optimizers.SGD(1.0), losses.normalized_softmax(0.1), jit_compile=False)
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.normal(size=(8, 6)).astype("float32"), rng.integers(0, 5, 8))
    norms = np.linalg.norm(model.layers[-1].get_weights()[0], axis=0)
    np.testing.assert_allclose(norms, 1.0, atol=1e-5)
