"""Which models are installed, and which one a command means.

Models live in ``$ITEMREC_HOME/models/<name>/``. Without ``ITEMREC_HOME`` the home is the
platform's place for a user's data: ``$XDG_DATA_HOME/itemrec`` or ``~/.local/share/itemrec``,
``~/Library/Application Support/itemrec`` on macOS, ``%LOCALAPPDATA%\\itemrec`` on Windows.
The built-in ``starter`` comes with the package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import BundleError, ItemrecError, ModelNotFoundError, UsageError
from retrieval.models.bundle import DESCRIPTION, Bundle, peek, read_bundle, valid_name
from retrieval.types import ModelIdentity

STARTER = "starter"


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """One entry of the list of models.

    Attributes:
        name: what ``--model`` takes.
        path: its directory.
        builtin: it comes with the package.
        bundle: what is there, or None when it is damaged.
        problem: why it cannot be used; empty when it can.
    """

    name: str
    path: Path
    builtin: bool
    bundle: Bundle | None
    problem: str = ""


def home() -> Path:
    """Where itemrec keeps a user's data. Not created here.

    Raises:
        UsageError: the environment names no such place.
    """
    given = os.environ.get("ITEMREC_HOME")
    if given:
        return Path(os.path.expanduser(given)).absolute()
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "itemrec"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "itemrec"
        xdg = os.environ.get("XDG_DATA_HOME", "")
        # The XDG specification says to ignore a relative path.
        return (Path(xdg) if xdg.startswith("/") else Path.home() / ".local" / "share") / "itemrec"
    except RuntimeError as error:
        raise UsageError(
            "expected a home directory to keep models in, received an environment without one",
            hint="Set ITEMREC_HOME to a directory that you can write.",
        ) from error


def models_directory() -> Path:
    """Where models are installed. Not created here; raises UsageError as `home`."""
    return home() / "models"


def starter_path() -> Path:
    """Where the built-in model lies in the package."""
    return Path(__file__).parents[1] / STARTER


def place_for(name: str) -> Path:
    """Where a model of that name is installed.

    Raises:
        UsageError: the name is unfit, is the built-in's, or the place cannot be written.
    """
    valid_name(name)
    if name == STARTER:
        raise UsageError(
            f"expected a name of your own, received {STARTER!r}, which is the built-in model's",
            hint="Choose another --name.",
        )
    directory = models_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"expected a directory for models that can be written, received {directory}: {error.strerror}",
            hint="Set ITEMREC_HOME to a directory that you can write, or name a place with --to.",
        ) from error
    return directory / name


def installed_models() -> list[InstalledModel]:
    """Every model that can be named: the built-in first, then by name; damaged ones with their problem."""
    models = []
    if os.path.exists(starter_path() / DESCRIPTION):
        models.append(_entry(STARTER, starter_path(), builtin=True))
    models += [_entry(path.name, path, builtin=False) for path in sorted(_installed_paths())]
    return models


def find_model(ref: str) -> Bundle:
    """The bundle that a name or a path means: an installed name first, then a path.

    Raises:
        ModelNotFoundError: neither is there.
        BundleError: it is there and damaged.
    """
    looks_like_path = os.sep in ref or "/" in ref or ref.startswith((".", "~"))
    if not looks_like_path:
        if ref == STARTER:
            return read_starter()
        for path in _installed_paths():
            if path.name == ref:
                return read_bundle(path)
    path = Path(os.path.expanduser(ref))
    if looks_like_path or os.path.exists(path):
        return read_bundle(path)
    names = ", ".join(model.name for model in installed_models())
    raise ModelNotFoundError(
        f"expected the name of an installed model ({names or 'none is installed'}) or the path of a bundle, "
        f"received {ref!r}",
        hint="List the models: itemrec models list. Install one: itemrec models import --help",
    )


def read_starter() -> Bundle:
    """The built-in model.

    Raises:
        ModelNotFoundError: this installation came without it.
    """
    try:
        return read_bundle(starter_path())
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"expected the built-in model {STARTER!r} in {starter_path()}, received an installation without it",
            hint="Name a model with --model NAME_OR_PATH, or reinstall itemrec.",
        ) from error


def resolve_model(ref: str | None, *, index_model: ModelIdentity | None = None) -> Bundle:
    """The model that a command uses: the named one, else the index's own, else the starter.

    The index's own model is looked for at the path where it was, then among the installed models
    and the starter by its fingerprint, so that a bundle may move.

    Args:
        ref: what the user named: an installed name or a path; None when nothing.
        index_model: the model that built the index; None when there is no index.

    Raises:
        ModelNotFoundError: the named model, or the index's, is not there.
        BundleError: it is there and damaged.
    """
    if ref is not None:
        return find_model(ref)
    if index_model is None:
        return read_starter()
    damage: BundleError | None = None
    for path in (Path(index_model.path), starter_path(), *_installed_paths()):
        try:
            fingerprint = peek(path).get("fingerprint")
        except (BundleError, ModelNotFoundError):
            continue
        if fingerprint == index_model.fingerprint:
            try:
                return read_bundle(path)
            except BundleError as error:
                damage = damage or error
    if damage is not None:
        raise damage
    if index_model.name == STARTER and os.path.exists(starter_path() / DESCRIPTION):
        raise ModelNotFoundError(
            f"The index was built by the built-in model of an earlier itemrec ({index_model.fingerprint[:12]}), which "
            "another has replaced",
            hint=f"Index again: itemrec index CATALOG --rebuild --model {STARTER}",
        )
    raise ModelNotFoundError(
        f"expected the model that built the index, {index_model.name!r} (fingerprint "
        f"{index_model.fingerprint[:12]}), at {index_model.path} or among the installed models, received none",
        hint="Say where it is with --model NAME_OR_PATH, or index again with another model: "
        "itemrec index CATALOG --rebuild --model NAME_OR_PATH",
    )


def _installed_paths() -> Iterator[Path]:
    try:
        directory = models_directory()
        entries = sorted(directory.iterdir())
    except (UsageError, OSError):  # nowhere to look, or nothing there yet: then nothing is installed
        return
    for entry in entries:
        if not entry.name.startswith(".") and os.path.exists(entry / DESCRIPTION):
            yield entry


def _entry(name: str, path: Path, *, builtin: bool) -> InstalledModel:
    try:
        return InstalledModel(name, path, builtin, read_bundle(path))
    except ItemrecError as error:
        return InstalledModel(name, path, builtin, None, error.message)
