"""Make a bundle of any image encoder in a `.tflite` or `.onnx` file, after trying it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retrieval.calibration.points import Calibration
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import EncoderError, UsageError
from retrieval.models.available import AvailableModel
from retrieval.models.bundle import Bundle, Pool, check_place, valid_name, write_bundle
from retrieval.models.input_presets import Choices
from retrieval.models.inspection import MAX_MODEL_BYTES, Inspection, sniff_runtime
from retrieval.models.installed import home, place_for
from retrieval.models.runtimes.base import Runtime
from retrieval.models.trial import try_model
from retrieval.system.files import file_sha256
from retrieval.system.installation import install_hint, missing
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable


def import_model(
    file: Path,
    *,
    name: str,
    choices: Choices | None = None,
    output: int | str | None = None,
    pool: Pool | None = None,
    threshold: float | None = None,
    to: Path | None = None,
    source: str = "",
    license: str = "",  # noqa: A002 (the bundle's field)
    replace: bool = False,
    original: str = "",
) -> Bundle:
    """Verify an image encoder and install it as a bundle.

    Args:
        file: a ``.tflite`` (or ``.onnx`` with the extra ``onnx``) file.
        name: what to call the model.
        choices: its preprocessing, as far as the file does not say it.
        output: index or name of the output to read; needed only when there are several.
        pool: how an output of tokens or a map becomes one vector; see `retrieval.models.bundle.Readout`.
        threshold: squared L2 in [0, 4] for queries, if one is known.
        to: where to write the bundle; among the installed models by default.
        source: where the file came from.
        license: its license.
        replace: replace a model of that name.
        original: the file's name where it came from, for the record; its own name by default.

    Raises:
        UsageError: the file is not there or no model, or the choices do not fit it.
        EncoderError: the runtime refuses it, or its vectors are unusable.
        BundleError: the bundle cannot be written.
    """
    place = _place(name, to, replace=replace)
    calibration = _given(threshold)
    shown = original or str(file)
    original = original or file.name
    runtime = sniff_runtime(file)
    with _private_copy(file, runtime, shown) as copy:
        found = try_model(copy, runtime, choices=choices, output=output, pool=pool)
        return write_bundle(
            place,
            name=name,
            encoder=copy,
            runtime=runtime,
            preprocessing=found.preprocessing,
            dimension=found.dimension,
            readout=found.readout,
            calibration=calibration,
            training={"imported_from": original, "itemrec": _version()},
            card=_card(name, original, found, threshold, source, license),
            source=source,
            license=license,
            replace=replace,
        )


@contextmanager
def _private_copy(file: Path, runtime: Runtime, shown: str) -> Iterator[Path]:
    """What is tried is what is written, and nothing beside the file can be read with it.

    Args:
        file: the model.
        runtime: decides the copy's ending.
        shown: what errors call the file, instead of the place of its copy.
    """
    with ExitStack() as stack:
        try:
            # A runtime that still maps the file keeps some platforms from removing it: no reason to fail.
            folder = tempfile.TemporaryDirectory(prefix="itemrec-import-", ignore_cleanup_errors=True)
            copy = Path(stack.enter_context(folder)) / ("encoder.tflite" if runtime == "litert" else "encoder.onnx")
            shutil.copyfile(file, copy)
        except OSError as error:
            raise UsageError(
                f"Cannot copy {file} to try it: {error}",
                hint="Check that it can be read, and the free space; TMPDIR names another place for the copy.",
            ) from error
        try:
            yield copy
        except EncoderError as error:
            message = error.message.replace(str(copy), shown)
            message = message.replace(f"{copy.parent}{os.sep}", "").replace(str(copy.parent), ".")
            raise EncoderError(message, hint=error.hint) from error


def pull_model(
    url: str,
    *,
    sha256: str,
    name: str,
    max_bytes: int = MAX_MODEL_BYTES,
    allow_private: bool = False,
    allow_http: bool = False,
    progress: Progress = Silent(),
    choices: Choices | None = None,
    output: int | str | None = None,
    pool: Pool | None = None,
    threshold: float | None = None,
    to: Path | None = None,
    license: str = "",  # noqa: A002 (the bundle's field)
    replace: bool = False,
    file: Path | None = None,
) -> Bundle:
    """Download an image encoder (see `retrieval.download.fetch.fetch`) and import it (see `import_model`).

    The file waits under ``downloads`` in itemrec's home: an interrupted download continues, and after
    an import that failed for want of an option nothing is fetched again. It is removed once imported.
    With ``file`` nothing is fetched: that is the file already, brought by other means; its hash decides as ever.

    Raises:
        DownloadError: as `retrieval.download.fetch.fetch`.
        UsageError, EncoderError, BundleError: as `import_model`.
    """
    from retrieval.download.http import parse_url, shown

    parsed = parse_url(url)
    _place(name, to, replace=replace)
    _given(threshold)
    suffix = Path(parsed.path).suffix.lower()
    if suffix == ".onnx" and find_spec("onnxruntime") is None:
        raise EncoderError(
            missing("ONNX Runtime", "an .onnx model"),
            hint=install_hint("onnx"),
        )
    brought = file
    if file is None:
        file = _fetched(
            url,
            suffix,
            sha256=sha256,
            max_bytes=min(max_bytes, MAX_MODEL_BYTES),
            allow_private=allow_private,
            allow_http=allow_http,
            progress=progress,
        )
    else:
        sniff_runtime(file)
        received = file_sha256(file)
        if received != sha256.strip().lower():
            raise UsageError(
                f"expected {printable(file)} with SHA-256 {sha256.strip().lower()}, received {received}",
                hint=f"Fetch it again from {shown(parsed)}",
            )
    bundle = import_model(
        file,
        name=name,
        choices=choices,
        output=output,
        pool=pool,
        threshold=threshold,
        to=to,
        source=f"{shown(parsed)} (SHA-256 {sha256.strip().lower()})",
        license=license,
        replace=replace,
        original=Path(parsed.path).name,
    )
    if brought is None:
        file.unlink(missing_ok=True)
    return bundle


def pull_available(
    model: AvailableModel,
    *,
    name: str | None = None,
    choices: Choices | None = None,
    output: int | str | None = None,
    pool: Pool | None = None,
    license: str = "",  # noqa: A002 (the bundle's field)
    **rest: Any,
) -> Bundle:
    """Download and import a model of the table, as `pull_model`; what is None is as the table has it.

    Args:
        model: which.
        name: what to call it here.
        choices: its preprocessing, where it should be another than its authors'.
        output: likewise.
        pool: likewise.
        license: likewise.
        rest: as `pull_model`: threshold, to, replace, file, allow_private, allow_http, progress.

    Raises:
        DownloadError, UsageError, EncoderError, BundleError: as `pull_model`.
    """
    return pull_model(
        model.url,
        sha256=model.sha256,
        name=name or model.name,
        max_bytes=model.bytes,
        choices=(choices or Choices()).over(model.choices),
        output=model.output if output is None else output,
        pool=pool or model.pool,
        license=license or model.license,
        **rest,
    )


def _fetched(url: str, suffix: str, *, sha256: str, **how: Any) -> Path:
    """Download a file to where it waits for its import."""
    from retrieval.download.fetch import fetch

    folder = home() / "downloads"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"Cannot make the directory for downloads, {folder}: {error.strerror}",
            hint="Set ITEMREC_HOME to a directory that you can write.",
        ) from error
    # A .tflite tells itself by its content; whatever else it may be, the suffix must say.
    file = folder / f"{sha256.strip().lower()[:64]}{'.tflite' if suffix == '.tflite' else '.onnx'}"
    if not file.stem.isalnum():
        file = folder / "download"  # the hash is no hash, and `fetch` says so
    fetch(url, file, sha256=sha256, **how)
    return file


def _place(name: str, to: Path | None, *, replace: bool) -> Path:
    valid_name(name)
    place = place_for(name) if to is None else Path(to)
    check_place(place, replace=replace)
    return place


def _given(threshold: float | None) -> Calibration | None:
    if threshold is None:
        return None
    if not 0.0 <= threshold <= MAX_DISTANCE:
        raise UsageError(f"expected a threshold (squared L2) in [0, 4], received {threshold}")
    return Calibration.given(threshold)


def _card(name: str, file: str, found: Inspection, threshold: float | None, source: str, license_name: str) -> str:
    p = found.preprocessing
    pooling = "" if found.readout.pool == "none" else f", pooled: {found.readout.pool}"
    calibration = (
        "none; calibrate it on photos of yours"
        if threshold is None
        else f"{threshold} (squared L2), given by hand and not measured"
    )
    return f"""# {name}

An image encoder imported from `{file}`; itemrec did not train it.

- Source: {source or "not stated"}
- License: {license_name or "not stated"}
- Runtime: {found.runtime}; input `{found.input}`; output `{found.output}`{pooling}
- Vectors: {found.dimension} values, unit length
- Pictures: {p.width} x {p.height} pixels, fit {p.fit} (crop fraction {p.crop_fraction:g}), {p.resample}
- Values: (0..255 x {p.scale:.8g} - mean {list(p.mean)}) / std {list(p.std)}, {p.layout}
- Threshold: {calibration}
- Tried at import: finite unit vectors, the same in two runs, different for different pictures
"""


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("itemrec")
    except PackageNotFoundError:
        return ""
