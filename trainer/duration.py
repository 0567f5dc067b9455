"""How long a training will take, from a sample of what it will do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from trainer.network import Parts
from trainer.presets import Plan
from trainer.sources import Source

_STEP = 3.0
"""A step goes forward and backward, which costs about three times a pass forward."""

_SECONDS_ONCE = 10.0
"""The encoder built, turned into LiteRT and compared, and the thresholds chosen, however few pictures there are."""

_SECONDS_EACH = 10.0
"""A network built and traced, however few pictures there are."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much there is to do.

    Attributes:
        pictures: that are learned from.
        validation: photos to validate and to calibrate on; 0 for none.
        done: epochs that an earlier process did, of all networks.
    """

    pictures: int
    validation: int
    done: int = 0


def seconds_to_train(source: Source, parts: Parts, plan: Plan, amounts: Amounts) -> float:
    """Seconds from now to the bundle, on this machine: views, epochs, passes over all pictures, calibration.

    Args:
        source: of the first network; nothing of it needs to be there yet.
        parts: of the first network; the others cost as much.
        plan: the recipe.
        amounts: how much there is to do.
    """
    costs, network = source.costs(), plan.network
    members, epochs = network.members, network.members * plan.schedule.epochs
    part, whole = _forward_seconds(parts, source.batches.size)
    steps = sum(source.batches.steps(epoch) for epoch in range(plan.schedule.epochs)) * members
    left = 1 - amounts.done / epochs
    learning = left * (steps * (_STEP * part + costs.draw) + epochs * amounts.validation * whole)
    # The head and the proxies begin where the features are; these are projected in the end.
    passes = members * ((network.head == "linear" and parts.pretrained) + (network.features > 0))
    # Calibrating embeds val, and train as the gallery, with all that is served.
    looks = amounts.validation + (amounts.pictures + amounts.validation if amounts.validation else 0)
    served = (amounts.pictures + amounts.validation) * members * whole if amounts.validation else 0.0
    rest = passes * amounts.pictures * whole + looks * costs.look + served
    return costs.fill + learning + rest + _SECONDS_ONCE + members * _SECONDS_EACH


def _forward_seconds(parts: Parts, size: int) -> tuple[float, float]:
    """A pass forward over a batch as a step sees it; and of whole maps, for one picture."""
    batch = np.zeros((size, *parts.shape), np.float32)
    parts.network.predict_on_batch(batch)
    started = time.perf_counter()
    parts.network.predict_on_batch(batch)
    seconds = time.perf_counter() - started
    full: Any = parts.stem.output.shape[1:] if parts.stem is not None else parts.shape
    return seconds, seconds / size * prod(full) / prod(parts.shape)
