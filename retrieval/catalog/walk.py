"""Walk a catalog's files: every one comes out as a picture or as a `Refusal`, or is counted as ignored."""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval.catalog.columns import ADDRESS
from retrieval.catalog.fetched import is_address, place
from retrieval.catalog.flat import Names
from retrieval.catalog.ignored import Ignores, is_dir, is_ignored, is_text
from retrieval.catalog.tables import MAX_PRODUCT_ID
from retrieval.errors import ImageError
from retrieval.images.pictures import SUFFIXES
from retrieval.system.text import name_as_text, one_form, printable, text_as_name
from retrieval.types import CatalogImage

_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something in the catalog that is not indexed, and why.

    Attributes:
        path: relative to the root, escaped for printing.
        reason: one line.
        code: short and stable, such as ``not-a-picture`` or one of `retrieval.images.pictures`' reasons.
    """

    path: str
    reason: str
    code: str

    @classmethod
    def of(cls, picture: CatalogImage, error: ImageError) -> Refusal:
        """A picture that could not be opened."""
        return cls(printable(picture.image), error.message, error.reason)


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture that a table names: its path with forward slashes, relative to the table's folder,
    or its address."""

    product_id: str
    image: str
    line: int


class Walk:
    """One walk over a catalog's files, in order of names, holding one directory's names at a time.

    Attributes:
        ignored: files met so far that are no part of a catalog.
    """

    def __init__(self, root: Path, tables: frozenset[str], ignores: Ignores) -> None:
        self.root = root
        self.tables = tables
        self.ignored = 0
        self._ignores = ignores
        self._real_root = os.path.realpath(root)

    def folders(self, level: int, relative: str = "") -> Iterator[CatalogImage | Refusal]:
        """The folder layout: one product a folder of that level, or one above it that has no folders in it."""
        for entry in self._scan(relative):
            if isinstance(entry, Refusal):
                yield entry
                continue
            path = f"{relative}/{entry.name}" if relative else entry.name
            if is_dir(entry):
                if level > 1 and entry.is_symlink():
                    where = "a picture in a product folder"
                    yield self._refuse(path, "outside-product", "a link above the products' level", expected=where)
                elif level > 1 and self.has_folders(path):
                    yield from self.folders(level - 1, path)
                else:
                    yield from self._product(entry, path)
            elif not relative and entry.name in self.tables:
                continue
            elif _suffix(entry.name) in SUFFIXES:
                where = "a picture in a product folder"
                yield self._refuse(path, "outside-product", "one outside", expected=where)
            else:
                yield self._no_picture(path)

    def product_folders(self, level: int, relative: str = "") -> Iterator[str]:
        """The folders that `folders` takes for products, in its order. What cannot be read is left out."""
        for entry in self._scan(relative):
            if isinstance(entry, Refusal) or not is_dir(entry):
                continue
            path = f"{relative}/{entry.name}" if relative else entry.name
            if level == 1:
                yield path
            elif not entry.is_symlink():
                yield from self.product_folders(level - 1, path) if self.has_folders(path) else (path,)

    def has_folders(self, relative: str) -> bool:
        """True for a folder with folders in it that are part of a catalog."""
        return any(not isinstance(entry, Refusal) and is_dir(entry) for entry in self._scan(relative, count=False))

    def flat(self, home: str | None, names: Names) -> Iterator[CatalogImage | Refusal]:
        """The flat layout: the pictures of one folder, or of all where it is None; their names tell their products."""
        if home is None:
            for found in self._tree(""):
                yield found if isinstance(found, Refusal) else self._by_name(found, names)
            return
        for entry in self._scan(home):
            if isinstance(entry, Refusal):
                yield entry
                continue
            path = f"{home}/{entry.name}" if home else entry.name
            if is_dir(entry):
                for found in self._tree(path):
                    where = "a picture beside the others"
                    yield (
                        found
                        if isinstance(found, Refusal)
                        else self._refuse(found, "outside-product", "one in a folder", expected=where)
                    )
            elif not home and entry.name in self.tables:
                continue
            elif _suffix(entry.name) not in SUFFIXES:
                yield self._no_picture(path)
            else:
                yield self._by_name(path, names)
        if home:
            for entry in self._scan(""):
                if isinstance(entry, Refusal):
                    yield entry
                elif entry.name != home and entry.name not in self.tables:
                    yield self._no_picture(entry.name)

    def _by_name(self, path: str, names: Names) -> CatalogImage | Refusal:
        stem = one_form(name_as_text(os.path.splitext(posixpath.basename(path))[0]))
        if why := names.refused.get(stem):
            where = "a picture of one product"
            return self._refuse(path, "doubtful", f"one of which {why}", expected=where)
        product_id = names.product(stem)
        if not 1 <= len(product_id) <= MAX_PRODUCT_ID:
            return self._refuse(path, "bad-name", f"a product id of {len(product_id)} characters")
        return self._picture(product_id, path)

    def _product(self, entry: os.DirEntry[str], path: str) -> Iterator[CatalogImage | Refusal]:
        product_id = one_form(name_as_text(entry.name))
        if not 1 <= len(product_id) <= MAX_PRODUCT_ID:
            yield self._refuse(path, "bad-name", f"a product id of {len(product_id)} characters")
            return
        home = os.path.realpath(entry.path) if entry.is_symlink() else f"{self._real_root}/{path}"
        yield from self._folder(entry, product_id, path, path, home, set())

    def listed(
        self, listed: Sequence[Listed], *, unlisted: bool, unreachable: Mapping[str, str]
    ) -> Iterator[CatalogImage | Refusal]:
        """Pictures in a table's order, then those in the folder that it does not name.

        Args:
            listed: what the table names.
            unlisted: whether to look for others.
            unreachable: why a picture could not be fetched, by address.
        """
        seen: set[str] = set()
        for row in listed:
            entry = self._fetched(row, unreachable) if is_address(row.image) else self._row(row)
            if isinstance(entry, CatalogImage):
                seen.add(entry.image)
            yield entry
        if unlisted:
            for found in self._tree(""):
                if isinstance(found, Refusal):
                    yield found
                elif name_as_text(found) not in seen:
                    yield self._refuse(found, "not-in-table", "another", expected="a picture that the table names")

    def _fetched(self, row: Listed, unreachable: Mapping[str, str]) -> CatalogImage | Refusal:
        if (why := unreachable.get(row.image)) is not None:
            return self._refuse(row.image, "unreachable", f"none from its address: {printable(why)}")
        file, home = place(row.image)
        return CatalogImage(row.product_id, row.image, file, home=home)

    def _row(self, row: Listed) -> CatalogImage | Refusal:
        if ADDRESS.match(row.image):
            return self._refuse(row.image, "not-fetchable", "an address that is neither http nor https")
        if os.path.isabs(row.image) or row.image.split("/", 1)[0] == "..":
            return self._refuse(row.image, "outside-catalog", "a path that leaves the catalog")
        spellings = [row.image, *(unicodedata.normalize(form, row.image) for form in ("NFC", "NFD"))]
        spellings.append(text_as_name(row.image))
        slashed = posixpath.normpath(row.image.replace("\\", "/"))
        if not slashed.startswith(("/", "../")):
            spellings.append(slashed)  # as Windows writes it
        image = next((s for s in spellings if os.path.lexists(self.root / s)), row.image)
        return self._picture(row.product_id, image)

    def _tree(self, relative: str) -> Iterator[str | Refusal]:
        """Every picture below a folder, links to folders aside."""
        if relative.count("/") >= _MAX_DEPTH:
            yield self._too_deep(relative)
            return
        for entry in self._scan(relative):
            if isinstance(entry, Refusal):
                yield entry
                continue
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._tree(path)
            elif not relative and entry.name in self.tables:
                continue
            elif _suffix(entry.name) in SUFFIXES:
                yield path
            else:
                yield self._no_picture(path)

    def _folder(
        self,
        entry: os.DirEntry[str],
        product_id: str,
        folder: str,
        relative: str,
        home: str,
        visited: set[tuple[int, int]],
    ) -> Iterator[CatalogImage | Refusal]:
        if relative.count("/") >= _MAX_DEPTH:
            yield self._too_deep(relative)
            return
        try:
            status = os.stat(entry.path)
        except OSError as error:
            yield self._refuse(relative, "unreadable", f"a folder that cannot be read ({error.strerror})")
            return
        if entry.is_symlink() and (
            refusal := self._link(
                entry, relative, home if relative != folder else None, (status.st_dev, status.st_ino) in visited
            )
        ):
            yield refusal
            return
        visited.add((status.st_dev, status.st_ino))
        for child in self._scan(relative):
            if isinstance(child, Refusal):
                yield child
                continue
            path = f"{relative}/{child.name}"
            if is_dir(child):
                yield from self._folder(child, product_id, folder, path, home, visited)
            elif _suffix(child.name) not in SUFFIXES:
                yield self._no_picture(path)
            elif child.is_file(follow_symlinks=False):
                yield self._image(product_id, path, folder)
            else:
                yield self._picture(product_id, path, folder)

    def _link(self, entry: os.DirEntry[str], relative: str, home: str | None, visited: bool) -> Refusal | None:
        """Why a linked folder is not entered: it leaves the catalog, or its pictures are walked anyway."""
        real = os.path.realpath(entry.path)
        if not self._inside(real):
            return self._refuse(relative, "outside-catalog", "a link that leaves the catalog")
        around = home is not None and (_contains(real, home) or _contains(home, real))
        if around or visited or real == self._real_root:
            return self._refuse(relative, "link-loop", "a link to a folder that is part of this product already")
        return None

    def _picture(self, product_id: str, image: str, folder: str = "") -> CatalogImage | Refusal:
        file = self.root / image
        if _suffix(image) not in SUFFIXES:
            return self._no_picture(image)
        try:
            if not self._inside(os.path.realpath(file)):
                return self._refuse(image, "outside-catalog", "a link that leaves the catalog")
            mode = file.stat().st_mode
        except (OSError, ValueError) as error:
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                slashes = "; paths are written with forward slashes" if "\\" in image else ""
                return self._refuse(image, "missing", f"no file of that name{slashes}")
            why = getattr(error, "strerror", None) or error
            return self._refuse(image, "unreadable", f"a file that cannot be read ({why})")
        if not stat.S_ISREG(mode):
            return self._refuse(image, "not-a-file", "something that is not a regular file")
        return self._image(product_id, image, folder)

    def _image(self, product_id: str, path: str, folder: str) -> CatalogImage:
        return CatalogImage(product_id, name_as_text(path), self.root / path, name_as_text(folder))

    def _inside(self, real: str) -> bool:
        return _contains(self._real_root, real)

    def _scan(self, relative: str, *, count: bool = True) -> Iterator[os.DirEntry[str] | Refusal]:
        """One directory in order of names, without what `is_ignored`; names that are no text are refused."""
        try:
            with os.scandir(self.root / relative) as found:
                entries = sorted(found, key=lambda e: e.name, reverse=True)
        except OSError as error:
            yield self._refuse(relative, "unreadable", f"a folder that cannot be read ({error.strerror})")
            return
        while entries:
            # Entries keep what the system said of them: a folder of 100,000 products need not be held whole.
            entry = entries.pop()
            path = f"{relative}/{entry.name}" if relative else entry.name
            if is_ignored(entry.name) or self._ignores(path, is_dir(entry)):
                self.ignored += count
            elif not is_text(entry.name):
                yield self._refuse(path, "bad-name", "a name that is no text")
            else:
                yield entry

    def _no_picture(self, path: str) -> Refusal:
        ending = _suffix(path)
        return self._refuse(
            path, "not-a-picture", f"a {printable(ending)} file" if ending else "a file without an ending"
        )

    def _too_deep(self, path: str) -> Refusal:
        return self._refuse(path, "too-deep", f"a folder more than {_MAX_DEPTH} folders deep")

    def _refuse(self, relative: str, code: str, received: str, *, expected: str = "a picture") -> Refusal:
        return Refusal(printable(name_as_text(relative)), f"expected {expected}, received {received}", code)


def _contains(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
