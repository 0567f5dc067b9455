"""Options that several commands share, and where their values come from.

Precedence: flag, environment variable, ``itemrec.toml`` in the working directory, default.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.errors import UsageError

CONFIG_FILE = "itemrec.toml"
DEFAULT_INDEX = ".itemrec"
_KEYS: dict[str, tuple[type, ...]] = {
    "index": (str,),
    "model": (str,),
    "top": (int,),
    "threshold": (int, float),
    "data": (str,),
}

IndexOption = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="PATH_OR_URL",
        envvar="ITEMREC_INDEX",
        help=f"Where the index lies: a directory, or http://HOST:6333/NAME. Default: {DEFAULT_INDEX}",
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
GalleryOption = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        metavar="WHICH",
        help="The pictures to search: index, train (DATA/train), catalog (DATA/catalog) or a folder."
        " Default: the index where there is one, else train.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no chatter on stderr.")]


@lru_cache(maxsize=1)
def _config() -> dict[str, Any]:
    path = Path(CONFIG_FILE)
    if not path.is_file():
        return {}
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"expected a TOML file, received a {CONFIG_FILE} that cannot be read: {error}") from error
    for key, value in data.items():
        if key not in _KEYS:
            raise UsageError(
                f"expected one of {', '.join(sorted(_KEYS))} in {CONFIG_FILE}, received {key!r}",
                hint=f"Correct or remove that line of {path.resolve()}",
            )
        if not isinstance(value, _KEYS[key]) or isinstance(value, bool):
            raise UsageError(f"expected {key} in {CONFIG_FILE} to be a {_KEYS[key][-1].__name__}, received {value!r}")
    return data


def setting(key: str, given: Any, default: Any = None) -> Any:
    """The value of an option: what was given (flag or environment), else itemrec.toml, else the default."""
    return given if given is not None else _config().get(key, default)


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
