"""Which pictures meet in a batch: P products x K pictures, look-alikes together, a share for some products.

Everything is a function of ``(seed, epoch)``: the same pair gives the same batches,
so a run that continues from a checkpoint sees what an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError


def pk_batches(
    labels: NDArray[np.int64],
    *,
    products: int,
    views: int,
    seed: int,
    epoch: int,
    families: Sequence[int] | NDArray[np.int64] | None = None,
    twin_share: float = 0.0,
) -> Iterator[NDArray[np.int64]]:
    """One epoch of batches of ``products`` products with ``views`` pictures each.

    The epoch makes as many passes over the products as a product has pictures on average
    per ``views``, so it sees about as many pictures as there are. A pass drops the
    products that do not fill its last batch; they are others each time.

    Args:
        labels: the product of each picture, 0..c-1, shape (n,).
        products: P, at least 2.
        views: K, at least 2; drawn with replacement from a product that has fewer.
        seed: of the run.
        epoch: of the run, from 0.
        families: the family of each *product*, shape (c,): products that look alike.
        twin_share: the part of the families, in [0, 1], whose products are kept side by side in
            a pass, and so in one batch: otherwise look-alikes would seldom meet.

    Yields:
        Indices into ``labels``, shape (P * K,), the K pictures of a product side by side.

    Raises:
        UsageError: P or K below 2, fewer than P products, or labels with gaps.
    """
    if products < 2 or views < 2:
        raise UsageError(
            f"expected batches of at least 2 products x 2 pictures, received {products} x {views}",
            hint="give P and K of at least 2: a pair of each kind must be in every batch",
        )
    pictures = _pictures_of_products(labels)
    if len(pictures) < products:
        raise UsageError(
            f"expected at least {products} products for a batch, received {len(pictures)}",
            hint="add products or make the batches smaller",
        )
    rng = np.random.default_rng([seed, epoch])
    for _ in range(max(1, round(len(labels) / (len(pictures) * views)))):
        order = _order(rng, len(pictures), families, twin_share)
        for start in range(0, len(order) - products + 1, products):
            yield np.concatenate([_draw(rng, pictures[product], views) for product in order[start : start + products]])


def shared_batches(
    labels: NDArray[np.int64],
    reserved: NDArray[np.bool_],
    share: float,
    *,
    products: int,
    views: int,
    seed: int,
    epoch: int,
    families: Sequence[int] | NDArray[np.int64] | None = None,
    twin_share: float = 0.0,
) -> Iterator[NDArray[np.int64]]:
    """One epoch of batches in which some products have a share of their own, however many others there are.

    Drawn evenly, a few products with photos would hardly be met among many drawings. The epoch has as many batches as
    there are pictures for; the reserved products, when they are few, come around more often than the others.

    Args:
        labels: the product of each picture, 0..c-1, shape (n,).
        reserved: which *products* have the share, shape (c,).
        share: their part of every batch, in (0, 1); one product of each kind at least.
        products: P, at least 2.
        views: K, at least 2; drawn with replacement from a product that has fewer.
        seed: of the run.
        epoch: of the run, from 0.
        families: as in `pk_batches`.
        twin_share: as in `pk_batches`.

    Yields:
        Indices into ``labels``, shape (P * K,), the K pictures of a product side by side, reserved ones first.

    Raises:
        UsageError: too few products of either kind to fill their part of a batch.
    """
    pictures = _pictures_of_products(labels)
    first = min(products - 1, max(1, round(share * products)))
    rng = np.random.default_rng([seed, epoch])
    family = np.arange(len(pictures)) if families is None else np.asarray(families, dtype=np.int64)
    parts = []
    for members, count in ((np.flatnonzero(reserved), first), (np.flatnonzero(~reserved), products - first)):
        if len(members) < count:
            raise UsageError(
                f"expected at least {count} products for their share of a batch, received {len(members)}",
                hint="add products or make the batches smaller",
            )
        own = np.unique(family[members], return_inverse=True)[1]
        parts.append(_around(rng, members, count, own, twin_share))
    for _ in range(max(1, round(len(labels) / (products * views)))):
        chosen = np.concatenate([next(part) for part in parts])
        yield np.concatenate([_draw(rng, pictures[product], views) for product in chosen])


def _around(
    rng: np.random.Generator,
    members: NDArray[np.int64],
    count: int,
    families: NDArray[np.int64],
    twin_share: float,
) -> Iterator[NDArray[np.int64]]:
    """``count`` products at a time, pass after pass; a pass leaves out those that do not fill its last part."""
    while True:
        order = members[_order(rng, len(members), families, twin_share)]
        for start in range(0, len(order) - count + 1, count):
            yield order[start : start + count]


def random_batches(labels: NDArray[np.int64], *, size: int, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """One epoch of plain shuffled batches, shape (size,); the incomplete last one is dropped."""
    order = np.random.default_rng([seed, epoch]).permutation(len(labels)).astype(np.int64)
    for start in range(0, len(order) - size + 1, size):
        yield order[start : start + size]


def _pictures_of_products(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    present = np.unique(labels)
    if not np.array_equal(present, np.arange(len(present))):
        raise UsageError(
            f"expected labels that number {len(present)} products from 0 without gaps, "
            f"received labels {present[:1]} to {present[-1:]}",
            hint="number the products with numpy.unique(..., return_inverse=True)",
        )
    order = np.argsort(labels, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return list(np.split(order, starts))


def _order(
    rng: np.random.Generator,
    count: int,
    families: Sequence[int] | NDArray[np.int64] | None,
    twin_share: float,
) -> NDArray[np.int64]:
    """A random order of the products in which the chosen families stand together."""
    if families is None or twin_share <= 0.0:
        return rng.permutation(count).astype(np.int64)
    family = np.asarray(families, dtype=np.int64)
    places = rng.random(count)  # a product's own place in the order
    size = int(family.max()) + 1
    together = rng.random(size) < twin_share
    family_places = rng.random(size)
    keys = np.where(together[family], family_places[family], places)
    return np.lexsort((places, keys)).astype(np.int64)


def _draw(rng: np.random.Generator, pictures: NDArray[np.int64], views: int) -> NDArray[np.int64]:
    return rng.choice(pictures, size=views, replace=len(pictures) < views).astype(np.int64)
