"""The card of a trained bundle: what it is, how it was made, what was measured, what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrieval.calibration.points import Calibration, spoken
from retrieval.models.installed import STARTER


def card(name: str, record: dict[str, Any], calibration: Calibration | None, warnings: Sequence[str]) -> str:
    """The card as Markdown.

    Args:
        name: of the bundle.
        record: of the training, see `trainer.learn.learn`.
        calibration: its thresholds, if any.
        warnings: what could not be measured.
    """
    recipe = record["recipe"]
    network, schedule = recipe["network"], recipe["schedule"]
    export = record["export"]
    epochs = f"{len(record['epochs'])} of {schedule['epochs'] * network['members']} epochs"
    lines = [
        f"# {name}",
        "",
        f"{network['backbone']} at {network['size']} x {network['size']} pixels, {record['dimension']} numbers out, "
        f"{record['parameters']:,} parameters.",
        "",
        f"**How it was made.** `itemrec train --preset {record['preset']}` on {record['pictures']:,} pictures of "
        f"{record['products']:,} products: loss {recipe['loss']}, "
        f"{epochs}{_of_ensemble(network['members'])}, {record['seconds']:.0f} s on {record['cores']} cores, "
        f"Keras on {record['backend']}. {_began(network['weights'])}Frozen: {_frozen(network['cut'])}. The rest of the "
        "recipe is in `bundle.json`.",
        "",
        "**What it is for.** Products like those it was trained on. New products of the same kind are found without "
        "training, less surely; `itemrec evaluate` on a dataset that was prepared `--by product` says how much less.",
        "",
        f"Export to LiteRT{' in 8-bit integers' if record['int8'] else ''}: "
        + (
            "its embeddings differ from the float model's; what is measured below is this one's."
            if record["int8"]
            else f"largest difference to Keras {export['max_difference']:.1e} of a unit embedding's coordinate, on "
            f"{export['pictures']} pictures."
        ),
        "",
    ]
    return _with_thresholds(lines, record["strangers"], calibration, warnings)


def card_on_top(name: str, record: dict[str, Any], calibration: Calibration | None, warnings: Sequence[str]) -> str:
    """The card of what was learned on top of a frozen model, as Markdown.

    Args:
        name: of the bundle.
        record: of the training, see `trainer.on_top.train_on_top`.
        calibration: its thresholds, if any.
        warnings: what could not be measured.
    """
    recipe, frozen = record["recipe"], record["on_top_of"]
    what = (
        f"The network of {frozen['name']}, as it was, and a projection to {recipe['dimension']} values behind it."
        if recipe["ridge"] is not None
        else f"The network of {frozen['name']}, as it was: no projection was better."
    )
    lines = [
        f"# {name}",
        "",
        what,
        "",
        f"**How it was made.** `itemrec train --model {frozen['name']}` on {record['pictures']:,} pictures of "
        f"{record['products']:,} products, {record['seconds']:.0f} s on {record['cores']} cores.",
        "",
        "**What it is worth on products that it did not see**, the mean of folds of the products that it learned from: "
        "R@1 in a gallery of all of them, the photos found where 10 of 100 photos of other products get an answer "
        "(DIR), and R@1 with the catalog's pictures as the gallery.",
        "",
        "| projection | R@1 | DIR | catalog |",
        "|---|---|---|---|",
    ]
    for way in record["folds"]:
        label = "none" if way["ridge"] is None else f"{way['dimension']} values, ridge {way['ridge']:g}"
        studio = "" if way["studio"] is None else f"{way['studio']:.3f}"
        lines.append(f"| {label} | {way['r_at_1']:.3f} | {way['dir_at_fpir']:.3f} | {studio} |")
    return _with_thresholds([*lines, ""], record["strangers"], calibration, warnings)


def _with_thresholds(lines: list[str], held_out: int, calibration: Calibration | None, warnings: Sequence[str]) -> str:
    """A card's lines, and behind them what its thresholds are and do."""
    lines = [*lines, "## Thresholds", ""]
    if calibration is None:
        lines.append("None: nothing was there to choose one on.")
    else:
        lines += [
            f"Chosen on {calibration.measured_on}. Queries use that of {spoken(calibration.chosen)} unless told "
            "otherwise. In brackets: 95 % intervals, resampled by product.",
            "",
            _of_unknowns(held_out),
            "",
            "| operating point | threshold (squared L2) | measured |",
            "|---|---|---|",
        ]
        for point in calibration.points:
            measured = [
                f"{label} {value:.4f}{_ends(interval)}"
                for label, value, interval in (
                    ("VAL", point.val, point.val_ci),
                    ("FAR", point.far, point.far_ci),
                    ("FPIR", point.fpir, point.fpir_ci),
                    ("FNIR", point.fnir, point.fnir_ci),
                )
                if value is not None
            ]
            lines.append(f"| {spoken(point.name)} | {point.threshold:.4f} | {', '.join(measured)} |")
    lines += ["", *(f"* {sentence}" for sentence in warnings)]
    return "\n".join(lines).rstrip() + "\n"


def _began(weights: str) -> str:
    if weights == STARTER:
        return "It began at itemrec's built-in model, whose card says what that learned from. "
    return f"It began at {'ImageNet' if weights == 'imagenet' else weights}. " if weights != "none" else ""


def _of_unknowns(products: int) -> str:
    if not products:
        return (
            "FPIR is of leave-one-out unknowns: products that training saw, left out of the gallery one at a time. A "
            "product that no training saw is matched more often: `itemrec train --hold-out 0.2` measures how often."
        )
    return (
        f"FPIR is of held-out products: {products:,} were held out of further trainings by the same recipe, whose "
        "distances, in scale, stand for those of this model."
    )


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"


def _of_ensemble(count: int) -> str:
    return f" of an ensemble of {count} networks" if count > 1 else ""


def _frozen(cut: str) -> str:
    if cut == "none":
        return "nothing"
    if cut == "all":
        return "all but the head"
    return f"up to stride {cut}" if cut.isdigit() else f"up to layer {cut}"
