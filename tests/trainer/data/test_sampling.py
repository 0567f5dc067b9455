from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import UsageError
from trainer.data.sampling import pk_batches, random_batches, shared_batches


def labels_of(counts):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=30),
    st.integers(2, 4),
    st.integers(2, 5),
    st.integers(0, 2**31),
)
def test_every_batch_has_p_distinct_products_with_k_of_their_own_pictures(counts, p, k, seed):
    labels = labels_of(counts)
    batches = list(pk_batches(labels, products=p, views=k, seed=seed, epoch=0))
    assert batches
    for batch in batches:
        rows = labels[batch].reshape(p, k)
        assert (rows == rows[:, :1]).all()
        assert len(set(rows[:, 0])) == p
        for row, product in zip(batch.reshape(p, k), rows[:, 0], strict=True):
            assert len(set(row)) == k or counts[product] < k


def test_an_epoch_sees_about_as_many_pictures_as_there_are_and_nearly_every_product():
    labels = labels_of([12] * 50)
    seen = np.concatenate(list(pk_batches(labels, products=8, views=4, seed=0, epoch=0)))
    assert 0.9 * len(labels) <= len(seen) <= len(labels)
    assert len(set(labels[seen])) == 50


def test_batches_depend_on_seed_and_epoch_only():
    labels = labels_of([5] * 20)

    def run(seed, epoch):
        return np.concatenate(list(pk_batches(labels, products=4, views=3, seed=seed, epoch=epoch)))

    assert np.array_equal(run(3, 1), run(3, 1))
    assert not np.array_equal(run(3, 1), run(3, 2))
    assert not np.array_equal(run(3, 1), run(4, 1))


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.2), (1.0, 0.75, 1.0)])
def test_twins_meet_as_often_as_asked(share, low, high):
    labels = np.repeat(np.arange(200), 2)
    families = np.arange(200) // 2
    met = total = 0
    for epoch in range(3):
        for batch in pk_batches(labels, products=16, views=2, seed=0, epoch=epoch, families=families, twin_share=share):
            present = set(labels[batch])
            met += sum(1 for product in present if product ^ 1 in present)
            total += len(present)
    assert low <= met / total <= high


def test_random_batches_are_a_permutation():
    labels = labels_of([3] * 10)
    seen = np.concatenate(list(random_batches(labels, size=7, seed=0, epoch=0)))
    assert len(seen) == 28
    assert len(set(seen)) == 28


@pytest.mark.parametrize(
    ("labels", "p", "k", "words"),
    [
        (np.repeat(np.arange(3), 4), 4, 2, "at least 4 products"),
        (np.repeat(np.arange(8), 4), 1, 2, "at least 2 products x 2"),
        (np.repeat(np.arange(8), 4), 2, 1, "at least 2 products x 2"),
        (np.repeat([0, 1, 3, 4], 4), 2, 2, "without gaps"),
    ],
)
def test_impossible_batches_are_refused(labels, p, k, words):
    with pytest.raises(UsageError, match=words):
        next(pk_batches(labels, products=p, views=k, seed=0, epoch=0))


LABELS = np.repeat(np.arange(40), 5)
RESERVED = np.arange(40) < 6


def shared(**changed: Any) -> list[np.ndarray]:
    given = {"share": 0.5, "products": 8, "views": 2, "seed": 3, "epoch": 0} | changed
    return list(shared_batches(LABELS, RESERVED, **given))


def test_reserved_products_have_their_share_of_every_batch_however_few_they_are() -> None:
    batches = shared()
    assert len(batches) == round(len(LABELS) / 16)
    for batch in batches:
        products = LABELS[batch][::2]
        assert RESERVED[products].tolist() == [True] * 4 + [False] * 4
        assert len(set(products.tolist())) == 8
    assert all(np.array_equal(one, two) for one, two in zip(batches, shared(), strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(batches, shared(epoch=1), strict=True))
    assert len({int(p) for batch in batches for p in LABELS[batch]}) > 30


def test_each_kind_has_one_product_in_a_batch_at_least() -> None:
    for share, count in ((0.01, 1), (0.99, 6)):
        for batch in shared(share=share, products=7):
            assert RESERVED[LABELS[batch][::2]].sum() == count


def test_twins_stand_together_in_their_share() -> None:
    twins = np.arange(40) // 2
    for batch in shared(families=twins, twin_share=1.0):
        assert all(count == 2 for count in np.unique(twins[LABELS[batch][::2]], return_counts=True)[1])


def test_too_few_products_for_a_share() -> None:
    with pytest.raises(UsageError, match=r"at least 7 products for their share of a batch, received 6"):
        shared(share=0.5, products=14)
