"""`itemrec models`: which models there are, and how to bring another one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli import render
from cli.model_view import (
    AVAILABLE,
    COLUMNS,
    available_document,
    available_row,
    describe,
    listed,
    measured_text,
    row,
)
from cli.options import JsonOption, QuietOption
from retrieval.errors import UsageError

if TYPE_CHECKING:
    from retrieval.models.bundle import Bundle

_TERMINATED = 143
"""What shells show of a command that SIGTERM ended."""

app = typer.Typer(
    rich_markup_mode=None,
    help="List, show, import and download models.",
)


def _import_options(
    preset: Annotated[
        Literal["imagenet", "clip", "siglip", "zero-one", "minus-one-one", "none"] | None,
        typer.Option("--preset", help="Published preprocessing: fit, scale, mean and std together."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="N|HxW", help="Input size, where the file leaves it open: 224 or 256x192."),
    ] = None,
    fit: Annotated[
        Literal["squash", "pad", "crop"] | None,
        typer.Option("--fit", help="Stretch, fit inside on white, or cover and keep the center. Default: pad"),
    ] = None,
    crop_fraction: Annotated[
        float | None,
        typer.Option("--crop-fraction", metavar="F", help="With crop: the fraction of the shorter side that is kept."),
    ] = None,
    resample: Annotated[
        Literal["bilinear", "bicubic", "lanczos", "area"] | None,
        typer.Option("--resample", help="Interpolation of the resize. Default: bilinear"),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="F", help="Multiplies the 0..255 values first. Default: 1/255"),
    ] = None,
    mean: Annotated[
        str | None, typer.Option("--mean", metavar="R,G,B", help="Subtracted after scaling; one value or three.")
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="R,G,B", help="Divides after subtracting; one value or three.")
    ] = None,
    layout: Annotated[
        Literal["NHWC", "NCHW"] | None,
        typer.Option("--layout", help="Axis order of the input; needed only when its shape does not say."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="NAME|N", help="The network output to use, when there are several."),
    ] = None,
    pool: Annotated[
        Literal["none", "cls", "mean", "flatten"] | None,
        typer.Option("--pool", help="Pooling of an output of tokens or a feature map into one vector."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="D", help="Threshold for queries, squared L2 in [0, 4], if known."),
    ] = None,
    license_name: Annotated[
        str, typer.Option("--license", metavar="TEXT", help="The model's license, for its card.")
    ] = "",
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Write the bundle there instead of among the installed models."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of that name.")] = False,
) -> dict[str, Any]:
    """The options that importing a file and pulling one share, as what `retrieval.models.importer` takes."""
    from retrieval.models.input_presets import Choices

    choices = Choices(
        preset=preset,
        size=_size(size),
        fit=fit,
        crop_fraction=crop_fraction,
        resample=resample,
        scale=scale,
        mean=_triple("--mean", mean),
        std=_triple("--std", std),
        layout=layout,
    )
    return {
        "choices": choices,
        "output": _output(output),
        "pool": pool,
        "threshold": threshold,
        "to": to,
        "license": license_name,
        "replace": replace,
    }


def _with_import_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command `_import_options` where it takes ``wanted``, which is all of them together."""
    own = inspect.signature(command, eval_str=True).parameters
    shared = inspect.signature(_import_options, eval_str=True).parameters

    @functools.wraps(command)
    def run(**values: Any) -> int:
        return command(wanted=_import_options(**{name: values.pop(name) for name in shared}), **values)

    every = [p for given in own.values() for p in (shared.values() if given.name == "wanted" else [given])]
    # Keyword-only: what has a default may then stand before what has none.
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in every]
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return run


@app.command("list")
def list_command(as_json: JsonOption = False, quiet: QuietOption = False) -> int:
    """List the models that --model can name.

    \b
    Examples:
      itemrec models list
      itemrec models list --json
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.models.installed import installed_models, models_directory

    models = installed_models()
    if as_json:
        try:
            directory = str(models_directory())
        except UsageError:  # nowhere to install anything: the built-in model is still there
            directory = None
        render.emit_json(
            {"schema": "itemrec.models/1", "directory": directory, "models": [listed(model) for model in models]}
        )
        return 0
    if models:
        render.table(COLUMNS, [row(model) for model in models], right=(1, 5))
    else:
        render.say("No model is installed. Bring one: itemrec models import --help")
    return 0


@app.command("show")
def show_command(
    model: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="An installed model or a bundle.")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Show a model: what it is, what it expects, and what was measured.

    \b
    Examples:
      itemrec models show starter
      itemrec models show ./bundle --json
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.models.installed import find_model

    describe(find_model(model), as_json=as_json, with_card=True)
    return 0


@app.command("import")
@_with_import_options
def import_command(
    file: Annotated[Path, typer.Argument(help="A .tflite file, or .onnx with the extra `onnx`.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the installed model.")],
    wanted: dict[str, Any],
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where the file came from, for its card.")
    ] = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Install an image encoder from a file, after trying it.

    The file must give the same finite vectors for the same pictures, and different ones for
    different pictures. What changes embeddings goes into the model's fingerprint.

    \b
    Examples:
      itemrec models import mobilenetv2.tflite --name mobilenetv2 --preset minus-one-one
      itemrec models import dinov2.onnx --name dinov2 --preset imagenet --size 224 --pool cls
      itemrec models import siglip.onnx --name siglip --preset siglip --output pooler_output
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.models.importer import import_model

    with _cleaned_up():
        bundle = import_model(file, name=name, source=source, **wanted)
    _installed(bundle, as_json=as_json)
    return 0


@app.command("available")
def available_command(as_json: JsonOption = False, quiet: QuietOption = False) -> int:
    """List the models that `models pull NAME` brings, and what was measured of them.

    Weights are not part of itemrec: pulling fetches them from where their authors or converters keep
    them, at a pinned revision, and accepts nothing but the file that is listed.

    \b
    Examples:
      itemrec models available
      itemrec models pull dinov2-small
      itemrec models measure dinov2-small --data ./data
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.models.available import available_models
    from retrieval.models.installed import installed_models
    from retrieval.models.measurement import kept

    document = available_document(available_models(), installed_models(), kept())
    if as_json:
        render.emit_json(document)
        return 0
    render.table(AVAILABLE, [available_row(entry) for entry in document["models"]], right=(2, 3, 4, 5, 6, 7))
    render.say(
        "R@1, first five and DIR are of your own photos: itemrec models measure NAME --data DIR. DIR: found first at "
        "the threshold where 10 of 100 photos of unknown products get an answer."
    )
    return 0


@app.command("pull")
@_with_import_options
def pull_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|URL",
            help="A name that `models available` lists, or where the .tflite or .onnx file is: https://…",
        ),
    ],
    wanted: dict[str, Any],
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="With a URL: the file's SHA-256; nothing else is accepted."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the installed model. Default: as `models available`"),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="PATH", help="The file, fetched by other means; its SHA-256 must be the same."),
    ] = None,
    max_size: Annotated[
        float, typer.Option("--max-size", metavar="MB", min=0.001, help="With a URL: refuse a larger file.")
    ] = 2048.0,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also connect to private and loopback addresses.")
    ] = False,
    allow_http: Annotated[bool, typer.Option("--allow-http", help="Also connect without encryption.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Download an image encoder and install it, as `models import` does.

    Of a listed model everything is known: where it is, its SHA-256, what it expects of a picture, and
    which output is read. An interrupted download continues where it stopped. Redirects are followed to
    public addresses only, and never from https to http.

    \b
    Examples:
      itemrec models pull dinov2-small
      itemrec models pull dinov2-small --file ~/Downloads/model.onnx
      itemrec models pull https://host/dinov2-base.onnx --sha256 0123… --name dinov2-base \\
          --preset imagenet --size 224 --pool cls
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from retrieval.models.available import find_available
    from retrieval.models.importer import pull_available, pull_model

    how = {**wanted, "file": file, "allow_private": allow_private, "allow_http": allow_http}
    listed_model = None if "://" in model else find_available(model)
    if listed_model is not None and sha256 is not None:
        raise UsageError(
            f"expected --sha256 with a URL, received it with {model}, whose hash is in the list of models",
            hint="Leave --sha256 out.",
        )
    if listed_model is None and (sha256 is None or name is None):
        raise UsageError(
            "expected --sha256 and --name with a URL, received one without",
            hint="See itemrec models pull --help, or itemrec models available for models that need neither.",
        )
    with _cleaned_up(), progress.shown() as view:
        if listed_model is not None:
            bundle = pull_available(listed_model, name=name, progress=view, **how)
        else:
            bundle = pull_model(
                model,
                sha256=sha256 or "",
                name=name or "",
                max_bytes=int(max_size * (1 << 20)),
                progress=view,
                **how,
            )
    _installed(bundle, as_json=as_json)
    return 0


@app.command("measure")
def measure_command(
    model: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="An installed model or a bundle.")],
    data: Annotated[
        Path,
        typer.Option("--data", metavar="DIR", help="A dataset with train/ and val/, or a folder of product folders."),
    ],
    gallery: Annotated[
        str | None,
        typer.Option(
            "--gallery",
            metavar="train|catalog|DIR",
            help="What the photos are compared with. Default: train, or every other picture of a product",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Measure a model on photos of yours: how often it is right, and how long a picture takes.

    The result stands in `models available` from then on. `itemrec evaluate` says far more of a model
    that has an index and a threshold; this is for choosing one.

    \b
    Examples:
      itemrec models measure dinov2-small --data ./data
      itemrec models measure starter --data ./data --gallery ./catalog
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from retrieval.evaluation.own_photos import measure_model
    from retrieval.models.installed import find_model

    bundle = find_model(model)
    with progress.shown() as view:
        found = measure_model(bundle, data, gallery=gallery, progress=view)
    if as_json:
        render.emit_json(found.to_json())
    else:
        render.emit(measured_text(found))
    return 0


@contextmanager
def _cleaned_up() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: the child is stopped, what was begun is removed."""
    from retrieval.system.child import Terminated, terminable

    try:
        with terminable():
            yield
    except Terminated:
        render.say("Terminated.")
        raise typer.Exit(_TERMINATED) from None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdecimal() and len(side) <= 5 for side in sides):
        raise UsageError(f"expected --size as 224 or as HEIGHTxWIDTH such as 256x192, received {text!r}")
    return int(sides[0]), int(sides[-1])


def _triple(option: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"expected {option} as numbers such as 0.5 or 0.5,0.5,0.5, received {text!r}") from error
    if len(values) == 1:
        values *= 3
    if len(values) != 3:
        raise UsageError(f"expected {option} with one number or three, received {text!r}")
    return values[0], values[1], values[2]


def _output(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 6 else text


def _installed(bundle: Bundle, *, as_json: bool) -> None:
    describe(bundle, as_json=as_json, with_card=False)
    render.say(f"Use it: itemrec index CATALOG --model {_reference(bundle)}")


def _reference(bundle: Bundle) -> str:
    from retrieval.models.installed import models_directory

    return bundle.path.name if bundle.path.parent == models_directory() else str(bundle.path)
