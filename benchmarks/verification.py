"""What a closer look at close calls brings and costs: the tables of docs/measurements/verification.md.

    python benchmarks/verification.py GROCERY --cache DIR

GROCERY holds ``photos/train``, ``photos/val`` and ``catalog`` with a table, folders of product folders. The products
are dealt into five folds. The first stage is the built-in model's recipe, trained anew without each fold (an hour and
more each; what is in the cache is used again), or with ``--embeddings DIR`` the ``DIR/fold-N/embeddings.npz`` that such
trainings leave. The products of its fold are *new* to each. Means of the folds:

    studio    the studio picture of every product; all photos of the new ones are looked for
    crowded   all photos of ``photos/train`` of the old products, five drawn from the first third of each new one's;
              looked for are the last half of the new ones' and their ``photos/val``, and ``photos/val`` of the *known*,
              which the training has learned

*Look-alikes* are packages whose studio picture is found in that of another package, by 60 of its 150 points or more:
such as differ in a band, a picture or a word. Of what is not packed, fruit and vegetables, ``--others`` photos each
are asked. A photo is asked as `itemrec query` asks: `retrieval.recognition.votes` ranks, `retrieval.recognition.closer`
decides. *before* leaves the look out.

The second table varies the weights, and the lead from which on nobody looks, down from what is shipped. The third says
how well probabilities hold: P(first is right) is fitted to leads without a look on four folds, and applied to the
fifth, before and after a look. The fourth has the verdicts of the built-in model's calibration, also for new packages
that the gallery is made to lack. Times are of this thread alone.

    python benchmarks/verification.py GROCERY --refusals --cache DIR

says what looking for a refused picture brings, with probabilities of the other four folds: against studio pictures, and
against five photos of each product. *every other* product of a fold is taken out of the gallery and refused with one
photo, the two halves in turn; or, for each package of the fold, *a look-alike*, which may be one that the training saw.
*looked for*: the part of the photos to which the refusal is near enough; *before* looks at close calls only.

    python benchmarks/verification.py GROCERY --same --cache DIR

says what a look brings with two photos of one item, drawn among the photos of a package that ask, three times over.
"""

from __future__ import annotations

import argparse
import csv
import math
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.sureness import Limits
from retrieval.images import pictures
from retrieval.metrics.probability import fit_logistic
from retrieval.models.installed import STARTER, find_model
from retrieval.recognition import closer, votes
from retrieval.recognition.conclusion import ByProbability, EmbeddedPhoto, Ranked, conclude
from retrieval.recognition.looker import sightings
from retrieval.types import Evidence, Match, RefusedBy, Sighting
from retrieval.verification.kept import PictureLook, look_at
from retrieval.verification.keypoints import SIDE, Keypoints, find_keypoints
from trainer.cache import cache_home
from trainer.data.dataset import Pictures, read_pictures
from trainer.progress import Silent
from trainer.starter.first_day import FOLDS, SHOTS, fold

PARTS = {"photos": "photos/train", "asked": "photos/val", "studio": "catalog"}
ALIKE = 60
PRODUCTS = 81
Vectors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Asked:
    """A photo, what the first stage says of it, and what was seen in it where the call is close."""

    fold: int
    gallery: str
    group: str
    packed: bool
    alike: bool
    truth: str
    ranked: Sequence[Match]
    seen: Sequence[Sighting]
    ms: float

    def first(self) -> str:
        return self.after()[0].product_id

    def after(self) -> Sequence[Match]:
        wanted = closer.candidates(self.ranked)
        names = {match.product_id for match in wanted}
        seen = closer.best_of([sighting for sighting in self.seen if sighting.product_id in names])
        return (
            closer.weighed(self.ranked, seen, threshold=4.0) if wanted and closer.tells(wanted, seen) else self.ranked
        )


class Shop:
    """The pictures, and what a look at each sees."""

    def __init__(self, root: Path, packages: str) -> None:
        self.root = root
        self.parts = {name: read_pictures(root / folder) for name, folder in PARTS.items()}
        self.labels = {name: part.names() for name, part in self.parts.items()}
        self.files = {name: [f"{PARTS[name]}/{file}" for file in part.files] for name, part in self.parts.items()}
        self.products = sorted(set(self.labels["photos"].tolist()))
        column, value = packages.split("=")
        with (root / PARTS["studio"] / "products.csv").open() as table:
            self.packed = {row["product_id"] for row in csv.DictReader(table) if row[column] == value}
        self._looks: dict[str, PictureLook] = {}
        self._photos: dict[str, tuple[NDArray[np.uint8], Keypoints, float]] = {}
        self.alike = self._look_alikes()

    def look(self, file: str) -> PictureLook:
        if file not in self._looks:
            self._looks[file] = PictureLook.from_bytes(look_at((self.root / file).read_bytes()))
        return self._looks[file]

    def seen_in(self, file: str, wanted: Sequence[Match]) -> tuple[Sequence[Sighting], float]:
        looks = {
            (match.product_id, e.image): self.look(e.image)
            for match in wanted
            for e in match.evidence[: closer.PICTURES]
        }
        pixels, points, took = self.photo(file)
        start = time.thread_time()
        found = sightings(looks, pixels, points)
        return found, took + (time.thread_time() - start) * 1e3

    def photo(self, file: str) -> tuple[NDArray[np.uint8], Keypoints, float]:
        """A photo and its keypoints, made once, and what that took, in ms."""
        if file not in self._photos:
            start = time.thread_time()
            pixels = np.asarray(pictures.thumbnail((self.root / file).read_bytes(), SIDE))
            points = find_keypoints(pixels)
            self._photos[file] = pixels, points, (time.thread_time() - start) * 1e3
        return self._photos[file]

    def _look_alikes(self) -> dict[str, list[str]]:
        """Of each package those in whose studio picture its own is found."""
        of = dict(zip(self.labels["studio"].tolist(), self.files["studio"], strict=True))
        found: dict[str, list[str]] = {}
        for one in sorted(self.packed):
            pixels, points, _ = self.photo(of[one])
            others = {(other, of[other]): self.look(of[other]) for other in self.packed if other != one}
            alike = sorted(s.product_id for s in sightings(others, pixels, points) if s.inliers >= ALIKE)
            found |= {one: alike} if alike else {}
        return found


def rank(
    query: NDArray[np.float32], vectors: NDArray[np.float32], own: dict[str, NDArray[np.intp]], files: list[str]
) -> list[Match]:
    """The best products of one photo, as `retrieval.recognition.votes.rank` makes them."""
    distances = np.maximum(0.0, 2.0 - 2.0 * (vectors @ query))
    found = []
    for product, rows in own.items():
        nearest = rows[np.argsort(distances[rows], kind="stable")[: votes.EVIDENCE]]
        ds = [float(distances[row]) for row in nearest]
        evidence = tuple(Evidence(files[row], d) for row, d in zip(nearest, ds, strict=True))
        found.append(Match(product, votes.score(ds), len(ds), 0.0, ds[0], evidence))
    found.sort(key=lambda match: -match.score)
    return found[: votes.RIVALS]


Question = tuple[str, NDArray[np.bool_], str]
"""Which part of the shop asks, which of its pictures, and what they are called."""


def galleries(shop: Shop, number: int) -> Iterator[tuple[str, str, NDArray[np.bool_], list[Question]]]:
    """The galleries of a fold: its name, a part of the shop, which of its pictures, and what asks it."""
    held = set(fold(shop.products, number))
    photos, asked = shop.labels["photos"], shop.labels["asked"]
    random = np.random.default_rng(number)
    kept, late = np.ones(len(photos), bool), np.zeros(len(photos), bool)
    for product in sorted(held):
        rows = np.flatnonzero(photos == product)
        kept[rows] = False
        kept[random.choice(rows[: max(SHOTS, len(rows) // 3)], SHOTS, replace=False)] = True
        late[rows[len(rows) // 2 :]] = True
    new, new_asked = np.isin(photos, list(held)), np.isin(asked, list(held))
    packed_new = new & np.isin(photos, list(shop.packed))
    studio = np.ones(len(shop.labels["studio"]), bool)
    yield "left out", "studio", studio, [("photos", packed_new, "unknown")]
    yield "studio", "studio", studio, [("photos", new, "new"), ("asked", new_asked, "new")]
    crowding: list[Question] = [("photos", late, "new"), ("asked", new_asked, "new"), ("asked", ~new_asked, "known")]
    yield "crowded", "photos", kept, crowding


def ask(shop: Shop, number: int, vectors: Vectors, others: int) -> Iterator[Asked]:
    """All photos of a fold, before and after a look."""
    for gallery, part, mask, questions in galleries(shop, number):
        rows = np.flatnonzero(mask)
        files = [shop.files[part][row] for row in rows]
        labels = shop.labels[part][rows]
        own = {product: np.flatnonzero(labels == product) for product in np.unique(labels).tolist()}
        for source, which, group in questions:
            counts: dict[str, int] = {}
            for row in np.flatnonzero(which):
                truth = str(shop.labels[source][row])
                counts[truth] = counts.get(truth, 0) + 1
                if truth not in shop.packed and counts[truth] > others:
                    continue
                others_own = {p: at for p, at in own.items() if p != truth} if group == "unknown" else own
                ranked = rank(vectors[source][row], vectors[part][rows], others_own, files)
                wanted = closer.candidates(ranked)
                seen, ms = shop.seen_in(shop.files[source][row], wanted) if wanted else ((), 0.0)
                packed = truth in shop.packed
                yield Asked(number, gallery, group, packed, truth in shop.alike, truth, ranked, seen, ms)


def rates(answers: Sequence[Asked]) -> tuple[float, float]:
    """R@1 before and after, means of the folds."""
    folds = sorted({one.fold for one in answers})
    before = [np.mean([a.ranked[0].product_id == a.truth for a in answers if a.fold == n]) for n in folds]
    after = [np.mean([a.first() == a.truth for a in answers if a.fold == n]) for n in folds]
    return float(np.mean(before)), float(np.mean(after))


CELLS: dict[str, Callable[[Asked], bool]] = {
    "new packages": lambda a: a.packed and a.group == "new",
    "of them look-alikes": lambda a: a.alike and a.group == "new",
    "known packages": lambda a: a.packed and a.group == "known",
    "new, not packed": lambda a: not a.packed and a.group == "new",
    "known, not packed": lambda a: not a.packed and a.group == "known",
}


def print_rates(answers: Sequence[Asked]) -> None:
    print("| gallery | photos of | photos | close calls | R@1 before | after | mended | spoiled |\n" + "|---" * 8 + "|")
    for gallery in ("studio", "crowded"):
        for name, belongs in CELLS.items():
            some = [a for a in answers if a.gallery == gallery and belongs(a)]
            if not some:
                continue
            before, after = rates(some)
            was = np.array([a.ranked[0].product_id == a.truth for a in some])
            now = np.array([a.first() == a.truth for a in some])
            close = np.mean([bool(closer.candidates(a.ranked)) for a in some])
            row = (
                gallery,
                name,
                len(some),
                f"{close:.2f}",
                f"{before:.3f}",
                f"{after:.3f}",
                (now & ~was).sum(),
                (was & ~now).sum(),
            )
            print(f"| {' | '.join(map(str, row))} |")


def print_weights(answers: Sequence[Asked]) -> None:
    cells = [("studio", "new packages"), ("crowded", "new packages"), ("crowded", "known packages")]
    print(
        "\n| color | inliers | close | candidates | "
        + " | ".join(f"{g}: {n}" for g, n in cells)
        + " |\n"
        + "|---" * 7
        + "|"
    )
    shipped = (closer.COLOR, closer.INLIERS, closer.CLOSE, closer.CANDIDATES)
    ways = [
        (0.0, 0.0, *shipped[2:]),
        (0.0, 0.08, *shipped[2:]),
        (0.5, 0.0, *shipped[2:]),
        (0.25, 0.03, *shipped[2:]),
        (1.0, 0.03, *shipped[2:]),
        (0.5, 0.06, *shipped[2:]),
        (*shipped[:3], 2),
        (*shipped[:2], 0.3, 3),
        (*shipped[:2], 0.4, 3),
        shipped,
    ]
    for color, inliers, close, candidates in ways:
        with mock.patch.multiple(closer, COLOR=color, INLIERS=inliers, CLOSE=close, CANDIDATES=candidates):
            figures = [rates([a for a in answers if a.gallery == g and CELLS[n](a)])[1] for g, n in cells]
        marked = " (shipped)" if (color, inliers, close, candidates) == shipped else ""
        print(
            f"| {color} | {inliers} | {close} | {candidates}{marked} | "
            + " | ".join(f"{f:.3f}" for f in figures)
            + " |"
        )


def lead(ranked: Sequence[Match]) -> float:
    return min(3.0, math.log(max(ranked[0].score, 1e-12) / max(ranked[1].score, 1e-12)))


def print_probabilities(answers: Sequence[Asked]) -> None:
    print(
        "\n| gallery | close calls | | mean P(first is right) | right | Brier | a match from .8 on | right of those |\n"
        + "|---" * 8
        + "|"
    )
    for gallery in ("studio", "crowded"):
        some = [a for a in answers if a.gallery == gallery and a.packed]
        said: dict[str, list[tuple[float, bool]]] = {"before": [], "after": []}
        for number in sorted({a.fold for a in some}):
            rest = [a for a in some if a.fold != number]
            fitted = fit_logistic(
                np.array([lead(a.ranked) for a in rest]), np.array([a.ranked[0].product_id == a.truth for a in rest])
            )
            for a in some:
                if a.fold == number and closer.candidates(a.ranked):
                    for name, ranked in (("before", a.ranked), ("after", a.after())):
                        said[name].append((float(fitted(np.array([lead(ranked)]))[0]), ranked[0].product_id == a.truth))
        for name, pairs in said.items():
            p, right = np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])
            sure = p >= 0.8
            row = (
                gallery,
                len(pairs),
                name,
                f"{p.mean():.3f}",
                f"{right.mean():.3f}",
                f"{np.mean((p - right) ** 2):.4f}",
                f"{sure.mean():.2f}",
                f"{right[sure].mean():.3f}",
            )
            print(f"| {' | '.join(map(str, row))} |")


def print_verdicts(answers: Sequence[Asked]) -> None:
    """What verdicts by probability say, of photos whose product is in the gallery and of the same photos without it."""
    bundle = find_model(STARTER)
    assert bundle.calibration is not None
    sureness = next(one.calibration.sureness for one in bundle.calibration.galleries if one.kind == "studio")
    assert sureness is not None
    by = ByProbability(sureness, Limits(), PRODUCTS)
    print("\n| photos of new packages | | match, right | match, wrong | ambiguous | unknown |\n" + "|---" * 6 + "|")
    for gallery, name in (("studio", "studio pictures"), ("left out", "their product left out")):
        some = [a for a in answers if a.gallery == gallery and a.packed]
        for when in ("before", "after"):
            said = [verdict(a, by, look=when == "after") for a in some]
            counts = [said.count(one) / len(said) for one in ("right", "wrong", "ambiguous", "unknown")]
            print(f"| {name} | {when} | " + " | ".join(f"{100 * count:.1f} %" for count in counts) + " |")


def verdict(a: Asked, by: ByProbability, *, look: bool) -> str:
    photo = EmbeddedPhoto("", np.zeros(1, np.float32), 0.0, 0.0)
    found = Ranked(photo, a.ranked, 4.0, 4.0, None, by, 1.0, 0.0)

    def glance(wanted: Sequence[Match], refusal: RefusedBy | None) -> Sequence[Sighting]:
        names = {match.product_id for match in wanted}
        return [sighting for sighting in a.seen if sighting.product_id in names]

    answer = conclude(found, top=1, fingerprint="", glance=glance if look else None)
    if answer.verdict != "match":
        return answer.verdict
    return "right" if answer.matches[0].product_id == a.truth else "wrong"


def print_limits(answers: Sequence[Asked]) -> None:
    """What a look can mend at all: the right product is among those that are looked for, and is found."""
    for gallery in ("studio", "crowded"):
        some = [a for a in answers if a.gallery == gallery and a.packed and a.group == "new"]
        shown = np.mean([a.truth in [match.product_id for match in a.ranked[: closer.CANDIDATES]] for a in some])
        close = [a for a in some if a.truth in [match.product_id for match in closer.candidates(a.ranked)]]
        found = np.mean([closer.best_of(a.seen)[a.truth].inliers > 0 for a in close])
        print(f"\n{gallery}: of photos of new packages {shown:.3f} have the right product among three; it is found in")
        print(f"{found:.3f} of {len(close)} close calls.")


def print_times(answers: Sequence[Asked]) -> None:
    took = np.array([a.ms for a in answers if a.ms])
    clear = [a for a in answers if not closer.candidates(a.ranked)]
    start = time.thread_time()
    for a in clear:
        closer.candidates(a.ranked)
    nothing = (time.thread_time() - start) * 1e3 / max(len(clear), 1)
    p50, p90, most = np.percentile(took, (50, 90, 100))
    print(f"\nA close call: p50 {p50:.0f} ms, p90 {p90:.0f} ms, at most {most:.0f} ms; any other: {nothing:.4f} ms.")


def embeddings(given: argparse.Namespace, parts: dict[str, Pictures]) -> Iterator[tuple[int, Vectors]]:
    numbers = [int(number) for number in given.folds.split(",")]
    if given.embeddings is not None:
        for number in numbers:
            with np.load(given.embeddings / f"fold-{number}" / "embeddings.npz") as found:
                yield number, {name: found[name] for name in parts}
        return
    from trainer.quiet import import_keras

    import_keras()
    from trainer.starter.make import Maker

    maker = Maker.open(given.data, given.cache, Silent())
    for number in numbers:
        shop = maker.fold(number).shop
        yield number, {"photos": shop.photos.vectors, "asked": shop.asked.vectors, "studio": shop.studio.vectors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--embeddings", type=Path, help="a folder of fold-N/embeddings.npz instead of trainings")
    parser.add_argument("--cache", type=Path, default=cache_home("starter"), help="of the recipe's trainings")
    parser.add_argument("--folds", default=",".join(map(str, range(FOLDS))))
    parser.add_argument("--packages", default="department=Packages", metavar="COLUMN=VALUE")
    parser.add_argument("--others", type=int, default=6, help="photos of each product that is not packed")
    parser.add_argument("--keep", type=Path, help="a file that what was seen is kept in, or read from where it exists")
    parser.add_argument("--refusals", action="store_true", help="what looking for a refused picture brings")
    parser.add_argument("--same", action="store_true", help="what a look brings with two photos of one item")
    given = parser.parse_args()
    if given.same:
        import same_looks

        shop = Shop(given.data, given.packages)
        same_looks.print_table(list(same_looks.items(shop, embeddings(given, shop.parts))))
        return
    if given.refusals:
        import refused_looks

        shop = Shop(given.data, given.packages)
        beside = list(refused_looks.ask(shop, embeddings(given, shop.parts), given.others))
        refused_looks.print_tables(beside)
        refused_looks.print_weights(beside)
        return
    if given.keep is not None and given.keep.is_file():
        answers = pickle.loads(given.keep.read_bytes())
    else:
        shop = Shop(given.data, given.packages)
        print(f"{len(shop.packed)} packages, {len(shop.alike)} of them look-alikes", flush=True)
        answers = []
        for number, vectors in embeddings(given, shop.parts):
            answers += ask(shop, number, vectors, given.others)
            print(f"fold {number}: {len(answers)} photos asked so far", file=sys.stderr, flush=True)
        if given.keep is not None:
            given.keep.write_bytes(pickle.dumps(answers))
    print_rates(answers)
    print_weights(answers)
    print_probabilities(answers)
    print_verdicts(answers)
    print_limits(answers)
    print_times(answers)


if __name__ == "__main__":
    main()
