"""Pure: which pictures repeat others, which lie under several products, and which must stay together.

Two pictures repeat each other when their files are equal, when they are equal once prepared, or when
their perceptual hashes are near. Near pictures of *one product* are shots of a moment apart at most. Near
pictures of *two products* are copies, or two packs of one design: they count as repeated only when a look
at their pixels confirms it (`Likeness.suspects`, `retrieval.images.perceptual_hash.same_picture`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from retrieval.images.perceptual_hash import hamming, near_duplicates_within
from retrieval.system.union_find import Sets
from trainer.prepare.types import Conflict, Duplicate, Findings, Kind, LookAlike, Picture

_PRECEDENCE = {"test": 0, "val": 1, "train": 2}


def preference(picture: Picture) -> tuple[int, int, int, str]:
    """Sorts first what is kept of several: in the test split of a divided source, then with most pixels."""
    width, height = picture.made.source_size
    return _PRECEDENCE.get(picture.split or "", 0), -width * height, -picture.source_bytes, picture.source


class Likeness:
    """The likeness of pictures, whatever order they come in.

    Attributes:
        distinct: one picture for each product and prepared content, the one to prefer.
    """

    def __init__(self, pictures: Iterable[Picture], near_bits: int) -> None:
        contents: dict[tuple[str, str], list[Picture]] = defaultdict(list)
        for picture in pictures:
            contents[picture.product_id, picture.made.sha256].append(picture)
        sets = sorted((sorted(same, key=preference) for same in contents.values()), key=lambda s: preference(s[0]))
        self.distinct: tuple[Picture, ...] = tuple(same[0] for same in sets)
        self._same = tuple(sets)
        self._products: dict[str, list[int]] = defaultdict(list)
        # Pictures with one perceptual hash, by that hash. Hash 0 stands for pictures without structure,
        # which are alike without being the same.
        self._holders: dict[int, list[int]] = defaultdict(list)
        for i, picture in enumerate(self.distinct):
            self._products[picture.product_id].append(i)
            if picture.made.perceptual_hash:
                self._holders[picture.made.perceptual_hash].append(i)
        values = sorted(self._holders)
        self._near: dict[int, dict[int, int]] = {value: {value: 0} for value in values}
        for a, b, bits in near_duplicates_within(np.array(values, np.uint64), near_bits):
            self._near[values[a]][values[b]] = self._near[values[b]][values[a]] = bits

    def suspects(self) -> list[tuple[int, int, int]]:
        """(i, j, bits) for pictures i < j of different products, near and not equal: to be looked at."""
        found = []
        for value, near in self._near.items():
            for other, bits in near.items():
                if other >= value:
                    found += [
                        (min(i, j), max(i, j), bits)
                        for i in self._holders[value]
                        for j in self._holders[other]
                        if (other > value or i < j) and self._differ(i, j)
                    ]
        return sorted(found)

    def _differ(self, i: int, j: int) -> bool:
        one, other = self.distinct[i], self.distinct[j]
        return one.product_id != other.product_id and one.made.sha256 != other.made.sha256

    def _look_alike(self, i: int, j: int, bits: int) -> LookAlike:
        one, other = sorted((self.distinct[i], self.distinct[j]), key=lambda p: p.source)
        return LookAlike(one, other, bits)

    def findings(self, confirmed: Sequence[bool], *, keep_conflicts: bool) -> Findings:
        """Sort everything out.

        Args:
            confirmed: for each of `suspects`, whether the two are the same picture.
            keep_conflicts: keep pictures that lie under several products, under each of them.
        """
        suspects = self.suspects()
        copies = [pair for pair, same in zip(suspects, confirmed, strict=True) if same]
        look_alikes = [
            self._look_alike(i, j, bits) for (i, j, bits), same in zip(suspects, confirmed, strict=True) if not same
        ]
        copies += self._equal_across_products()
        conflicts, conflicting = self._conflicts(copies, keep_conflicts)
        instead = self._keep_best(set() if keep_conflicts else conflicting)
        groups = self._groups(copies, instead)
        return Findings(
            tuple(tuple(self.distinct[i] for i in group) for group in groups),
            tuple(sorted(self._duplicates(instead), key=lambda d: (d.picture.product_id, d.picture.source))),
            tuple(conflicts),
            tuple(sorted(look_alikes, key=lambda a: (a.one.source, a.other.source))),
        )

    def _equal_across_products(self) -> Iterator[tuple[int, int, int]]:
        first: dict[str, int] = {}
        for i, picture in enumerate(self.distinct):
            j = first.setdefault(picture.made.sha256, i)
            if j != i:
                yield j, i, 0

    def _conflicts(self, copies: Sequence[tuple[int, int, int]], kept: bool) -> tuple[list[Conflict], set[int]]:
        sets = Sets(len(self.distinct))
        closest: dict[int, int] = {}
        for i, j, _ in copies:
            sets.join(i, j)
        for i, _, bits in copies:
            root = sets.root(i)
            closest[root] = min(bits, closest.get(root, bits))
        found = []
        conflicting: set[int] = set()
        for root, members in sets.members().items():
            conflicting.update(members)
            pictures = sorted(
                (picture for i in members for picture in self._same[i]), key=lambda p: (p.product_id, p.source)
            )
            found.append(Conflict(tuple(pictures), _kind(pictures), closest[root], kept))
        return sorted(found, key=lambda c: (c.pictures[0].product_id, c.pictures[0].source)), conflicting

    def _keep_best(self, left_out: set[int]) -> dict[int, int]:
        """For each picture that is not left out the one that is kept for it, maybe itself."""
        instead: dict[int, int] = {}
        for members in self._products.values():
            keeps: dict[int, int] = {}
            for i in members:
                if i in left_out:
                    continue
                value = self.distinct[i].made.perceptual_hash
                near = [(bits, keeps[other]) for other, bits in self._near.get(value, {}).items() if other in keeps]
                instead[i] = min(near)[1] if near else i
                if not near and value:
                    keeps[value] = i
        return instead

    def _groups(self, copies: Iterable[tuple[int, int, int]], instead: dict[int, int]) -> list[list[int]]:
        """The kept pictures by what connects them; pictures that are left out connect too.

        In a divided source, what is in a lesser split than the rest of its group is left out here.
        """
        sets = Sets(len(self.distinct))
        for i, j, _ in copies:
            sets.join(i, j)
        for members in self._products.values():
            firsts: dict[int, int] = {}
            for i in members:
                if value := self.distinct[i].made.perceptual_hash:
                    sets.join(firsts.setdefault(value, i), i)
            for value, i in firsts.items():
                for other in self._near[value]:
                    if other in firsts:
                        sets.join(i, firsts[other])
        groups: dict[int, list[int]] = defaultdict(list)
        for i, kept in instead.items():
            if i == kept:
                groups[sets.root(i)].append(i)
        for group in groups.values():
            group.sort()  # the first is in the split that takes precedence
            for i in group[1:]:
                if self.distinct[i].split != self.distinct[group[0]].split:
                    instead[i] = group[0]
        return [[i for i in group if instead[i] == i] for group in groups.values()]

    def _duplicates(self, instead: dict[int, int]) -> Iterator[Duplicate]:
        for i, kept in instead.items():
            while instead[kept] != kept:
                kept = instead[kept]
            there = self.distinct[kept]
            for picture in self._same[i]:
                if picture is not there:
                    bits = hamming(picture.made.perceptual_hash, there.made.perceptual_hash)
                    yield Duplicate(picture, there, _kind([picture, there]), bits)


def _kind(pictures: Sequence[Picture]) -> Kind:
    if len({p.source_sha256 for p in pictures}) == 1:
        return "same-file"
    return "same-pixels" if len({p.made.sha256 for p in pictures}) == 1 else "near"
