"""What lies in a catalog's folder and is no part of it: litter, recycle bins, what ``.itemrecignore`` names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from retrieval.errors import CatalogError
from retrieval.system.text import name_as_text, printable

IGNORE_FILE = ".itemrecignore"
"""At a catalog's root, in the syntax of ``.gitignore``."""

Ignores = Callable[[str, bool], bool]
"""True for a path (relative to the root, forward slashes; whether it is a folder) that the ignore file names."""

# Lower case. What begins with a dot is ignored whatever it is called: .Trash-1000, .Trashes, .snapshot, .AppleDouble.
_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
_THUMBNAILS = {"@eadir", "@__thumb", "__macosx"}
_WINDOWS = {"$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "config.msi"}
_SYNOLOGY = {"#recycle", "#snapshot", "@tmp", "@sharesnap", "@synoresource", "@synoeastream"}
_QNAP = {"@recycle", "@recently-snapshot", "@recently_snapshot", "@snapshot"}
_UNIX = {"lost+found", "~snapshot", "trash-1000"}
_MACOS = {"network trash folder", "temporary items", "thevolumesettingsfolder", "thefindbycontentfolder"}
_IGNORED = frozenset(_FILES | _THUMBNAILS | _WINDOWS | _SYNOLOGY | _QNAP | _UNIX | _MACOS)


def is_ignored(name: str) -> bool:
    """True for hidden files, what file managers leave behind, and recycle bins and snapshots of any system."""
    return name.startswith(".") or name.lower() in _IGNORED


def is_text(name: str) -> bool:
    """False for a file name that cannot be written as text: half a character, as Windows lets a name have."""
    try:
        name_as_text(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_dir(entry: os.DirEntry[str]) -> bool:
    """True for a folder or a link to one; False where the system cannot tell."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_ignore_file(root: Path) -> Ignores:
    """What a catalog's ignore file leaves out; nothing where there is none.

    Raises:
        CatalogError: it cannot be read, or a pattern is wrong.
    """
    file = root / IGNORE_FILE
    if not file.is_file():
        return _nothing
    # Few catalogs have one, and a query must not pay for the import.
    from pathspec import GitIgnoreSpec

    try:
        spec = GitIgnoreSpec.from_lines(file.read_text("utf-8-sig", errors="surrogateescape").splitlines())
    except OSError as error:
        raise CatalogError(
            f"expected a readable {IGNORE_FILE}, received {error.strerror}: {printable(file)}"
        ) from error
    except ValueError as error:
        raise CatalogError(
            printable(f"expected patterns as .gitignore has them in {file}, received {error}"),
            hint="Correct that line.",
        ) from error
    return lambda path, folder: spec.match_file(f"{path}/" if folder else path)


def _nothing(_path: str, _folder: bool) -> bool:
    return False
