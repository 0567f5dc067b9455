"""What each training recipe is worth, and what it costs: the tables of docs/measurements/training.md, from real photos.

    python benchmarks/recipes.py GROCERY --weights FILE.weights.h5 --recipes head,fast,best

GROCERY holds ``photos/train``, ``photos/val`` and ``catalog``, folders of product folders. A recipe is a preset, with
options of `itemrec train` after it: ``fast:epochs=4:seed=1``. Each is trained with `itemrec train` on all products, and
once more for every fold without a fifth of them, the held-out products. Measured on ``photos/val``, which no recipe
learns from:

    R@1               probes whose first product, by the rule that queries use, is theirs; photos/train as gallery
    MAP@R             mean average precision at R
    VAL 1 %           genuine pairs accepted at FAR 1 %; VAL .1 % likewise, and the EER
    studio            R@1 with the catalog pictures as the only gallery
    held-out@5        R@1 of held-out products, five photos of each in a gallery with all photos of the others
    held-out@5:5      the same with five photos of every product
    held-out VAL      VAL at FAR 1 % among all photos of the held-out products
    DIR at FPIR 1 %   probes of trained products whose nearest picture is theirs, and within a threshold that accepts
                      1 % of the held-out photos
    claimed FPIR      FPIR of the model's own threshold, as its calibration has it
    measured FPIR     photos of held-out products accepted at that threshold, with all others as the gallery
    DIR at threshold  likewise within that threshold
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.points import OperatingPoint
from retrieval.evaluation import gather_folder
from retrieval.evaluation.answers import first_by_votes
from retrieval.metrics import identification, pair_rates
from retrieval.models.bundle import read_bundle

PARTS = ("photos/train", "photos/val", "catalog")
SHOTS = 5
DRAWS = 10


@dataclass
class Photos:
    vectors: NDArray[np.float32]
    labels: NDArray[np.str_]

    def only(self, which: NDArray[np.bool_]) -> Photos:
        return Photos(self.vectors[which], self.labels[which])


def embed(bundle: Path, folder: Path) -> Photos:
    found = gather_folder(folder, read_bundle(bundle))
    return Photos(found.vectors, found.labels)


def chosen(bundle: Path) -> OperatingPoint | None:
    """What queries use, if the bundle was calibrated."""
    calibration = read_bundle(bundle).calibration
    return calibration.point(calibration.chosen) if calibration else None


def first_is_right(probes: Photos, gallery: Photos) -> float:
    return float((first_by_votes(probes.vectors, gallery.vectors, gallery.labels) == probes.labels).mean())


def known(train: Photos, val: Photos, studio: Photos) -> dict[str, float]:
    pairs = pair_rates(val.vectors, val.labels, thresholds=(), far_targets=(0.01, 0.001))
    found = identification(val.vectors, val.labels, train.vectors, train.labels)
    loose, strict = (at.accepted_same / at.same for at in pairs.at_far)
    return {
        "R@1": first_is_right(val, train),
        "MAP@R": found.map_at_r,
        "VAL 1 %": loose,
        "VAL .1 %": strict,
        "EER": pairs.curve.eer,
        "studio": first_is_right(val, studio),
    }


def held_out_rates(
    train: Photos, val: Photos, held_out: list[str], point: OperatingPoint | None = None
) -> dict[str, float]:
    is_held_out, asked = np.isin(train.labels, held_out), np.isin(val.labels, held_out)
    probes = val.only(asked)
    crowded: list[float] = []
    even: list[float] = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        five = np.zeros(len(train.labels), bool)
        for product in np.unique(train.labels):
            five[rng.permutation(np.flatnonzero(train.labels == product))[:SHOTS]] = True
        for shown, results in ((five | ~is_held_out, crowded), (five, even)):
            results.append(first_is_right(probes, train.only(shown)))
    vectors = np.concatenate([train.vectors[is_held_out], probes.vectors])
    labels = np.concatenate([train.labels[is_held_out], probes.labels])
    at = pair_rates(vectors, labels, thresholds=(), far_targets=(0.01,)).at_far[0]
    gallery = train.only(~is_held_out)
    best = np.sort((vectors @ gallery.vectors.T).max(axis=1))[::-1]
    threshold = best[int(0.01 * len(best))]
    similar = val.vectors[~asked] @ gallery.vectors.T
    right = gallery.labels[similar.argmax(axis=1)] == val.labels[~asked]
    at_own: dict[str, float] = {}
    if point is not None and point.fpir is not None:
        least = 1.0 - point.threshold / 2.0  # of a similarity, for a squared L2 of unit vectors
        at_own = {
            "claimed FPIR": point.fpir,
            "measured FPIR": float((best >= least).mean()),
            "DIR at threshold": float((right & (similar.max(axis=1) >= least)).mean()),
        }
    rates = {
        "held-out@5": float(np.mean(crowded)),
        "held-out@5:5": float(np.mean(even)),
        "held-out VAL": at.accepted_same / at.same,
        "DIR at FPIR 1 %": float((right & (similar.max(axis=1) > threshold)).mean()),
    }
    return rates | at_own


def train(dataset: Path, out: Path, options: list[str], cache: Path) -> float:
    command = [sys.executable, "-m", "cli.main", "train", str(dataset), "--out", str(out), "--cache", str(cache)]
    started = time.perf_counter()
    subprocess.run([*command, *options, "--quiet"], check=True, stdout=sys.stderr)
    return time.perf_counter() - started


def fifth(data: Path, fold: int) -> list[str]:
    """The products of a fold, 0 to 4."""
    products = sorted(p.name for p in (data / "photos/train").iterdir() if p.is_dir())
    order = np.random.default_rng(0).permutation(len(products))
    return [products[i] for i in order[fold::5]]


def without(data: Path, held_out: list[str], place: Path) -> Path:
    for split in ("train", "val"):
        for folder in sorted((data / "photos" / split).iterdir()):
            if folder.is_dir() and folder.name not in held_out:
                shutil.copytree(folder, place / split / folder.name, copy_function=_link)
    return place


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def short(name: str) -> str:
    """A name that a bundle may have, 64 letters at most, with room for which fold it is."""
    return name if len(name) <= 48 else f"{name[:39]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def cell(key: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if key == "seconds" else f"{value:.3f}"
    return str(value)


def means(results: list[dict[str, float]]) -> dict[str, float]:
    """Of the folds; nothing of none."""
    return {key: float(np.mean([result[key] for result in results])) for key in (results[0] if results else ())}


def print_table(rows: list[dict[str, object]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(cell(key, value) for key, value in row.items()) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--recipes", default="head,fast", help="presets, or preset:option=value:option=value")
    parser.add_argument("--folds", default="0", help="which fifths of the products are held out, 0 to 4; none: -")
    parser.add_argument("--catalog", action="store_true", help="let the catalog pictures join the training")
    parser.add_argument("--keep", type=Path, help="keep the bundles here")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "itemrec-recipes-cache")
    given = parser.parse_args()
    folds = [] if given.folds == "-" else [int(fold) for fold in given.folds.split(",")]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="itemrec-recipes-") as folder:
        place = given.keep or Path(folder)
        for recipe in given.recipes.split(","):
            preset, *options = recipe.split(":")
            extra = ["--preset", preset, "--weights", given.weights, *(f"--{option}" for option in options)]
            catalog = ["--catalog", str(given.data / "catalog")] if given.catalog else []
            name = short("".join(c if c.isalnum() else "-" for c in recipe))
            row: dict[str, object] = {"recipe": recipe}
            seconds = train(given.data / "photos", place / name, extra + catalog, given.cache)
            row |= known(*(embed(place / name, given.data / part) for part in PARTS)) | {"seconds": seconds}
            results = []
            for fold in folds:
                held_out = fifth(given.data, fold)
                dataset = without(given.data, held_out, Path(folder) / f"{name}-{fold}-data")
                train(dataset, place / f"{name}-held-out-{fold}", extra, given.cache)
                train_photos, val = (embed(place / f"{name}-held-out-{fold}", given.data / part) for part in PARTS[:2])
                results.append(held_out_rates(train_photos, val, held_out, chosen(place / f"{name}-held-out-{fold}")))
            row |= means(results)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    print_table(rows)


if __name__ == "__main__":
    main()
