"""Which voting rule? The tables of docs/measurements/votes.md.

    python benchmarks/votes.py --gallery PHOTOS/train --probes PHOTOS/val [--model NAME_OR_PATH]

Each rule ranks products from the same neighbors. Top-1 and top-5 are over distinct products.
*mixed* keeps one picture of every other product, as when products are new: top-1 of all probes,
and of the probes of those single-picture products. *unknown products* leaves every fourth product
out of the gallery, so that its probes are out-of-gallery: DIR at FPIR 10 % is the part of the other
probes ranked first whose score also beats nine in ten of theirs.

The last table varies the margin of *ambiguous* for the shipped rule: which part of the answered
probes keeps one match (coverage), and how often it is right.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import Refusal, read_catalog
from retrieval.distance import squared_l2
from retrieval.images import pictures
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, Look, embed_pictures
from retrieval.models.installed import resolve_model
from retrieval.recognition import votes
from retrieval.types import CatalogImage

Rule = Callable[[Sequence[float], float, int], float]
"""One product's distances within the threshold (ascending), the threshold, its number of pictures -> score."""


def kernel(distances: Sequence[float], temperature: float) -> list[float]:
    return [math.exp(-d / temperature) for d in distances]


def kernel_sum(temperature: float) -> Rule:
    return lambda ds, t, n: sum(kernel(ds, temperature))


def mean_of_top(k: int, temperature: float) -> Rule:
    return lambda ds, t, n: sum(kernel(ds[:k], temperature)) / k


def mean_of_own(k: int, temperature: float) -> Rule:
    return lambda ds, t, n: sum(kernel(ds[:k], temperature)) / min(k, n)


RULES: dict[str, Rule] = {
    "count": lambda ds, t, n: len(ds) - ds[0] / 4,
    "distance-weighted (1 - d/t)": lambda ds, t, n: sum(1 - d / t for d in ds),
    "max": lambda ds, t, n: -ds[0],
    "mean of top 3 distances": lambda ds, t, n: -sum([*ds[:3], *[t] * (3 - len(ds))][:3]) / 3,
    **{f"kernel sum, T={x}": kernel_sum(x) for x in (0.05, 0.1, 0.2)},
    **{f"mean of top {k} votes, T={x}": mean_of_top(k, x) for k in (3, 5) for x in (0.05, 0.1, 0.2)},
    **{f"mean of own top {k} votes, T={x}": mean_of_own(k, x) for k in (3, 5) for x in (0.05, 0.1, 0.2)},
    "shipped (retrieval.recognition.votes)": lambda ds, t, n: votes.score(
        [*ds, *[math.inf] * (n - len(ds))], threshold=t
    ),
}


def embed(folder: Path, bundle: Bundle) -> tuple[NDArray[np.float32], list[str]]:
    """Unit vectors, shape (n, d), and product ids of every readable picture of a catalog folder."""
    entries = [e for e in read_catalog(folder).entries() if not isinstance(e, Refusal)]

    def look(entry: CatalogImage) -> Look[str]:
        return Look(entry.product_id, pictures.prepare(pictures.read_file(entry.file), bundle.preprocessing))

    photos = [p for p in embed_pictures(entries, bundle, look) if isinstance(p, Embedded)]
    return np.stack([p.vector for p in photos]), [p.facts for p in photos]


def neighborhoods(
    distances: NDArray[np.float32], labels: Sequence[str], threshold: float, nearest: int
) -> list[dict[str, list[float]]]:
    """For every probe: product -> its distances within the threshold, ascending, of the nearest pictures."""
    out = []
    for row in distances:
        own: dict[str, list[float]] = {}
        for i in np.argsort(row, kind="stable")[:nearest]:
            if row[i] <= threshold:
                own.setdefault(labels[i], []).append(float(row[i]))
        out.append(own)
    return out


def single_picture_products(labels: Sequence[str]) -> set[str]:
    """Every other product: the mixed gallery holds a single picture of it."""
    return set(sorted(set(labels))[::2])


def thinned(labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which pictures the mixed gallery keeps, shape (n,)."""
    seen: set[str] = set()
    few = single_picture_products(labels)
    keep = []
    for label in labels:
        keep.append(label not in few or label not in seen)
        seen.add(label)
    return np.array(keep)


def ranked(own: dict[str, list[float]], rule: Rule, threshold: float, counts: Counter[str]) -> list[tuple[float, str]]:
    scored = ((rule(ds, threshold, counts[p]), p) for p, ds in own.items())
    return sorted(scored, key=lambda x: (-x[0], x[1]))


def dir_at_fpir(known: list[tuple[float, bool]], unknown: list[float], fpir: float) -> float:
    """Probes ranked right whose score exceeds all but ``fpir`` of the scores of out-of-gallery probes."""
    order = sorted(unknown, reverse=True)
    bar = order[min(int(fpir * len(order)), len(order) - 1)]
    return float(np.mean([right and score > bar for score, right in known]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=Path, required=True)
    parser.add_argument("--probes", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--threshold", type=float, help="default: the bundle's, else none (4)")
    parser.add_argument("--nearest", type=int, default=200)
    options = parser.parse_args()
    bundle = resolve_model(options.model, index_model=None)
    gallery, labels = embed(options.gallery, bundle)
    probes, truth = embed(options.probes, bundle)
    threshold = options.threshold or (bundle.calibration.threshold if bundle.calibration else 4.0)
    distances = squared_l2(probes, gallery)
    left_out = set(sorted(set(labels))[::4])
    kept = np.array([label not in left_out for label in labels])
    everything = neighborhoods(distances, labels, threshold, options.nearest)
    without = neighborhoods(
        distances[:, kept], [x for x, k in zip(labels, kept, strict=True) if k], threshold, options.nearest
    )
    answered = sum(bool(own) for own in everything)
    few = thinned(labels)
    counts = Counter(labels)
    mixed_counts = Counter(x for x, k in zip(labels, few, strict=True) if k)
    mixed = neighborhoods(
        distances[:, few], [x for x, k in zip(labels, few, strict=True) if k], threshold, options.nearest
    )
    print(f"{bundle.name}: {len(probes)} probes, {len(gallery)} pictures of {len(set(labels))} products,")
    print(f"threshold {threshold:.3f}: {answered} probes have a neighbor within it\n")
    columns = ("top 1", "top 5", "mixed: top 1", "of single-picture products", "unknown products: DIR at FPIR 10 %")
    print(f"| {'rule':32} | {' | '.join(columns)} |\n|{'-' * 34}|{'---|' * len(columns)}")
    for name, rule in RULES.items():
        ranks = [[p for _, p in ranked(own, rule, threshold, counts)] for own in everything]
        top1 = np.mean([r[:1] == [t] for r, t in zip(ranks, truth, strict=True)])
        top5 = np.mean([t in r[:5] for r, t in zip(ranks, truth, strict=True)])
        hits = [
            [p for _, p in ranked(own, rule, threshold, mixed_counts)[:1]] == [t]
            for own, t in zip(mixed, truth, strict=True)
        ]
        of_single = np.mean([h for h, t in zip(hits, truth, strict=True) if t in single_picture_products(labels)])
        known, unknown = [], []
        for own, t in zip(without, truth, strict=True):
            best = ranked(own, rule, threshold, counts)[:1]
            score = best[0][0] if best else -math.inf
            if t in left_out:
                unknown.append(score)
            else:
                known.append((score, bool(best) and best[0][1] == t))
        rejected = dir_at_fpir(known, unknown, 0.1)
        print(f"| {name:32} | {top1:.3f} | {top5:.3f} | {np.mean(hits):.3f} | {of_single:.3f} | {rejected:.3f} |")
    print("\n| ambiguous from a ratio of | coverage | right when it keeps one match |")
    print("|---------------------------|----------|-------------------------------|")
    for margin in (1.01, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6):
        alone = []
        for own, t in zip(everything, truth, strict=True):
            order = ranked(own, RULES["shipped (retrieval.recognition.votes)"], threshold, counts)
            if order and (len(order) == 1 or order[1][0] < margin * order[0][0]):
                alone.append(order[0][1] == t)
        right = np.mean(alone) if alone else math.nan
        print(f"| {margin:25} | {len(alone) / max(answered, 1):.3f} | {right:.3f} |")


if __name__ == "__main__":
    main()
