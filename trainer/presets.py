"""Ready recipes: what was measured best for a budget of time (docs/decisions/0015-training.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from retrieval.errors import UsageError
from retrieval.system.text import printable
from trainer.data.augment import Views
from trainer.loop.loop import Schedule
from trainer.losses import DEFAULT_LOSS, LOSSES
from trainer.networks.assemble import Network
from trainer.networks.pretrained import SMALL_CNN, canonical


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides a training besides the pictures.

    Attributes:
        network: which network, where it is cut, and its head.
        schedule: how its weights move.
        loss: a name of `trainer.losses.LOSSES`.
        loss_parameters: where they differ from their defaults.
        batches: ``pk`` or ``random``.
        products: P, products in a batch.
        views: K, pictures of each product in a batch.
        kept_views: random views of each picture that are kept, beside the plain one.
        augmentation: how far a view may be from its picture.
        studio_repeats: how often a catalog picture counts, where a photo counts once.
        strangers: the part of the products, in [0, 0.5], that as many networks again do not see, to find out what
            photos of such products are taken for; 0 for no such networks.
        seed: of everything that is drawn.
    """

    network: Network
    schedule: Schedule
    loss: str = DEFAULT_LOSS
    loss_parameters: Mapping[str, float | bool] = field(default_factory=dict)
    batches: Literal["pk", "random"] = "pk"
    products: int = 16
    views: int = 4
    kept_views: int = 8
    augmentation: Views = field(default_factory=Views)
    studio_repeats: int = 4
    strangers: float = 0.0
    seed: int = 0


PRESETS: dict[str, Plan] = {
    "head": Plan(
        Network(backbone="EfficientNetLite0", cut="all"), Schedule(epochs=20, learning_rate=1e-3), kept_views=4
    ),
    "fast": Plan(
        Network(backbone="EfficientNetLite0", size=256, window=0.75),
        Schedule(epochs=8, learning_rate=1e-3, backbone_rate=0.5),
        kept_views=3,
    ),
    "best": Plan(
        Network(backbone="EfficientNetLite0", size=320, window=0.8, dimension=512, features=0.75, members=2),
        Schedule(epochs=12, learning_rate=1e-3, backbone_rate=0.5),
        kept_views=12,
        strangers=0.2,
    ),
    "experiment": Plan(
        Network(
            backbone="InceptionV3",
            size=299,
            cut="all",
            dimension=128,
            head="experiment",
            unit=False,
            features=0.0,
            dropout=0.2,
        ),
        Schedule(epochs=10, learning_rate=1e-3, weight_decay=0.0),
        loss="triplet-random",
        batches="random",
        products=8,
        views=4,
        kept_views=0,
    ),
}
"""``head`` trains a head on frozen features; ``fast`` and ``best`` fine-tune what lies above the cut; ``experiment`` is
what this project began with: InceptionV3, frozen, random triplets on squared L2 without unit length."""

_USUAL = "MobileNetV2"

_ALSO: dict[tuple[str, str], Plan] = {
    ("head", _USUAL): Plan(Network(backbone=_USUAL, cut="all"), Schedule(epochs=20, learning_rate=1e-3), kept_views=4),
    ("fast", _USUAL): Plan(Network(backbone=_USUAL), Schedule(epochs=20, learning_rate=1e-3, backbone_rate=0.5)),
    ("best", _USUAL): Plan(
        Network(backbone=_USUAL, size=288, cut="8", dimension=512, features=0.75),
        Schedule(epochs=16, learning_rate=1e-3, backbone_rate=0.5),
        kept_views=12,
        strangers=0.2,
    ),
    ("best", "EfficientNetLite2"): Plan(
        Network(backbone="EfficientNetLite2", size=260, dimension=512, features=0.75, members=2),
        Schedule(epochs=8, learning_rate=1e-3, backbone_rate=0.5),
        kept_views=12,
        strangers=0.2,
    ),
}
"""What was measured with another backbone than the recipe's own: other weights want another schedule."""

MEASURED_ON: tuple[str, ...] = tuple(
    dict.fromkeys([*(plan.network.backbone for plan in PRESETS.values()), *(backbone for _, backbone in _ALSO)])
)
"""The backbones that recipes were measured with."""


def preset(name: str, backbone: str | None = None) -> Plan:
    """A recipe by its name.

    Args:
        name: of the recipe.
        backbone: instead of the recipe's own. It brings the schedule that was measured with it; where none was,
            that of MobileNetV2.

    Raises:
        UsageError: there is no recipe or no backbone of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"expected a preset, received {printable(name)!r}", hint=f"One of: {', '.join(PRESETS)}")
    plan = PRESETS[name]
    wanted = plan.network.backbone if backbone is None else canonical(backbone)
    if wanted == plan.network.backbone:
        return plan
    if (name, wanted) in _ALSO:
        return _ALSO[name, wanted]
    plan = _ALSO.get((name, _USUAL), plan)
    return replace(plan, network=replace(plan.network, backbone=wanted))


def customized(
    plan: Plan,
    *,
    network: Mapping[str, object],
    schedule: Mapping[str, object],
    rest: Mapping[str, object],
    loss_options: Mapping[str, float | bool],
) -> Plan:
    """A recipe with what a user gave in its place.

    Args:
        plan: the recipe.
        network: fields of its `Network`; None where the recipe's value stays.
        schedule: fields of its `Schedule`, likewise.
        rest: fields of its own, likewise.
        loss_options: parameters of the loss; they replace the recipe's.

    Raises:
        UsageError: what was given does not fit together.
    """

    def given(values: Mapping[str, object]) -> dict[str, object]:
        return {key: value for key, value in values.items() if value is not None}

    chosen = replace(plan.network, **given(network))  # type: ignore[arg-type]
    if canonical(chosen.backbone) == SMALL_CNN or chosen.weights == "none":
        chosen = replace(chosen, cut=str(network["cut"] or "none"))
    if network["window"] not in (None, 1.0) and chosen.cut in ("all", "none"):
        raise UsageError(
            f"expected --feature-crop with feature maps to crop, received --freeze {chosen.cut}",
            hint="Give a stride, --freeze 16, or leave --feature-crop out.",
        )
    plan = replace(
        plan,
        network=chosen,
        schedule=replace(plan.schedule, **given(schedule)),  # type: ignore[arg-type]
        **given(rest),  # type: ignore[arg-type]
    )
    if loss_options or rest["loss"]:
        plan = replace(plan, loss_parameters=dict(loss_options))
        if plan.loss in LOSSES and LOSSES[plan.loss].batches == "pk":
            plan = replace(plan, batches="pk")
    return plan
