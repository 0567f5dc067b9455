"""`itemrec train`: learn a model from a dataset of product photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cli import render
from cli.options import JsonOption, QuietOption, rate
from cli.train_report import print_report, warn_of
from retrieval.errors import UsageError
from retrieval.system.text import printable

T = TypeVar("T")


def train_command(
    dataset: Annotated[
        Path,
        typer.Argument(metavar="DATASET", help="Folder with train/ and val/, as itemrec prepare makes it."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Where to write the model bundle.")],
    preset: Annotated[
        str | None, typer.Option("--preset", help="head (seconds), fast, best, or experiment. Default: fast")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME_OR_PATH",
            help="Learn on top of this installed model, which stays as it is: a minute on a CPU, without TensorFlow.",
        ),
    ] = None,
    catalog: Annotated[
        Path | None,
        typer.Option("--catalog", metavar="DIR", help="Catalog pictures to train on as well."),
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
            metavar="starter|imagenet|none|PATH",
            envvar="ITEMREC_WEIGHTS",
            show_envvar=True,
            help="Initial weights of the backbone: of the built-in starter, of ImageNet, of a model that was trained "
            "before, or a file. Default: starter; imagenet for a --backbone of your own.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=32, max=1024, help="Input height and width in pixels.")
    ] = None,
    dimension: Annotated[int | None, typer.Option("--dimension", min=8, max=4096, help="Embedding size.")] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            "--freeze",
            metavar="STRIDE|LAYER|all|none",
            help="Freeze the backbone up to this stride (16, 8, 4) or layer; all: train the head only.",
        ),
    ] = None,
    feature_crop: Annotated[
        float | None,
        typer.Option(
            "--feature-crop",
            min=0.5,
            max=1.0,
            metavar="SHARE",
            help="Random crop of the cached feature map per step, as a fraction of its side: 0.5 to 1.",
        ),
    ] = None,
    ensemble: Annotated[
        int | None,
        typer.Option("--ensemble", metavar="N", min=1, max=9, help="Networks in the ensemble, trained in turn."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training pictures.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", min=0.0, help="Learning rate of the head.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", metavar="NAME", help="Loss function, see docs/guides/losses.md.")
    ] = None,
    loss_option: Annotated[
        list[str] | None,
        typer.Option("--loss-option", metavar="NAME=VALUE", help="A parameter of the loss; may be repeated."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", min=0, help="Stop after so many epochs without improvement on val; 0: never."),
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            "--hold-out",
            min=0.0,
            max=0.5,
            metavar="SHARE",
            help="Share of products held out, twice, to calibrate the rejection of unknown products (trains extra "
            "models, which takes as long again). Default: 0.2; 0 for none.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Random seed.")] = None,
    far: Annotated[
        str | None,
        typer.Option("--far", metavar="RATE", help="Calibrate the threshold for this false acceptance rate (FAR)."),
    ] = None,
    fpir: Annotated[
        str | None,
        typer.Option(
            "--fpir",
            metavar="RATE",
            help="Calibrate the threshold for this false-positive identification rate (FPIR). "
            "Default: the fewest errors where one photo in five shows an unknown product.",
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write BUNDLE-int8, quantized to 8 bits, and compare the two.")
    ] = False,
    project: Annotated[
        bool, typer.Option("--project", help="Also write TensorBoard's embedding projection into the run directory.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted training.")] = False,
    overwrite: Annotated[bool, typer.Option("--replace", help="Replace a bundle that is already there.")] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Where features of the frozen layers are cached."),
    ] = None,
    cut: Annotated[str | None, typer.Option("--cut", hidden=True)] = None,
    window: Annotated[float | None, typer.Option("--window", min=0.5, max=1.0, hidden=True)] = None,
    members: Annotated[int | None, typer.Option("--members", min=1, max=9, hidden=True)] = None,
    strangers: Annotated[float | None, typer.Option("--strangers", min=0.0, max=0.5, hidden=True)] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Train a model on product photos: a bundle with calibrated thresholds, ready to index and query with.

    Logs go to BUNDLE.run: log.jsonl, and scalars for tensorboard --logdir. A training that was
    killed continues with --resume and ends in the same model.

    \b
    Examples:
      itemrec prepare ./photos ./data
      itemrec train ./data --out ./model
      itemrec train ./data --out ./model --preset best --catalog ./catalog
      itemrec train ./data --out ./model --weights mobilenetv2.weights.h5
      itemrec train ./data --out ./model --model dinov2-small
      itemrec index ./catalog --model ./model
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from trainer.train import train

    with progress.shown(training=True) as view:
        report = train(
            dataset,
            out,
            preset=preset,
            model=model,
            catalog=catalog,
            backbone=backbone,
            weights=weights,
            size=size,
            dimension=dimension,
            freeze=_either("--freeze", freeze, "--cut", cut),
            feature_crop=_either("--feature-crop", feature_crop, "--window", window),
            ensemble=_either("--ensemble", ensemble, "--members", members),
            epochs=epochs,
            learning_rate=learning_rate,
            patience=patience,
            loss=loss,
            loss_options=_loss_options(loss_option or []),
            hold_out=_either("--hold-out", hold_out, "--strangers", strangers),
            seed=seed,
            far=rate("--far", far) if far else None,
            fpir=rate("--fpir", fpir) if fpir else None,
            int8=int8,
            project=project,
            resume=resume,
            replace=overwrite,
            cache=cache,
            progress=view,
        )
    if as_json:
        render.emit_json(report.to_json())
    else:
        print_report(report, dataset, catalog)
    warn_of(report)
    return 0


def _either(name: str, value: T | None, old: str, old_value: T | None) -> T | None:
    """What an option was given, by its name or by the one it had before."""
    if value is not None and old_value is not None:
        raise UsageError(f"expected {name} or {old}, its former name, received both", hint=f"Leave {old} out.")
    return old_value if value is None else value


def _loss_options(given: list[str]) -> dict[str, float | bool]:
    return {key: _value(key, text) for key, _, text in (option.partition("=") for option in given)}


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
