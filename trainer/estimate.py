"""How long a training will take, from a sample of what it will do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from trainer.networks.assemble import Network
from trainer.presets import Plan
from trainer.sources import Source

_STEP, _SECONDS_A_STEP = 3.4, 0.02
"""A step goes forward and backward, which costs about three times a pass forward and something for the optimizer; and
there are the losses, however small the network is."""

_SECONDS_ONCE, _SECONDS_EACH = 15.0, 12.0
"""However few pictures there are: the encoder built, turned into LiteRT and compared; and each network built, traced,
and begun."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much there is to do.

    Attributes:
        pictures: that are learned from.
        validation: photos to validate and to calibrate on; 0 for none.
        networks: that are trained; one that learns from a part of the pictures counts as that part.
        done: epochs that an earlier process did, of all networks, counted likewise.
    """

    pictures: int
    validation: int
    networks: float
    done: float = 0.0


def seconds_to_train(source: Source, network: Network, plan: Plan, amounts: Amounts) -> float:
    """Seconds from now to the bundle, on this machine: views, epochs, passes over all pictures, calibration.

    Args:
        source: of the first network; nothing of it needs to be there yet.
        network: of the first network; the others cost as much.
        plan: the recipe.
        amounts: how much there is to do.
    """
    costs, networks = source.costs(), amounts.networks
    part, whole = _forward_seconds(network, source.batches.size)
    steps = sum(source.batches.steps(epoch) for epoch in range(plan.schedule.epochs))
    epochs = steps * (_STEP * part + _SECONDS_A_STEP + costs.draw) + plan.schedule.epochs * amounts.validation * whole
    left = epochs * (networks - amounts.done / plan.schedule.epochs)
    # The cached features of all pictures are embedded in the end, and of some of them where a head begins there.
    passes = networks * amounts.pictures * whole
    # Val is looked at to validate and to calibrate; then train's pictures are read once more.
    looks = amounts.validation * (2 * costs.look + networks * whole)
    looks += amounts.pictures * costs.read if amounts.validation else 0.0
    return costs.fill + left + passes + looks + _SECONDS_ONCE + networks * _SECONDS_EACH


def _forward_seconds(network: Network, size: int) -> tuple[float, float]:
    """A pass forward over a batch as a step sees it; and of whole maps, for one picture."""
    batch = np.zeros((size, *network.shape), np.float32)
    network.model.predict_on_batch(batch)
    started = time.perf_counter()
    network.model.predict_on_batch(batch)
    seconds = time.perf_counter() - started
    full: Any = network.stem.output.shape[1:] if network.stem is not None else network.shape
    return seconds, seconds / size * prod(full) / prod(network.shape)
