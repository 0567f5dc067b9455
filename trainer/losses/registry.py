"""The losses by name, as a command line or a recipe gives them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from retrieval.errors import UsageError
from trainer.losses.arcface import arcface
from trainer.losses.batch_pairs import LossFunction
from trainer.losses.classifier import normalized_softmax
from trainer.losses.multi_similarity import multi_similarity
from trainer.losses.proxy_anchor import proxy_anchor
from trainer.losses.supcon import supcon
from trainer.losses.triplet import triplet_batch_all, triplet_batch_hard, triplet_random, triplet_semi_hard

Head = Literal["embeddings", "cosines"]
"""A named output of the model in training: vectors (n, d), or cosines with each product (n, products)."""

Parameters = Mapping[str, float | bool]

_ABOVE_ZERO = frozenset({"temperature", "scale", "alpha", "beta"})


@dataclass(frozen=True, slots=True)
class Part:
    """One loss on one head.

    Attributes:
        head: the output it reads.
        factory: makes the loss; the defaults of its arguments are the defaults of the parameters.
        weight: beside the other parts.
        prefix: before the names of its parameters, ``<prefix>weight`` among them; "" for a loss
            that stands alone or first, whose weight is fixed.
    """

    head: Head
    factory: Callable[..., LossFunction]
    weight: float = 1.0
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class LossSpec:
    """What a driver must know to train with a loss.

    Attributes:
        parts: the loss on each head.
        batches: ``pk``: P products with K pictures each, since it compares within the batch;
            ``random`` will do where pictures are compared with learned products alone.
        unit: it is defined on unit vectors; triplets take any.
        use: when to choose it, one line.
    """

    parts: tuple[Part, ...]
    batches: Literal["pk", "random"]
    unit: bool
    use: str

    @property
    def heads(self) -> tuple[Head, ...]:
        """The outputs that the model needs in training."""
        return tuple(part.head for part in self.parts)

    @property
    def parameters(self) -> dict[str, float | bool]:
        """The parameters that can be overridden, with their defaults."""
        defaults: dict[str, float | bool] = {}
        for part in self.parts:
            for argument in inspect.signature(part.factory).parameters.values():
                if argument.name != "seed":  # of the run, not of the loss
                    defaults[part.prefix + argument.name] = argument.default
            if part.prefix:
                defaults[part.prefix + "weight"] = part.weight
        return defaults


@dataclass(frozen=True, slots=True)
class BuiltLosses:
    """A loss ready for ``model.compile(loss=losses, loss_weights=weights)``.

    Attributes:
        losses: by head.
        weights: by head.
        parameters: all of them, defaults and overrides; for the training record.
        scale: the squared L2 distance that the loss tells apart: a hinge's margin, 1 for a soft
            margin, else 0.2. Far below it all embeddings are one to it; `CollapseMonitor` asks.
    """

    losses: dict[Head, LossFunction]
    weights: dict[Head, float]
    parameters: dict[str, float | bool]
    scale: float


DEFAULT_LOSS = "supcon+softmax"

LOSSES: dict[str, LossSpec] = {
    "supcon+softmax": LossSpec(
        (Part("embeddings", supcon), Part("cosines", normalized_softmax, prefix="classifier_")),
        "pk",
        unit=True,
        use="the default: best of those measured",
    ),
    "supcon": LossSpec(
        (Part("embeddings", supcon),),
        "pk",
        unit=True,
        use="many products with few pictures; nothing learned per product",
    ),
    "multi-similarity": LossSpec(
        (Part("embeddings", multi_similarity),), "pk", unit=True, use="pairs mined and weighted; a peer of supcon"
    ),
    "triplet-semi-hard": LossSpec(
        (Part("embeddings", triplet_semi_hard),),
        "pk",
        unit=False,
        use="the triplet loss to start with: it seldom collapses",
    ),
    "triplet-batch-all": LossSpec(
        (Part("embeddings", triplet_batch_all),), "pk", unit=False, use="small batches; noisy labels"
    ),
    "triplet-batch-hard": LossSpec(
        (Part("embeddings", triplet_batch_hard),), "pk", unit=False, use="clean labels, unit vectors; it can collapse"
    ),
    "triplet-random": LossSpec(
        (Part("embeddings", triplet_random),), "pk", unit=False, use="for comparison: what the experiment used"
    ),
    "normalized-softmax": LossSpec(
        (Part("cosines", normalized_softmax),), "random", unit=True, use="plain batches; a fixed range of products"
    ),
    "arcface": LossSpec(
        (Part("cosines", arcface),), "random", unit=True, use="as normalized-softmax, with many pictures a product"
    ),
    "proxy-anchor": LossSpec(
        (Part("cosines", proxy_anchor),), "random", unit=True, use="plain batches; converges fast"
    ),
}


def build_losses(name: str = DEFAULT_LOSS, overrides: Parameters | None = None, *, seed: int = 0) -> BuiltLosses:
    """The loss of that name with these parameters.

    Args:
        name: a key of `LOSSES`.
        overrides: parameters that differ from their defaults.
        seed: of the run; random triplets are drawn by it.

    Raises:
        UsageError: no loss has that name, it has no such parameter, or a value is impossible.
    """
    spec = LOSSES.get(name)
    if spec is None:
        raise UsageError(f"expected a known loss, received {name!r}", hint=f"choose one of: {', '.join(LOSSES)}")
    parameters = spec.parameters
    for key, value in (overrides or {}).items():
        parameters[key] = _checked(name, key, value, spec.parameters)
    losses: dict[Head, LossFunction] = {}
    weights: dict[Head, float] = {}
    for part in spec.parts:
        arguments: dict[str, Any] = {}
        for argument in inspect.signature(part.factory).parameters:
            arguments[argument] = seed if argument == "seed" else parameters[part.prefix + argument]
        losses[part.head] = part.factory(**arguments)
        weights[part.head] = float(parameters[part.prefix + "weight"]) if part.prefix else part.weight
    return BuiltLosses(losses, weights, parameters, _scale(spec, parameters))


def _checked(loss: str, key: str, value: object, defaults: Parameters) -> float | bool:
    if key not in defaults:
        raise UsageError(f"expected a parameter of {loss}, received {key!r}", hint=f"it has: {', '.join(defaults)}")
    if isinstance(defaults[key], bool):
        if not isinstance(value, bool):
            raise UsageError(f"expected true or false for {key} of {loss}, received {value!r}")
        return value
    above = key.split("_")[-1] in _ABOVE_ZERO
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"expected a finite number for {key} of {loss}, received {value!r}")
    if value < 0 or (above and value == 0):
        limit = "above 0" if above else "of at least 0"
        raise UsageError(f"expected a number {limit} for {key} of {loss}, received {value!r}")
    return float(value)


def _scale(spec: LossSpec, parameters: Parameters) -> float:
    if parameters.get("soft"):
        return 1.0
    on_embeddings = spec.parts[0].head == "embeddings"
    return float(parameters.get("margin", 0.0) if on_embeddings else 0.0) or 0.2
