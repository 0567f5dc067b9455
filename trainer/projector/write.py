"""Write the Embedding Projector's files: the pictures in the space of their embeddings, in TensorBoard.

``logdir/projector_config.pbtxt`` names the files of each projection, which lie in a folder of their own
named by what is in them: ``logdir/projector/<name>-<hash>/`` with ``vectors.tsv``, ``metadata.tsv`` and
``sprite.png``. A new projection gets a new folder and then the configuration is replaced by one rename,
so whoever reads it sees the old projection whole or the new one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import read_catalog
from retrieval.distance import squared_l2
from retrieval.errors import CatalogError, UsageError
from retrieval.images.pictures import prepare, thumbnail
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Look, Refused, embed_pictures
from retrieval.system.files import beside, move_directory, replace_file, write_synced
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable
from retrieval.types import CatalogImage, JsonValue
from trainer.loop.logs import missing_tensorboard, writable
from trainer.projector.plugin_files import (
    MAX_POINTS,
    MAX_SPRITE,
    SMALLEST_THUMBNAIL,
    Cell,
    columns_of,
    metadata_tsv,
    sprite_png,
    vectors_tsv,
)

if TYPE_CHECKING:
    from PIL import Image

CONFIG = "projector_config.pbtxt"
THUMBNAIL = 64

_FOLDER = "projector"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class _Content:
    vectors: bytes
    metadata: bytes
    sprite: bytes
    side: int

    def hash(self) -> str:
        parts = (self.vectors, self.metadata, self.sprite)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:12]


def write_projection(
    logdir: Path,
    vectors: NDArray[np.float32],
    labels: Sequence[str],
    files: Sequence[str],
    thumbnails: NDArray[np.uint8],
    *,
    name: str = "embeddings",
    columns: Mapping[str, Sequence[Cell]] | None = None,
    progress: Progress = Silent(),
) -> Path:
    """Write a projection that ``tensorboard --logdir LOGDIR`` shows; one of the same name is replaced.

    Too many pictures for one sprite are first made smaller, down to 24 pixels; then points are left out,
    evenly over the labels. Either is said.

    Args:
        logdir: the run directory, made if missing.
        vectors: embeddings, shape (n, d), n >= 1, d >= 2.
        labels: what is written beside each point, length n; the product.
        files: the picture of each point, length n.
        thumbnails: the pictures, RGB, shape (n, s, s, 3).
        name: what TensorBoard calls it.
        columns: further metadata, one value a point: text to search and color by, or numbers.
        progress: told what was left out or made smaller, as notes.

    Returns:
        The configuration file.

    Raises:
        ItemrecError: TensorBoard is not installed.
        UsageError: the folder cannot be written, or holds a configuration that is none.
        ValueError: the arguments do not belong together.
    """
    config, messages = _config_messages()
    _check(vectors, labels, files, thumbnails, name, columns or {})
    kept, side = _fit(labels, thumbnails.shape[1], progress)
    table: dict[str, Sequence[Cell]] = {"label": labels, "file": files, **(columns or {})}
    content = _Content(
        vectors=vectors_tsv(vectors[kept]),
        metadata=metadata_tsv(table, kept),
        sprite=sprite_png(thumbnails, kept, side),
        side=side,
    )
    with writable(logdir):
        (logdir / _FOLDER).mkdir(parents=True, exist_ok=True)
        merged = _merge(logdir / CONFIG, config, messages)
        folder = f"{name}-{content.hash()}"
        _write_folder(logdir / _FOLDER / folder, content)
        entry = next((e for e in merged.embeddings if e.tensor_name == name), None) or merged.embeddings.add()
        entry.Clear()
        entry.tensor_name = name
        entry.tensor_path = f"{_FOLDER}/{folder}/vectors.tsv"
        entry.metadata_path = f"{_FOLDER}/{folder}/metadata.tsv"
        entry.sprite.image_path = f"{_FOLDER}/{folder}/sprite.png"
        entry.sprite.single_image_dim.extend([side, side])
        replace_file(logdir / CONFIG, messages.MessageToString(merged).encode())
        for old in (logdir / _FOLDER).iterdir():
            if old.name != folder and re.fullmatch(rf"\.?{re.escape(name)}-[0-9a-f]{{12}}(\..*)?", old.name):
                shutil.rmtree(old, ignore_errors=True)
    return logdir / CONFIG


def project_bundle(
    bundle: Bundle,
    folder: Path,
    logdir: Path,
    *,
    name: str = "embeddings",
    most: int = 5_000,
    threads: int | None = None,
    progress: Progress = Silent(),
) -> Path:
    """Embed the pictures of a folder with a bundle and write their projection.

    Beside product and file, each point says which product the nearest other picture shows, how far it is,
    and whether that is right: colored by that, the page shows where the model errs. What a products table
    says can be colored by too.

    Args:
        bundle: the model.
        folder: a split of a dataset, or a catalog, as `retrieval.catalog.read.read_catalog` reads it.
        logdir: the run directory.
        name: what TensorBoard calls it.
        most: how many pictures are embedded and shown; of more, evenly over the products.
        threads: worker threads; default one per core.
        progress: told how far it is, and what was left out, as notes.

    Returns:
        The configuration file.

    Raises:
        CatalogError: the folder holds no catalog, or no readable picture.
        EncoderError: the model failed.
        ItemrecError, UsageError: as `write_projection`.
    """
    progress.stage("Writing the projection")
    catalog = read_catalog(folder)
    entries = list(catalog.entries())
    pictures = [e for e in entries if isinstance(e, CatalogImage)]
    refused = [f"{e.path}: {e.reason}" for e in entries if not isinstance(e, CatalogImage)]
    chosen = [pictures[i] for i in sample([p.product_id for p in pictures], most)]
    if len(chosen) < len(pictures):
        progress.note(f"The projection shows {len(chosen):,} of {len(pictures):,} pictures, evenly over the products.")
    seen: list[tuple[CatalogImage, NDArray[np.float32], NDArray[np.uint8]]] = []
    progress.known(len(chosen))

    def look(picture: CatalogImage) -> Look[NDArray[np.uint8]]:
        data = catalog.read(picture)
        return Look(_squared(thumbnail(data, THUMBNAIL)), prepare(data, bundle.preprocessing))

    for result in embed_pictures(chosen, bundle, look, threads=threads):
        if isinstance(result, Refused):
            refused.append(f"{printable(result.item.image)}: {result.error.message}")
        elif result.vector is not None:
            seen.append((result.item, result.vector, result.facts))
        progress.advance()
    if not seen:
        raise CatalogError(
            f"expected at least one readable picture in {printable(folder)}, received none"
            + (f"; the first of {len(refused)} refused files: {refused[0]}" if refused else ""),
            hint="Pictures lie in one folder for each product: <split>/<product_id>/*.jpg",
        )
    if refused:
        progress.note(f"The projection leaves out {len(refused):,} files, the first of them {refused[0]}")
    labels = [picture.product_id for picture, _, _ in seen]
    vectors = np.stack([vector for _, vector, _ in seen])
    columns: dict[str, Sequence[Cell]] = {
        _free(key): [_plain(catalog.metadata(label).get(key)) for label in labels] for key in catalog.metadata_keys
    }
    columns |= _neighbors(vectors, labels)
    order = sorted(range(len(seen)), key=lambda i: _VERDICTS.index(columns["nearest is"][i]))
    return write_projection(
        logdir,
        vectors[order],
        [labels[i] for i in order],
        [seen[i][0].image for i in order],
        np.stack([seen[i][2] for i in order]),
        name=name,
        columns={key: [values[i] for i in order] for key, values in columns.items()},
        progress=progress,
    )


def sample(labels: Sequence[str], most: int) -> NDArray[np.int64]:
    """Which points to keep of too many: evenly over the labels, evenly within each; deterministic.

    Every label keeps its first point before any keeps its second, and so on.

    Args:
        labels: of the points, length n.
        most: how many may stay.

    Returns:
        Their indices, rising, shape (min(n, most),).
    """
    n = len(labels)
    if n <= most:
        return np.arange(n)
    order = np.random.default_rng(0).permutation(n)
    turn = np.empty(n, dtype=np.int64)
    seen: dict[str, int] = {}
    for i in order:
        turn[i] = seen[labels[i]] = seen.get(labels[i], -1) + 1
    chosen = order[np.argsort(turn[order], kind="stable")[:most]]
    return np.sort(chosen)


def _squared(picture: Image.Image) -> NDArray[np.uint8]:
    """The picture in the middle of a white square; white is the page's background."""
    square = np.full((THUMBNAIL, THUMBNAIL, 3), 255, dtype=np.uint8)
    top, left = (THUMBNAIL - picture.height) // 2, (THUMBNAIL - picture.width) // 2
    square[top : top + picture.height, left : left + picture.width] = np.asarray(picture)
    return square


_OWN_COLUMNS = ("label", "file", "product number", "nearest", "nearest distance", "nearest is")


# In this order they get the page's colors: blue, red, pink.
_VERDICTS: Sequence[Cell] = ("right", "wrong", "only view")


def _neighbors(vectors: NDArray[np.float32], labels: Sequence[str]) -> dict[str, Sequence[Cell]]:
    """Columns about the nearest other picture. The number lets more than 50 products have colors."""
    n = len(labels)
    nearest, distance = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.float32)
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        distances = squared_l2(vectors[rows], vectors)  # (rows, n)
        distances[rows - start, rows] = np.inf
        nearest[rows], distance[rows] = distances.argmin(axis=1), distances.min(axis=1)
    numbers = {product: i for i, product in enumerate(sorted(set(labels)))}
    views = Counter(labels)
    found = [labels[i] for i in nearest.tolist()]
    return {
        "product number": [numbers[label] for label in labels],
        "nearest": found if n > 1 else [""],
        "nearest distance": distance.tolist() if n > 1 else [""],
        "nearest is": [
            "only view" if views[own] == 1 else "right" if own == other else "wrong"
            for own, other in zip(labels, found, strict=True)
        ],
    }


def _plain(value: JsonValue) -> Cell:
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else str(value)


def _free(key: str) -> str:
    """A table's column under a name that is not one of ours."""
    return f"{key} (table)" if key in _OWN_COLUMNS else key


def _check(
    vectors: NDArray[np.float32],
    labels: Sequence[str],
    files: Sequence[str],
    thumbnails: NDArray[np.uint8],
    name: str,
    columns: Mapping[str, Sequence[Cell]],
) -> None:
    if vectors.ndim != 2 or len(vectors) < 1 or vectors.shape[1] < 2 or not np.isfinite(vectors).all():
        raise ValueError(f"expected finite vectors of shape (n, d) with d >= 2, received shape {vectors.shape}")
    n = len(vectors)
    sizes = {"labels": len(labels), "files": len(files), **{k: len(v) for k, v in columns.items()}}
    if wrong := {k: size for k, size in sizes.items() if size != n}:
        raise ValueError(f"expected {n} of each for {n} vectors, received {wrong}")
    shape = thumbnails.shape
    if thumbnails.dtype != np.uint8 or len(shape) != 4 or shape[0] != n or shape[1] != shape[2] or shape[3] != 3:
        raise ValueError(f"expected uint8 thumbnails of shape ({n}, s, s, 3), received {thumbnails.dtype} {shape}")
    if not _NAME.fullmatch(name):  # the page puts it into addresses unescaped
        raise ValueError(f"expected a name of letters, digits, dots, dashes and underscores, received {name!r}")
    if taken := {"label", "file"} & set(columns):
        raise ValueError(f"expected other names for further columns, received {sorted(taken)}")


def _fit(labels: Sequence[str], side: int, progress: Progress) -> tuple[NDArray[np.int64], int]:
    """Which points are shown, and how large their pictures are, so that all fit into one square sprite."""
    n = len(labels)
    most = min(MAX_POINTS, (MAX_SPRITE // min(side, SMALLEST_THUMBNAIL)) ** 2)
    kept = sample(labels, most)
    if len(kept) < n:
        progress.note(f"The projection shows {len(kept):,} of {n:,} pictures, evenly over the products: no more fit.")
    fitting = min(side, MAX_SPRITE // columns_of(len(kept)))
    if fitting < side:
        progress.note(f"The projection's pictures are {fitting} instead of {side} pixels wide: {len(kept):,} must fit.")
    return kept, fitting


def _write_folder(folder: Path, content: _Content) -> None:
    staging = beside(folder, "new")
    staging.mkdir()
    try:
        write_synced(staging / "vectors.tsv", content.vectors)
        write_synced(staging / "metadata.tsv", content.metadata)
        write_synced(staging / "sprite.png", content.sprite)
        move_directory(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _config_messages() -> tuple[Any, Any]:
    """TensorBoard's configuration message and the text format it is written in."""
    try:
        from google.protobuf import text_format
        from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
    except ImportError as error:
        raise missing_tensorboard(error) from error
    return ProjectorConfig(), text_format


def _merge(file: Path, config: Any, text_format: Any) -> Any:
    """The configuration that is there already, so that its other projections stay."""
    if not os.path.lexists(file):
        return config
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UsageError(
            f"expected the configuration of a projector in {printable(file)}, received: {error}",
            hint="Move that file away, or name another folder.",
        ) from error
