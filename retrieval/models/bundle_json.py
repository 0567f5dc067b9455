"""``bundle.json`` as it lies on disk: read with a cap, the files that it names verified."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from retrieval.errors import BundleError, ModelNotFoundError
from retrieval.system.files import file_sha256, unfit_in

SCHEMA = "itemrec.bundle/1"
SCHEMA_PROJECTED = "itemrec.bundle/2"
DESCRIPTION = "bundle.json"
DAMAGED_HINT = "Fetch, import or train the model again; a bundle is never edited by hand."
_MAX_DESCRIPTION_BYTES = 4 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def peek(path: Path) -> dict[str, Any]:
    """What a bundle's description says, unverified: cheap, to find the one that `read_bundle` opens.

    Raises:
        ModelNotFoundError: there is no bundle at that path.
        BundleError: its description cannot be read.
    """
    root = Path(path)
    file = root / DESCRIPTION
    _require_fit(root, DESCRIPTION)
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MAX_DESCRIPTION_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        what = "nothing there"
        if os.path.exists(root):
            what = "a directory without one" if os.path.isdir(root) else "a file"
        raise ModelNotFoundError(
            f"expected a bundle (a directory with {DESCRIPTION}) at {root}, received {what}",
            hint="List the installed models: itemrec models list. Make a bundle of a .tflite or .onnx file: "
            "itemrec models import FILE --name NAME",
        ) from error
    except OSError as error:
        raise BundleError(f"expected to read {file}, received: {error}") from error
    if len(raw) > _MAX_DESCRIPTION_BYTES:
        raise BundleError(
            f"expected a {DESCRIPTION} of at most {_MAX_DESCRIPTION_BYTES} bytes in {root}, received more",
            hint=DAMAGED_HINT,
        )
    try:
        data = json.loads(raw, parse_constant=_refuse_constant)
        if not isinstance(data, dict):
            raise ValueError("the document is not an object")
    except (ValueError, RecursionError) as error:
        raise BundleError(f"expected {file} to be a JSON object, received: {error}", hint=DAMAGED_HINT) from error
    if data.get("schema") not in (SCHEMA, SCHEMA_PROJECTED):
        raise BundleError(
            f"expected a bundle of schema {SCHEMA} or {SCHEMA_PROJECTED} in {root}, received {data.get('schema')!r}",
            hint="It was written by another release of itemrec: update itemrec, or make the bundle again.",
        )
    return data


def _require_fit(root: Path, name: str) -> None:
    if unfit := unfit_in(root, root / name):
        raise BundleError(
            f"expected files inside the bundle {root}, received {name!r}, {unfit}",
            hint="Copy the file itself into the bundle.",
        )


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not a number")


def refuse_unnamed_files(root: Path, named: Collection[str]) -> None:
    """Refuse a bundle with files that its description does not name.

    Raises:
        BundleError: there is one.
    """
    try:
        # Hidden files come and go: a calibration being written, a desktop's notes.
        unnamed = sorted(name for name in set(os.listdir(root)) - {DESCRIPTION, *named} if not name.startswith("."))
    except OSError as error:
        raise BundleError(f"expected to list {root}, received: {error}") from error
    if unnamed:
        raise BundleError(
            f"expected only the files that {DESCRIPTION} names in {root}, received {unnamed[0]!r} too",
            hint="Move it elsewhere.",
        )


def verify_file(root: Path, name: str, size: object, sha256: object) -> None:
    """Check one file of a bundle: inside the directory, of that size and hash.

    Raises:
        BundleError: it is not.
    """
    file = root / name
    if not _FILE_NAME.fullmatch(name):
        raise BundleError(f"expected files inside the bundle {root}, received the name {name!r}", hint=DAMAGED_HINT)
    _require_fit(root, name)
    try:
        received = file.stat().st_size
        if received != size:
            raise BundleError(
                f"expected {size} bytes in {file}, received {received}: the bundle is damaged",
                hint=DAMAGED_HINT,
            )
        digest = file_sha256(file)
    except OSError as error:
        raise BundleError(
            f"expected the file {name!r} in the bundle {root}, received: {error}", hint=DAMAGED_HINT
        ) from error
    if digest != sha256:
        raise BundleError(
            f"expected {file} with SHA-256 {str(sha256)[:12]}…, received {digest[:12]}…: the bundle is damaged",
            hint=DAMAGED_HINT,
        )


def dump(data: Mapping[str, Any]) -> bytes:
    """The bytes of a description; raises TypeError or ValueError for what JSON cannot hold."""
    return (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
