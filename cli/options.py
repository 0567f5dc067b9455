"""Options that several commands share, and where their values come from.

Precedence: flag, environment variable, ``itemrec.toml`` in the working directory, default.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from retrieval.errors import UsageError
from retrieval.system.text import printable

CONFIG_FILE = "itemrec.toml"
DEFAULT_INDEX = ".itemrec"

IndexOption = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="PATH_OR_URL",
        envvar="ITEMREC_INDEX",
        help="Where the index lies: a directory, or http://HOST:6333/NAME, or several of one cluster with commas."
        f" Default: {DEFAULT_INDEX}",
        show_envvar=True,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME_OR_PATH",
        envvar="ITEMREC_MODEL",
        help="The model bundle. Default: the index's own, else the built-in starter.",
        show_envvar=True,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The dataset: a folder with train/, val/ and test/."),
]
TopOption = Annotated[
    int | None, typer.Option("--top", metavar="N", min=1, max=1000, help="Products to show at most. Default: 5")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="D",
        min=0.0,
        max=4.0,
        help="Largest squared L2 distance that counts, instead of probabilities. Default: the calibration's.",
    ),
]
SureOption = Annotated[
    float | None,
    typer.Option(
        "--sure",
        metavar="P",
        min=0.0,
        max=1.0,
        help="A match from this probability of being right on. Default: 0.8",
    ),
]
InCatalogOption = Annotated[
    float | None,
    typer.Option(
        "--in-catalog",
        metavar="P",
        min=0.0,
        max=1.0,
        help="Else ambiguous, not unknown, from this probability of being in the catalog on. Default: 0.5",
    ),
]
VerifyOption = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Look closer at close calls, and near refusals (extra: verify). Default: where the index has keypoints.",
    ),
]
GalleryOption = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        metavar="WHICH",
        help="The pictures to search: index, train (DATA/train), catalog (DATA/catalog) or a folder."
        " Default: the index where there is one, else train.",
    ),
]
ProductLevelOption = Annotated[
    int | None,
    typer.Option(
        "--product-level",
        metavar="N",
        min=1,
        max=16,
        help="Which level of folders holds the products: 2 for Fruit/Pear/*.jpg. Default: as the tree tells.",
    ),
]
IdColumnOption = Annotated[
    str | None,
    typer.Option("--id-column", metavar="COLUMN", help="The table's column of product ids. Default: told by its name."),
]
ImageColumnOption = Annotated[
    str | None,
    typer.Option(
        "--image-column", metavar="COLUMN", help="The table's column of pictures: paths, or http(s) addresses."
    ),
]
NameColumnOption = Annotated[
    str | None, typer.Option("--name-column", metavar="COLUMN", help="The table's column of product names.")
]
SplitNamesOption = Annotated[
    str | None,
    typer.Option(
        "--split-names",
        metavar="SEP",
        help="Pictures without product folders: 4711_2.jpg is a picture of 4711 where SEP is _ (or -, ., space); none:"
        " every file is a product. Default: as the names tell.",
    ),
]
AllowPrivateOption = Annotated[
    bool, typer.Option("--allow-private", help="Fetch pictures from private and loopback addresses, too.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no chatter on stderr.")]


_SETTINGS: dict[str, Any] = {
    "index": IndexOption,
    "model": ModelOption,
    "top": TopOption,
    "threshold": ThresholdOption,
    "sure": SureOption,
    "in_catalog": InCatalogOption,
    "verify": VerifyOption,
    "data": DataOption,
}
"""What itemrec.toml may say. What a value may be is what the flag takes, and written nowhere else."""


@lru_cache(maxsize=1)
def _config() -> dict[str, Any]:
    path = Path(CONFIG_FILE)
    if not path.is_file():
        if os.path.lexists(path):
            raise UsageError(f"expected {CONFIG_FILE} to be a file, received something else at {path.resolve()}")
        return {}
    import tomllib

    try:
        # Editors on Windows write a mark in front.
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(
            f"expected a TOML file, received a {CONFIG_FILE} that cannot be read: {printable(str(error))}",
            hint=f"Correct {path.resolve()}",
        ) from error
    faults = [] if data.keys() <= _SETTINGS.keys() else [_unknown(sorted(data.keys() - _SETTINGS.keys()))]
    faults += [fault for key, value in data.items() if key in _SETTINGS and (fault := _fault(key, value))]
    if faults:
        raise UsageError(
            f"expected settings that can be used in {CONFIG_FILE}, received {'; '.join(faults)}",
            hint=f"Correct or remove that in {path.resolve()}",
        )
    return data


def _unknown(keys: list[str]) -> str:
    names = ", ".join(printable(key) for key in keys)
    return f"{names}, which {'is no setting' if len(keys) == 1 else 'are no settings'} ({', '.join(sorted(_SETTINGS))})"


def _fault(key: str, value: Any) -> str:
    """What is wrong with a setting, as its flag would say it; empty when nothing is."""
    kind, option = get_args(_SETTINGS[key])
    if kind == (bool | None):
        return "" if isinstance(value, bool) else f"{key} = {printable(repr(value))} instead of true or false"
    low, high = option.min, option.max
    if kind in (str | None, Path | None):
        right, wanted = isinstance(value, str) and bool(value.strip()) and "\0" not in value, "text"
    else:
        whole = kind == (int | None)
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        # Not a number is in no range.
        right = right and (low is None or value >= low) and (high is None or value <= high)
        wanted = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"
    return "" if right else f"{key} = {printable(repr(value))} instead of {wanted}"


def setting(key: str, given: Any, default: Any = None) -> Any:
    """The value of an option: what was given (flag or environment), else itemrec.toml, else the default.

    Raises:
        UsageError: the variable of the environment is empty, or itemrec.toml holds what no flag would take.
    """
    if given is not None:
        return given
    _, option = get_args(_SETTINGS[key])
    if (name := option.envvar) and os.environ.get(name) == "":
        # What a script meant to fill in, and did not: the default would be another index or model than it meant.
        raise UsageError(f"expected {name} to name something, received it empty", hint=f"Set it, or unset {name}.")
    return _config().get(key, default)


def index_location(given: str | None) -> str:
    """The index to use."""
    return str(setting("index", given, DEFAULT_INDEX))


def rate(option: str, text: str) -> float:
    """A rate as people write it: ``1%``, ``1 %`` or ``0.01``.

    Raises:
        UsageError: it is not one, or not between 0 and 1.
    """
    number = text.strip().removesuffix("%").rstrip()
    try:
        value = float(number) / (100.0 if text.strip().endswith("%") else 1.0)
    except ValueError:
        value = float("nan")
    if not 0.0 < value < 1.0:
        raise UsageError(
            f"expected {option} as a rate between 0 and 1, received {text!r}", hint=f"For example: {option} 1%"
        )
    return value


def dataset_folder(given: Path | None) -> Path:
    """The dataset to use: the flag, else itemrec.toml.

    Raises:
        UsageError: neither names one.
    """
    named = setting("data", given)
    if named is None:
        raise UsageError(
            "expected a dataset, received none: neither --data nor data in itemrec.toml",
            hint="Name a folder with train/, val/ and test/: --data DIR; itemrec prepare makes one.",
        )
    return Path(named)
