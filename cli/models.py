"""`itemrec models`: which models there are, and how to bring another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli import render
from cli.model_view import COLUMNS, describe, listed, row
from cli.options import JsonOption, QuietOption
from retrieval.errors import UsageError

if TYPE_CHECKING:
    from retrieval.models.bundle import Bundle
    from retrieval.models.input_presets import Choices

app = typer.Typer(
    rich_markup_mode=None,
    help="List, show, import and download models.",
)

NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="What to call the model.")]
PresetOption = Annotated[
    Literal["imagenet", "clip", "siglip", "zero-one", "minus-one-one", "none"] | None,
    typer.Option("--preset", help="A published recipe: crop or stretch, scale, mean and deviation together."),
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", metavar="N|HxW", help="Input size, where the file leaves it open: 224 or 256x192."),
]
FitOption = Annotated[
    Literal["squash", "pad", "crop"] | None,
    typer.Option("--fit", help="Stretch, fit inside on white, or cover and keep the center. Default: pad"),
]
CropOption = Annotated[
    float | None,
    typer.Option("--crop-fraction", metavar="F", help="With crop: the part of the shorter side that is kept."),
]
ResampleOption = Annotated[
    Literal["bilinear", "bicubic", "lanczos", "area"] | None,
    typer.Option("--resample", help="Interpolation of the resize. Default: bilinear"),
]
ScaleOption = Annotated[
    float | None, typer.Option("--scale", metavar="F", help="Multiplies 0..255 first. Default: 1/255")
]
MeanOption = Annotated[
    str | None, typer.Option("--mean", metavar="R,G,B", help="Subtracted after scaling; one value or three.")
]
StdOption = Annotated[
    str | None, typer.Option("--std", metavar="R,G,B", help="Divides after subtracting; one value or three.")
]
LayoutOption = Annotated[
    Literal["NHWC", "NCHW"] | None,
    typer.Option("--layout", help="Where the channels are; needed only when the shape does not say."),
]
OutputOption = Annotated[
    str | None,
    typer.Option("--output", metavar="NAME|N", help="The output to read, when there are several."),
]
PoolOption = Annotated[
    Literal["none", "cls", "mean", "flatten"] | None,
    typer.Option("--pool", help="How an output of tokens or a map becomes one vector."),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", metavar="D", help="Squared L2 in [0, 4] for queries, if you know one."),
]
LicenseOption = Annotated[str, typer.Option("--license", metavar="TEXT", help="The model's license, for its card.")]
ToOption = Annotated[
    Path | None,
    typer.Option("--to", metavar="DIR", help="Write the bundle there instead of among the installed models."),
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace a model of that name.")]


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
def import_command(
    file: Annotated[Path, typer.Argument(help="A .tflite file, or .onnx with the extra `onnx`.")],
    name: NameOption,
    preset: PresetOption = None,
    size: SizeOption = None,
    fit: FitOption = None,
    crop_fraction: CropOption = None,
    resample: ResampleOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    output: OutputOption = None,
    pool: PoolOption = None,
    threshold: ThresholdOption = None,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where the file came from, for its card.")
    ] = "",
    license_name: LicenseOption = "",
    to: ToOption = None,
    replace: ReplaceOption = False,
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

    choices = _choices(preset, size, fit, crop_fraction, resample, scale, mean, std, layout)
    bundle = import_model(
        file,
        name=name,
        choices=choices,
        output=_output(output),
        pool=pool,
        threshold=threshold,
        to=to,
        source=source,
        license=license_name,
        replace=replace,
    )
    _installed(bundle, as_json=as_json)
    return 0


@app.command("pull")
def pull_command(
    url: Annotated[str, typer.Argument(help="Where the .tflite or .onnx file is: https://…")],
    sha256: Annotated[
        str, typer.Option("--sha256", metavar="HEX", help="The file's SHA-256; nothing else is accepted.")
    ],
    name: NameOption,
    preset: PresetOption = None,
    size: SizeOption = None,
    fit: FitOption = None,
    crop_fraction: CropOption = None,
    resample: ResampleOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    output: OutputOption = None,
    pool: PoolOption = None,
    threshold: ThresholdOption = None,
    license_name: LicenseOption = "",
    to: ToOption = None,
    replace: ReplaceOption = False,
    max_size: Annotated[
        float, typer.Option("--max-size", metavar="MB", min=0.001, help="Refuse a larger file.")
    ] = 2048.0,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also connect to private and loopback addresses.")
    ] = False,
    allow_http: Annotated[bool, typer.Option("--allow-http", help="Also connect without encryption.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Download an image encoder and install it, as `models import` does.

    An interrupted download continues where it stopped. Redirects are followed to public
    addresses only, and never from https to http.

    \b
    Example:
      itemrec models pull https://host/dinov2-small.onnx --sha256 0123… --name dinov2 \\
          --preset imagenet --size 224 --pool cls
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from retrieval.models.importer import pull_model

    choices = _choices(preset, size, fit, crop_fraction, resample, scale, mean, std, layout)
    with progress.shown() as view:
        bundle = pull_model(
            url,
            sha256=sha256,
            name=name,
            max_bytes=int(max_size * (1 << 20)),
            allow_private=allow_private,
            allow_http=allow_http,
            progress=view,
            choices=choices,
            output=_output(output),
            pool=pool,
            threshold=threshold,
            to=to,
            license=license_name,
            replace=replace,
        )
    _installed(bundle, as_json=as_json)
    return 0


def _choices(
    preset: str | None,
    size: str | None,
    fit: Literal["squash", "pad", "crop"] | None,
    crop_fraction: float | None,
    resample: Literal["bilinear", "bicubic", "lanczos", "area"] | None,
    scale: float | None,
    mean: str | None,
    std: str | None,
    layout: Literal["NHWC", "NCHW"] | None,
) -> Choices:
    from retrieval.models.input_presets import Choices

    return Choices(
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
