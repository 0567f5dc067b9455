"""All-pairs VAL/FAR and identification: ours against the bare matrix product and the usual libraries.

    python benchmarks/metrics.py [--images 12070] [--products 706] [--rounds 9] [--large]

The embeddings are drawn (clusters of unlike width on the sphere), as many as in the experiment by
default. Every contestant runs in its own process, so that peak memory is its own; the bare
product runs in turns with ours, block for block the same products, so that a busy machine
slows both.

*scikit-learn* is the straightforward version: all distances, `roc_curve` over all pairs, and
thresholds read off it. *pytorch-metric-learning* (both come with `pip install -e '.[bench]'`) has no
VAL/FAR, so its AccuracyCalculator is compared on precision at 1 and MAP@R.

``--large`` adds 100,000 images of 5,000 products: five billion pairs in bounded memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from process_memory import kilobytes

from retrieval.metrics import accepted_by_product, identification, pair_rates
from retrieval.metrics._grid import PairSet
from retrieval.metrics.intervals import far_interval, val_interval

DIMENSION = 128
LATENT = 20  # few real directions give distances the wide overlap of a trained network's
FARS = (0.1, 0.01, 0.001)
REST = 0.3


def draw(folder: Path, images: int, products: int) -> None:
    """Write the embeddings, little by little, so that drawing them leaves no memory behind."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, products, images))
    centers = rng.standard_normal((products, LATENT), np.float32)
    noise = rng.uniform(0.4, 1.1, (products, 1)).astype(np.float32)
    spread = rng.standard_normal((LATENT, DIMENSION), np.float32)
    vectors = np.empty((images, DIMENSION), np.float32)
    for start in range(0, images, 5000):
        own = labels[start : start + 5000]
        latent = centers[own] + noise[own] * rng.standard_normal((len(own), LATENT), np.float32)
        part = latent @ spread
        vectors[start : start + 5000] = part / np.linalg.norm(part, axis=1, keepdims=True)
    order = rng.permutation(images)
    np.save(folder / "embeddings.npy", vectors[order])
    np.save(folder / "labels.npy", labels[order])


def peak() -> float:
    """Peak resident memory of this process so far, MB."""
    return kilobytes("VmHWM") / 1024


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare_product(pairs: PairSet) -> None:
    """Only the matrix products that counting needs, into one buffer."""
    buffer = np.empty(1024 * 1024, np.float32)
    for down, across in pairs.blocks():
        a, b = pairs.rows[down], pairs.columns[across]
        np.matmul(a, b.T, out=buffer[: len(a) * len(b)].reshape(len(a), len(b)))


def ours(x: NDArray[np.float32], labels: NDArray[np.int64], rounds: int) -> dict[str, Any]:
    """All-pairs rates in turns with the bare product, then everything else once."""
    before = peak()
    start = time.perf_counter()
    rates = pair_rates(x, labels, far_targets=FARS)
    first = time.perf_counter() - start
    over = peak() - before
    pairs = PairSet.within(x, labels)
    products, mine = ([], []) if rounds else ([seconds(lambda: bare_product(pairs))], [first])
    for _ in range(rounds):
        # A product's threads spin for a while after it: nobody's turn begins before they sleep.
        time.sleep(REST)
        products.append(seconds(lambda: bare_product(pairs)))
        time.sleep(REST)
        mine.append(seconds(lambda: pair_rates(x, labels, far_targets=FARS)))
    result: dict[str, Any] = {
        "over": over,
        "bare": products,
        "ours": mine,
        "same": rates.same,
        "different": rates.different,
        "sweep": [[p.threshold, p.accepted_same, p.accepted_different] for p in rates.sweep],
        "at_far": [[at.target, at.threshold, at.val] for at in (rates.experiment, *rates.at_far)],
        "auc": rates.curve.auc,
        "auc_tolerance": rates.curve.auc_tolerance,
        "eer": rates.curve.eer,
    }
    threshold = rates.at_far[1].threshold
    if threshold is not None:
        start = time.perf_counter()
        counts = accepted_by_product(x, labels, threshold)
        result["by_product_s"] = time.perf_counter() - start
        start = time.perf_counter()
        val, far = val_interval(counts), far_interval(counts)
        result["intervals_s"] = time.perf_counter() - start
        result["intervals"] = [val.low, val.high, far.low, far.high]
    return result


def ours_identification(x: NDArray[np.float32], labels: NDArray[np.int64], rounds: int) -> dict[str, Any]:
    before = peak()
    start = time.perf_counter()
    found = identification(x, labels, x, labels, exclude_self=True)
    return {
        "seconds": time.perf_counter() - start,
        "over": peak() - before,
        "top1": found.top1,
        "map_at_r": found.map_at_r,
        "top5": found.top5,
    }


def scikit_learn(x: NDArray[np.float32], labels: NDArray[np.int64], rounds: int) -> dict[str, Any]:
    """What one writes with the library at hand."""
    from sklearn.metrics import auc, pairwise_distances, roc_curve

    before = peak()
    start = time.perf_counter()
    first, second = np.triu_indices(len(x), 1)
    distances = pairwise_distances(x, metric="sqeuclidean")[first, second]
    same = labels[first] == labels[second]
    far, val, thresholds = roc_curve(same, -distances)
    at_far = []
    for target in FARS:
        place = int(np.flatnonzero(far <= target)[-1])
        at_far.append([target, float(-thresholds[place]), float(val[place])])
    area = float(auc(far, val))
    sweep = [
        [t, int((distances[same] <= t).sum()), int((distances[~same] <= t).sum())]
        for t in (0.1, 0.15, 0.2, 0.25, 0.28, 0.3, 0.35, 0.4, 0.45, 0.5)
    ]
    took = time.perf_counter() - start
    return {"seconds": took, "over": peak() - before, "at_far": at_far, "auc": area, "sweep": sweep}


def pytorch_metric_learning(x: NDArray[np.float32], labels: NDArray[np.int64], rounds: int) -> dict[str, Any]:
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    calculator = AccuracyCalculator(include=("precision_at_1", "mean_average_precision_at_r"), k="max_bin_count")
    before = peak()
    start = time.perf_counter()
    found = calculator.get_accuracy(torch.from_numpy(x), torch.from_numpy(labels))
    return {
        "seconds": time.perf_counter() - start,
        "over": peak() - before,
        "top1": float(found["precision_at_1"]),
        "map_at_r": float(found["mean_average_precision_at_r"]),
    }


CONTESTANTS = {
    "ours": ours,
    "identification": ours_identification,
    "scikit-learn": scikit_learn,
    "pytorch-metric-learning": pytorch_metric_learning,
}


def run_alone(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """One contestant in a fresh process; its memory is counted over the embeddings, which it has loaded."""
    command = [sys.executable, __file__, "--contestant", name, "--folder", str(folder), "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def show_pairs(mine: dict[str, Any]) -> None:
    bare, own = np.array(mine["bare"]), np.array(mine["ours"])
    total = mine["same"] + mine["different"]
    print(f"\n{total:,} pairs: {mine['same']:,} of the same product, {mine['different']:,} of different ones")
    print(f"  bare matrix product   {bare.min():7.3f} s best, {np.median(bare):7.3f} s median of {len(bare)}")
    print(f"  ours, all pairs       {own.min():7.3f} s best, {np.median(own):7.3f} s median")
    print(
        f"  ratio                 {own.min() / bare.min():7.2f} best,   {np.median(own) / np.median(bare):7.2f} "
        f"of medians, {np.median(own / bare):.2f} median of turns (target <= 3)"
    )
    print(f"  memory over the embeddings  {mine['over']:.0f} MB (target <= 300)")
    for target, threshold, val in mine["at_far"]:
        print(f"  FAR {target:g}: threshold {threshold:.6f}, VAL {val:.6f}")
    print(f"  AUC {mine['auc']:.9f} (off by at most {mine['auc_tolerance']:.1e}), EER {mine['eer']:.6f}")
    if "intervals" in mine:
        low, high, far_low, far_high = mine["intervals"]
        print(
            f"  at FAR {mine['at_far'][2][0]:g}: VAL in [{low:.4f}, {high:.4f}], "
            f"FAR in [{far_low:.6f}, {far_high:.6f}]; "
            f"counts by product {mine['by_product_s']:.2f} s, bootstrap {mine['intervals_s']:.2f} s"
        )


def show_scikit_learn(mine: dict[str, Any], peer: dict[str, Any]) -> None:
    own = float(np.median(mine["ours"]))
    print(
        f"\nscikit-learn: {peer['seconds']:.1f} s, {peer['over']:,.0f} MB over the embeddings; "
        f"ours is {peer['seconds'] / own:.0f} x as fast in {mine['over'] / peer['over']:.1%} of the memory"
    )
    print(f"  AUC differs by {abs(peer['auc'] - mine['auc']):.1e}")
    for (t, same, different), (_, peer_same, peer_different) in zip(mine["sweep"], peer["sweep"], strict=True):
        # Their distances are rounded elsewhere, so pairs within a rounding of the threshold may change sides.
        print(
            f"  d <= {t:g}: same {same:,} (theirs {peer_same - same:+d}), "
            f"different {different:,} ({peer_different - different:+d})"
        )
    for (target, threshold, val), (_, peer_threshold, peer_val) in zip(mine["at_far"][1:], peer["at_far"], strict=True):
        print(
            f"  FAR {target:g}: thresholds differ by {abs(threshold - peer_threshold):.1e}, "
            f"VAL by {abs(val - peer_val):.1e}"
        )


def show_identification(own: dict[str, Any], folder: Path) -> None:
    print(
        f"\nidentification, leave one out: {own['seconds']:.1f} s, {own['over']:.0f} MB; "
        f"top 1 {own['top1']:.6f}, top 5 products {own['top5']:.6f}, MAP@R {own['map_at_r']:.6f}"
    )
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        print("pytorch-metric-learning: not installed, skipped; pip install -e '.[bench]' brings it")
        return
    peer = run_alone("pytorch-metric-learning", folder, 1)
    print(
        f"pytorch-metric-learning: {peer['seconds']:.1f} s, {peer['over']:,.0f} MB; "
        f"top 1 differs by {abs(peer['top1'] - own['top1']):.1e}, "
        f"MAP@R by {abs(peer['map_at_r'] - own['map_at_r']):.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12_070)
    parser.add_argument("--products", type=int, default=706)
    parser.add_argument("--rounds", type=int, default=9, help="turns of bare product and ours")
    parser.add_argument("--large", action="store_true", help="add 100,000 images")
    parser.add_argument("--no-peers", action="store_true", help="leave out scikit-learn and others")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        x, labels = (np.load(options.folder / f"{name}.npy") for name in ("embeddings", "labels"))
        json.dump(CONTESTANTS[options.contestant](x, labels, options.rounds), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder, options.images, options.products)
        print(f"{options.images:,} embeddings of {options.products:,} products, {DIMENSION}-d")
        mine = run_alone("ours", folder, options.rounds)
        show_pairs(mine)
        own = run_alone("identification", folder, 1)
        if not options.no_peers:
            show_scikit_learn(mine, run_alone("scikit-learn", folder, 1))
            show_identification(own, folder)
        if options.large:
            draw(folder, 100_000, 5_000)
            print("\n100,000 embeddings of 5,000 products")
            show_pairs(run_alone("ours", folder, 0))


if __name__ == "__main__":
    main()
