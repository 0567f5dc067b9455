"""What a look brings with two photos of one item: the table of ``python benchmarks/verification.py GROCERY --same``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from refused_looks import Looks

from retrieval.distance import MAX_DISTANCE
from retrieval.recognition import closer
from retrieval.recognition.same import one_vector
from retrieval.types import Match, Sighting

if TYPE_CHECKING:
    from verification import Shop, Vectors

_DRAWS = 3
Pick = Callable[[Sequence[Sequence[Sighting]]], Sequence[Sighting]]

WAYS: dict[str, Pick] = {
    "no look": lambda _: (),
    "a look at one": lambda photos: photos[0],
    "at both, each product where it is seen best": lambda photos: [sighting for seen in photos for sighting in seen],
    "at both, in the one that shows most (shipped)": closer.clearest,
}


@dataclass(frozen=True)
class Item:
    """Some photos of one item, and what was seen in each."""

    fold: int
    cell: tuple[str, str]
    photos: int
    truth: str
    ranked: Sequence[Match]
    seen: Sequence[Sequence[Sighting]]

    def right(self, pick: Pick) -> bool:
        wanted = closer.candidates(self.ranked)
        seen = closer.best_of(pick(self.seen)) if wanted else {}
        ranked = self.ranked
        if closer.tells(wanted, seen):
            ranked = closer.weighed(ranked, seen, threshold=MAX_DISTANCE)
        return ranked[0].product_id == self.truth


def items(shop: Shop, vectors: Iterable[tuple[int, Vectors]]) -> Iterator[Item]:
    """Photos of packages alone, and two at a time, drawn anew for each of a few rounds."""
    from verification import galleries, rank

    looks = Looks(shop)
    for number, found in vectors:
        random = np.random.default_rng(number)
        for gallery, part, mask, questions in galleries(shop, number):
            rows = np.flatnonzero(mask)
            files, labels = [shop.files[part][row] for row in rows], shop.labels[part][rows]
            own = {product: np.flatnonzero(labels == product) for product in np.unique(labels).tolist()}
            for source, which, group in questions:
                if group == "unknown":
                    continue
                for product in sorted(shop.packed):
                    mine = np.flatnonzero(which & (shop.labels[source] == product))
                    pairs = [random.permutation(mine)[: len(mine) // 2 * 2].reshape(-1, 2) for _ in range(_DRAWS)]
                    for chosen in [*mine[:, None].tolist(), *np.concatenate(pairs).tolist()]:
                        vector, _ = one_vector(found[source][chosen])
                        ranked = rank(vector, found[part][rows], own, files)
                        wanted = closer.candidates(ranked)
                        seen = [
                            looks.seen_in(shop.files[source][row], wanted, None)[0] if wanted else () for row in chosen
                        ]
                        yield Item(number, (gallery, group), len(chosen), product, ranked, seen)


def print_table(found: Sequence[Item]) -> None:
    """R@1, means of the folds; in brackets items that a look mends and spoils."""
    cells = list(dict.fromkeys(item.cell for item in found))
    print(f"| photos of an item | | {' | '.join(f'{gallery}: {group} packages' for gallery, group in cells)} |")
    print("|---" * (2 + len(cells)) + "|")
    for photos in (1, 2):
        for name, pick in WAYS.items():
            if photos == 1 and name.startswith("at both"):
                continue
            figures = [_figure([i for i in found if i.cell == cell and i.photos == photos], pick) for cell in cells]
            print(f"| {photos} | {name} | {' | '.join(figures)} |", flush=True)
    for cell in cells:
        some = [item for item in found if item.cell == cell and item.photos == 2]
        close = np.mean([bool(closer.candidates(item.ranked)) for item in some]) if some else math.nan
        print(f"\n{cell[0]}, {cell[1]}: {len(some)} items of two photos, {close:.2f} of them close calls.")


def _figure(some: Sequence[Item], pick: Pick) -> str:
    folds = sorted({item.fold for item in some})
    was, now = (np.array([item.right(way) for item in some]) for way in (WAYS["no look"], pick))
    mean = np.mean([now[[item.fold == number for item in some]].mean() for number in folds])
    return f"{mean:.3f} ({(now & ~was).sum()}, {(was & ~now).sum()})"
