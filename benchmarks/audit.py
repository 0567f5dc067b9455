"""Does `itemrec audit` find what was planted, and how much else does it report?

    python benchmarks/audit.py [--photos DIR] [--model NAME_OR_PATH] [--views 3,5,10,0] [--seeds 3]

``DIR`` is a catalog of product folders with several photos each (default: photos drawn here).
Part one plants every kind of problem into a copy of it and audits that, files and all. Part two
plants mislabeled pictures and double products again and again into the survey of the clean
catalog, with as many photos a product as a catalog may have (0: all).

*found* counts planted problems that are reported, *false* what is reported beside them. On real
photos a part of the false ones is true: the photos were not perfect before.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from retrieval.audit import Finding, Settings, Survey, audit_catalog, find_problems, survey
from retrieval.audit.neighbors import surroundings
from retrieval.catalog.read import read_catalog
from retrieval.images.pictures import decode
from retrieval.metrics import threshold_at_far
from retrieval.models.bundle import Bundle
from retrieval.models.installed import resolve_model
from retrieval.types import CatalogImage

TWIN = "-entered-again"


@dataclass(frozen=True)
class Planted:
    """What must be found: the kind, and the pictures or products that tell that it was."""

    kind: str
    keys: frozenset[str]


def copy_catalog(source: Path, target: Path) -> dict[str, list[Path]]:
    """Hard links where the disk allows, copies elsewhere; returns the files of each product."""
    files: dict[str, list[Path]] = {}
    for entry in read_catalog(source).entries():
        if not isinstance(entry, CatalogImage):
            continue
        place = target / entry.product_id / Path(entry.image).name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(entry.file, place)
        except OSError:
            shutil.copyfile(entry.file, place)
        files.setdefault(entry.product_id, []).append(place)
    return files


def plant_files(root: Path, files: dict[str, list[Path]], rng: np.random.Generator) -> list[Planted]:
    """Every kind of problem, each in products of its own."""
    products = [p for p in rng.permutation(sorted(files)) if len(files[p]) >= 6]
    planted: list[Planted] = []

    def pick(product: str) -> Path:
        return files[product].pop(int(rng.integers(len(files[product]))))

    doubles, products = products[: max(1, len(products) // 12)], products[max(1, len(products) // 12) :]
    for product in doubles:
        twin = root / f"{product}{TWIN}"
        twin.mkdir()
        half = rng.permutation(len(files[product]))[: len(files[product]) // 2]
        for i in half:
            files[product][i].rename(twin / files[product][i].name)
        planted.append(Planted("indistinguishable", frozenset({product, twin.name})))
    total = sum(len(f) for f in files.values())
    for n in range(max(3, total // 100)):
        source = products[n % len(products)]
        target = str(rng.choice([p for p in products if p != source]))
        picture = pick(source)
        picture.rename(root / target / f"moved-{n}-{picture.name}")
        planted.append(Planted("mislabeled", frozenset({f"{target}/moved-{n}-{picture.name}"})))
    for n in range(5):
        one, two = rng.choice(products, 2, replace=False)
        picture = pick(one)
        shutil.copyfile(picture, root / two / f"copied-{n}.jpg")
        planted.append(Planted("same-picture", frozenset({f"{one}/{picture.name}", f"{two}/copied-{n}.jpg"})))
    for n in range(5):
        one, two = rng.choice(products, 2, replace=False)
        picture = pick(one)
        im = decode(picture.read_bytes())
        im = im.resize((int(im.width * 0.8), int(im.height * 0.8)))
        im.save(root / two / f"resaved-{n}.jpg", quality=70)
        planted.append(Planted("near-same-picture", frozenset({f"{one}/{picture.name}", f"{two}/resaved-{n}.jpg"})))
    where = iter(products)
    for name, data, kind in broken_files(files[products[0]][0].read_bytes()):
        product = next(where)
        (root / product / name).write_bytes(data)
        planted.append(Planted(kind, frozenset({f"{product}/{name}"})))
    lone = root / "only-one-view"
    lone.mkdir()
    pick(products[-1]).rename(lone / "one.jpg")
    planted.append(Planted("few-views", frozenset({"only-one-view"})))
    with (root / "products.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["product_id", "name"])
        rows = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name != products[-2])
        table.writerows([p, p] for p in [*rows, "row-without-a-picture"])
    planted.append(Planted("no-metadata", frozenset({products[-2]})))
    planted.append(Planted("no-pictures", frozenset({"row-without-a-picture"})))
    return planted


def broken_files(photo: bytes) -> Iterable[tuple[str, bytes, str]]:
    """A file of each kind of broken: its name, its bytes, and the kind of finding."""
    yield "cut.jpg", photo[: len(photo) // 2], "unreadable"
    yield "empty.jpg", b"", "unreadable"
    yield "text.jpg", b"this is no picture", "unreadable"
    yield "small.jpg", saved(decode(photo).resize((60, 60))), "tiny"
    for n, value in enumerate(((255, 255, 255), (12, 12, 14), (190, 60, 40))):
        yield f"blank-{n}.jpg", saved(Image.new("RGB", (400, 300), value)), "blank"


def saved(im: Image.Image) -> bytes:
    out = io.BytesIO()
    im.save(out, "JPEG", quality=90)
    return out.getvalue()


def hit(planted: Planted, findings: Sequence[Finding]) -> Finding | None:
    """The finding that reports it: of its kind, with all its pictures or products (the subject, if mislabeled)."""
    for finding in findings:
        named = {*finding.products, *(p.image for p in finding.pictures)}
        if planted.kind == "mislabeled":
            named = {finding.pictures[0].image} if finding.pictures else set()
        if finding.kind == planted.kind and planted.keys <= named:
            return finding
    return None


def score(planted: Sequence[Planted], findings: Sequence[Finding]) -> dict[str, tuple[int, int, int]]:
    """For each kind: planted, found, and false (reported without having been planted; notes do not count)."""
    serious = [f for f in findings if f.severity != "info"]
    result: dict[str, tuple[int, int, int]] = {}
    for kind in dict.fromkeys([*(p.kind for p in planted), *(f.kind for f in serious)]):
        mine = [p for p in planted if p.kind == kind]
        hits = [h for p in mine if (h := hit(p, serious)) is not None]
        false = [f for f in extra(planted, serious) if f.kind == kind]
        result[kind] = (len(mine), len(hits), len(false))
    return result


def extra(planted: Sequence[Planted], findings: Sequence[Finding]) -> list[Finding]:
    """Findings about nothing planted; a copy in the wrong product is rightly reported as mislabeled too."""
    hits = [hit(p, findings) for p in planted]
    misplaced = {key for p in planted if p.kind in ("same-picture", "near-same-picture", "tiny") for key in p.keys}
    return [
        f
        for f in findings
        if not any(f is h for h in hits)
        and not (f.kind in ("mislabeled", "near-same-picture") and f.pictures and f.pictures[0].image in misplaced)
    ]


def whole(source: Path, bundle: Bundle, seed: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "catalog"
        root.mkdir()
        planted = plant_files(root, copy_catalog(source, root), np.random.default_rng(seed))
        report = audit_catalog(read_catalog(root), bundle)
    threshold = f"{report.settings.threshold:.3f} ({report.settings.threshold_source})"
    print(
        f"{report.pictures:,} pictures of {report.products:,} products, threshold {threshold}, {report.seconds:.0f} s"
    )
    print(f"  {'kind':18} planted  found  false")
    scores = score(planted, report.findings)
    for kind, (many, found, false) in scores.items():
        print(f"  {kind:18} {many:7}  {found:5}  {false:5}")
    print(f"  notes that need nobody: {report.counts()['info']}")
    for finding in extra(planted, [f for f in report.findings if f.severity != "info"]):
        print(f"    not planted: {finding.kind}: {finding.message}")


def relabeled(seen: Survey, views: int, rng: np.random.Generator, near: bool) -> tuple[Survey, list[Planted]]:
    """A survey with so many pictures a product, 1 % of them mislabeled and one product of twelve split in two.

    Args:
        seen: the survey of the clean catalog.
        views: pictures kept of each product; 0 keeps all.
        rng: decides.
        near: mislabel into one of the eight most similar products, not into any.
    """
    labels = np.array([p.product_id for p in seen.pictures])
    kept = [rng.permutation(np.flatnonzero(labels == p))[: views or None] for p in np.unique(labels)]
    rows = np.sort(np.concatenate(kept))
    labels, vectors = labels[rows].astype(object), seen.vectors[rows]
    names = np.unique(labels.astype(str))
    centers = np.stack([vectors[labels == p].mean(axis=0) for p in names])
    planted: list[Planted] = []
    split = rng.choice(names, max(1, len(names) // 12), replace=False)
    for product in split:
        members = rng.permutation(np.flatnonzero(labels == product))
        labels[members[: len(members) // 2]] = product + TWIN
        planted.append(Planted("indistinguishable", frozenset({str(product), product + TWIN})))
    free = np.flatnonzero(np.isin(labels.astype(str), [p for p in names if p not in split]))
    for i in rng.choice(free, max(4, len(rows) // 100), replace=False):
        home = int(np.flatnonzero(names == labels[i])[0])
        ranking = np.argsort(-(centers @ centers[home]))
        choices = [names[j] for j in ranking if j != home and names[j] not in split]
        labels[i] = str(rng.choice(choices[:8] if near else choices))
        planted.append(Planted("mislabeled", frozenset({seen.pictures[rows[i]].image})))
    pictures = tuple(replace(seen.pictures[r], product_id=str(label)) for r, label in zip(rows, labels, strict=True))
    return Survey(pictures, vectors, (), {str(p): {} for p in set(labels)}, has_table=False), planted


def sweep(seen: Survey, views: Sequence[int], seeds: int) -> None:
    print(f"\nmislabeled pictures and double products, {seeds} catalogs a line")
    print(f"  {'views':>5} {'mislabeled into':16} {'planted found false':>20}   {'doubles':9} {'found false':>11}")
    for many in views:
        for near in (False, True):
            totals = np.zeros((2, 3), np.int64)
            for seed in range(seeds):
                planted_survey, planted = relabeled(seen, many, np.random.default_rng(seed), near)
                labels = [p.product_id for p in planted_survey.pictures]
                threshold = threshold_at_far(planted_survey.vectors, labels, 0.01).threshold or 0.0
                # What the rules find, one by one, also where a weak model makes it most of the products.
                settings = Settings(threshold=threshold, threshold_source="catalog", min_views=1, most=1.0)
                scores = score(planted, find_problems(planted_survey, settings))
                totals += [scores["mislabeled"], scores["indistinguishable"]]
            (m, mf, mx), (d, df, dx) = totals.tolist()
            into = "a similar one" if near else "any product"
            print(f"  {many or 'all':>5} {into:16} {m:8} {mf:5} {mx:5}   {d:9} {df:5} {dx:5}")


def speed(rng: np.random.Generator) -> None:
    print("\nlooking around every picture (128 dimensions, 10 pictures a product)")
    for n in (1_000, 10_000):
        vectors = rng.normal(size=(n, 128)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        start = time.perf_counter()
        surroundings(vectors, np.arange(n) // 10)
        print(f"  {n:7,} pictures: {time.perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a catalog with several photos a product; default: drawn")
    parser.add_argument("--model", help="default: the starter")
    parser.add_argument("--views", default="3,5,10,0", help="photos a product in part two; 0: all")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    bundle = resolve_model(arguments.model)
    with tempfile.TemporaryDirectory() as temporary:
        photos = arguments.photos
        if photos is None:
            from trainer.synthetic import draw_products, write_photos

            photos = Path(temporary) / "photos"
            write_photos(photos, draw_products(40, seed=3), per_product=20, seed=5)
        print(f"model {bundle.name}, photos {photos.name}")
        whole(photos, bundle, seed=0)
        clean = survey(read_catalog(photos), bundle)
        sweep(clean, [int(v) for v in arguments.views.split(",")], arguments.seeds)
    speed(np.random.default_rng(0))


if __name__ == "__main__":
    main()
