"""How sure a rate is: bootstrap over products, and exact bounds where a bootstrap has nothing to resample.

Pairs share pictures and photos share products, so neither are independent trials: an interval that
treats them so is far too narrow. The products are the independent units, and they are what is resampled.

* A rate that is a sum over products (VAL, CMC, FNIR, …): the cluster bootstrap. Draw P products with
  replacement; the rate is the ratio of the sums (Field and Welsh 2007).
* FAR, a sum over *pairs* of products: the pigeonhole bootstrap (Owen 2007), with both sides being the
  same products, as for the vertices of a graph (Snijders and Borgatti 1999; Davezies, D'Haultfœuille,
  Guyonvarch 2021). With w_p the times that product p was drawn, the pairs between p and q weigh
  ``w_p w_q``; pairs of p with a copy of itself are no different-product pairs and stay out.
* A rate of exactly 0 or 1 resamples to itself. Its interval is Clopper and Pearson's (1934) for as many
  trials as there are *products*, which is conservative: it holds however strongly photos of one
  product agree.

Intervals are percentiles of the resampled rates. Everything is deterministic for a seed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics.by_product import ProductPairCounts

LEVEL = 0.95
RESAMPLES = 2000

_STRIP = 512
_RESAMPLE_BATCH = 250
_KEPT = 2**18
"""Numbers (resamples x products) up to which what was drawn is kept for the next rate: two megabytes."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: lower end.
        high: upper end.
        level: the confidence, such as 0.95.
        method: ``products`` (cluster bootstrap), ``product-pairs`` (pigeonhole bootstrap), ``exact``
            (Clopper-Pearson), ``wilson``, or ``none`` when there was nothing to estimate from (then nan).
    """

    low: float
    high: float
    level: float
    method: str

    def to_json(self) -> list[float] | None:
        """``[low, high]``; null when there is none."""
        return None if math.isnan(self.low) else [self.low, self.high]


@dataclass(frozen=True, slots=True)
class Difference:
    """A rate of B minus the same rate of A, on the same photos.

    Attributes:
        value: the difference.
        interval: of the difference, by resampling products for both at once.
        probability_better: the part of resamples in which B is above A, ties counting half.
    """

    value: float
    interval: Interval
    probability_better: float


def wilson(part: int, whole: int, *, level: float = LEVEL) -> Interval:
    """Wilson's score interval (1927) for *independent* trials.

    Raises:
        ValueError: not 0 <= part <= whole.
    """
    _check(part, whole, level)
    if not whole:
        return Interval(math.nan, math.nan, level, "none")
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    p = part / whole
    center = p + z * z / (2.0 * whole)
    half = z * math.sqrt(p * (1.0 - p) / whole + z * z / (4.0 * whole * whole))
    scale = 1.0 + z * z / whole
    low = 0.0 if part == 0 else max(0.0, (center - half) / scale)
    high = 1.0 if part == whole else min(1.0, (center + half) / scale)
    return Interval(low, high, level, "wilson")


def clopper_pearson(part: int, whole: int, *, level: float = LEVEL) -> Interval:
    """The exact binomial interval for *independent* trials; 0 of n gives ``1 - (alpha/2)^(1/n)`` at the top.

    Raises:
        ValueError: not 0 <= part <= whole.
    """
    _check(part, whole, level)
    if not whole:
        return Interval(math.nan, math.nan, level, "none")
    tail = (1.0 - level) / 2.0
    # P(X >= part | p) = I_p(part, whole - part + 1) rises with p; the ends are where a tail has the mass left out.
    low = 0.0 if part == 0 else _solve(lambda p: _beta_cdf(part, whole - part + 1, p), tail)
    high = 1.0 if part == whole else _solve(lambda p: _beta_cdf(part + 1, whole - part, p), 1.0 - tail)
    return Interval(low, high, level, "exact")


def by_product(
    values: NDArray[np.generic], labels: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum per product: what `rate_interval` takes.

    Args:
        values: one number or outcome a photo, shape (n,).
        labels: product of each photo, shape (n,).

    Returns:
        The sums of the values and the numbers of photos, each of shape (products,).
    """
    numbers = np.asarray(values, np.float64)
    owner = np.unique(np.asarray(labels), return_inverse=True)[1]
    sums = np.bincount(owner, weights=numbers).astype(np.float64)
    return sums, np.bincount(owner).astype(np.float64)


def rate_interval(
    parts: NDArray[np.generic],
    wholes: NDArray[np.generic],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interval of ``sum(parts) / sum(wholes)``, resampling products.

    Products with ``whole = 0`` say nothing and are left out. A rate of 0 or 1 falls back to
    Clopper-Pearson over products.

    Args:
        parts: per product, 0 <= part <= whole, shape (p,).
        wholes: per product, shape (p,).
        level: the confidence.
        resamples: how many.
        seed: of the random numbers.

    Raises:
        ValueError: the shapes differ or a part is not in [0, whole].
    """
    a, n = _sums(parts, wholes)
    extreme = _extreme(float(a.sum()), float(n.sum()), len(a), level)
    if extreme is not None:
        return extreme
    rates = np.concatenate([(w @ a) / (w @ n) for w in _weights(len(a), resamples, seed)])
    return _percentiles(rates, level, "products")


def val_interval(
    counts: ProductPairCounts, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Interval of VAL: same-product pairs belong to one product each. See `rate_interval`."""
    return rate_interval(counts.accepted_same, counts.same, level=level, resamples=resamples, seed=seed)


def far_interval(
    counts: ProductPairCounts, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Interval of FAR by the pigeonhole bootstrap over products; see the module.

    With fewer than three products nothing can be said of other products: method ``none``.
    """
    size = len(counts.images)
    images = counts.images.astype(np.float64)
    whole = (images.sum() ** 2 - (images**2).sum()) / 2.0
    if size < 3:
        return Interval(math.nan, math.nan, level, "none")
    extreme = _extreme(float(counts.accepted.sum()), whole, size, level)
    if extreme is not None:
        return extreme
    rates = []
    for weights in _weights(size, resamples, seed):
        accepted = _weighted_pairs(weights, counts)
        different = ((weights @ images) ** 2 - (weights**2) @ (images**2)) / 2.0
        kept = different > 0.0
        rates.append(accepted[kept] / different[kept])
    return _percentiles(np.concatenate(rates), level, "product-pairs")


def eer_interval(
    eer: float,
    counts: ProductPairCounts,
    slope: float,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interval of the equal error rate, from the pairs accepted at its threshold.

    The EER of a resample lies where its own FAR and FRR = 1 - VAL cross. To first order, with ``slope`` the
    part of ``d(FAR + VAL)/dt`` that is FAR's, that is ``(1 - slope) FAR + slope FRR`` at the threshold where
    they cross in the whole set (the delta method), both from the same drawn products, and moved by what that
    is off the EER, since a curve in steps need not have a threshold where both are equal.

    Args:
        eer: of the whole set.
        counts: at the threshold where FAR and FRR cross; see `retrieval.metrics.Curve.crossing`.
        slope: in [0, 1].
        level: the confidence.
        resamples: how many.
        seed: of the random numbers.
    """
    size, images = len(counts.images), counts.images.astype(np.float64)
    same = counts.same.astype(np.float64)
    if size < 3 or not same.sum():
        return Interval(math.nan, math.nan, level, "none")
    if eer == 0.0:
        return clopper_pearson(0, size, level=level)
    every = np.ones((1, size))
    rates = []
    for weights in (every, *_weights(size, resamples, seed)):
        within, between = weights @ same, ((weights @ images) ** 2 - (weights**2) @ (images**2)) / 2.0
        kept = (within > 0.0) & (between > 0.0)
        far = _weighted_pairs(weights, counts)[kept] / between[kept]
        frr = 1.0 - (weights @ counts.accepted_same)[kept] / within[kept]
        rates.append((1.0 - slope) * far + slope * frr)
    center, *drawn = rates
    return _percentiles(np.clip(np.concatenate(drawn) - center + eer, 0.0, 1.0), level, "product-pairs")


def paired_difference(
    a: tuple[NDArray[np.generic], NDArray[np.generic]],
    b: tuple[NDArray[np.generic], NDArray[np.generic]],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Is B above A? Both rates from the same drawn products, so that what they share cancels.

    Args:
        a: parts and wholes per product, shapes (p,).
        b: parts and wholes of the same products in the same order, shapes (p,).
        level: the confidence.
        resamples: how many.
        seed: of the random numbers.

    Raises:
        ValueError: the shapes differ or a part is not in [0, whole].
    """
    parts_a, wholes_a, parts_b, wholes_b = (np.asarray(v, np.float64) for v in (*a, *b))
    if parts_a.shape != parts_b.shape:
        raise ValueError(f"expected the same products, received {parts_a.shape} and {parts_b.shape}")
    _check_sums(parts_a, wholes_a)
    _check_sums(parts_b, wholes_b)
    used = (wholes_a > 0) | (wholes_b > 0)
    parts_a, wholes_a, parts_b, wholes_b = (v[used] for v in (parts_a, wholes_a, parts_b, wholes_b))
    if len(parts_a) < 2 or not wholes_a.sum() or not wholes_b.sum():
        return Difference(math.nan, Interval(math.nan, math.nan, level, "none"), math.nan)
    value = float(parts_b.sum() / wholes_b.sum() - parts_a.sum() / wholes_a.sum())
    drawn = []
    for w in _weights(len(parts_a), resamples, seed):
        n_a, n_b = w @ wholes_a, w @ wholes_b
        kept = (n_a > 0) & (n_b > 0)
        drawn.append((w @ parts_b)[kept] / n_b[kept] - (w @ parts_a)[kept] / n_a[kept])
    differences = np.concatenate(drawn)
    better = float(((differences > 0) + 0.5 * (differences == 0)).mean())
    return Difference(value, _percentiles(differences, level, "products"), better)


def _weights(size: int, resamples: int, seed: int) -> Iterable[NDArray[np.float64]]:
    """How often each product was drawn, batch by batch, shape (batch, size)."""
    return _kept_weights(size, resamples, seed) if size * resamples <= _KEPT else _drawn(size, resamples, seed)


@functools.lru_cache(maxsize=8)
def _kept_weights(size: int, resamples: int, seed: int) -> tuple[NDArray[np.float64], ...]:
    """As `_weights`: an evaluation asks for the intervals of fifty rates of the same few products."""
    weights = tuple(_drawn(size, resamples, seed))
    for batch in weights:
        batch.flags.writeable = False
    return weights


def _drawn(size: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _RESAMPLE_BATCH):
        rows = min(_RESAMPLE_BATCH, resamples - start)
        drawn = rng.integers(0, size, (rows, size)) + np.arange(rows)[:, None] * size
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _weighted_pairs(weights: NDArray[np.float64], counts: ProductPairCounts) -> NDArray[np.float64]:
    """``sum_{p<q} w_p w_q accepted_pq`` for each row of weights, by strips of the sparse matrix."""
    size = weights.shape[1]
    totals = np.zeros(len(weights))
    order = np.argsort(counts.first, kind="stable")
    bounds = np.searchsorted(counts.first[order], np.arange(0, size + _STRIP, _STRIP))
    for number, (start, end) in enumerate(pairwise(bounds.tolist())):
        if start == end:
            continue
        top = number * _STRIP
        members = order[start:end]
        strip = np.zeros((min(_STRIP, size - top), size))
        strip[counts.first[members] - top, counts.second[members]] = counts.accepted[members]
        totals += np.einsum("bp,bp->b", weights[:, top : top + _STRIP], weights @ strip.T)
    return totals


def _sums(parts: NDArray[np.generic], wholes: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, n = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    _check_sums(a, n)
    return a[n > 0], n[n > 0]


def _check_sums(a: NDArray[np.float64], n: NDArray[np.float64]) -> None:
    if a.ndim != 1 or a.shape != n.shape or not ((a >= 0) & (a <= n)).all():
        raise ValueError(f"expected 0 <= part <= whole per product, in shapes (p,), received {a.shape}, {n.shape}")


def _extreme(part: float, whole: float, products: int, level: float) -> Interval | None:
    """The interval where there is nothing to resample: no trial, one product, or a rate of 0 or 1."""
    if whole > 0 and part == 0:
        return clopper_pearson(0, products, level=level)
    if whole > 0 and part == whole:
        return clopper_pearson(products, products, level=level)
    if whole == 0 or products < 2:
        return Interval(math.nan, math.nan, level, "none")
    return None


def _percentiles(rates: NDArray[np.float64], level: float, method: str) -> Interval:
    low, high = np.quantile(rates, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(low), float(high), level, method)


def _check(part: int, whole: int, level: float) -> None:
    if not 0 <= part <= whole or not 0.0 < level < 1.0:
        raise ValueError(f"expected 0 <= part <= whole and a level in (0, 1), received {part}, {whole}, {level}")


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Where a function that rises on [0, 1] reaches the target, by bisection to the last bits."""
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2.0
        if middle in (low, high):
            return middle
        low, high = (middle, high) if rising(middle) < target else (low, middle)


def _beta_cdf(a: int, b: int, x: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _beta_cdf(b, a, 1.0 - x)
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(1.0 - (a + b) * x / (a + 1.0), tiny)
    fraction = d
    for m in range(1, 200_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / ((1.0 + term * d) or tiny)
            c = (1.0 + term / c) or tiny
            step = c * d
            fraction *= step
        if abs(step - 1.0) < 1e-15:
            break
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * fraction / a
