"""Ready recipes: what was measured best for a budget of time (docs/decisions/0015-training.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from retrieval.errors import UsageError
from retrieval.models.installed import STARTER
from retrieval.system.text import printable
from trainer.data.augment import Views
from trainer.loop.loop import Schedule
from trainer.losses import DEFAULT_LOSS, LOSSES
from trainer.networks.assemble import NetworkSpec
from trainer.networks.pretrained import SMALL_CNN, canonical


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides a training besides the pictures.

    Attributes:
        network: which network, what of it is frozen, and its head.
        schedule: how its weights move.
        loss: a name of `trainer.losses.LOSSES`.
        loss_parameters: where they differ from their defaults.
        batches: ``pk`` or ``random``.
        products: P, products in a batch.
        views: K, pictures of each product in a batch.
        cached_augmentations: random views of each picture that are cached, beside the identity view.
        augmentation: how far a view may be from its picture.
        studio_repeats: how often a catalog picture counts, where a photo counts once.
        hold_out: share of the products, in [0, 0.5], that an ensemble of further networks does not see, to calibrate
            the rejection of unknown products; 0 for none.
        hold_out_times: how often, each time another share, by networks of their own.
        hold_out_epochs: epochs of those networks, as a share of the served ones'; at least one.
        seed: random seed.
    """

    network: NetworkSpec
    schedule: Schedule
    loss: str = DEFAULT_LOSS
    loss_parameters: Mapping[str, float | bool] = field(default_factory=dict)
    batches: Literal["pk", "random"] = "pk"
    products: int = 16
    views: int = 4
    cached_augmentations: int = 8
    augmentation: Views = field(default_factory=Views)
    studio_repeats: int = 4
    hold_out: float = 0.0
    hold_out_times: int = 1
    hold_out_epochs: float = 1.0
    seed: int = 0

    @property
    def of_held_out(self) -> Plan:
        """The recipe of the networks that do not see the held-out products."""
        epochs = max(1, round(self.hold_out_epochs * self.schedule.epochs))
        return replace(self, schedule=replace(self.schedule, epochs=epochs))


_STORED = {
    "freeze": "cut",
    "feature_crop": "window",
    "ensemble": "members",
    "cached_augmentations": "kept_views",
    "hold_out": "strangers",
}
"""Keys of plans on disk, where they differ from the fields: bundles and checkpoints written before have them."""


_LATER: dict[str, Any] = {"hold_out_times": 1, "hold_out_epochs": 1.0, "principal": 0}
"""Fields that came later, with what plans without them mean: those are stored as they always were."""


def stored(plan: Plan) -> dict[str, Any]:
    """A plan as bundles record it and as checkpoints are told apart by it; JSON values and tuples."""

    def renamed(values: dict[str, Any]) -> dict[str, Any]:
        return {_STORED.get(key, key): value for key, value in values.items()}

    values = asdict(plan)
    for key, value in _LATER.items():
        place = values["network"] if key in values["network"] else values
        if place[key] == value:
            del place[key]
    return renamed(values | {"network": renamed(values["network"])})


_HOLD_OUT: Any = {"hold_out": 0.2, "hold_out_times": 2, "hold_out_epochs": 0.5}
"""Twice a fifth of the products, by networks of half the epochs: what that claims is what is measured
(docs/decisions/0016-held-out-products.md), and it costs as much as the networks that are served."""

PRESETS: dict[str, Plan] = {
    "head": Plan(
        NetworkSpec(weights=STARTER, freeze="all"),
        Schedule(epochs=20, learning_rate=1e-3),
        cached_augmentations=4,
        **_HOLD_OUT,
    ),
    "fast": Plan(
        NetworkSpec(weights=STARTER, size=256, feature_crop=0.75),
        Schedule(epochs=8, learning_rate=1e-3, backbone_rate=0.5),
        cached_augmentations=3,
        **_HOLD_OUT,
    ),
    "best": Plan(
        NetworkSpec(weights=STARTER, size=320, feature_crop=0.8, dimension=512, features=0.75, ensemble=2),
        Schedule(epochs=12, learning_rate=1e-3, backbone_rate=0.5),
        cached_augmentations=12,
        **_HOLD_OUT,
    ),
    "experiment": Plan(
        NetworkSpec(
            backbone="InceptionV3",
            size=299,
            freeze="all",
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
        cached_augmentations=0,
        **_HOLD_OUT,
    ),
}
"""``head`` trains a head on frozen features; ``fast`` and ``best`` fine-tune the layers above the frozen ones;
``experiment`` is what this project began with: InceptionV3, frozen, random triplets on squared L2 without unit length.
The first three begin at the built-in model's network, which learned products, and not at ImageNet's weights
(docs/decisions/0015-training.md).
"""

_USUAL = "MobileNetV2"

_ALSO: dict[tuple[str, str], Plan] = {
    ("head", _USUAL): Plan(
        NetworkSpec(backbone=_USUAL, freeze="all"),
        Schedule(epochs=20, learning_rate=1e-3),
        cached_augmentations=4,
        **_HOLD_OUT,
    ),
    ("fast", _USUAL): Plan(
        NetworkSpec(backbone=_USUAL),
        Schedule(epochs=20, learning_rate=1e-3, backbone_rate=0.5),
        **_HOLD_OUT,
    ),
    ("best", _USUAL): Plan(
        NetworkSpec(backbone=_USUAL, size=288, freeze="8", dimension=512, features=0.75),
        Schedule(epochs=16, learning_rate=1e-3, backbone_rate=0.5),
        cached_augmentations=12,
        **_HOLD_OUT,
    ),
    ("best", "EfficientNetLite2"): Plan(
        NetworkSpec(backbone="EfficientNetLite2", size=260, dimension=512, features=0.75, ensemble=2),
        Schedule(epochs=8, learning_rate=1e-3, backbone_rate=0.5),
        cached_augmentations=12,
        **_HOLD_OUT,
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
        network: fields of its `NetworkSpec`; None where the recipe's value stays.
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
        chosen = replace(chosen, freeze=str(network["freeze"] or "none"))
    if network["feature_crop"] not in (None, 1.0) and chosen.freeze in ("all", "none"):
        raise UsageError(
            f"expected --feature-crop with feature maps to crop, received --freeze {chosen.freeze}",
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
