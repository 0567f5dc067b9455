"""What pictures of what is not ours bring, and what they cost: the tables of docs/measurements/refusals.md.

    python benchmarks/refusals.py GROCERY --model BUNDLE --held-out FILE

GROCERY holds ``photos/train`` and ``photos/val``, folders of product folders; BUNDLE was trained without the products
that FILE names, one a line. The gallery holds the train photos of all other products; their val photos are the known
probes. All photos of the held-out products are photos of unknown products, but for those drawn as refusals: none, one,
three or ten of each product, the mean of ten draws. ``d`` is the distance (squared L2) to the nearest picture of the
gallery, ``r`` to the nearest refusal, ``t`` the threshold.

The first table counts what a threshold lets through with refusals as shipped: FPIR (unknown photos that get a name)
and DIR (known photos whose nearest product is the right one and near enough). The second compares ways to take refusals
into account, with one and with three of each product: FPIR and DIR at the model's own threshold, and DIR where the
score accepts 1 and 10 % of the unknown photos.

    python benchmarks/refusals.py GROCERY --recipe --cache DIR

asks by probability, against studio pictures and against five photos of each product: the built-in model's recipe,
trained without each of five folds (hours; what is in the cache is used again) and calibrated by the other four. Half of
a fold's products are taken out of the gallery in turn, and refused with one and with three photos of each; the photos
left of both halves ask.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from open_set import folds_of_recipe

from retrieval.calibration.sureness import Sureness
from retrieval.distance import MAX_DISTANCE, squared_l2
from retrieval.evaluation import Target, gather_folder
from retrieval.evaluation.answers import answer_all
from retrieval.evaluation.by_gallery import calibrate_kind
from retrieval.evaluation.served_answers import given
from retrieval.models.installed import resolve_model
from retrieval.recognition.decision import NEARER, NEARER_STUDIO, near_enough

if TYPE_CHECKING:
    from retrieval.calibration.galleries import Kind
    from trainer.starter.folds import Fold

DRAWS = 10
Numbers = NDArray[np.floating]
Score = Callable[[Numbers, Numbers, float], Numbers]
"""Distances to products, distances to refusals, the threshold -> what is compared with the threshold."""


def ratio(part: float) -> Score:
    """``d <= min(t, part * r)``, as a score: how much farther the product is, as far as the refusal is too near."""
    return lambda d, r, t: d * np.maximum(1.0, t / part / np.maximum(r, 1e-6))


def linear(weight: float, reach: float, at_least: float | None = 0.0) -> Score:
    """A refusal adds to the distance what it is nearer than ``reach``; without ``at_least`` farther ones take away."""
    return lambda d, r, t: d + weight * (reach - r if at_least is None else np.maximum(at_least, reach - r))


WAYS: dict[str, Score] = {
    "none": lambda d, r, t: d,
    **{f"d - {w} r": linear(w, 0.0, at_least=None) for w in (0.5, 0.7, 1.0)},
    **{f"d + {w} max(0, {c} - r)": linear(w, c) for w in (0.7, 1.0) for c in (1.0, 1.2)},
    **{f"d <= min(t, {part} r)": ratio(part) for part in (0.6, 0.7, 0.8, 0.9, 1.0)},
}


def draws(labels: NDArray[np.str_], count: int, products: set[str], times: int = DRAWS) -> Iterator[NDArray[np.bool_]]:
    """Which photos are refusals: ``count`` of each of some products, one photo of each left as a probe."""
    random = np.random.default_rng(0)
    for _ in range(times):
        picked = np.zeros(len(labels), bool)
        for product in sorted(products):
            mine = np.flatnonzero(labels == product)
            picked[random.choice(mine, min(count, len(mine) - 1), replace=False)] = True
        yield picked


class Probes:
    """Distances of the probes, and what is asked about them."""

    def __init__(self, known: Numbers, right: NDArray[np.bool_], unknown: Numbers) -> None:
        self.known, self.right, self.unknown = known, right, unknown

    def rates(self, known: Numbers, unknown: Numbers, t: float) -> tuple[float, float]:
        """FPIR and DIR at a threshold."""
        return float((unknown <= t).mean()), float((self.right & (known <= t)).mean())

    def dir_at(self, known: Numbers, unknown: Numbers, fpir: float) -> float:
        """DIR where the threshold accepts a part of the unknown photos."""
        bar = np.sort(unknown)[int(fpir * len(unknown))]
        return float((self.right & (known < bar)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grocery", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--recipe", action="store_true", help="of the built-in model, by probability")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "itemrec-open-set-cache")
    parser.add_argument("--threshold", type=float, help="default: the bundle's")
    options = parser.parse_args()
    if options.recipe:
        by_probability(options.grocery, options.cache)
        return
    if not options.model or not options.held_out:
        parser.error("give --model and --held-out, or --recipe")
    bundle = resolve_model(options.model, index_model=None)
    threshold = options.threshold or (bundle.calibration.threshold if bundle.calibration else None)
    assert threshold, "give --threshold: the model has none"
    held = set(options.held_out.read_text().split())
    found = [gather_folder(options.grocery / "photos" / split, bundle) for split in ("train", "val")]
    parts = [(photos.vectors, photos.labels) for photos in found]
    (train, train_labels), (val, val_labels) = ((v, np.array(labels)) for v, labels in parts)
    ours, mine = ~np.isin(train_labels, list(held)), ~np.isin(val_labels, list(held))
    gallery, gallery_labels = train[ours], train_labels[ours]
    unknown = np.concatenate([train[~ours], val[~mine]])
    labels = np.concatenate([train_labels[~ours], val_labels[~mine]])
    to_known = squared_l2(val[mine], gallery)
    probes = Probes(
        to_known.min(1), gallery_labels[to_known.argmin(1)] == val_labels[mine], squared_l2(unknown, gallery).min(1)
    )
    from_known, from_unknown = squared_l2(val[mine], unknown), squared_l2(unknown, unknown)
    print(f"{bundle.name}: {len(gallery)} pictures of {len(set(gallery_labels))} products, {mine.sum()} known probes,")
    print(f"{len(unknown)} photos of {len(held)} products that no training saw; threshold {threshold:.3f}")

    at = {f"the model's, {threshold:.3f}": threshold}
    for fpir in (0.5, 0.2, 0.1):
        at[f"FPIR {fpir:.0%}, {np.quantile(probes.unknown, fpir):.3f}"] = float(np.quantile(probes.unknown, fpir))
    print(f"\n| refusals | {' | '.join(at)} |\n|---|{'---|' * len(at)}")
    for count in (0, 1, 3, 10):
        rates = [shipped(probes, from_known, from_unknown, labels, count, held, t)[:2] for t in at.values()]
        print(f"| {count or 'none'} of each | " + " | ".join(f"FPIR {f:.3f}, DIR {d:.3f}" for f, d in rates) + " |")
    half = set(sorted(held)[::2])
    rest = shipped(probes, from_known, from_unknown, labels, 3, half, threshold)[2]
    before = float((probes.unknown[~np.isin(labels, list(half))] <= threshold).mean())
    print(f"\nThree of every other one alone: FPIR of the products that were not refused {before:.3f} -> {rest:.3f}")

    print("\n| way | one: FPIR, DIR at t; DIR at FPIR 1, 10 % | three: the same |\n|---|---|---|")
    for name, score in WAYS.items():
        cells = []
        for count in (1, 3):
            rows = []
            for picked in draws(labels, count, held):
                known = score(probes.known, from_known[:, picked].min(1), threshold)
                rest_of = score(probes.unknown[~picked], from_unknown[~picked][:, picked].min(1), threshold)
                ranks = [probes.dir_at(known, rest_of, fpir) for fpir in (0.01, 0.1)]
                rows.append([*probes.rates(known, rest_of, threshold), *ranks])
            cells.append("{:.3f}, {:.3f}; {:.3f}, {:.3f}".format(*np.mean(rows, axis=0)))
        print(f"| {name}{' (shipped)' if name == f'd <= min(t, {NEARER} r)' else ''} | {' | '.join(cells)} |")


PARTS = (NEARER, 1.2, 1.5, NEARER_STUDIO, 2.0, 2.3)


def by_probability(data: Path, cache: Path) -> None:
    """Print what refusals do to verdicts by probability, for some parts of the distance to them."""
    from trainer.starter.calibrate import asked_and_gallery

    folds = folds_of_recipe(data, cache)
    kinds: tuple[Kind, ...] = ("studio", "few")
    print("| gallery | refused photos | part | known: match, right | shown | unknown | unknown: match | unknown |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        counts = {(count, part): np.zeros((2, 4)) for count in (1, 3) for part in (None, *PARTS)}
        for number, fold in enumerate(folds):
            sureness = sureness_of_others(kind, folds, number)
            probes, whole = asked_and_gallery(kind, fold)
            products = sorted(set(probes.labels.tolist()))
            for gone in (set(products[::2]), set(products[1::2])):
                gallery = whole.only(np.flatnonzero(~np.isin(whole.labels, list(gone))))
                answers = answer_all(probes, gallery, MAX_DISTANCE, ()).answers
                for (count, part), found in counts.items():
                    picked = next(draws(probes.labels, count, gone, times=1))
                    nearest = squared_l2(probes.vectors, probes.vectors[picked]).min(axis=1)
                    for i in np.flatnonzero(~picked).tolist():
                        refusal = None if part is None else float(nearest[i])
                        ranked, product = answers[i].matches, str(probes.labels[i])
                        one = given(sureness, ranked, len(gallery.products), refusal=refusal, part=part or NEARER)
                        shown = one.verdict != "unknown" and product in {match.product_id for match in ranked}
                        found[int(product in gone)] += (
                            one.names(product) if product not in gone else one.verdict == "match",
                            shown,
                            one.verdict == "unknown",
                            1,
                        )
        for (count, part), (known, unknown) in counts.items():
            ours = part == (NEARER_STUDIO if kind == "studio" else NEARER)
            cells = [*(known[:3] / known[3]), unknown[0] / unknown[3], unknown[2] / unknown[3]]
            label = "none" if part is None else f"{part}{' (shipped)' if ours else ''}"
            print(f"| {kind} | {count} of each | {label} | {' | '.join(f'{cell:.3f}' for cell in cells)} |", flush=True)


def sureness_of_others(kind: Kind, folds: Sequence[Fold], number: int) -> Sureness:
    """What a calibration by all folds but one makes of answers."""
    from trainer.starter.calibrate import measure_kind

    others = [fold for i, fold in enumerate(folds) if i != number]
    found = calibrate_kind(measure_kind(kind, others), Target("strangers", 0.2), measured_on="-", fpir_targets=(0.2,))
    assert found is not None
    assert found.calibration.sureness is not None
    return found.calibration.sureness


def shipped(
    probes: Probes,
    from_known: Numbers,
    from_unknown: Numbers,
    labels: NDArray[np.str_],
    count: int,
    products: set[str],
    threshold: float,
) -> tuple[float, float, float]:
    """FPIR of all unknown photos, DIR, and FPIR of the products that were not refused, by the shipped decision."""
    rows = []
    for picked in draws(labels, count, products):
        limits = [
            np.array([near_enough(threshold, float(r)) for r in to[:, picked].min(1)]) if count else threshold
            for to in (from_known, from_unknown)
        ]
        accepted = probes.unknown <= limits[1]
        others = ~np.isin(labels, list(products))
        found = probes.right & (probes.known <= limits[0])
        rows.append((accepted[~picked].mean(), found.mean(), accepted[others].mean() if others.any() else 0.0))
    return tuple(np.mean(rows, axis=0).tolist())


if __name__ == "__main__":
    main()
