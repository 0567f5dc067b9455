"""What a user meets on the first day, counted on vectors made by hand."""

import numpy as np

from trainer.starter.first_day import FOLDS, GALLERIES, Embedded, Hits, Shop, first_day, fold, mean_of, table

PRODUCTS = tuple(f"p{i:02}" for i in range(12))


def embedded(each: int, noise: float, seed: int) -> Embedded:
    rng = np.random.default_rng(seed)
    vectors = np.repeat(np.eye(12, dtype=np.float32), each, axis=0) + rng.normal(0, noise, (12 * each, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embedded(vectors.astype(np.float32), np.repeat(np.array(PRODUCTS), each))


def test_folds_deal_every_product_once() -> None:
    dealt = [name for number in range(FOLDS) for name in fold(PRODUCTS, number)]
    assert sorted(dealt) == sorted(PRODUCTS)
    assert fold(PRODUCTS, 0) == fold(PRODUCTS[::-1], 0)


def test_photos_that_lie_where_their_product_does_are_all_found() -> None:
    shop = Shop(embedded(8, 0.01, 0), embedded(3, 0.01, 1), embedded(1, 0.01, 2))
    hits = first_day(shop, PRODUCTS[:4])
    assert list(hits) == list(GALLERIES)
    assert all(found.first == found.shown == found.asked for found in hits.values())
    assert [found.asked for found in hits.values()] == [12, 12, 60, 60]


def test_a_product_of_which_another_is_nearer_counts_among_those_shown() -> None:
    studio = np.eye(12, dtype=np.float32)
    swapped = np.arange(12)
    swapped[[0, 11]] = [11, 0]  # the first product's studio picture looks like the last product
    shop = Shop(embedded(8, 0.0, 0), embedded(1, 0.0, 0), Embedded(studio[swapped], np.array(PRODUCTS)))
    hits = first_day(shop, PRODUCTS[:2])
    everything, alone = (hits[name] for name in GALLERIES[:2])
    assert (everything.first, everything.asked) == (1, 2)
    assert (alone.shown, alone.asked) == (2, 2)


def test_the_table_has_means_of_folds() -> None:
    half, all_ = (dict.fromkeys(GALLERIES, hits) for hits in (Hits(1, 2, 4), Hits(1, 1, 1)))
    row = mean_of([half, all_])
    assert set(row.values()) == {".62 / .75"}
    assert table([("some", row)]).splitlines()[-1] == "| some |" + " .62 / .75 |" * 4
