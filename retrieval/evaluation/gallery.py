"""What an evaluation compares photos with: an index, a split, or a folder of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrieval.catalog.read import read_catalog
from retrieval.errors import UsageError
from retrieval.evaluation.gather import gather_folder, gather_index, split_folder
from retrieval.evaluation.photos import Photos
from retrieval.index.protocols import Index
from retrieval.models.bundle import Bundle
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """What probes are compared with.

    Attributes:
        source: ``index``, ``train``, ``catalog`` or ``folder``.
        location: the index or folder.
        photos: its pictures.
    """

    source: str
    location: str
    photos: Photos


def gather_gallery(
    which: str | Path | None,
    dataset: Path,
    index: Index | None,
    bundle: Bundle,
    *,
    indexed: bool,
    progress: Progress = Silent(),
) -> Gallery:
    """Find the gallery and bring its pictures together.

    Args:
        which: ``index``, ``train``, ``catalog`` or a folder; None takes the index if there is one, else train.
        dataset: the folder that holds ``train`` and ``catalog``.
        index: the index, where one was named.
        bundle: the model.
        indexed: whether anything was committed to the index.
        progress: told how far it is.

    Raises:
        UsageError: there is no such gallery.
    """
    if which == "index" or (which is None and indexed):
        if index is None:
            raise UsageError("expected an index for the gallery 'index', received none", hint="Name it with --index")
        return Gallery("index", index.location, gather_index(index, bundle, progress=progress))
    if which in (None, "train"):
        source, folder = "train", split_folder(dataset, "train")
    elif which == "catalog" and (dataset / "catalog").is_dir():
        source, folder = "catalog", dataset / "catalog"
    else:
        source, folder = "folder", Path(which or "")
        if not folder.exists():
            raise UsageError(
                f"expected index, train, catalog or a folder as gallery, received {printable(str(which))!r}, "
                f"which is neither there nor in {printable(str(dataset))}",
                hint="Name a folder of product folders: --gallery ./catalog",
            )
    photos = gather_folder(folder, bundle, progress=progress, stage="Embedding the gallery", as_gallery=True)
    return Gallery(source, str(folder), photos)


def require_column(column: str, gallery: Photos, folder: Path) -> None:
    """Refuse to group products by a column that neither the gallery nor the photos' folder has.

    Raises:
        UsageError: it has none of that name; names those that are there.
    """
    there = dict.fromkeys(key for values in gallery.metadata.values() for key in values)
    there |= dict.fromkeys(read_catalog(folder).metadata_keys)
    if column not in there:
        columns = ", ".join(printable(key) for key in there) or "none"
        raise UsageError(
            f"expected --category to be a column of the products' table, received {printable(column)!r}; the columns "
            f"are: {columns}",
            hint="Name one of them, or leave --category out."
            if there
            else "Columns come from products.csv beside the product folders; without one leave --category out.",
        )


def products_in_training(bundle: Bundle) -> list[str]:
    """A caveat about leave-one-out unknowns, where the model may have been trained on their products."""
    products = bundle.training.get("products")
    if not products:
        return []
    return [
        "Unknown products here are leave-one-out unknowns: products of the gallery, tried with their own pictures left "
        f"out of it. {bundle.name} was trained on {products:,} products; those among them are rejected more often than "
        "products that no training saw."
    ]


def without_shared(others: Photos, photos: Photos, name: str, split: str) -> tuple[Photos, list[str]]:
    """The photos to calibrate on without those that are measured too, and a warning where there were any.

    Raises:
        UsageError: all of them are measured too.
    """
    measured = set(photos.content_hashes)
    kept = [i for i, content in enumerate(others.content_hashes) if content not in measured]
    if not kept:
        raise UsageError(
            f"expected other photos in {name} than in {split}, received the same ones",
            hint="Make disjoint splits: itemrec prepare",
        )
    if len(kept) == len(others):
        return others, []
    shared = len(others) - len(kept)
    return others.only(kept), [f"{shared} photos of {name} are also in {split}; thresholds were chosen without them."]
