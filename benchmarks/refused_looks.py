"""What looking for a refused picture brings: the tables of ``python benchmarks/verification.py GROCERY --refusals``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from refusals import draws, sureness_of_others

from retrieval.calibration.sureness import Limits
from retrieval.distance import MAX_DISTANCE, squared_l2
from retrieval.images import pictures
from retrieval.recognition import closer
from retrieval.recognition.conclusion import ByProbability, EmbeddedPhoto, Ranked, conclude
from retrieval.recognition.decision import NEARER, NEARER_STUDIO
from retrieval.recognition.looker import sightings
from retrieval.refusals import KEPT_SIDE
from retrieval.types import Match, RefusedBy, Sighting
from retrieval.verification.kept import KEPT_REFUSED, PictureLook, look_at

if TYPE_CHECKING:
    from verification import Shop, Vectors

    from retrieval.calibration.galleries import Kind
    from trainer.starter.folds import Fold

KINDS: tuple[tuple[Kind, float], ...] = (("studio", NEARER_STUDIO), ("few", NEARER))
"""Galleries, and how far a product may lie beside a refusal in each."""
_PHOTO = EmbeddedPhoto("", np.zeros(1, np.float32), 0.0, 0.0)


class Looks:
    """What is seen of pictures in photos, each looked for once, and what that takes."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._refused: dict[str, PictureLook] = {}
        self._seen: dict[tuple[str, ...], tuple[Sequence[Sighting], float]] = {}

    def seen_in(
        self, photo: str, wanted: Sequence[Match], refused: RefusedBy | None
    ) -> tuple[Sequence[Sighting], float]:
        """Sightings of products and of a refused picture, and what they took, in ms."""
        names = [(match.product_id, e.image) for match in wanted for e in match.evidence[: closer.PICTURES]]
        key = (photo, *(image for _, image in names), refused.image if refused else "")
        if key not in self._seen:
            looks = {name: self.shop.look(name[1]) for name in names}
            if refused is not None:
                looks["", refused.image] = self._look_at_refused(refused.image)
            pixels, points, took = self.shop.photo(photo)
            start = time.thread_time()
            found = sightings(looks, pixels, points)
            self._seen[key] = found, took + (time.thread_time() - start) * 1e3
        return self._seen[key]

    def _look_at_refused(self, image: str) -> PictureLook:
        if image not in self._refused:
            kept = pictures.to_jpeg((self.shop.root / image).read_bytes(), KEPT_SIDE)
            self._refused[image] = PictureLook.from_bytes(look_at(kept, most=KEPT_REFUSED))
        return self._refused[image]


@dataclass(frozen=True)
class Beside:
    """A photo that is asked where something is refused."""

    gallery: str
    refused: str
    known: bool
    packed: bool
    truth: str
    photo: str
    found: Ranked
    looks: Looks = field(repr=False)

    def verdict(self, *, look: bool) -> tuple[str, float]:
        """``right``, ``wrong``, ``shown`` (ambiguous, the right one first), ``other`` or ``unknown``, and the ms."""
        took = 0.0

        def glance(wanted: Sequence[Match], refused: RefusedBy | None) -> Sequence[Sighting]:
            nonlocal took
            seen, took = self.looks.seen_in(self.photo, wanted, refused if look else None)
            return seen

        answer = conclude(self.found, top=1, fingerprint="", glance=glance)
        if answer.verdict == "unknown":
            return "unknown", took
        right = answer.matches[0].product_id == self.truth
        if answer.verdict == "match":
            return ("right" if right else "wrong"), took
        return ("shown" if right else "other"), took

    def near(self) -> bool:
        """Whether the refusal is looked for."""
        asked: list[RefusedBy] = []

        def glance(wanted: Sequence[Match], refused: RefusedBy | None) -> Sequence[Sighting]:
            asked.extend(filter(None, [refused]))
            return ()

        conclude(self.found, top=1, fingerprint="", glance=glance)
        return bool(asked)


def ask(shop: Shop, vectors: Iterable[tuple[int, Vectors]], others: int) -> Iterator[Beside]:
    """All photos of all folds' products, as they are asked where half of them, or a look-alike, is refused."""
    from verification import rank

    from trainer.starter.first_day import Embedded, few_photos, fold
    from trainer.starter.first_day import Shop as Day
    from trainer.starter.folds import Fold

    folds: list[Fold] = []
    for number, embedded in vectors:
        parts = {name: Embedded(embedded[name], shop.labels[name]) for name in ("photos", "asked", "studio")}
        folds.append(Fold(fold(shop.products, number), Day(**parts)))
    looks = Looks(shop)
    for kind, part in KINDS:
        for number, one in enumerate(folds):
            by = sureness_of_others(kind, folds, number)
            few = {row.tobytes() for row in few_photos(one.shop.photos, 0).vectors}
            pool = _pool(shop, one)
            inside = [p for p in pool if (p.part == "studio" if kind == "studio" else p.vector.tobytes() in few)]
            asked = [p for p in pool if p.part != "studio" and p.vector.tobytes() not in few]
            if kind == "studio":
                asked = [p for p in pool if p.part != "studio"]
            mine = [p for p in asked if p.product in one.held_out]
            for refused, gone, taken, photos in _settings(shop, one.held_out, asked, mine, number, others):
                gallery = [p for p in inside if p.product not in gone]
                rows, files = np.stack([p.vector for p in gallery]), [p.file for p in gallery]
                labels = np.array([p.product for p in gallery])
                own = {product: np.flatnonzero(labels == product) for product in np.unique(labels).tolist()}
                distances = squared_l2(np.stack([p.vector for p in photos]), np.stack([p.vector for p in taken]))
                for photo, to in zip(photos, distances, strict=True):
                    nearest = taken[int(to.argmin())]
                    refusal = RefusedBy(nearest.file, nearest.file, "", float(to.min()))
                    found = Ranked(
                        _PHOTO,
                        rank(photo.vector, rows, own, files),
                        MAX_DISTANCE,
                        MAX_DISTANCE,
                        refusal,
                        ByProbability(by, Limits(), len(own)),
                        1.0,
                        0.0,
                        part,
                    )
                    known, packed = photo.product not in gone, photo.product in shop.packed
                    yield Beside(kind, refused, known, packed, photo.product, photo.file, found, looks)


@dataclass(frozen=True, eq=False)
class _Picture:
    part: str
    product: str
    file: str
    vector: NDArray[np.float32]


def _pool(shop: Shop, fold: Fold) -> list[_Picture]:
    parts = {"photos": fold.shop.photos, "asked": fold.shop.asked, "studio": fold.shop.studio}
    return [
        _Picture(name, str(label), file, vector)
        for name, part in parts.items()
        for label, file, vector in zip(part.labels, shop.files[name], part.vectors, strict=True)
    ]


_Setting = tuple[str, set[str], list[_Picture], list[_Picture]]


def _settings(
    shop: Shop, held_out: Sequence[str], asked: list[_Picture], mine: list[_Picture], number: int, others: int
) -> Iterator[_Setting]:
    """What is refused: its name, the products that the gallery lacks, their refused photos, and the photos that ask."""
    labels = np.array([p.product for p in mine])
    products = sorted(set(held_out))
    for gone in (set(products[::2]), set(products[1::2])):
        picked = next(draws(labels, 1, gone, times=1))
        counts: dict[str, int] = {}
        photos = []
        for p, refused in zip(mine, picked, strict=True):
            counts[p.product] = counts.get(p.product, 0) + 1
            if not refused and (p.product in shop.packed or counts[p.product] <= others):
                photos.append(p)
        yield "every other", gone, [p for p, refused in zip(mine, picked, strict=True) if refused], photos
    random = np.random.default_rng(number)
    for product in products:
        for alike in shop.alike.get(product, ()):
            of = [p for p in asked if p.product == alike]
            refused = of[int(random.integers(len(of)))]
            # Its own photos ask too where the training has not seen it either.
            asks = [p for p in mine if p is not refused and p.product in (product, alike)]
            yield "a look-alike", {alike}, [refused], asks


def print_tables(answers: Sequence[Beside]) -> None:
    print(
        "| gallery | refused | photos of | photos | looked for | | match | right among them | shown first | unknown |"
    )
    print("|---" * 10 + "|")
    changed = 0
    took: list[float] = []
    for gallery, _ in KINDS:
        for refused in ("every other", "a look-alike"):
            for name, belongs in GROUPS.items():
                some = [a for a in answers if (a.gallery, a.refused) == (gallery, refused) and belongs(a)]
                if not some:
                    continue
                near = float(np.mean([a.near() for a in some]))
                said = {when: [a.verdict(look=when == "after") for a in some] for when in ("before", "after")}
                for when, verdicts in said.items():
                    cells = " | ".join(f"{cell:.3f}" for cell in _rates([verdict for verdict, _ in verdicts]))
                    print(
                        f"| {gallery} | {refused} | {name} | {len(some)} | {near:.2f} | {when} | {cells} |", flush=True
                    )
                if "not packed" in name:
                    changed += sum(b != a for (b, _), (a, _) in zip(*said.values(), strict=True))
                took += [ms for one, (_, ms) in zip(some, said["after"], strict=True) if one.near()]
    p50, p90, most = np.percentile(took, (50, 90, 100))
    print(f"\nAnswers to what is not packed that a look at a refusal changed: {changed}.")
    print(f"A look with a refusal: p50 {p50:.0f} ms, p90 {p90:.0f} ms, at most {most:.0f} ms.")


GROUPS: dict[str, Callable[[Beside], bool]] = {
    "known packages": lambda a: a.packed and a.known,
    "refused packages": lambda a: a.packed and not a.known,
    "known, not packed": lambda a: not a.packed and a.known,
    "refused, not packed": lambda a: not a.packed and not a.known,
}


def _rates(verdicts: Sequence[str]) -> tuple[float, float, float, float]:
    """A match, the right one, the right one first and not unknown, and unknown."""
    counts = {name: verdicts.count(name) / len(verdicts) for name in ("right", "wrong", "shown", "unknown")}
    return counts["right"] + counts["wrong"], counts["right"], counts["right"] + counts["shown"], counts["unknown"]


def print_weights(answers: Sequence[Beside]) -> None:
    cells = [(g, r) for g, _ in KINDS for r in ("every other", "a look-alike")]
    print(
        "\nKnown packages: match with the right product, shown first; refused packages: not unknown:\n\n"
        "| evidence owed | leaning | looked for within | "
        + " | ".join(f"{g}, {r}" for g, r in cells)
        + " |\n"
        + "|---" * 7
        + "|"
    )
    shipped = closer.OWED, closer.DIFFERING, closer.BESIDE
    ways = [(0.0, *shipped[1:]), (0.1, *shipped[1:]), (0.2, *shipped[1:]), (0.15, 0.0, 0.5), (0.15, 1.0, 0.5)]
    ways += [(*shipped[:2], 0.3), (*shipped[:2], 0.8), shipped]
    print(f"| no look | | | {' | '.join(_both(answers, *cell, look=False) for cell in cells)} |")
    for owed, differing, beside in ways:
        with mock.patch.multiple(closer, OWED=owed, DIFFERING=differing, BESIDE=beside):
            figures = " | ".join(_both(answers, *cell, look=True) for cell in cells)
        marked = " (shipped)" if (owed, differing, beside) == shipped else ""
        print(f"| {owed} | {differing} | {beside}{marked} | {figures} |", flush=True)


def _both(answers: Sequence[Beside], gallery: str, refused: str, *, look: bool) -> str:
    some = [a for a in answers if a.packed and (a.gallery, a.refused) == (gallery, refused)]
    known = _rates([a.verdict(look=look)[0] for a in some if a.known])
    unknown = _rates([a.verdict(look=look)[0] for a in some if not a.known])
    return f"{known[1]:.3f}, {known[2]:.3f}; {1.0 - unknown[3]:.3f}"
