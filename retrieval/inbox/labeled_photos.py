"""Labeled photos as a dataset: what `itemrec train`, `evaluate` and `calibrate` read.

    DATA/test/<product_id>/<photo>.jpg      held out: never taught
    DATA/val/…  DATA/train/…                the others, four fifths of them to learn from
    DATA/products.csv                       id, name and GTIN of new products

A photo of what is not ours stands in test/ and val/ under a made-up product, one for each note, which no gallery has:
it is a photo of an unknown product. Photos with a badge are left out of train/.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from retrieval.errors import ImageError, UsageError
from retrieval.inbox.entries import Entry, Wanted
from retrieval.inbox.inbox import Inbox, is_inbox
from retrieval.indexing.teach import require_new_id
from retrieval.system.files import os_errors, write_synced
from retrieval.system.text import printable

VALIDATION = 5
"""One photo in so many of those that are not held out is for validation."""
STRANGER = "not-ours-"
"""What the made-up ids of unknown products begin with."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A labeled photo and where it belongs in a dataset.

    Attributes:
        entry: the photo.
        split: ``train``, ``val`` or ``test``.
        product_id: what it shows.
    """

    entry: Entry
    split: str
    product_id: str

    @property
    def path(self) -> str:
        """Relative to the dataset, with forward slashes."""
        return f"{self.split}/{self.product_id}/{self.entry.photo}.jpg"

    def to_json(self) -> dict[str, Any]:
        """One line of the export as NDJSON."""
        return {"path": self.path, "split": self.split, "product_id": self.product_id, **self.entry.to_json()}


def labeled(inbox: Inbox, *, tenant: str | None = None) -> list[Exported]:
    """The photos whose labels say what they show, oldest first; those that were skipped say nothing.

    Products whose id cannot name a folder are left out.

    Args:
        inbox: where they are.
        tenant: whose; None for everybody's.
    """
    found = []
    for entry in inbox.entries(Wanted(labeled=True), tenant=tenant):
        label = entry.label
        if label is None or label.kind == "skip":
            continue
        split = split_of(entry)
        product_id = _stranger(entry, label.note) if label.kind == "not-ours" else label.product_id
        try:
            require_new_id(product_id)
        except UsageError:
            continue
        if split == "train" and (entry.badges or label.kind == "not-ours"):
            continue
        found.append(Exported(entry, split, product_id))
    return found


def _stranger(entry: Entry, note: str) -> str:
    """The made-up id of an unknown product: what was said of it by the same words is one, else each stack is."""
    return STRANGER + (hashlib.sha256(note.casefold().encode()).hexdigest() if note else entry.stack)[:8]


def split_of(entry: Entry) -> str:
    """Where a photo belongs: near-equal shots always in one split."""
    if entry.held_out:
        return "test"
    dealt = int(hashlib.sha256(f"val\n{entry.stack}".encode()).hexdigest()[:12], 16) % VALIDATION
    return "val" if dealt == 0 else "train"


def write_dataset(inbox: Inbox, folder: Path, *, tenant: str | None = None) -> int:
    """Write the dataset into an empty folder; made if missing. Returns how many photos there are.

    Raises:
        UsageError: the folder holds something, or no photo has a label that says what it shows.
        DiskFullError, StoreError: it cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError("expected an empty folder to export to, received one that holds something")
    count = 0
    with os_errors("export the inbox", folder):
        for path, data in _files(inbox, tenant):
            file = folder.joinpath(*PurePosixPath(path).parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_synced(file, data)
            count += path.endswith(".jpg")
    return count


def write_zip(inbox: Inbox, out: IO[bytes], *, tenant: str | None = None) -> int:
    """Write the dataset as a zip archive; returns how many photos there are.

    Raises:
        UsageError: no photo has a label that says what it shows.
    """
    count = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # JPEGs do not get smaller
        for path, data in _files(inbox, tenant):
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), data)
            count += path.endswith(".jpg")
    return count


def ndjson(inbox: Inbox, *, tenant: str | None = None) -> Iterator[bytes]:
    """A line of JSON for each labeled photo, without its picture."""
    for one in labeled(inbox, tenant=tenant):
        yield json.dumps(one.to_json(), ensure_ascii=False).encode() + b"\n"


@contextmanager
def as_dataset(folder: Path, split: str) -> Iterator[Path]:
    """The dataset in a folder; of an inbox one that is written for the while.

    Args:
        folder: a dataset or an inbox.
        split: which photos of it will be needed; of an inbox ``test`` are those held out.

    Raises:
        UsageError: it is an inbox without labeled photos of that split.
    """
    if not is_inbox(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="itemrec-") as made, Inbox(folder, make=False) as inbox:
        photos = labeled(inbox)
        if photos and all(one.split != split for one in photos):
            held_out = "held out, to measure on" if split == "test" else f"of the split {printable(split)}"
            raise UsageError(
                f"expected labeled photos that are {held_out}, received {len(photos):,} others",
                hint="One photo in five is held out, by its hash: label some more.",
            )
        write_dataset(inbox, Path(made))
        yield Path(made)


def _files(inbox: Inbox, tenant: str | None) -> Iterator[tuple[str, bytes]]:
    photos = labeled(inbox, tenant=tenant)
    if not photos:
        raise UsageError(
            "expected an inbox with labeled photos, received one without",
            hint="Say what they show: on the page of itemrec serve, or with itemrec inbox label.",
        )
    names: dict[str, tuple[str, str]] = {}
    for one in photos:
        try:
            data = inbox.picture(one.entry.photo)
        except ImageError:
            continue  # the caps removed it meanwhile
        yield one.path, data
        if one.entry.label is not None and one.entry.label.name:
            names[one.product_id] = (one.entry.label.name, one.entry.label.gtin)
    if names:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("product_id", "name", "gtin"))
        writer.writerows((product_id, *said) for product_id, said in sorted(names.items()))
        yield "products.csv", table.getvalue().encode()
