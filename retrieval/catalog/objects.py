"""Catalogs in an object store (``s3://bucket/folder``, ``gs://bucket/folder``): a copy here that is brought up to date.

Every later step then has files: the layout is found, tables are read and reports show pictures as ever. What did not
change in the store is not fetched again. Objects that are no pictures and no tables are not fetched at all; an empty
file stands for each, so that it is refused by its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.catalog.fetched import AT_ONCE, ATTEMPTS, MAX_BYTES, cache_folder
from retrieval.catalog.ignored import IGNORE_FILE
from retrieval.catalog.tables import SUFFIXES as TABLES
from retrieval.errors import CatalogError, DownloadError
from retrieval.images.pictures import SUFFIXES
from retrieval.system.files import replace_file, replacing
from retrieval.system.installation import install_hint, missing
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import plural, printable
from retrieval.system.threads import ordered_map

_STORES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gs")}
"""Which package reads what, and the extra that brings it."""
_ADDRESS = re.compile(r"(s3|gs):/+(?=[^/])(.*)", re.DOTALL)
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A copy of a catalog in a store.

    Attributes:
        folder: where it lies.
        note: what was done, a line.
    """

    folder: Path
    note: str


@dataclass(frozen=True, slots=True)
class _Object:
    """An object: its whole key, its size, and what changes when its content does."""

    key: str
    size: int
    version: str


def store_address(path: str | Path) -> str | None:
    """The address of a catalog in a store; None for a path. A `Path` made of one has lost a slash, which comes back."""
    match = _ADDRESS.fullmatch(os.fspath(path))
    return f"{match[1]}://{match[2].rstrip('/')}" if match else None


def shown_source(path: str | Path) -> str:
    """A catalog's path or address, for a message."""
    return printable(store_address(path) or path)


def local_copy(path: str | Path, *, progress: Progress = Silent()) -> tuple[str | Path, tuple[str, ...]]:
    """Where a catalog lies here, and a line of what was fetched; a path is where it is.

    Args:
        path: a path, or an address in a store; also that of a table, whose folder is copied.
        progress: told how far it is.

    Raises:
        CatalogError, DownloadError: as `mirror`.
    """
    address = store_address(path)
    if address is None:
        return path, ()
    table = address.rpartition("/")[2] if address.lower().endswith(TABLES) else ""
    made = mirror(address.removesuffix(f"/{table}") if table else address, progress=progress)
    return made.folder / table, (made.note,)


def mirror(address: str, *, progress: Progress = Silent(), filesystem: Any = None) -> Mirrored:
    """Bring the copy of a catalog up to date.

    Args:
        address: as `store_address` gives it.
        progress: told how far it is.
        filesystem: an fsspec file system; by default the store's own, with the credentials of the environment.

    Raises:
        CatalogError: there is nothing at that address, or the package that reads it is not installed.
        DownloadError: the store does not answer, or refuses.
    """
    protocol, _, rest = address.partition("://")
    store = _open(protocol) if filesystem is None else filesystem
    folder = cache_folder() / "objects" / hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    tree, record = folder / "tree", folder / "objects.json"
    progress.stage("Listing objects")
    found, skipped = _listed(store, rest, address)
    if not found:
        raise CatalogError(
            f"expected a catalog at {printable(address)}, received nothing", hint="Check the bucket and the folder."
        )
    tree.mkdir(parents=True, exist_ok=True)
    known = _known(record)
    wanted = [name for name, one in found.items() if not _is_here(tree / name, name, one, known)]
    _remove_others(tree, found)
    progress.stage("Fetching objects", len(wanted))
    done = dict(known)

    def work(name: str) -> str:
        return _fetch(store, found[name], tree / name, name, address)

    try:
        for name, version in zip(wanted, ordered_map(work, wanted, AT_ONCE, ahead=2), strict=True):
            done[name] = version
            progress.advance()
    finally:
        # What a run that is interrupted has fetched, the next need not.
        replace_file(record, json.dumps({name: version for name, version in done.items() if name in found}))
    note = f"{address}: {plural(len(found), 'object')}, {len(wanted):,} fetched, {len(found) - len(wanted):,} unchanged"
    return Mirrored(tree, note + (f"; {skipped:,} left out, whose names no file can have" if skipped else ""))


def _open(protocol: str) -> Any:
    package, extra = _STORES[protocol]
    try:
        import fsspec

        # An instance of its own: those that fsspec keeps remember listings.
        return fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        raise CatalogError(missing(package, f"a catalog at {protocol}://", error), hint=install_hint(extra)) from error


def _listed(store: Any, prefix: str, address: str) -> tuple[dict[str, _Object], int]:
    """The objects below a prefix by their path in it, and how many have names that no file can have."""
    try:
        listing: Mapping[str, Mapping[str, Any]] = store.find(prefix, detail=True)
    except FileNotFoundError:
        listing = {}
    except Exception as error:
        raise _refused(address, error) from error
    found: dict[str, _Object] = {}
    skipped = 0
    root = prefix.strip("/") + "/"
    for key, facts in sorted(listing.items()):
        name = key.lstrip("/").removeprefix(root)
        if key.endswith("/") or facts.get("type") == "directory":
            continue  # what consoles write for an empty folder
        if not _can_be_a_file(name) or any(parent in found for parent in _parents(name)):
            skipped += 1
            continue
        found[name] = _Object(key, int(facts.get("size") or 0), _version(facts))
    return found, skipped


def _version(facts: Mapping[str, Any]) -> str:
    names = ("ETag", "etag", "md5Hash", "generation", "LastModified", "updated", "mtime", "created", "ino")
    said = [str(facts[name]) for name in names if facts.get(name) is not None]
    return "|".join([str(facts.get("size")), *said])


def _can_be_a_file(name: str) -> bool:
    parts = name.split("/")
    return not any(part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > 255 for part in parts)


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _is_read(name: str, one: _Object) -> bool:
    """Whether the object's content is looked at; of what is too large the size says all."""
    ending = os.path.splitext(name)[1].lower()
    table = "/" not in name and (ending in TABLES or name == IGNORE_FILE)
    return table or (ending in SUFFIXES and one.size <= MAX_BYTES)


def _is_here(file: Path, name: str, one: _Object, known: Mapping[str, str]) -> bool:
    try:
        size = file.stat().st_size
    except OSError:
        return False
    return known.get(name) == one.version and (size == one.size or not _is_read(name, one))


def _fetch(store: Any, one: _Object, file: Path, name: str, address: str) -> str:
    """Put one object in its place; returns its version."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not _is_read(name, one):
        with replacing(file, durable=False) as new, new.open("wb") as stream:
            stream.truncate(one.size if one.size > MAX_BYTES else 0)
        return one.version
    for attempt in range(ATTEMPTS):
        try:
            content = store.cat_file(one.key)
            break
        except Exception as error:
            if attempt + 1 == ATTEMPTS or isinstance(error, (FileNotFoundError, PermissionError)):
                raise _refused(f"{address}/{name}", error) from error
            time.sleep(_PAUSE * 2**attempt)
    with replacing(file, durable=False) as new:
        new.write_bytes(content)
    return one.version


def _remove_others(tree: Path, found: Mapping[str, _Object]) -> None:
    """Take away what left the store, so that a folder may take the place of a file."""
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in files:
            path = Path(folder, name)
            if path.relative_to(tree).as_posix() not in found:
                path.unlink()
        for name in folders:
            with suppress(OSError):
                Path(folder, name).rmdir()


def _known(record: Path) -> dict[str, str]:
    try:
        said = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return (
        {name: version for name, version in said.items() if isinstance(version, str)} if isinstance(said, dict) else {}
    )


def _refused(address: str, error: Exception) -> DownloadError:
    said = str(error).strip() or type(error).__name__
    return DownloadError(
        printable(f"Cannot read {address}: {said.splitlines()[0]}"),
        hint="Check the address, and the credentials and the endpoint that the environment names. Nothing was changed.",
    )
