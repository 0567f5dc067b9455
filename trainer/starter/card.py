"""The starter's model card: what it is, what it is not, and every figure measured, not told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.calibration.choose import OpenSetMeasurement
from retrieval.calibration.points import OperatingPoint
from retrieval.metrics import Rate
from retrieval.models.bundle import Bundle
from retrieval.models.encoder import load_encoder
from retrieval.system.progress import Progress
from trainer.starter import recipe
from trainer.starter.baselines import Embed, color_histogram, untrained
from trainer.starter.drawings import render
from trainer.starter.measure import (
    Figures,
    at_threshold,
    drawn_trials,
    encoder_of,
    grocery_trials,
    measure,
    with_unknown_products,
)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one embedding in one trial."""

    trial: str
    embedding: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that the card says of accuracy.

    Attributes:
        rows: each embedding in each trial.
        thresholds: the bundle at its own threshold in each trial, with unknown products.
    """

    rows: list[Row]
    thresholds: dict[str, OpenSetMeasurement]


def measure_all(bundle: Bundle, *, cache: Path, grocery: Path | None, progress: Progress) -> Measurements:
    """Every trial for the bundle and its baselines, on the test drawings and on real photos where given."""
    drawn = drawn_trials(render(recipe.TEST, bundle.preprocessing, cache, progress=progress), "drawings")
    real = [] if grocery is None else grocery_trials(grocery, bundle.preprocessing)
    starter = encoder_of(bundle)
    embeddings: dict[str, Embed] = {
        "starter": starter,
        "color histogram": color_histogram,
        "the network untrained": untrained(bundle.preprocessing, seed=recipe.SEED),
    }
    rows = [Row(t.name, name, measure(t, embed)) for t in drawn + real for name, embed in embeddings.items()]
    thresholds: dict[str, OpenSetMeasurement] = {}
    if bundle.calibration is not None:
        for trial in drawn + [with_unknown_products(t) for t in real]:
            thresholds[trial.name] = at_threshold(trial, starter, bundle.calibration.threshold)
    return Measurements(rows, thresholds)


def write_card(bundle: Bundle, *, cache: Path, grocery: Path | None, progress: Progress) -> str:
    """The card, Markdown."""
    measured = measure_all(bundle, cache=cache, grocery=grocery, progress=progress)
    parts = ["## Accuracy", "", tables(measured), "", _thresholds(bundle), _speed(bundle)]
    return "\n".join([_introduction(bundle), *parts])


def tables(measured: Measurements) -> str:
    """Everything measured, as Markdown tables."""
    return results_table(measured.rows) + "\n\n" + _threshold_table(measured.thresholds)


def _threshold_table(thresholds: dict[str, OpenSetMeasurement]) -> str:
    lines = [
        "### The threshold of queries, tried on the same photos",
        "",
        "Chosen on validation drawings, not here. Where a trial has no unknown products of its own, every fourth "
        "product was left out of the gallery.",
        "",
        "| trial | FPIR | photos of unknown products | FNIR | photos of products in the gallery |",
        "|---|---|---|---|---|",
    ]
    for name, m in thresholds.items():
        missed = f"[{1.0 - m.dir_ci.high:.3f}, {1.0 - m.dir_ci.low:.3f}]"
        lines.append(
            f"| {name} | {m.rate.fpir:.3f} [{m.fpir_ci.low:.3f}, {m.fpir_ci.high:.3f}] "
            f"| {m.rate.false_matches.whole} | {m.rate.fnir:.3f} {missed} | {m.rate.found.whole} |"
        )
    return "\n".join(lines)


def results_table(rows: list[Row]) -> str:
    """The measured rows as Markdown tables, one a trial."""
    lines: list[str] = []
    for trial in dict.fromkeys(row.trial for row in rows):
        own = [row for row in rows if row.trial == trial]
        f = own[0].figures
        lines += [
            f"### {trial[0].upper()}{trial[1:]}",
            "",
            f"{f.gallery_pictures} pictures of {f.gallery_products} products; {f.top1.whole} probes; "
            f"{f.val.whole} same-product pairs of probes.",
            "",
            "| embedding | R@1 | top 5 | MAP@R | VAL at FAR 1 % | EER | DIR at FPIR 5 % |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_line(row) for row in own] + [""]
    return "\n".join(lines[:-1])


def _line(row: Row) -> str:
    f = row.figures
    detected = "" if f.dir is None else _rate(f.dir)
    return (
        f"| {row.embedding} | {_rate(f.top1)} | {_rate(f.top5)} | {f.map_at_r:.3f} | {_rate(f.val)} "
        f"| {f.eer:.3f} | {detected} |"
    )


def _rate(rate: Rate) -> str:
    return f"{rate.value:.3f}"


def _introduction(bundle: Bundle) -> str:
    training = bundle.training
    drawings = training["drawings"]
    export = training["export"]
    size = bundle.preprocessing
    return f"""# The starter

A small convolutional network ({training["network"]["parameters"]:,} parameters, {size.width} x {size.height} \
pixels in, {bundle.dimension} numbers out) that makes `itemrec` work offline on the first day.

**What it is.** Trained from scratch, from random weights, on drawings alone: {training["pictures"]:,} \
pictures of {drawings["products"]:,} made-up products, {training["recipe"]["epochs"]} epochs, \
{training["seconds"] / 60:.0f} minutes on {training["cores"]} CPU cores. \
No photo, and no weights of anyone else, went into it. `make starter-model` makes it again.

**What it is not.** A model for your shop. It has never seen a photo. For real accuracy bring a public \
backbone with `itemrec models import`, or train on your own photos.

**How to read the figures.** None of the products below was trained on. R@1: the nearest product is the \
right one. Top 5: the right product is among the five nearest. VAL at FAR 1 %: same-product pairs of photos \
accepted where one in a hundred different-product pairs is. DIR at FPIR 5 %: photos found first and \
accepted where one in twenty photos of unknown products (of families that are not in the gallery) is \
accepted too. The threshold of the last two columns is set on the same photos, for comparison only.

`python -m trainer.starter measure --bundle DIR [--grocery DIR]` prints the same tables.

Export to LiteRT with {export["weights"]} weights: largest difference to Keras {export["max_difference"]:.1e} \
of a unit embedding's coordinate, smallest cosine {export["min_cosine"]:.6f}, on {export["pictures"]} pictures.
"""


def _thresholds(bundle: Bundle) -> str:
    calibration = bundle.calibration
    if calibration is None:
        return ""
    lines = [
        "## Thresholds",
        "",
        f"Chosen on {calibration.measured_on}. Queries use `{calibration.chosen}` unless told otherwise. "
        "In brackets: 95 % intervals, resampled by product. They hold for drawings: calibrate on your own "
        "photos before you rely on a threshold.",
        "",
        "| operating point | threshold (squared L2) | measured |",
        "|---|---|---|",
    ]
    lines += [f"| {p.name} | {p.threshold:.4f} | {_measured(p)} |" for p in calibration.points]
    return "\n".join([*lines, ""])


def _measured(point: OperatingPoint) -> str:
    if point.fpir is not None and point.fnir is not None:
        return (
            f"FPIR {point.fpir:.3f} {_between(point.fpir_ci)} of {point.strangers} photos of unknown products, "
            f"FNIR {point.fnir:.3f} {_between(point.fnir_ci)} of {point.probes} photos, "
            f"gallery of {point.gallery} products"
        )
    return (
        f"VAL {point.val:.4f} {_between(point.val_ci)} ({point.accepted_same}/{point.same_pairs}), "
        f"FAR {point.far:.4f} {_between(point.far_ci)} ({point.accepted_different}/{point.different_pairs})"
    )


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.4f}, {interval[1]:.4f}]"


def _speed(bundle: Bundle) -> str:
    encoder = load_encoder(bundle, threads=1)
    shape = (1, bundle.preprocessing.height, bundle.preprocessing.width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    encoder.encode(pixels)
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        encoder.encode(pixels)
        seconds.append(time.perf_counter() - started)
    return (
        "## Speed and size\n\n"
        f"{np.median(seconds) * 1e3:.1f} ms a picture on one core of the machine that made it "
        f"(median of {len(seconds)}, decoding not counted); {bundle.encoder_bytes / 1e6:.2f} MB.\n"
    )
