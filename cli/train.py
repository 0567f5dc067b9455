"""`itemrec train`: learn a model from a dataset of product photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import progress, render
from cli.options import JsonOption, QuietOption, rate
from cli.train_report import print_report, warn_of
from retrieval.errors import UsageError
from retrieval.system.text import printable


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
    from trainer.train import train

    with progress.shown(training=True) as view:
        report = train(
            dataset,
            out,
            preset=preset,
            catalog=catalog,
            backbone=backbone,
            weights=weights,
            size=size,
            dimension=dimension,
            cut=cut,
            window=window,
            members=members,
            epochs=epochs,
            learning_rate=learning_rate,
            patience=patience,
            loss=loss,
            loss_options=_loss_options(loss_option or []),
            strangers=strangers,
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
        print_report(report)
    warn_of(report)
    return 0


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
