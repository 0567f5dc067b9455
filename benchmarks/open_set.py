"""Is what a calibration claims of unknown products what is measured? Prints docs/measurements/unknown-products.md.

    python benchmarks/open_set.py GROCERY --folds 0,1 --cache DIR

GROCERY holds ``photos/train``, ``photos/val`` and ``catalog``, folders of product folders. For each fold a network is
trained without a fifth of the products, as `itemrec train --preset fast --catalog` would on the rest, and twice more
without another fifth of those and for half the epochs, as that calibrates. What they make of all pictures is kept in
the cache: a second run trains nothing. Then, for each kind of gallery that the rest of the products can show:

    claimed   FPIR of an operating point with its interval, by the calibration, which saw no picture of the fold
    measured  photos of the fold's products accepted at that threshold

With --recipe the trainings are those of the built-in model's recipe, one without each fold (hours; what is in the cache
is used again), and each fold is calibrated by the other four.

and the verdicts by probability, of 100 photos: what the calibration says they do, and what they do to photos of known
products (``photos/val``) and to those of the fold.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from recipes import fifth

from retrieval.calibration.points import ForGallery
from retrieval.calibration.verdict_table import VerdictTable
from retrieval.evaluation import Photos, Target
from retrieval.evaluation.answers import nearest_distances
from retrieval.evaluation.by_gallery import Enrolled, HeldOutProducts, calibrate_kind, measure_kinds
from retrieval.evaluation.confidence_fit import UNKNOWN_SHARE
from retrieval.evaluation.served import served_doc
from retrieval.evaluation.sureness_fit import Trial, try_all, try_known_and_left_out, verdict_table
from trainer.progress import Silent

if TYPE_CHECKING:
    from trainer.starter.folds import Fold

FOLDS = 5
TARGETS = (0.2, 0.1, 0.05)


@dataclass
class World:
    """All pictures: ``train``, ``studio`` and ``val``, without vectors."""

    photos: Photos
    part: NDArray[np.str_]

    def seen_by(self, vectors: Mapping[str, NDArray[np.float32]]) -> Photos:
        return replace(self.photos, vectors=np.stack([vectors[name] for name in self.photos.content_hashes]))


def listed(data: Path) -> World:
    found = []
    for part, folder in (("train", "photos/train"), ("studio", "catalog"), ("val", "photos/val")):
        for file in sorted((data / folder).glob("*/*.jpg")):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            found.append((part, file.parent.name, str(file.relative_to(data)), digest))
    n = len(found)
    photos = Photos(
        data,
        tuple(source for _, _, source, _ in found),
        np.array([label for _, label, _, _ in found]),
        np.zeros((n, 1), np.float32),
        tuple(digest for _, _, _, digest in found),
        np.zeros(n, np.uint64),
        np.zeros(n, bool),
    )
    return World(photos, np.array([part for part, _, _, _ in found]))


def embedded(data: Path, gone: list[int], *, half: bool, cache: Path, weights: str) -> dict[str, NDArray[np.float32]]:
    """What a network that did not see these folds makes of all pictures, by their SHA-256."""
    file = cache / f"without-{'-'.join(map(str, sorted(gone)))}{'-half' if half else ''}.npz"
    if not file.exists():
        from trainer.quiet import import_keras

        import_keras()
        from trainer.learn import learn_without
        from trainer.material import read_training_data
        from trainer.places import RunPaths
        from trainer.presets import preset

        plan = preset("fast")
        plan = replace(plan, network=replace(plan.network, weights=weights), hold_out_epochs=0.5 if half else 1.0)
        with tempfile.TemporaryDirectory() as run:
            paths = RunPaths(data / "photos", data / "catalog", Path(run), cache / "features")
            material = read_training_data(paths.dataset, paths.catalog, plan, Silent())
            lacking = tuple(product for fold in gone for product in fifth(data, fold))
            found = learn_without(replace(material, held_out=(lacking,)), paths, plan, Silent())
        hashes = list(found.embeddings)
        np.savez(file, hashes=hashes, vectors=np.stack([found.embeddings[name] for name in hashes]))
    with np.load(file) as kept:
        return dict(zip(kept["hashes"].tolist(), kept["vectors"], strict=True))


def pictures(world: World, photos: Photos, products: list[str], *, without: bool) -> Enrolled:
    mine = np.isin(photos.labels, products) != without
    rows = np.flatnonzero(mine & (world.part != "val"))
    return Enrolled(photos.only(rows), world.part[rows] == "studio")


def asked(world: World, photos: Photos, gone: list[str]) -> Photos:
    return photos.only(np.flatnonzero((world.part == "val") & ~np.isin(photos.labels, gone)))


def calibrated(data: Path, fold: int, world: World, cache: Path, weights: str) -> tuple[Photos, list[ForGallery]]:
    """The photos as the network without the fold sees them, and its calibration, which saw no picture of the fold."""
    out = fifth(data, fold)
    photos = world.seen_by(embedded(data, [fold], half=False, cache=cache, weights=weights))
    held_out = []
    for other in ((fold + 1) % FOLDS, (fold - 1) % FOLDS):
        theirs = world.seen_by(embedded(data, [fold, other], half=True, cache=cache, weights=weights))
        unknown = pictures(world, theirs, fifth(data, other), without=False)
        gone = [*out, *fifth(data, other)]
        rest = pictures(world, theirs, gone, without=True)
        held_out.append(HeldOutProducts(unknown.photos, unknown.studio, rest, asked(world, theirs, gone)))
    enrolled = pictures(world, photos, out, without=True)
    measured = measure_kinds(asked(world, photos, out), enrolled, held_out)
    found = [calibrate_kind(one, Target("fpir", 0.2), measured_on="val", fpir_targets=TARGETS) for one in measured]
    return photos, [one for one in found if one is not None]


@dataclass(frozen=True)
class Tried:
    """A calibration for a kind of gallery, and photos that it did not see against such a gallery."""

    claimed: ForGallery
    known: Sequence[Trial]
    unknown: Sequence[Trial]
    nearest: NDArray[np.float32]


def by_network(data: Path, fold: int, world: World, cache: Path, weights: str) -> Iterator[Tried]:
    photos, found = calibrated(data, fold, world, cache, weights)
    out = fifth(data, fold)
    enrolled = pictures(world, photos, out, without=True)
    unknown = pictures(world, photos, out, without=False)
    strange = unknown.photos.only(np.flatnonzero(~unknown.studio))
    for one in found:
        gallery = enrolled.of_kind(one.kind)
        assert gallery is not None
        known = [t for t in try_all(asked(world, photos, out), gallery) if t.rank]
        yield Tried(one, known, try_all(strange, gallery), nearest_distances(strange, gallery)[1])


def by_recipe(folds: Sequence[Fold], number: int) -> Iterator[Tried]:
    from trainer.starter.calibrate import asked_and_gallery, measure_kind

    others = [fold for i, fold in enumerate(folds) if i != number]
    for kind in ("studio", "few", "mixed"):
        one = calibrate_kind(
            measure_kind(kind, others), Target("strangers", UNKNOWN_SHARE), measured_on="-", fpir_targets=TARGETS
        )
        assert one is not None
        probes, gallery = asked_and_gallery(kind, folds[number])
        known, unknown = try_known_and_left_out(probes, gallery)
        yield Tried(one, known, unknown, nearest_distances(probes, gallery)[1])


def folds_of_recipe(data: Path, cache: Path) -> list[Fold]:
    from trainer.quiet import import_keras

    import_keras()
    from trainer.starter.make import Maker

    maker = Maker.open(data, cache, Silent())
    return [maker.fold(number) for number in range(FOLDS)]


def shares(table: VerdictTable) -> dict[str, list[float]]:
    """Of 100 photos of known and of unknown products: match right, match wrong, ambiguous with and without, unknown."""
    sums = {"known": np.zeros(5), "unknown": np.zeros(5)}
    for group in table.groups:
        counts = (
            group.match_right,
            group.match_wrong,
            group.ambiguous_right,
            group.ambiguous_wrong,
            group.unknown,
        )
        sums["known" if group.group == "known" else "unknown"] += counts
    return {who: (100 * counts / max(counts.sum(), 1)).tolist() for who, counts in sums.items()}


def beside(both: Sequence[Sequence[float]]) -> list[str]:
    """What is claimed and what is measured of 100 photos, a cell for each verdict."""
    return [f"{claimed:.0f} / {measured:.0f}" for claimed, measured in zip(*both, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", default="0", help="which fifths of the products are unknown, 0 to 4")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--recipe", action="store_true", help="of the built-in model, calibrated by the other folds")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "itemrec-open-set-cache")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    world = listed(given.data)
    numbers = [int(fold) for fold in given.folds.split(",")]
    recipe = folds_of_recipe(given.data, given.cache) if given.recipe else []
    claims, verdicts, errors = [], [], []
    rates: dict[tuple[str, str], list[tuple[float, float, bool]]] = {}
    counted: dict[tuple[str, str], list[list[list[float]]]] = {}
    for fold in numbers:
        trials = by_recipe(recipe, fold) if recipe else by_network(given.data, fold, world, given.cache, given.weights)
        for tried in trials:
            one = tried.claimed
            for point in one.calibration.points:
                if not point.name.startswith("fpir=") or point.fpir is None or point.fpir_ci is None:
                    continue
                low, high = point.fpir_ci
                measured = float((tried.nearest <= np.float64(point.threshold)).mean())
                inside = low <= measured <= high
                rates.setdefault((one.kind, point.name), []).append((point.fpir, measured, inside))
                claims.append(
                    f"| {fold} | {one.kind} | {point.fpir:.3f} | {low:.2f} to {high:.2f} | {measured:.3f} | "
                    f"{'yes' if inside else 'no'} |"
                )
            sureness, table = one.calibration.sureness, one.calibration.verdicts
            if sureness is None or table is None:
                continue
            here = verdict_table(tried.known, tried.unknown, sureness)
            for who in ("known", "unknown"):
                both = [shares(table)[who], shares(here)[who]]
                counted.setdefault((one.kind, who), []).append(both)
                verdicts.append(f"| {fold} | {one.kind} | {who} | {' | '.join(beside(both))} |")
            held = served_doc(tried.known, tried.unknown, sureness)["reliability"]
            cells = [
                f"{held[key]['ece']:.3f} ({held[key]['ece_by_chance']:.3f}) | {held[key]['brier']:.3f}"
                for key in ("first", "in_catalog")
            ]
            errors.append(f"| {fold} | {one.kind} | {' | '.join(cells)} |")
    print("| fold | gallery | claimed FPIR | interval | measured FPIR | inside |\n|---|---|---|---|---|---|")
    print("\n".join(claims))
    every = [inside for found in rates.values() for _, _, inside in found]
    print(f"\n{sum(every)} of {len(every)} measured rates lie inside the interval that was claimed.\n")
    print("| gallery | claimed FPIR, mean | measured, mean | least | most | folds inside |\n|---|---|---|---|---|---|")
    for (kind, _), found in rates.items():
        claimed, measured_rates = np.mean([c for c, _, _ in found]), [m for _, m, _ in found]
        within = f"{sum(inside for _, _, inside in found)} of {len(found)}"
        print(
            f"| {kind} | {claimed:.3f} | {np.mean(measured_rates):.3f} | {min(measured_rates):.3f} | "
            f"{max(measured_rates):.3f} | {within} |"
        )
    print()
    print("Of 100 photos, claimed / measured:\n")
    print("| fold | gallery | photos of | match, right | match, wrong | ambiguous, shown | not shown | unknown |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(verdicts))
    for (kind, who), tables in counted.items():
        print(f"| mean | {kind} | {who} | {' | '.join(beside(np.mean(tables, axis=0).tolist()))} |")
    print("\nExpected calibration error (by chance alone) and Brier score, a fifth of the weight unknown:\n")
    print("| fold | gallery | P(right), ECE | Brier | P(in catalog), ECE | Brier |\n|---|---|---|---|---|---|")
    print("\n".join(errors))


if __name__ == "__main__":
    main()
