"""Precision and recall of `itemrec query --many` on drawn shelves, by size, blur and what covers an item; time a photo.

    python benchmarks/shelves.py [--catalog GROCERY/catalog] [--photos 2] [--annotated FOLDER]
    python benchmarks/shelves.py --cold
    python benchmarks/shelves.py --chosen 80 1000 10000 [--model starter] [--keep FOLDER]

Fronts are drawn, or cut out of studio pictures of a real catalog. A quarter of the products are in no catalog and stand
between the others. The second form measures what a photo costs a process that has just started, the first time and
later. The third measures which share of the products on a shelf is among those that are looked for
when the catalog has too many to try all.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from retrieval.detection.candidates import Candidate, overlap
from retrieval.detection.finder import look_for, photo_points, rivals
from retrieval.detection.known import KnownPicture
from retrieval.indexing.run import index as index_catalog
from retrieval.recognition.api import Recognizer
from trainer.synthetic.camera import studio_picture
from trainer.synthetic.products import draw_products
from trainer.synthetic.shelves import Front, Shelf, Standing, draw_shelf, fronts_of

IOU = 0.5
SIZES = (((640, 480), 3), ((640, 480), 4), ((1024, 768), 3), ((1600, 1100), 4))
BLURS = (0.0, 1.0, 2.0)
VISIBLE = 0.5
"""Items of which less is seen need not be found."""


def cut_out(file: Path) -> Image.Image:
    """A front without its plain background."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    framed = Image.new("RGB", (picture.width + 4, picture.height + 4), "white")
    framed.paste(picture, (2, 2))
    ImageDraw.floodfill(framed, (0, 0), (255, 0, 255), thresh=40)
    pixels = np.asarray(framed)
    alpha = np.where((pixels == (255, 0, 255)).all(axis=2), 0, 255).astype(np.uint8)
    front = Image.fromarray(np.dstack([pixels, alpha]))
    return front.crop(front.getchannel("A").getbbox())


def real_set(catalog: Path) -> tuple[list[tuple[str, Image.Image]], list[Front], list[Front]]:
    """Studio pictures of packages, the fronts of these products, and those of others."""
    rows = [line.split(",") for line in (catalog / "products.csv").read_text(encoding="utf-8").splitlines()]
    column = rows[0].index("department")
    names = sorted(row[0] for row in rows[1:] if len(row) > column and row[column] == "Packages")
    sold = names[: 3 * len(names) // 4]
    fronts = {name: Front(name, cut_out(next((catalog / name).glob("*.jpg")))) for name in names}
    pictures = [(name, Image.open(next((catalog / name).glob("*.jpg"))).convert("RGB")) for name in sold]
    return pictures, [fronts[name] for name in sold], [fronts[name] for name in names if name not in sold]


def drawn_set(count: int) -> tuple[list[tuple[str, Image.Image]], list[Front], list[Front]]:
    """The same, drawn: validation products, one studio picture each."""
    products = [p for p in draw_products(2 * count, seed=2) if p.kind != "produce"]
    sold, others = products[: 3 * len(products) // 4], products[3 * len(products) // 4 :]
    return [(p.product_id, studio_picture(p, view=1)) for p in sold], fronts_of(sold), fronts_of(others)


def box_within(item: Standing, size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = item.box
    return max(0.0, left), max(0.0, top), min(float(size[0]), right), min(float(size[1]), bottom)


def compared(found: Sequence[tuple[str, Sequence[float]]], shelf: Shelf) -> tuple[int, int, set[int]]:
    """How many found items are right, how many are wrong but where another product stands, and which were found."""
    used: set[int] = set()
    renamed = 0
    for name, box in found:
        fits = [
            (overlap(box, box_within(item, shelf.photo.size)), place)
            for place, item in enumerate(shelf.items)
            if item.product_id == name and place not in used
        ]
        best = max(fits, default=(0.0, -1))
        if best[0] >= IOU:
            used.add(best[1])
        else:
            there = (item for item in shelf.items if item.product_id not in ("", name))
            renamed += any(overlap(box, box_within(item, shelf.photo.size)) >= IOU for item in there)
    return len(used), renamed, used


def annotated(shelf: Shelf, found: Sequence[tuple[str, Candidate]], file: Path) -> None:
    picture = shelf.photo.copy()
    pen = ImageDraw.Draw(picture)
    for item in shelf.items:
        pen.polygon([tuple(corner) for corner in item.quad], outline="white" if item.product_id else "red")
    for name, candidate in found:
        pen.polygon([tuple(corner) for corner in candidate.place.quad.tolist()], outline="lime", width=3)
        pen.text(tuple(candidate.place.quad[0]), name[:24], fill="yellow", stroke_width=2, stroke_fill="black")
    picture.save(file)


def finding(
    name: str,
    pictures: Sequence[tuple[str, Image.Image]],
    fronts: Sequence[Front],
    others: Sequence[Front],
    photos: int,
    folder: Path | None,
    first_seed: int,
) -> None:
    known = [KnownPicture.of(np.asarray(picture)) for _, picture in pictures]
    ids = [product for product, _ in pictures]
    tables: dict[str, dict[str, list[int]]] = {key: defaultdict(lambda: [0, 0]) for key in ("height", "seen")}
    print(f"\n{name}: {len(ids)} products, one picture each\n")
    print("| photo | rows | blur | items | precision | recall | named as sure | precision of these | CPU time |")
    print("|---|---|---|---|---|---|---|---|---|")
    total = np.zeros(6, int)
    wrong = misnamed = 0
    for size, rows in SIZES:
        for blur in BLURS:
            counts = np.zeros(6, int)
            took = []
            for shot in range(photos):
                seed = int(1000 * blur) + 7 * rows + size[0] + shot + first_seed
                shelf = draw_shelf(fronts, others, seed=seed, size=size, rows=rows, blur=blur)
                start = time.process_time()
                pixels = np.asarray(shelf.photo)
                items = look_for(known, pixels, photo_points(pixels))
                ranked = [rivals(item, lambda number: ids[number], known, pixels) for item in items]
                took.append(time.process_time() - start)
                found = [(ids[best[0].number], best[0]) for best, _ in ranked]
                right, renamed, used = compared([(product, c.box) for product, c in found], shelf)
                sure = [(ids[best[0].number], best[0].box) for best, close in ranked if not close]
                sure_right, _, _ = compared(sure, shelf)
                need = [place for place, item in enumerate(shelf.items) if item.product_id and item.visible >= VISIBLE]
                wrong, misnamed = wrong + len(found) - right, misnamed + renamed
                counts += (right, len(found) - right, len(used & set(need)), len(need), sure_right, len(sure))
                for place, item in enumerate(shelf.items):
                    if item.product_id and blur <= 1.0:
                        high = next((f"up to {t} px" for t in (100, 140, 180, 250) if item.height <= t), "over 250 px")
                        part = next(f"{b:.0%} and more" for b in (0.8, 0.65, 0.5, 0.35, 0.0) if item.visible >= b)
                        for key, value in (("height", high), ("seen", part)):
                            if key == "seen" or item.visible >= VISIBLE:
                                tables[key][value][0] += place in used
                                tables[key][value][1] += 1
                if folder is not None and shot == 0:
                    annotated(shelf, found, folder / f"{name}-{size[0]}-{rows}-{blur:g}.png".replace(" ", "-"))
            print_row(f"| {size[0]} x {size[1]} | {rows} | {blur:g}", counts, f"{1e3 * np.median(took):,.0f} ms")
            total += counts
    print_row("| all | | ", total, "")
    print(f"\nOf {wrong} that are wrong {misnamed} lie where another product of the catalog stands.")
    for key, title in (("height", "height of an item"), ("seen", "seen of an item")):
        print(f"\n| {title}, blur up to 1 | recall | items |\n|---|---|---|")
        for value, (hits, number) in sorted(
            tables[key].items(), key=lambda pair: int("".join(filter(str.isdigit, pair[0])))
        ):
            print(f"| {value} | {hits / number:.3f} | {number} |")


def print_row(head: str, counts: NDArray[np.int64], took: str) -> None:
    right, wrong, hits, need, sure_right, sure = counts
    print(
        f"{head} | {need} | {right / max(right + wrong, 1):.3f} | {hits / max(need, 1):.3f} | {sure} | "
        f"{sure_right / max(sure, 1):.3f} | {took} |",
        flush=True,
    )


def cold(count: int, model: str) -> None:
    pictures, fronts, others = drawn_set(count)
    print("\n| products | photo | | CPU seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root, index = Path(folder, "catalog"), Path(folder, "index")
        for name, picture in pictures:
            (root / name).mkdir(parents=True)
            picture.save(root / name / "studio.jpg", quality=92)
        index_catalog(root, index, model=model)
        shot = Path(folder, "shelf.png")
        for size, rows in (((640, 480), 3), ((1600, 1100), 4)):
            draw_shelf(fronts, others, seed=5, size=size, rows=rows, blur=1.0).photo.save(shot)
            for kept in index.glob("shelves.sqlite*"):
                kept.unlink()
            for when in ("first", "second", "third"):
                before = cpu_of_children()
                asked = [sys.executable, "-m", "itemrec", "query", str(shot), "--many", "--json", "--index", str(index)]
                subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
                took = cpu_of_children() - before
                print(f"| {len(pictures)} | {size[0]} x {size[1]} | {when} process | {took:.1f} |", flush=True)


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def choosing(counts: Sequence[int], model: str, photos: int, keep: Path | None) -> None:
    columns = ("products", "on the shelf and looked for", "pictures looked for", "CPU time to choose", "items")
    rates = ("precision", "recall", "named as sure", "precision of these", "CPU time in all")
    print(f"\n| {' | '.join((*columns, *rates))} |\n{'|---' * 10}|")
    for count in counts:
        products = [p for p in draw_products(round(1.8 * count), seed=2) if p.kind != "produce"]
        sold, others = products[:count], fronts_of(products[count : count + 20])
        with tempfile.TemporaryDirectory() as folder:
            root = (keep or Path(folder)) / f"{count}"
            for product in sold:
                file = root / "catalog" / product.product_id / "studio.jpg"
                if not file.exists():
                    file.parent.mkdir(parents=True)
                    studio_picture(product, view=1, size=224).save(file, quality=90)
            index_catalog(root / "catalog", root / "index", model=model)
            fronts = fronts_of(sold[:: max(1, len(sold) // 40)][:40])
            hits = need = tried = 0
            totals, took, chose = np.zeros(6, int), [], []
            with Recognizer(root / "index", threads=1) as shop:
                for shot in range(photos):
                    size, rows = SIZES[-1 - shot % 2]
                    shelf = draw_shelf(fronts, others, seed=100 + shot, size=size, rows=rows, blur=0.8)
                    start = time.process_time()
                    found = shop.find(np.asarray(shelf.photo))
                    took.append(time.process_time() - start)
                    chose.append(found.timings_ms["choose"] / sum(found.timings_ms.values()) * took[-1])
                    chosen = set(found.chosen) or {product.product_id for product in sold}
                    clear = [n for n, item in enumerate(shelf.items) if item.product_id and item.visible >= VISIBLE]
                    shown = {shelf.items[place].product_id for place in clear}
                    hits, need, tried = hits + len(shown & chosen), need + len(shown), tried + found.pictures
                    right, _, used = compared([(item.product_id, item.box) for item in found.items], shelf)
                    sure = [(item.product_id, item.box) for item in found.items if item.verdict == "match"]
                    sure_right, _, _ = compared(sure, shelf)
                    wrong = len(found.items) - right
                    totals += (right, wrong, len(used & set(clear)), len(clear), sure_right, len(sure))
            share = f"{hits / need:.3f} of {need}"
            head = f"| {len(sold):,} | {share} | {tried / photos:.0f} | {np.median(chose):.1f} s"
            print_row(head, totals, f"{np.median(took):.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, help="a real catalog with studio pictures, a table and departments")
    parser.add_argument("--photos", type=int, default=2, help="shelves a row")
    parser.add_argument("--products", type=int, default=80, help="drawn ones")
    parser.add_argument(
        "--seed", type=int, default=0, help="other shelves: thresholds were chosen on those of 500 and 900"
    )
    parser.add_argument("--annotated", type=Path, help="a folder for pictures of what was found")
    parser.add_argument("--cold", action="store_true", help="measure processes that have just started")
    parser.add_argument("--chosen", type=int, nargs="+", help="sizes of catalogs of which products are chosen")
    parser.add_argument("--keep", type=Path, help="a folder in which these catalogs and their indexes stay")
    parser.add_argument("--model", default="starter", help="that chooses")
    options = parser.parse_args()
    if options.annotated is not None:
        options.annotated.mkdir(parents=True, exist_ok=True)
    if options.cold:
        cold(options.products, options.model)
        return
    if options.chosen:
        choosing(options.chosen, options.model, options.photos, options.keep)
        return
    if options.catalog is not None:
        finding("Real fronts", *real_set(options.catalog), options.photos, options.annotated, options.seed)
    else:
        finding("Drawn fronts", *drawn_set(options.products), options.photos, options.annotated, options.seed)


if __name__ == "__main__":
    main()
