"""A bundle: one directory with all that serving a model needs, verified before it is used.

``bundle.json`` (schema ``itemrec.bundle/1``) names the encoder file and the card with their
sizes and SHA-256. The *fingerprint* is the SHA-256 of the canonical JSON (sorted keys, no
blanks) of whatever changes embeddings: the encoder's hash, runtime, preprocessing, dimension,
and which output is read and how it is pooled. Name, card, training record and calibration
are not in it, so a bundle can be renamed or recalibrated without rebuilding an index.

A bundle with a projection (`retrieval.models.projection`) has the schema ``itemrec.bundle/2``, so that a release that
does not know projections says that the bundle is newer instead of serving the network without it. The projection's hash
is in the fingerprint, too.

Nothing in a bundle is executed as code: the description is JSON, the encoder is data for
the runtime.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from retrieval.calibration.points import Calibration, OperatingPoint
from retrieval.errors import BundleError, UsageError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle_json import (
    DAMAGED_HINT,
    DESCRIPTION,
    SCHEMA,
    SCHEMA_PROJECTED,
    dump,
    peek,
    refuse_unnamed_files,
    verify_file,
)
from retrieval.models.runtimes.base import Runtime
from retrieval.system.files import (
    beside,
    copy_synced,
    file_sha256,
    move_directory,
    replace_file,
    unfit_in,
    write_synced,
)
from retrieval.types import ModelIdentity

if TYPE_CHECKING:
    from retrieval.models.projection import Projection

__all__ = [
    "DESCRIPTION",
    "SCHEMA",
    "Bundle",
    "Calibration",
    "OperatingPoint",
    "Pool",
    "Projected",
    "Readout",
    "Runtime",
    "check_place",
    "fingerprint",
    "peek",
    "read_bundle",
    "set_calibration",
    "valid_name",
    "write_bundle",
]

CARD = "CARD.md"
PROJECTION = "projection.f32"

Pool = Literal["none", "cls", "mean", "flatten"]

_ENCODER_NAMES: Mapping[Runtime, str] = {"litert": "encoder.tflite", "onnx": "encoder.onnx"}
_MAX_DIMENSION = 65_536
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Readout:
    """Which output of the network is the embedding, and how it becomes one vector.

    Attributes:
        output: index of the output tensor.
        pool: ``none`` for an output (n, d); ``cls`` takes the first of (n, tokens, d); ``mean``
            averages the tokens (or the pixels of (n, h, w, d)); ``flatten`` keeps every value.
        one_by_one: the network accepts one picture at a time only. Changes no embedding.
    """

    output: int = 0
    pool: Pool = "none"
    one_by_one: bool = False

    def __post_init__(self) -> None:
        if self.output < 0:
            raise ValueError(f"expected the index of an output of at least 0, received {self.output}")
        if self.pool not in get_args(Pool):
            raise ValueError(f"expected pool none, cls, mean or flatten, received {self.pool!r}")


@dataclass(frozen=True, slots=True)
class Projected:
    """The projection that a bundle has behind its network.

    Attributes:
        file: where it is, inside the bundle.
        features: length c of the network's own vectors.
        sha256: hash of the file.
    """

    file: Path
    features: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk.

    Attributes:
        path: its directory, absolute.
        name: what people call it.
        fingerprint: hex SHA-256 of what changes embeddings.
        dimension: length d of its vectors.
        preprocessing: what the network expects of a picture.
        runtime: ``litert`` or ``onnx``.
        encoder_file: the network, inside ``path``.
        calibration: thresholds with their measurements, or None.
        training: how it was trained, as the trainer recorded it.
        created: ISO 8601 in UTC.
        readout: which output is read and how it is pooled.
        source: where the network came from.
        license: its license, as far as known.
        encoder_bytes: size of the encoder file.
        encoder_sha256: hash of the encoder file.
        projected: what was learned on top of the network; None where its own vectors are served.
    """

    path: Path
    name: str
    fingerprint: str
    dimension: int
    preprocessing: Preprocessing
    runtime: Runtime
    encoder_file: Path
    calibration: Calibration | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    readout: Readout = Readout()
    source: str = ""
    license: str = ""
    encoder_bytes: int = 0
    encoder_sha256: str = ""
    projected: Projected | None = None

    @property
    def features(self) -> int:
        """Length of the network's own vectors, before any projection."""
        return self.projected.features if self.projected is not None else self.dimension

    def projection(self) -> Projection | None:
        """The projection, read from its file; None where there is none.

        Raises:
            BundleError: the file holds something else.
        """
        if self.projected is None:
            return None
        from retrieval.models.projection import Projection  # few bundles have one, and every query opens a bundle

        try:
            return Projection.read(self.projected.file, self.projected.features, self.dimension)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"expected a projection in {self.projected.file}, received: {error}", hint=DAMAGED_HINT
            ) from error

    @property
    def identity(self) -> ModelIdentity:
        """What an index remembers of the model."""
        return ModelIdentity(self.fingerprint, self.dimension, self.name, str(self.path))

    def card(self) -> str:
        """The model card, Markdown; empty when the bundle has none."""
        try:
            if unfit := unfit_in(self.path, self.path / CARD):
                raise OSError(unfit)
            return (self.path / CARD).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(
                f"expected a readable model card in {self.path}, received: {error}", hint=DAMAGED_HINT
            ) from error


def valid_name(name: str) -> str:
    """The name itself when it can be a model's name and a directory's.

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"expected a model name of 1 to 64 letters, digits, dots, dashes or underscores, "
            f"beginning and ending with a letter or digit, received {name!r}",
            hint="Choose another --name.",
        )
    return name


def fingerprint(
    *,
    encoder_sha256: str,
    runtime: Runtime,
    preprocessing: Preprocessing,
    dimension: int,
    readout: Readout = Readout(),
    projection_sha256: str = "",
) -> str:
    """Hex SHA-256 over the canonical JSON of everything that changes embeddings."""
    values = preprocessing.to_json()
    # 1 and 1.0 are the same preprocessing and must have the same canonical JSON.
    values |= {key: float(values[key]) for key in ("scale", "crop_fraction")}
    values |= {key: [float(v) for v in values[key]] for key in ("mean", "std")}
    content = {
        "encoder": encoder_sha256,
        "runtime": runtime,
        "preprocessing": values,
        "dimension": dimension,
        "output": readout.output,
        "pool": readout.pool,
    }
    if projection_sha256:
        content["projection"] = projection_sha256
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_bundle(path: Path) -> Bundle:
    """Open and verify a bundle.

    Args:
        path: its directory (or the ``bundle.json`` in it).

    Raises:
        ModelNotFoundError: there is no bundle at that path.
        BundleError: the description is not one, a file is missing, outside the directory or
            not the one that was written, or the fingerprint does not follow from the content.
    """
    root = Path(path)
    if root.name == DESCRIPTION and os.path.isfile(root):
        root = root.parent
    root = root.absolute()
    data = peek(root)
    try:
        listed = dict(data["files"])
        encoder = _text(data, "encoder")
        readout = Readout(**data.get("readout", {}))
        runtime = data["runtime"]
        if runtime not in get_args(Runtime):
            raise ValueError(f"expected runtime litert or onnx, received {runtime!r}")
        dimension = data["dimension"]
        if type(dimension) is not int or not 1 <= dimension <= _MAX_DIMENSION:
            raise ValueError(f"expected a dimension from 1 to {_MAX_DIMENSION}, received {dimension!r}")
        if encoder not in listed:
            raise ValueError(f"expected the encoder {encoder!r} among the files, received {sorted(listed)}")
        raw = data.get("calibration")
        sizes = {name: (entry["bytes"], entry["sha256"]) for name, entry in listed.items()}
        projected = _projected(root, data, sizes, dimension) if data["schema"] == SCHEMA_PROJECTED else None
        bundle = Bundle(
            path=root,
            name=_text(data, "name"),
            fingerprint=_text(data, "fingerprint"),
            dimension=dimension,
            preprocessing=Preprocessing.from_json(data["preprocessing"]),
            runtime=runtime,
            encoder_file=root / encoder,
            calibration=None if raw is None else Calibration.from_json(raw),
            training=dict(data.get("training") or {}),
            created=_text(data, "created"),
            readout=readout,
            source=_text(data, "source", ""),
            license=_text(data, "license", ""),
            encoder_bytes=sizes[encoder][0],
            encoder_sha256=sizes[encoder][1],
            projected=projected,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        detail = f"without the field {error}" if isinstance(error, KeyError) else f"that is wrong: {error}"
        raise BundleError(
            f"expected a complete {DESCRIPTION} in {root}, received one {detail}", hint=DAMAGED_HINT
        ) from error
    if runtime == "onnx":
        # An ONNX file may name weights in files beside it, which no hash here would cover.
        refuse_unnamed_files(root, sizes)
    for name, (size, sha256) in sizes.items():
        verify_file(root, name, size, sha256)
    expected = _fingerprint_of(bundle)
    if bundle.fingerprint != expected:
        raise BundleError(
            f"expected the fingerprint {expected[:12]}… from what {root} holds, "
            f"received {bundle.fingerprint[:12]}… in its {DESCRIPTION}",
            hint=DAMAGED_HINT,
        )
    return bundle


def write_bundle(
    path: Path,
    *,
    name: str,
    encoder: bytes | Path,
    runtime: Runtime,
    preprocessing: Preprocessing,
    dimension: int,
    calibration: Calibration | None = None,
    training: Mapping[str, Any] | None = None,
    card: str = "",
    readout: Readout = Readout(),
    source: str = "",
    license: str = "",  # noqa: A002 (the field's name)
    created: str | None = None,
    replace: bool = False,
    projection: Projection | None = None,
) -> Bundle:
    """Write a bundle: beside its place first, then renamed into it, so that it is never half there.

    Args:
        path: the directory to make.
        name: what people call it; letters, digits, dots, dashes and underscores.
        encoder: the network's bytes, or the file to copy them from.
        runtime: which runtime runs it.
        preprocessing: what it expects of a picture.
        dimension: length d of its vectors, behind the projection if there is one.
        calibration: thresholds, if measured.
        training: how it was trained; JSON values only.
        card: the model card, Markdown.
        readout: which output is read and how it is pooled.
        source: where the network came from.
        license: its license.
        created: ISO 8601 in UTC; now by default. Give it for a reproducible file.
        replace: replace a bundle that is already there (never anything else).
        projection: what was learned on top of the network.

    Raises:
        UsageError: the name is unfit, or something is already at that place.
        BundleError: a field cannot be written, or the disk refused.
    """
    path = Path(path).absolute()
    valid_name(name)
    if not 1 <= dimension <= _MAX_DIMENSION:
        raise BundleError(f"expected a dimension from 1 to {_MAX_DIMENSION}, received {dimension}")
    if projection is not None and projection.matrix.shape[1] != dimension:
        raise BundleError(f"expected a projection to {dimension} values, received {projection.matrix.shape}")
    staging = beside(path, "new")
    try:
        check_place(path, replace=replace)
        path.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        encoder_name = _ENCODER_NAMES[runtime]
        if isinstance(encoder, bytes):
            write_synced(staging / encoder_name, encoder)
        else:
            copy_synced(encoder, staging / encoder_name)
        names = [encoder_name]
        if card:
            write_synced(staging / CARD, card.encode())
            names.append(CARD)
        if projection is not None:
            write_synced(staging / PROJECTION, projection.to_bytes())
            names.append(PROJECTION)
        listed = {
            entry: {"bytes": (staging / entry).stat().st_size, "sha256": file_sha256(staging / entry)}
            for entry in names
        }
        description = {
            "schema": SCHEMA if projection is None else SCHEMA_PROJECTED,
            "name": name,
            "fingerprint": fingerprint(
                encoder_sha256=str(listed[encoder_name]["sha256"]),
                runtime=runtime,
                preprocessing=preprocessing,
                dimension=dimension,
                readout=readout,
                projection_sha256="" if projection is None else str(listed[PROJECTION]["sha256"]),
            ),
            "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
            "runtime": runtime,
            "encoder": encoder_name,
            "readout": {"output": readout.output, "pool": readout.pool, "one_by_one": readout.one_by_one},
            "dimension": dimension,
            "preprocessing": preprocessing.to_json(),
            "calibration": None if calibration is None else calibration.to_json(),
            "training": dict(training or {}),
            "source": source,
            "license": license,
            "files": listed,
        }
        if projection is not None:
            description["projection"] = {"file": PROJECTION, "features": len(projection.mean)}
        write_synced(staging / DESCRIPTION, dump(description))
        read_bundle(staging)
        check_place(path, replace=replace)
        move_directory(staging, path)
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(
            f"expected to write a bundle to {path}, received: {error}",
            hint="Check the free space and the permissions of that place.",
        ) from error
    finally:
        import shutil  # only writers pay for it

        shutil.rmtree(staging, ignore_errors=True)
    return read_bundle(path)


def set_calibration(path: Path, calibration: Calibration) -> Bundle:
    """Replace the calibration of a bundle atomically. Its fingerprint stays.

    Raises:
        ModelNotFoundError, BundleError: as `read_bundle`; or the disk refused.
    """
    bundle = read_bundle(path)
    data = peek(bundle.path)
    data["calibration"] = calibration.to_json()
    target = bundle.path / DESCRIPTION
    try:
        replace_file(target, dump(data))
    except OSError as error:
        raise BundleError(
            f"expected to write the calibration into {target}, received: {error}",
            hint="Check the free space and the permissions; copy a read-only bundle first.",
        ) from error
    return read_bundle(path)


def _fingerprint_of(bundle: Bundle) -> str:
    return fingerprint(
        encoder_sha256=bundle.encoder_sha256,
        runtime=bundle.runtime,
        preprocessing=bundle.preprocessing,
        dimension=bundle.dimension,
        readout=bundle.readout,
        projection_sha256=bundle.projected.sha256 if bundle.projected is not None else "",
    )


def _projected(root: Path, data: Mapping[str, Any], sizes: Mapping[str, tuple[int, str]], dimension: int) -> Projected:
    from retrieval.models.projection import MAX_BYTES, size_of

    described = data["projection"]
    name, features = _text(described, "file"), described["features"]
    if type(features) is not int or not 1 <= features <= _MAX_DIMENSION:
        raise ValueError(f"expected a projection of 1 to {_MAX_DIMENSION} features, received {features!r}")
    if name not in sizes:
        raise ValueError(f"expected the projection {name!r} among the files, received {sorted(sizes)}")
    size, sha256 = sizes[name]
    if size != size_of(features, dimension) or size > MAX_BYTES:
        raise ValueError(f"expected a projection of {features} x {dimension} values, received {size!r} bytes")
    return Projected(root / name, features, sha256)


def _text(data: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = data[key] if default is None else data.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"expected {key} as text, received {value!r}")
    return value


def check_place(path: Path, *, replace: bool) -> None:
    """Refuse a place that holds something else than a bundle, or a bundle without ``replace``.

    Raises:
        UsageError: the place is taken.
    """
    if not path.exists() and not path.is_symlink():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    if not (path / DESCRIPTION).is_file():
        raise UsageError(
            f"expected a new place for a bundle, received {path}, which holds something else",
            hint="Choose another place, or move that away.",
        )
    if not replace:
        raise UsageError(
            f"expected a new place for a bundle, received {path}, which already holds one",
            hint="Choose another name or place, or say --replace.",
        )
