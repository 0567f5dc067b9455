"""Pure: which split each group of pictures goes to.

Every choice hangs on a hash of the seed and of what is chosen (a group's content, a product's id), never
on order, names or a random generator's state. So the same pictures always fall the same way, and adding a
picture to a product moves at most one group of that product over each border between two splits.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction

from retrieval.system.union_find import Sets
from retrieval.types import SPLITS
from trainer.prepare.types import Options, Picture

Group = Sequence[Picture]

VISIT = 30 * 60
"""Seconds without a photo of a product that part two visits."""


def assign(groups: Sequence[Group], options: Options) -> list[str]:
    """The split of each group.

    Args:
        groups: pictures that must not be parted; none is empty.
        options: how to split.
    """
    if options.keep_splits:
        return [group[0].split or SPLITS[0] for group in groups]
    if options.by == "product":
        return _by_product(groups, options)
    visit = visits(groups)
    together: dict[int, list[int]] = {}
    for i, root in enumerate(visit):
        together.setdefault(root, []).append(i)
    joined = [tuple(picture for i in members for picture in groups[i]) for members in together.values()]
    whole = {groups[members[0]][0].product_id for members in together.values() if len(members) > 1}
    chosen = dict(zip(together, _by_image(joined, options, whole), strict=True))
    return [chosen[root] for root in visit]


def visits(groups: Sequence[Group]) -> list[int]:
    """For each group the first group of its visit: photos of one product, taken within `VISIT` seconds of the last.

    They show one item in one light: in two splits the one would be measured by the other. A product whose photos are
    all of one visit is divided all the same: it would be in train alone else.
    """
    found = list(range(len(groups)))
    dated: dict[str, list[tuple[int, int]]] = {}
    for i, group in enumerate(groups):
        products = {picture.product_id for picture in group}
        times = [picture.taken for picture in group if picture.taken is not None]
        if len(products) == 1 and times:
            dated.setdefault(group[0].product_id, []).append((min(times), i))
    alone = Counter(group[0].product_id for group in groups)
    for product, members in dated.items():
        members.sort()
        starts = [at == 0 or members[at][0] - members[at - 1][0] > VISIT for at in range(len(members))]
        if sum(starts) < 2 and len(members) == alone[product]:
            continue
        first = 0
        for (_, i), begins in zip(members, starts, strict=True):
            first = i if begins else first
            found[i] = first
    return found


def _by_image(groups: Sequence[Group], options: Options, whole: Collection[str] = ()) -> list[str]:
    """Every product's groups are divided.

    Of n pictures, ``floor(n * test + u)`` are for test and ``floor(n * (test + val) + u)`` for test and val
    together, where u in [0, 1) is the hash of the product (systematic sampling, Madow and Madow 1944): each
    product is within one picture of the ratios, and the whole comes near them however few pictures the
    products have. A product keeps at least one picture in train. Of products in ``whole`` groups are counted, not
    pictures: visits of many photos would fit no share.
    """
    shares = options.ratios.shares
    chosen = [""] * len(groups)
    alone: dict[str, list[int]] = {}
    pictures: Counter[str] = Counter(p.product_id for group in groups for p in group)
    for i, group in enumerate(groups):
        if len({p.product_id for p in group}) == 1:
            alone.setdefault(group[0].product_id, []).append(i)
    placed: Counter[tuple[str, str]] = Counter()
    for i, group in enumerate(groups):
        products = {p.product_id for p in group}
        if len(products) > 1:
            # Pictures under several products: where the hash says, unless it is all that a product has.
            lone = any(product not in alone for product in products)
            chosen[i] = _first_with_room(shares) if lone else _draw(_group_key(group, options.seed), shares)
            placed.update((p.product_id, chosen[i]) for p in group)
    for product, members in alone.items():
        by_group = product in whole
        n, u = len(members) if by_group else pictures[product], _hash(options.seed, "product", product)
        test = math.floor(n * shares["test"] + u)
        held_out = math.floor(n * (shares["test"] + shares["val"]) + u)
        wanted = {"test": test - placed[product, "test"], "val": held_out - test - placed[product, "val"]}
        ranked = sorted(members, key=lambda i: _group_key(groups[i], options.seed))
        _fill(ranked, [1 if by_group else len(groups[i]) for i in ranked], wanted, chosen)
        if shares["train"] and not placed[product, "train"] and not any(chosen[i] == "train" for i in ranked):
            chosen[ranked[-1]] = "train"
    return chosen


def _by_product(groups: Sequence[Group], options: Options) -> list[str]:
    """Whole products are divided; products that share a group stay together.

    The numbers of products are rounded; a split that is wanted gets one product at least, where there are
    as many products as splits.
    """
    products = sorted({p.product_id for group in groups for p in group})
    number = {product: i for i, product in enumerate(products)}
    sets = Sets(len(products))
    for group in groups:
        for picture in group:
            sets.join(number[group[0].product_id], number[picture.product_id])
    together: dict[int, list[str]] = {}
    for product, i in number.items():
        together.setdefault(sets.root(i), []).append(product)
    keys = {root: min(_hash(options.seed, "product", p) for p in members) for root, members in together.items()}
    ranked = sorted(together, key=lambda root: keys[root])
    shares, n = options.ratios.shares, len(products)
    wants = {split: shares[split] > 0 for split in SPLITS}
    enough = n >= sum(wants.values())
    test = max(enough and wants["test"], _rounded(n * shares["test"]))
    held_out = max(test + (enough and wants["val"]), _rounded(n * (shares["test"] + shares["val"])))
    wanted = {"test": test, "val": held_out - test}
    chosen = [""] * len(products)
    _fill(ranked, [len(together[root]) for root in ranked], wanted, chosen)
    if shares["train"] and ranked and not any(chosen[root] == "train" for root in ranked):
        chosen[ranked[-1]] = "train"
    return [chosen[sets.root(number[group[0].product_id])] for group in groups]


def _fill(ranked: Sequence[int], sizes: Sequence[int], wanted: dict[str, int], chosen: list[str]) -> None:
    """Fill test, then val, then train; what reaches over a border goes where its middle lies."""
    borders = [("test", max(0, wanted["test"])), ("val", max(0, wanted["test"]) + max(0, wanted["val"]))]
    start = 0
    for i, size in zip(ranked, sizes, strict=True):
        middle = start + size / 2
        chosen[i] = next((split for split, border in borders if middle < border), "train")
        start += size


def _rounded(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def _first_with_room(shares: dict[str, Fraction]) -> str:
    return next(split for split in SPLITS if shares[split])


def _draw(u: Fraction, shares: dict[str, Fraction]) -> str:
    below = Fraction(0)
    for split in ("test", "val"):
        below += shares[split]
        if u < below:
            return split
    return "train"


def _group_key(group: Iterable[Picture], seed: int) -> Fraction:
    """From contents, not from names: a renamed file stays where it is."""
    return min(_hash(seed, "picture", p.product_id, p.source_sha256) for p in group)


def _hash(*parts: object) -> Fraction:
    """Uniform in [0, 1)."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return Fraction(int.from_bytes(digest[:8], "big"), 1 << 64)
