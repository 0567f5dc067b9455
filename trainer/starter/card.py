"""The built-in model's card: what it learned from, what it was measured to do, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrieval.calibration.points import Calibration
from trainer.starter.first_day import table


def write_card(record: Mapping[str, Any], row: Mapping[str, str], calibration: Calibration, size: int) -> str:
    """The card, Markdown.

    Args:
        record: of the training, as the bundle keeps it.
        row: the first-day figures, see `trainer.starter.first_day.mean_of`.
        calibration: of the bundle.
        size: of the encoder, bytes.
    """
    real, drawn, export = record["real"], record["drawn"], record["export"]
    folds = len(record["folds"])
    return f"""# The starter

{record["recipe"]["network"]["backbone"]} at {record["recipe"]["network"]["size"]} pixels, {record["dimension"]} \
numbers out, {size / 1e6:.1f} MB, {record["milliseconds"]:.0f} ms of one core a picture on the machine that made it. \
It makes `itemrec` work offline on the first day.

**What it learned from.** Google's EfficientNet-Lite0, trained on ImageNet (Apache-2.0), learned on from \
{real["photos"]:,} phone photos and {real["studio"]} studio pictures of {real["products"]} groceries of the \
[Grocery Store Dataset](https://github.com/marcusklasson/GroceryStoreDataset) (MIT; Klasson, Zhang, Kjellström, WACV \
2019), and from {drawn["pictures"]:,} pictures of {drawn["products"]:,} drawn products, in batches that are \
{_percent(record["share"])} real. `make starter-model GROCERY=DIR` makes it again.

**What it does with products that it never saw.** The {real["products"]} groceries were dealt into five folds; \
trainings of the same recipe went without {"each fold" if folds == 5 else f"{folds} of them"}, and photos of the \
products left out were looked for. Found first / among the five shown, mean of the {folds} folds:

{table([("this recipe", dict(row))])}

In "all products" the other products in the gallery are ones that the training learned, which attract photos: your \
own catalog is as new to it as the fold alone, and larger.

**What it cannot do.** It has seen groceries, in shops of one country. With one studio picture a product expect the \
right name among five more often than first; near twins (flavors of one brand) and loose fruit stay hard; and \
products that are not in your catalog are often taken for one that is. Photos of your own, a few a product, help most: \
index them, or `itemrec train`.

**Thresholds** were chosen on {calibration.measured_on}, for catalogs of studio pictures, of few photos a product, \
and of both; `itemrec calibrate` fits them to yours. Figures on the {real["products"]} groceries themselves say \
nothing: it learned them.

Export to LiteRT with {export["weights"]} weights: largest difference to Keras {export["max_difference"]:.1e} of a \
unit embedding's coordinate, smallest cosine {export["min_cosine"]:.6f}, on {export["pictures"]} pictures.
"""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
