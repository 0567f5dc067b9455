"""Recompute the figures of `itemrec evaluate` from the raw photos, by brute force, and compare them.

    itemrec evaluate --data DATA --split val --gallery train --threshold 0.6 --out result.json
    python benchmarks/recompute.py result.json

Shares no code with `retrieval.evaluation`, `retrieval.metrics`, `retrieval.recognition`:
only the model itself (decoding and network) is taken from the package. Everything else is loops and sorted
lists. Exits 1 unless every count agrees exactly and every mean to 12 digits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.images import pictures
from retrieval.models.bundle import read_bundle
from retrieval.models.encoder import load_encoder

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
TEMPERATURE, VOTERS = 0.2, 5
ROUNDING = 1e-6


def embed(root: Path, bundle_path: str) -> tuple[list[str], list[str], list[str], NDArray[np.float32]]:
    """Paths, products, hashes and vectors of every readable photo under a folder of product folders."""
    bundle = read_bundle(Path(bundle_path))
    encoder = load_encoder(bundle)
    paths, products, hashes, vectors = [], [], [], []
    for file in sorted(root.glob("*/**/*")):
        if file.suffix.lower() not in SUFFIXES:
            continue
        data = file.read_bytes()
        vectors.append(encoder.encode(pictures.prepare(data, bundle.preprocessing)[None])[0])
        paths.append(file.relative_to(root).as_posix())
        products.append(file.relative_to(root).parts[0])
        hashes.append(hashlib.sha256(data).hexdigest())
        if len(paths) % 200 == 0:
            print(f"  {root.name}: {len(paths)} photos", file=sys.stderr)
    return paths, products, hashes, np.stack(vectors)


def distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.clip(np.float32(2) - np.float32(2) * (a @ b.T), 0, 4)
    return found


class Check:
    """Compares and remembers failures."""

    def __init__(self) -> None:
        self.failed = 0
        self.done = 0

    def __call__(self, name: str, ours: float | int | None, theirs: float | int | None) -> None:
        same = ours == theirs or (
            isinstance(ours, float) and isinstance(theirs, float) and math.isclose(ours, theirs, rel_tol=1e-12)
        )
        self.done += 1
        self.failed += not same
        print(f"{'ok  ' if same else 'FAIL'}  {name:40} {ours!r:>24} {theirs!r:>24}")


def check_pairs(check: Check, doc: dict[str, Any], products: list[str], vectors: NDArray[np.float32]) -> None:
    d = distances(vectors, vectors).astype(float)
    n = len(products)
    genuine: list[float] = []
    impostor: list[float] = []
    for i in range(n):
        for j in range(i + 1, n):
            (genuine if products[i] == products[j] else impostor).append(d[i, j])
    s, x = np.array(genuine), np.array(impostor)
    check("pairs.same", len(s), doc["same"])
    check("pairs.different", len(x), doc["different"])
    points = {f"sweep {p['threshold']}": p for p in doc["sweep"]}
    points |= {f"at_far {key}": p for key, p in doc["at_far"].items()}
    points |= {"experiment": doc["experiment"], "at_threshold": doc["at_threshold"]}
    for name, point in points.items():
        t = -1.0 if point["threshold"] is None else point["threshold"]
        val, far = int((s <= t).sum()), int((x <= t).sum())
        check(f"{name} accepted same", val, point["accepted_same"])
        check(f"{name} accepted different", far, point["accepted_different"])
        check(f"{name} VAL", val / len(s), point["val"])
        check(f"{name} FAR", far / len(x), point["far"])
    # Two distances that differ by less than float32 can tell may come in either order: it depends on how the product
    # was summed up. So the area is known up to such pairs.
    order = np.sort(x)
    sure, possible = (
        1.0 - float(np.searchsorted(order, s + shift, side="right").sum()) / (len(s) * len(x))
        for shift in (ROUNDING, -ROUNDING)
    )
    print(f"  AUC between {sure!r} and {possible!r}")
    check("AUC, within rounding", True, sure - 1e-12 <= doc["auc"] <= possible + 1e-12)


def answer(
    row: NDArray[np.float32], by_product: dict[str, list[int]], threshold: float
) -> list[tuple[float, float, str]]:
    """Products within the threshold: (-score, best distance, product), best first."""
    found = []
    for product, members in by_product.items():
        own = sorted(row[members].tolist())[:VOTERS]
        if own and own[0] <= threshold:
            votes = math.fsum(math.exp(-v / TEMPERATURE) for v in own if v <= threshold)
            found.append((-votes / len(own), own[0], product))
    return sorted(found)


def check_identification(
    check: Check,
    doc: dict[str, Any],
    probes: list[str],
    vectors: NDArray[np.float32],
    gallery: list[str],
    others: NDArray[np.float32],
) -> None:
    by_product: dict[str, list[int]] = defaultdict(list)
    for i, product in enumerate(gallery):
        by_product[product].append(i)
    d = distances(vectors, others).astype(float)
    use = doc["threshold"]["value"]
    known = [i for i, product in enumerate(probes) if product in by_product]
    top = {1: 0, 5: 0}
    within = {1: 0, 5: 0}
    accepted = matched = nearest = 0
    precision = []
    for i in known:
        truth = probes[i]
        everything = [p for _, _, p in answer(d[i], by_product, 4.0)]
        here = [p for _, _, p in answer(d[i], by_product, use)]
        for k in top:
            top[k] += truth in everything[:k]
            within[k] += truth in here[:k]
        without = {p: m for p, m in by_product.items() if p != truth}
        unknown = answer(d[i], without, use)
        accepted += bool(unknown)
        matched += len(unknown) == 1 or (len(unknown) > 1 and unknown[1][0] > 0.9 * unknown[0][0])
        genuine = min(d[i][by_product[truth]])
        nearest += all(genuine < min(d[i][m]) for p, m in without.items())
        r = len(by_product[truth])
        # Ties go against the probe: a wrong picture as near as a right one comes first.
        ranked = sorted(range(len(gallery)), key=lambda j: (d[i][j], gallery[j] == truth))[:r]
        hits, total = 0, 0.0
        for place, j in enumerate(ranked, 1):
            if gallery[j] == truth:
                hits += 1
                total += hits / place
        precision.append(total / r)
    n = len(known)
    section, open_set = doc["identification"], doc["open_set"]
    check("identification.probes", n, section["probes"])
    check("top1", top[1] / n, section["top1"])
    check("top5", top[5] / n, section["top5"])
    check("top1 within the threshold", within[1], section["at_threshold"]["top1"]["part"])
    check("top5 within the threshold", within[5], section["at_threshold"]["top5"]["part"])
    check("knn_top1", nearest / n, section["knn_top1"])
    check("map_at_r", float(np.mean(precision)), section["map_at_r"])
    check("fpir", accepted / n, open_set["fpir"])
    check("fpir, verdict match", matched, open_set["rates"]["fpir_match"]["part"])
    check("fnir", (n - within[1]) / n, open_set["fnir"])


def check_matching(check: Check, doc: dict[str, Any], products: list[str], vectors: NDArray[np.float32]) -> None:
    """One medoid a product as the gallery, every other photo as a probe."""
    d = distances(vectors, vectors).astype(float)
    exact = vectors.astype(float)
    groups: dict[str, list[int]] = defaultdict(list)
    for i, product in enumerate(products):
        groups[product].append(i)
    medoid = {
        p: min(members, key=lambda i: round(sum(2 - 2 * float(exact[i] @ exact[j]) for j in members), 9))
        for p, members in groups.items()
    }
    use = doc["threshold"]["value"]
    passed = total = 0
    for i, product in enumerate(products):
        if medoid[product] == i:
            continue
        genuine = d[i, medoid[product]]
        closer = sum(d[i, m] <= genuine for p, m in medoid.items() if p != product)
        total += 1
        passed += closer < 5 and genuine <= use
    check("matching test, passed", passed, doc["identification"]["rates"]["matching_test_top5"]["part"])
    check("matching test, photos", total, doc["identification"]["rates"]["matching_test_top5"]["whole"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("document", type=Path, help="what itemrec evaluate --out wrote")
    arguments = parser.parse_args()
    doc = json.loads(arguments.document.read_bytes())
    if doc["gallery"]["source"] == "index":
        sys.exit("this script embeds the gallery itself: evaluate with --gallery train, catalog or a folder")
    check = Check()
    paths, probes, hashes, vectors = embed(Path(doc["data"]["folder"]), doc["model"]["path"])
    _, gallery, gallery_hashes, others = embed(Path(doc["gallery"]["folder"]), doc["model"]["path"])
    # Equal files are found here; near duplicates are a matter of definition and taken from the document.
    near = {t["source"] for t in doc["excluded"]["list"] if t["reason"] == "near-duplicate"}
    in_gallery, seen, kept = set(gallery_hashes), set(), []
    for i, content in enumerate(hashes):
        if content not in in_gallery and content not in seen and paths[i] not in near:
            kept.append(i)
            seen.add(content)
    probes, vectors = [probes[i] for i in kept], vectors[kept]
    print(f"{'':6}{'':40} {'recomputed':>24} {'evaluate':>24}")
    check("photos", len(kept), doc["photos"])
    check("products", len(set(probes)), doc["products"])
    check("gallery pictures", len(gallery), doc["gallery"]["images"])
    check_pairs(check, doc["pairs"], probes, vectors)
    check_matching(check, doc, probes, vectors)
    check_identification(check, doc, probes, vectors, gallery, others)
    print(f"{check.done - check.failed} of {check.done} figures agree")
    sys.exit(1 if check.failed else 0)


if __name__ == "__main__":
    main()
