"""From what was seen to what is wrong: pure functions from a survey to findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.audit.findings import Finding, Kind, Settings, Severity, Shown
from retrieval.audit.neighbors import VOTERS, Surroundings, mixing, nearest_others, outlier_ratio
from retrieval.audit.survey import Refused, Survey, Surveyed
from retrieval.distance import squared_l2
from retrieval.system.union_find import Sets
from retrieval.types import Metadata

_SHOWN = 4

# What a refusal of the walk or of the decoder means to the owner of a catalog; any other code is "unreadable".
_CODES: Mapping[str, tuple[Kind, Severity]] = {
    "missing": ("no-pictures", "error"),
    "not-in-table": ("no-metadata", "warning"),
    "outside-product": ("unused-file", "warning"),
    "not-a-picture": ("unused-file", "info"),
    "link-loop": ("unused-file", "info"),
    "too-small": ("tiny", "error"),
}


def refused_files(refused: Iterable[Refused]) -> Iterator[Finding]:
    """One finding for each file that cannot be used."""
    for file in refused:
        kind, severity = _CODES.get(file.code, ("unreadable", "error"))
        yield Finding(
            kind=kind,
            severity=severity,
            products=(file.product_id,) if file.product_id else (),
            message=f"{file.image}: {file.reason}",
            pictures=(Shown(file.product_id, file.image),),
        )


def poor_pictures(pictures: Iterable[Surveyed], settings: Settings) -> Iterator[Finding]:
    """Pictures that show nothing, or too little."""
    for picture in pictures:
        shown = (_shown(picture),)
        side = min(picture.width, picture.height)
        if picture.contrast < settings.min_contrast:
            yield Finding(
                kind="blank",
                severity="error",
                products=(picture.product_id,),
                message=f"{picture.image} is nearly one color (contrast {picture.contrast:.1f} of 255)",
                strength=settings.min_contrast - picture.contrast,
                numbers={"contrast": round(picture.contrast, 3)},
                pictures=shown,
            )
        if side < settings.min_side or picture.size < settings.min_bytes:
            # Slightly under the input costs little; under half of it most detail is missing.
            small = 2 * side < settings.min_side or picture.size < settings.min_bytes
            yield Finding(
                kind="tiny",
                severity="warning" if small else "info",
                products=(picture.product_id,),
                message=f"{picture.image}: {picture.width} x {picture.height} pixels, {picture.size:,} bytes;"
                f" the model's input is {settings.min_side} pixels",
                strength=settings.min_side / side,
                numbers={"width": picture.width, "height": picture.height, "bytes": picture.size},
                pictures=shown,
            )


def few_views(survey: Survey, settings: Settings) -> Iterator[Finding]:
    """Products with too few readable pictures, or none."""
    views: dict[str, list[Surveyed]] = {product: [] for product in survey.products}
    for picture in survey.pictures:
        views[picture.product_id].append(picture)
    lost = {file.product_id for file in survey.refused if file.product_id}
    for product, pictures in views.items():
        if len(pictures) >= settings.min_views:
            continue
        kind: Kind = "few-views" if pictures else "no-pictures"
        reason = " that can be read" if product in lost else ""
        count = f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''}" if pictures else "no picture"
        yield Finding(
            kind=kind,
            severity="warning",
            products=(product,),
            message=f"{product} has {count}{reason}"
            + (f", expected at least {settings.min_views}" if pictures else ""),
            strength=float(settings.min_views - len(pictures)),
            numbers={"pictures": len(pictures), "expected": settings.min_views},
            pictures=tuple(_shown(p) for p in pictures),
        )


def without_metadata(survey: Survey) -> Iterator[Finding]:
    """Products that the table does not name, where there is a table."""
    if not survey.has_table:
        return
    views: dict[str, list[Surveyed]] = {}
    for picture in survey.pictures:
        views.setdefault(picture.product_id, []).append(picture)
    for product, metadata in survey.products.items():
        if not metadata and product in views:
            yield Finding(
                kind="no-metadata",
                severity="warning",
                products=(product,),
                message=f"{product} has {_count(views[product])} and no row in the table",
                strength=float(len(views[product])),
                numbers={"pictures": len(views[product])},
                pictures=tuple(_shown(p) for p in views[product][:_SHOWN]),
            )


def repeated(
    pictures: Sequence[Surveyed], near: Iterable[tuple[int, int, int]], settings: Settings
) -> Iterator[Finding]:
    """The same or nearly the same picture more than once.

    Args:
        pictures: readable pictures.
        near: (i, j, bits) for pairs of different files whose perceptual hashes differ in ``bits``.
        settings: for what counts as blank: blank pictures all look the same and are reported as such.
    """
    same: dict[str, list[int]] = {}
    for i, picture in enumerate(pictures):
        same.setdefault(picture.content_hash, []).append(i)
    for members in same.values():
        if len(members) > 1:
            yield _repetition([pictures[i] for i in members], bits=0, exact=True)
    groups, kept = Sets(len(pictures)), []
    for i, j, bits in near:
        blank = min(pictures[i].contrast, pictures[j].contrast) < settings.min_contrast
        if not blank and pictures[i].content_hash != pictures[j].content_hash:
            groups.join(i, j)
            kept.append((i, bits))
    closest: dict[int, int] = {}
    for i, bits in kept:
        root = groups.root(i)
        closest[root] = min(bits, closest.get(root, bits))
    for root, members in groups.members().items():
        yield _repetition([pictures[i] for i in members], bits=closest[root], exact=False)


def _repetition(members: Sequence[Surveyed], *, bits: int, exact: bool) -> Finding:
    products = tuple(dict.fromkeys(p.product_id for p in members))
    several = len(products) > 1
    kind: Kind = "repeated-picture"
    if several:
        kind = "same-picture" if exact else "near-same-picture"
    word = "The same" if exact else "Nearly the same"
    if len(members) == 2:
        message = f"{word} picture: {members[0].image} and {members[1].image}"
    elif several:
        message = f"{word} picture {len(members)} times in {len(products)} products: {_names(products)}"
    else:
        message = f"{word} picture {len(members)} times in {products[0]}"
    numbers = {"pictures": len(members), "products": len(products)}
    return Finding(
        kind=kind,
        severity=("error" if exact else "warning") if several else "info",
        products=products,
        message=message,
        strength=float(len(members) if exact else len(members) + 1.0 / (1.0 + bits)),
        numbers=numbers if exact else numbers | {"differing_bits": bits},
        pictures=tuple(_shown(p) for p in members),
    )


def mislabeled(
    survey: Survey,
    rows: NDArray[np.int64],
    codes: NDArray[np.int64],
    around: Surroundings,
    settings: Settings,
    explained: set[tuple[int, int]],
) -> Iterator[Finding]:
    """Pictures whose three nearest pictures of another product are much nearer than those of their own.

    ``ratio = own / other`` (see `retrieval.audit.neighbors.Surroundings`). A picture is reported when its
    ratio is at least `Settings.mislabel_ratio` and an outlier among the catalog's ratios. A fixed
    distance would not do: what is near differs from model to model and from product to product.

    Args:
        survey: what was seen.
        rows: which pictures of the survey were compared, shape (n,).
        codes: product number of each of those, shape (n,).
        around: their surroundings.
        settings: the bounds.
        explained: pairs of products that cannot be told apart anyway: not reported again.
    """
    ratios = np.full(len(rows), np.nan)
    usable = np.isfinite(around.own) & np.isfinite(around.other)
    ratios[usable] = around.own[usable].astype(np.float64) / np.maximum(around.other[usable], 1e-6)
    positive = ratios[usable & (ratios > 0)]
    bound = max(settings.mislabel_ratio, outlier_ratio(positive, settings.mislabel_outlier))
    for i in np.flatnonzero(usable & (ratios >= bound)):
        code, other = int(codes[i]), int(around.other_code[i])
        if (min(code, other), max(code, other)) in explained:
            continue
        subject = survey.pictures[rows[i]]
        own = _nearest(survey, rows, codes, int(i), code, "own")
        others = _nearest(survey, rows, codes, int(i), other, "other")
        likely = others[0].product_id
        yield Finding(
            kind="mislabeled",
            severity="warning",
            products=(subject.product_id, likely),
            message=f"{subject.image} looks like {likely} to {settings.model}: distance {around.other[i]:.2f} to its"
            f" nearest pictures there, {around.own[i]:.2f} to those of {subject.product_id}",
            strength=float(ratios[i]),
            numbers={
                "own_distance": round(float(around.own[i]), 4),
                "other_distance": round(float(around.other[i]), 4),
                "ratio": round(float(ratios[i]), 4),
            },
            pictures=(_shown(subject), *own, *others),
        )


def indistinguishable(
    survey: Survey,
    rows: NDArray[np.int64],
    codes: NDArray[np.int64],
    around: Surroundings,
    settings: Settings,
) -> Iterator[tuple[tuple[int, int], Finding]]:
    """Pairs of products whose pictures lie among each other, within the threshold.

    Two products are reported when `retrieval.audit.neighbors.mixing` reaches `Settings.resemblance` (a note)
    or `Settings.confusion` (a warning), and half of their pictures have one of the other product within the
    threshold (or within the catalog's usual distance between pictures of one product, where that is larger).

    Yields:
        The pair of product numbers, the lower first, and its finding.
    """
    sizes = np.bincount(codes) if len(codes) else np.zeros(0, np.int64)
    finite = around.nearest_own[np.isfinite(around.nearest_own)]
    reach = max(settings.threshold, float(np.median(finite)) if len(finite) else 0.0)
    a_codes, b_codes, crossings = around.crossings.T
    mixtures = mixing(crossings, sizes[a_codes], sizes[b_codes])
    suspects = (np.minimum(sizes[a_codes], sizes[b_codes]) >= 2) & (mixtures >= settings.resemblance)
    for k in np.flatnonzero(suspects):
        (a, b, crossed), mixed = around.crossings[k].tolist(), float(mixtures[k])
        left, right = np.flatnonzero(codes == a), np.flatnonzero(codes == b)
        between = squared_l2(survey.vectors[rows[left]], survey.vectors[rows[right]])
        nearest = np.concatenate([between.min(axis=1), between.min(axis=0)])
        if float(np.median(nearest)) > reach:
            continue
        first = [_shown(survey.pictures[rows[left[i]]], "own", between[i].min()) for i in _lowest(between.min(axis=1))]
        second = [
            _shown(survey.pictures[rows[right[j]]], "other", between[:, j].min()) for j in _lowest(between.min(axis=0))
        ]
        one, two = first[0].product_id, second[0].product_id
        twins = _same_row(survey.products[one], survey.products[two])
        yield (
            (a, b),
            Finding(
                kind="indistinguishable",
                severity="warning" if mixed >= settings.confusion else "info",
                products=(one, two),
                message=f"{settings.model} cannot tell {one} from {two}: {crossed} of their {sizes[a] + sizes[b]}"
                " pictures are nearer to the other product than to their own"
                + ("; their metadata are equal" if twins else ""),
                strength=mixed,
                numbers={
                    "crossed": crossed,
                    "pictures": int(sizes[a] + sizes[b]),
                    "mixing": round(mixed, 4),
                    "median_distance": round(float(np.median(nearest)), 4),
                },
                pictures=(*first, *second),
            ),
        )


def lone_neighbors(
    survey: Survey, rows: NDArray[np.int64], codes: NDArray[np.int64], settings: Settings
) -> Iterator[Finding]:
    """Products with a single picture that lies within the threshold of another product's.

    Only with a threshold from outside: one chosen on this catalog would always find some.
    """
    if settings.threshold_source == "catalog" or len(codes) < 2:
        return
    lone = np.flatnonzero(np.bincount(codes)[codes] == 1)
    which, distances = nearest_others(survey.vectors[rows], lone)
    reported: set[tuple[int, int]] = set()
    for i, j, distance in zip(lone.tolist(), which.tolist(), distances.tolist(), strict=True):
        pair = (min(int(codes[i]), int(codes[j])), max(int(codes[i]), int(codes[j])))
        if distance > settings.threshold or pair in reported:
            continue
        reported.add(pair)
        one, two = survey.pictures[rows[i]], survey.pictures[rows[j]]
        yield Finding(
            kind="indistinguishable",
            severity="info",
            products=(one.product_id, two.product_id),
            message=f"{settings.model} cannot tell {one.product_id} from {two.product_id}: the only picture of the"
            f" first is {distance:.2f} from one of the second, within the threshold of {settings.threshold:.2f}",
            strength=-distance,
            numbers={"distance": round(distance, 4)},
            pictures=(_shown(one, "own", distance), _shown(two, "other", distance)),
        )


def _nearest(
    survey: Survey, rows: NDArray[np.int64], codes: NDArray[np.int64], i: int, code: int, role: str
) -> list[Shown]:
    members = np.flatnonzero(codes == code)
    members = members[members != i]
    distances = squared_l2(survey.vectors[rows[i : i + 1]], survey.vectors[rows[members]])[0]
    chosen = _lowest(distances, VOTERS)
    return [
        _shown(survey.pictures[rows[members[j]]], "own" if role == "own" else "other", distances[j]) for j in chosen
    ]


def _lowest(values: NDArray[np.float32], count: int = _SHOWN) -> list[int]:
    chosen: list[int] = np.argsort(values, kind="stable")[:count].tolist()
    return chosen


def _shown(picture: Surveyed, role: str = "subject", distance: float | np.float32 | None = None) -> Shown:
    return Shown(
        picture.product_id,
        picture.image,
        "own" if role == "own" else "other" if role == "other" else "subject",
        None if distance is None else round(float(distance), 4),
    )


def _same_row(one: Metadata, two: Metadata) -> bool:
    return bool(one) and dict(one) == dict(two)


def _count(pictures: Sequence[object]) -> str:
    return f"{len(pictures)} picture{'' if len(pictures) == 1 else 's'}"


def _names(products: Sequence[str]) -> str:
    more = len(products) - 3
    return ", ".join(products[:3]) + (f" and {more} more" if more > 0 else "")
