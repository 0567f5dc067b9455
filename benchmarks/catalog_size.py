"""Does what an answer claims hold in a larger catalog than it was fitted in? Prints docs/measurements/catalog-size.md.

    python benchmarks/catalog_size.py GROCERY --model BUNDLE --held-out FILE --drawn 0,500,2000 --cache DIR

GROCERY holds ``photos/train``, ``photos/val`` and ``catalog``, folders of product folders. BUNDLE was trained
without the products of FILE, one a line; --calibration, a bundle of the same recipe, was not calibrated on them. The
catalog holds all products of GROCERY and drawn ones beside them, of which no training saw any either. Photos of the
products of FILE are looked for, and once more with their product taken out of the catalog:

    R@1            photos whose product comes first
    claimed        mean P(right) of these photos
    ECE            expected calibration error of P(right), and of P(in catalog); a fifth of the weight is unknown
    match          photos with that verdict and the right product, of 100; with a wrong one; unknown ones with it

with the size of the catalog as it is, as verdicts went by it before, and bounded by the sizes of the fit, as they do.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.sureness import Sureness
from retrieval.evaluation import Photos, gather_folder
from retrieval.evaluation.served import served_doc
from retrieval.evaluation.sureness_fit import try_known_and_left_out
from retrieval.models.bundle import Bundle
from retrieval.models.installed import STARTER, resolve_model

SEED = 77
PIXELS = 256
SHOTS = 5
DRAWN_PHOTOS = 3


def drawn(products: int, cache: Path) -> dict[str, Path]:
    """Folders of drawn products: a studio picture of each, and photos."""
    from trainer.synthetic import draw_products, photograph, studio_picture

    folders = {kind: cache / f"drawn-{products}" / kind for kind in ("studio", "few")}
    if not folders["few"].exists():
        made = draw_products(products, seed=SEED)
        for i, product in enumerate(made):
            shots = [photograph(product, seed=s, size=PIXELS, neighbors=made[max(0, i - 8) : i + 9]) for s in range(3)]
            for kind, pictures in (("studio", [studio_picture(product, size=PIXELS, view=0)]), ("few", shots)):
                place = folders[kind] / f"drawn-{i:05}"
                place.mkdir(parents=True)
                for number, picture in enumerate(pictures):
                    picture.save(place / f"{number}.jpg", quality=90)
    return folders


def embedded(folder: Path, bundle: Bundle, cache: Path) -> Photos:
    """As `gather_folder`; embeddings are kept by the picture's bytes."""
    kept = cache / f"{bundle.fingerprint[:16]}.npz"
    known: dict[str, NDArray[np.float32]] = {}
    if kept.exists():
        with np.load(kept) as data:
            known = dict(zip(data["hashes"].tolist(), data["vectors"], strict=True))
    photos = gather_folder(folder, bundle, known=known)
    known |= dict(zip(photos.content_hashes, photos.vectors, strict=True))
    np.savez(kept, hashes=list(known), vectors=np.stack(list(known.values())))
    return photos


def first_of_each(photos: Photos, count: int) -> NDArray[np.int64]:
    rows = sorted(range(len(photos)), key=lambda i: photos.sources[i])
    seen: dict[str, int] = {}
    kept = []
    for i in rows:
        product = str(photos.labels[i])
        seen[product] = seen.get(product, 0) + 1
        if seen[product] <= count:
            kept.append(i)
    return np.array(kept)


def row(probes: Photos, gallery: Photos, sureness: Sureness) -> str:
    served = served_doc(*try_known_and_left_out(probes, gallery), sureness)
    known = served["claimed"][0]
    errors = [f"{served['reliability'][key]['ece']:.3f}" for key in ("first", "in_catalog")]
    counts = served["verdicts"]["groups"][0]
    of_known = [f"{100 * counts[name] / known['photos']:.0f}" for name in ("match_right", "match_wrong")]
    unknown = f"{100 * (served['unknown_match']['rate'] or 0.0):.0f}"
    return " | ".join([f"{known['right']['rate']:.3f}", f"{known['first']:.3f}", *errors, *of_known, unknown])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--calibration", default=STARTER)
    parser.add_argument("--drawn", default="0,500,2000", help="products drawn beside the real ones")
    parser.add_argument("--cache", type=Path, required=True)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    bundle = resolve_model(given.model)
    sizes = [int(size) for size in given.drawn.split(",")]
    folders = drawn(max(sizes), given.cache)
    names = given.held_out.read_text(encoding="utf-8").split()
    photos, asked, studio = (
        embedded(given.data / part, bundle, given.cache) for part in ("photos/train", "photos/val", "catalog")
    )
    shots = first_of_each(photos, SHOTS)
    rest = photos.only(np.setdiff1d(np.arange(len(photos)), shots))
    calibration = resolve_model(given.calibration).calibration
    print("| gallery | products | size | R@1 | claimed | ECE | ECE, in catalog | match | wrong | unknown |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for one in calibration.galleries if calibration else ():
        if one.kind not in folders or one.calibration.sureness is None:
            continue
        real, left = (studio, photos) if one.kind == "studio" else (photos.only(shots), rest)
        probes = left.joined(asked)
        probes = probes.only(np.flatnonzero(np.isin(probes.labels, names)))
        beside = embedded(folders[one.kind], bundle, given.cache)
        for size in sizes:
            some = beside.only(np.flatnonzero(np.isin(beside.labels, beside.products[:size])))
            gallery = real.joined(some) if size else real
            sureness = one.calibration.sureness
            everything = replace(sureness, products=(1, 10**9))
            for name, by in (("as it is", everything), ("bounded", sureness)):
                print(f"| {one.kind} | {len(gallery.products):,} | {name} | {row(probes, gallery, by)} |", flush=True)


if __name__ == "__main__":
    main()
