"""`itemrec train`: learn a model from a dataset of product photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import progress, render
from cli.options import JsonOption, QuietOption, rate
from retrieval.errors import UsageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from trainer.presets import Plan


def train_command(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A folder with train/ and val/, see prepare.")],
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Where the bundle goes.")],
    preset: Annotated[str, typer.Option("--preset", help="head (seconds), fast, best, or experiment.")] = "fast",
    catalog: Annotated[
        Path | None,
        typer.Option("--catalog", metavar="DIR", help="Catalog pictures that join the training."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone", metavar="NAME", help="EfficientNetLite0 to 2, any of keras.applications, or small-cnn."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="imagenet|none|PATH",
            envvar="ITEMREC_WEIGHTS",
            show_envvar=True,
            help="What the backbone begins with. Default: imagenet",
        ),
    ] = None,
    size: Annotated[int | None, typer.Option("--size", min=32, max=1024, help="Input side, pixels.")] = None,
    dimension: Annotated[int | None, typer.Option("--dimension", min=8, max=4096, help="Of the embedding.")] = None,
    window: Annotated[
        float | None,
        typer.Option(
            "--window",
            min=0.5,
            max=1.0,
            metavar="SHARE",
            help="Side of the part of a picture's kept maps that a step sees, somewhere in them: 0.5 to 1.",
        ),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option("--cut", metavar="STRIDE", help="What lies below stays as it is: 16, 8, 4, a layer, all, none."),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option("--members", min=1, max=9, help="Networks that are trained in turn and served as one."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the photos.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", min=0.0, help="Of the head.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", metavar="NAME", help="See docs/guides/losses.md.")] = None,
    loss_option: Annotated[
        list[str] | None,
        typer.Option("--loss-option", metavar="NAME=VALUE", help="A parameter of the loss; may be repeated."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", min=0, help="Stop after so many epochs without a better val.")
    ] = None,
    strangers: Annotated[
        float | None,
        typer.Option(
            "--strangers",
            min=0.0,
            max=0.5,
            metavar="SHARE",
            help="Train as many networks again without so many of the products, to see what strangers are taken for. "
            "Default: 0.2 with best, else 0.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = None,
    far: Annotated[
        str | None, typer.Option("--far", metavar="RATE", help="Calibrate the threshold for this FAR instead.")
    ] = None,
    fpir: Annotated[
        str | None,
        typer.Option(
            "--fpir",
            metavar="RATE",
            help="Calibrate it for the photos of strangers that may get a name. "
            "Default: the fewest wrong answers where one photo in five is a stranger's.",
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write BUNDLE-int8, and measure what it loses and gains.")
    ] = False,
    project: Annotated[
        bool, typer.Option("--project", help="Also write the embedding projector's files into the run directory.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a training that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--replace", help="Replace a bundle that is already there.")] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keeps what the frozen part made of pictures, by content."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Learn a model from photos: a bundle with calibrated thresholds, ready to index and query with.

    Logs go to BUNDLE.run: log.jsonl, and scalars for tensorboard --logdir. A training that was
    killed goes on with --resume and ends in the same result.

    \b
    Examples:
      itemrec prepare ./photos ./data
      itemrec train ./data --out ./model
      itemrec train ./data --out ./model --preset best --catalog ./catalog
      itemrec train ./data --out ./model --weights mobilenetv2.weights.h5
      itemrec index ./catalog --model ./model
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.evaluation import Target
    from retrieval.models.bundle import check_place, valid_name

    if far is not None and fpir is not None:
        raise UsageError("expected --far or --fpir, received both", hint="One threshold keeps one of them.")
    target = Target("far", rate("--far", far)) if far else Target("fpir", rate("--fpir", fpir)) if fpir else None
    out = out.absolute()
    valid_name(out.name)
    check_place(out, replace=overwrite)
    if int8:
        check_place(out.with_name(f"{out.name}-int8"), replace=overwrite)
    for folder, name in ((dataset, "DATASET"), (catalog, "--catalog")):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"expected {name} to be a folder, received nothing at {printable(folder)}")
    file = Path(weights).absolute() if weights is not None and weights not in ("imagenet", "none") else None

    from trainer.cache import cache_home
    from trainer.quiet import import_keras

    import_keras()
    from cli.train_finish import finish
    from trainer.networks.pretrained import made_for
    from trainer.presets import MEASURED_ON
    from trainer.presets import preset as named

    if file is not None and backbone is None:
        backbone = made_for(file, MEASURED_ON)
        if backbone is not None:
            own = named(preset).network.backbone
            instead = f" Without --weights, {printable(preset)} trains {own}." if backbone != own else ""
            render.say(f"{printable(file.name)} holds weights of {backbone}.{instead}")
    plan = _plan(
        named(preset, backbone),
        network={
            "weights": weights if file is None else str(file),
            "size": size,
            "dimension": dimension,
            "cut": cut,
            "window": window,
            "members": members,
        },
        schedule={"epochs": epochs, "learning_rate": learning_rate, "patience": patience},
        rest={"loss": loss, "seed": seed, "strangers": strangers},
        loss_options=loss_option or [],
    )
    from trainer.train import Places, learn

    places = Places(
        dataset.absolute(),
        catalog.absolute() if catalog else None,
        out.with_name(f"{out.name}.run"),
        cache.absolute() if cache else cache_home("features"),
    )
    with progress.shown(training=True) as view:
        trained = learn(places, plan, view, resume=resume)
    return finish(
        trained,
        places,
        out,
        target=target,
        preset=preset,
        int8=int8,
        project=project,
        overwrite=overwrite,
        as_json=as_json,
    )


def _plan(
    plan: Plan,
    *,
    network: dict[str, object],
    schedule: dict[str, object],
    rest: dict[str, object],
    loss_options: list[str],
) -> Plan:
    """The preset with what the user gave in its place."""

    def given(values: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in values.items() if value is not None}

    from trainer.losses import LOSSES
    from trainer.networks.pretrained import SMALL_CNN, canonical

    chosen = replace(plan.network, **given(network))  # type: ignore[arg-type]
    if canonical(chosen.backbone) == SMALL_CNN or chosen.weights == "none":
        chosen = replace(chosen, cut=str(network["cut"] or "none"))
    if network["window"] not in (None, 1.0) and chosen.cut in ("all", "none"):
        raise UsageError(
            f"expected --window beside a --cut that keeps maps, received --cut {chosen.cut}",
            hint="Give a stride, --cut 16, or leave --window out.",
        )
    plan = replace(
        plan,
        network=chosen,
        schedule=replace(plan.schedule, **given(schedule)),  # type: ignore[arg-type]
        **given(rest),  # type: ignore[arg-type]
    )
    if loss_options or rest["loss"]:
        parameters = dict(option.partition("=")[::2] for option in loss_options)
        plan = replace(plan, loss_parameters={key: _value(key, text) for key, text in parameters.items()})
        if plan.loss in LOSSES and LOSSES[plan.loss].batches == "pk":
            plan = replace(plan, batches="pk")
    return plan


def _value(key: str, text: str) -> float | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"expected --loss-option {printable(key)}=NUMBER, received {printable(text)!r}",
            hint="For example: --loss-option margin=0.2",
        ) from None
