"""Which voting rule? The tables of docs/measurements/votes.md.

    python benchmarks/votes.py --gallery PHOTOS/train --probes PHOTOS/val --studio CATALOG --held-out NAMES.txt
        --model BUNDLE

NAMES.txt lists products, one a line, that the model's training did not see: the *new* ones. Every rule ranks all
products of a gallery from the same distances, and each figure is R@1: the part of the photos whose first product is
right. *known* are the photos of PHOTOS/val of the other products, *new* those of both folders of the new ones that the
gallery does not hold, *packages* those of the new ones with ``--packages COLUMN=VALUE`` in CATALOG's table.

    all : 5     a crowded gallery: all photos of PHOTOS/train of the old products, five (3, 1) drawn of each new one
    all : studio   the same with the one studio picture of each new one
    5 : 5       five drawn photos of every product, old or new
    studio      the studio pictures alone

Drawn galleries are drawn ``--draws`` times, and the means are printed. With ``--apart`` what is drawn of a product
comes from the first third of its photos, in the order of their names, and the new ones' probes from the last half:
photos that were taken one after the other are alike.

*served* is `retrieval.recognition.votes`, measured through `retrieval.evaluation`, as every report is. The second table
varies its margin of *ambiguous*: which part of the known photos keeps one match (coverage), and how often it is right.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE, squared_l2
from retrieval.evaluation import Photos, gather_folder
from retrieval.evaluation.answers import answer_all, first_by_votes
from retrieval.models.installed import resolve_model

Floats = NDArray[np.floating]
Rule = Callable[[Floats, Floats], Floats]
"""Distances to a product's n pictures, ascending, shape (b, n), and to their mean, shape (b,) -> scores, shape (b,)."""


def mean_vote(distances: Floats, voters: int, temperature: float = 0.2) -> Floats:
    found: Floats = np.exp(-distances[:, :voters] / temperature).mean(axis=1)
    return found


def over_crowd(power: float, cap: float = math.inf, voters: int = 5, temperature: float = 0.2) -> Rule:
    return lambda ds, to_mean: mean_vote(ds, voters, temperature) / min(ds.shape[1], cap) ** power


def nearest_part(part: int, cap: int, power: float) -> Rule:
    """The nearest n / ``part`` vote, of ``cap`` at most, over the crowd."""

    def rule(ds: Floats, to_mean: Floats) -> Floats:
        pictures = min(ds.shape[1], cap)
        found: Floats = mean_vote(ds, -(-pictures // part)) / pictures**power
        return found

    return rule


def sixth_and_mean(ds: Floats, to_mean: Floats) -> Floats:
    found: Floats = -ds[:, : -(-ds.shape[1] // 6)].mean(axis=1) - to_mean
    return found


RULES: dict[str, Rule] = {
    "count within 0.9": lambda ds, to_mean: (ds <= 0.9).sum(axis=1) - ds[:, 0] / 4,
    "nearest picture": lambda ds, to_mean: -ds[:, 0],
    "mean of own nearest five votes": over_crowd(0.0),
    "… at T = 0.1": over_crowd(0.0, temperature=0.1),
    "… / n^0.2": over_crowd(0.2),
    "… / n^0.3": over_crowd(0.3),
    "… / n^0.5": over_crowd(0.5),
    "… / min(n, 10)^0.4": over_crowd(0.4, 10),
    "… / min(n, 20)^0.3": over_crowd(0.3, 20),
    "… / min(n, 20)^0.4": over_crowd(0.4, 20),
    "nearest sixth's distance + distance to the mean": sixth_and_mean,
    "nearest half of 10 / min(n, 10)^0.3": nearest_part(2, 10, 0.3),
    "nearest half of 10 / min(n, 10)^0.4": nearest_part(2, 10, 0.4),
    "nearest third of 15 / min(n, 15)^0.3": nearest_part(3, 15, 0.3),
    "nearest sixth of 30 / min(n, 30)^0.2": nearest_part(6, 30, 0.2),
}


def by_rules(probes: Photos, gallery: Photos) -> dict[str, NDArray[np.str_]]:
    """The first product of every probe, by each rule, shape (b,)."""
    products = gallery.products
    scores = {name: np.empty((len(probes), len(products))) for name in RULES}
    for column, product in enumerate(products.tolist()):
        own = gallery.vectors[gallery.labels == product]
        distances = np.sort(squared_l2(probes.vectors, own).astype(np.float64), axis=1)
        to_mean = ((probes.vectors - own.mean(axis=0)) ** 2).sum(axis=1)
        for name, rule in RULES.items():
            scores[name][:, column] = rule(distances, to_mean)
    found = {name: products[columns.argmax(axis=1)] for name, columns in scores.items()}
    return found | {"served": first_by_votes(probes.vectors, gallery.vectors, gallery.labels)}


def join(*parts: Photos) -> Photos:
    """All of them as one; nothing here asks for what they were read from."""
    count = sum(map(len, parts))
    return Photos(
        parts[0].root,
        tuple(source for part in parts for source in part.sources),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.vectors for part in parts]),
        ("",) * count,
        np.zeros(count, np.uint64),
        np.zeros(count, bool),
    )


class Trial:
    """What galleries are drawn from, and what is asked of them."""

    def __init__(self, photos: Photos, probes: Photos, studio: Photos | None, new: list[str], *, apart: bool) -> None:
        self._photos, self._studio, self._new = photos, studio, new
        is_new = np.isin(probes.labels, new)
        self.known = probes.only(np.flatnonzero(~is_new))
        self._new_probes = probes.only(np.flatnonzero(is_new))
        self._place = np.zeros(len(photos))
        for product in photos.products:
            own = np.flatnonzero(photos.labels == product)
            order = own[np.argsort(np.array(photos.sources)[own])]
            self._place[order] = np.arange(len(order)) / len(order)
        self._apart = apart

    def asked(self, drawn: NDArray[np.int64]) -> Photos:
        """The photos of new products that a gallery does not hold."""
        late = self._place >= (0.5 if self._apart else 0.0)
        own = np.isin(self._photos.labels, self._new) & late
        own[drawn] = False
        return join(self._new_probes, self._photos.only(np.flatnonzero(own)))

    def galleries(self, draws: int) -> Iterator[tuple[str, Photos, NDArray[np.int64]]]:
        """Names and galleries, a name several times, and which of the photos each holds."""
        old = np.flatnonzero(~np.isin(self._photos.labels, self._new))
        none = np.zeros(0, np.int64)
        for few in (5, 3, 1):
            for draw in range(draws):
                drawn = np.concatenate([old, self._draw(self._new, few, draw)])
                yield f"all : {few}", self._photos.only(drawn), drawn
        if self._studio is not None:
            new_ones = self._studio.only(np.flatnonzero(np.isin(self._studio.labels, self._new)))
            yield "all : studio", join(self._photos.only(old), new_ones), none
        for few in (5, 10):
            for draw in range(draws):
                drawn = self._draw(self._photos.products.tolist(), few, draw)
                yield f"{few} : {few}", self._photos.only(drawn), drawn
        if self._studio is not None:
            yield "studio", self._studio, none

    def _draw(self, products: list[str], few: int, draw: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(draw)
        early = self._place < (0.34 if self._apart else 1.0)
        return np.concatenate(
            [rng.permutation(np.flatnonzero((self._photos.labels == p) & early))[:few] for p in products]
        )


def measure(trial: Trial, draws: int, packages: set[str]) -> dict[str, dict[tuple[str, str], float]]:
    """Rule -> (gallery, which photos) -> R@1."""
    found: dict[str, dict[tuple[str, str], list[float]]] = {}
    for gallery_name, gallery, drawn in trial.galleries(draws):
        for kind, probes in (("new", trial.asked(drawn)), ("known", trial.known)):
            package = np.isin(probes.labels, list(packages))
            for rule, first in by_rules(probes, gallery).items():
                right = first == probes.labels
                found.setdefault(rule, {}).setdefault((gallery_name, kind), []).append(float(right.mean()))
                if kind == "new" and package.any():
                    found[rule].setdefault((gallery_name, "packages"), []).append(float(right[package].mean()))
    return {rule: {key: float(np.mean(rates)) for key, rates in of.items()} for rule, of in found.items()}


def print_rates(rates: dict[str, dict[tuple[str, str], float]]) -> None:
    galleries = list(dict.fromkeys(name for name, _ in next(iter(rates.values()))))
    kinds = [k for k in ("new", "packages", "known") if any(kind == k for _, kind in next(iter(rates.values())))]
    print(f"R@1 of {' / '.join(kinds)}\n")
    print(f"| rule | {' | '.join(galleries)} |\n|---|{'---|' * len(galleries)}")
    for rule, of in rates.items():
        cells = [" / ".join(f"{of[gallery, kind]:.3f}".lstrip("0") for kind in kinds) for gallery in galleries]
        print(f"| {rule} | {' | '.join(cells)} |")


def print_margins(probes: Photos, gallery: Photos) -> None:
    answers = answer_all(probes, gallery, MAX_DISTANCE, []).answers
    print("\n| ambiguous from a ratio of | coverage | right when it keeps one match |\n|---|---|---|")
    for ratio in (1.01, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6):
        alone = [
            answer.matches[0].product_id == label
            for answer, label in zip(answers, probes.labels.tolist(), strict=True)
            if answer.margin > 1.0 - ratio
        ]
        print(f"| {ratio} | {len(alone) / len(answers):.3f} | {np.mean(alone) if alone else math.nan:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=Path, required=True)
    parser.add_argument("--probes", type=Path, required=True)
    parser.add_argument("--studio", type=Path)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--packages", metavar="COLUMN=VALUE")
    parser.add_argument("--model")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--apart", action="store_true")
    options = parser.parse_args()
    bundle = resolve_model(options.model, index_model=None)
    new = options.held_out.read_text("utf-8").split()
    photos, probes = gather_folder(options.gallery, bundle), gather_folder(options.probes, bundle)
    studio = gather_folder(options.studio, bundle) if options.studio else None
    packages: set[str] = set()
    if options.packages and studio is not None:
        column, value = options.packages.split("=", 1)
        packages = {product for product, known in studio.metadata.items() if str(known.get(column)) == value}
    trial = Trial(photos, probes, studio, new, apart=options.apart)
    print(f"{bundle.name}: {len(photos)} photos of {len(photos.products)} products, {len(new)} of them new;")
    print(f"{len(trial.known)} known photos, {len(trial.asked(np.zeros(0, np.int64)))} of the new ones\n")
    print_rates(measure(trial, options.draws, packages))
    old = np.flatnonzero(~np.isin(photos.labels, new))
    print_margins(trial.known, photos.only(old))


if __name__ == "__main__":
    main()
