"""Where a training stands, on disk: whole or not at all, and only for the training that wrote it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ItemrecError, UsageError
from retrieval.system.files import os_errors, replace_file
from retrieval.system.text import printable

_FILE = "checkpoint.npz"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training needs to go on as if nothing had happened.

    Attributes:
        epoch: epochs that are done.
        arrays: every variable of the network and of the optimizer, by place.
        state: the rest, as JSON values.
    """

    epoch: int
    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]


def write_checkpoint(folder: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of a run directory atomically.

    Args:
        folder: the run directory.
        identity: hex digest of everything that decides the result: data, network, recipe, seed.
        checkpoint: what to keep.

    Raises:
        DiskFullError, StoreError: the folder cannot be written.
    """
    about = {"identity": identity, "epoch": checkpoint.epoch, "state": dict(checkpoint.state)}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, about=text, **dict(checkpoint.arrays))
    with os_errors("keep a checkpoint", folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / _FILE, buffer.getvalue())


def read_checkpoint(folder: Path, identity: str) -> Checkpoint | None:
    """The checkpoint of a run directory; None when there is none.

    Raises:
        UsageError: another training wrote it.
        ItemrecError: it is damaged.
    """
    file = folder / _FILE
    if not file.exists():
        return None
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files if name != "about"}
            about = json.loads(bytes(data["about"]))
        checkpoint = Checkpoint(int(about["epoch"]), arrays, about["state"])
        wrote = str(about["identity"])
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ItemrecError(
            f"expected the checkpoint of a training in {printable(file)}, received: {error}",
            hint="Remove that file and train anew, without --resume.",
        ) from error
    except Exception as error:  # zipfile raises errors of its own
        raise ItemrecError(
            f"expected a whole checkpoint in {printable(file)}, received: {error}",
            hint="Remove that file and train anew, without --resume.",
        ) from error
    if wrote != identity:
        raise UsageError(
            f"expected the checkpoint of this very training in {printable(folder)}, received one of another: "
            "its photos, its options or the version of itemrec differ",
            hint="Give the same dataset and options, or train anew without --resume.",
        )
    return checkpoint


def remove_checkpoint(folder: Path) -> None:
    """Forget the checkpoint of a run directory, if there is one; raises StoreError."""
    with os_errors("remove a checkpoint", folder):
        (folder / _FILE).unlink(missing_ok=True)


def pack(prefix: str, variables: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Variables as named arrays, in their order."""
    return {f"{prefix}{i}": np.asarray(variable) for i, variable in enumerate(variables)}


def unpack(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """What `pack` named, in order."""
    count = sum(name.removeprefix(prefix).isdecimal() for name in arrays if name.startswith(prefix))
    return [arrays[f"{prefix}{i}"] for i in range(count)]
