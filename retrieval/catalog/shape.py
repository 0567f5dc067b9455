"""Which level of a catalog's folders holds its products: found where it is clear, asked where it is not.

``catalog/<product>/*.jpg`` is the first level, ``catalog/Fruit/Pear/*.jpg`` the second. A folder above that level that
has no folders in it is a product, too: ``Fruit/Avocado`` beside ``Fruit/Apple/Gala``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval.catalog.flat import VIEWS, names_rows
from retrieval.catalog.ignored import Ignores, is_dir, is_ignored, is_text
from retrieval.errors import CatalogError
from retrieval.images.pictures import SUFFIXES
from retrieval.system.text import name_as_text, one_form, plural, printable
from retrieval.types import SPLITS

MAX_LEVEL = 16
_GLANCE = 256
"""So many folders at the top are looked into first: a catalog of 100,000 must not be listed twice."""
_MOSTLY = 0.8
_WRAPPERS = frozenset(
    {
        "images",
        "image",
        "img",
        "imgs",
        "pictures",
        "pics",
        "photos",
        "fotos",
        "bilder",
        "product images",
        "product_images",
    }
)
"""What a folder is called that holds the pictures of all products."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


@dataclass(frozen=True, slots=True)
class Shape:
    """The level of folders that holds the products, from 1, and a line that says so where it is not plain."""

    level: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Home:
    """A folder with pictures that lies in no other such folder; whether folders in it hold pictures, too."""

    parts: tuple[str, ...]
    nested: bool

    def at(self, level: int) -> str:
        return one_form(name_as_text(self.parts[min(level, len(self.parts)) - 1]))

    def path(self, level: int) -> tuple[str, ...]:
        return self.parts[:level]


def find_level(root: Path, ignores: Ignores, rows: Collection[str] = ()) -> Shape:
    """Look at a folder catalog's tree.

    Args:
        root: its folder.
        ignores: what is no part of it.
        rows: product ids that a table names: the level that they name is the one.

    Raises:
        CatalogError: products could lie in more than one level, and nothing tells which is meant.
    """
    tops = [entry.name for entry in _folders(root, "", ignores)]
    step = max(1, len(tops) // _GLANCE)
    if all(_has_pictures(root, name, ignores) for name in tops[::step]):
        return Shape(1)
    homes = [home for name in tops for home in _homes(root, (name,), ignores)]
    deepest = max((len(home.parts) for home in homes), default=1)
    if deepest == 1:
        return Shape(1)
    if rows and (named := _named(homes, deepest, rows)):
        return Shape(named, _note(homes, named, deepest, because="as the table names them"))
    _require_undivided(root, homes, deepest)
    shallow = {home.parts[0] for home in homes if len(home.parts) == 1}
    others = {home.parts[0] for home in homes} - shallow
    if shallow and len(shallow) > len(others):
        return Shape(1, _note(homes, 1, deepest))
    if shallow or any(home.nested for home in homes if len(home.parts) < deepest):
        raise _question(root, homes, deepest, "pictures in several levels of folders")
    return _by_names(root, homes, deepest)


def flat_home(root: Path, ignores: Ignores, rows: Collection[str] = ()) -> str | None:
    """Where the pictures of a flat catalog lie: ``""`` for its root, a folder in it, or None for a catalog of folders.

    Pictures beside product folders are no flat catalog. A single folder is one where a table names its files, or where
    it is called ``images``.
    """
    folders = [entry.name for entry in _folders(root, "", ignores)]
    if pictures := stems(root, "", ignores):
        # Product folders may wait for their first picture; a picture or two beside many of them are strays.
        return None if len(folders) >= len(pictures) or has_pictures_below(root, ignores) else ""
    home = only_folder(root, ignores)
    if home is None or one_form(name_as_text(home)) in rows:
        return None
    if home.casefold() in _WRAPPERS:
        return home
    known = stems(root, home, ignores)
    return home if rows and names_rows(known, rows) * 2 >= len(known) else None


def files_name_rows(root: Path, ignores: Ignores, rows: Collection[str]) -> list[str] | None:
    """The names of all pictures, without endings, where a table's ids name them and no folder; else None.

    ``Fruit/4711.jpg`` and ``Milk/4712.jpg`` are in folders of categories, not of products.
    """
    tops = [entry.name for entry in _folders(root, "", ignores)]
    if not rows or any(one_form(name_as_text(name)) in rows for name in tops):
        return None
    homes = [home for name in tops for home in _homes(root, (name,), ignores)]
    if any(one_form(name_as_text(part)) in rows for home in homes for part in home.parts):
        return None
    found = [stem for home in homes for stem in stems(root, "/".join(home.parts), ignores)]
    return found if found and names_rows(found, rows) * 2 >= len(found) else None


def only_folder(root: Path, ignores: Ignores) -> str | None:
    """The one folder of a catalog, where it holds pictures and no folders with any."""
    folders = [entry.name for entry in _folders(root, "", ignores)]
    if len(folders) != 1 or not _has_pictures(root, folders[0], ignores):
        return None
    below = (entry.name for entry in _folders(root, folders[0], ignores))
    return None if any(True for name in below for _ in _homes(root, (folders[0], name), ignores)) else folders[0]


def has_pictures_below(root: Path, ignores: Ignores) -> bool:
    """True for a folder with pictures in folders in it."""
    return any(True for entry in _folders(root, "", ignores) for _ in _homes(root, (entry.name,), ignores))


def stems(root: Path, relative: str, ignores: Ignores) -> list[str]:
    """The names of a folder's pictures, without their endings."""
    found = (os.path.splitext(entry.name) for entry in _entries(root, relative, ignores) if not is_dir(entry))
    return [name_as_text(stem) for stem, ending in found if ending.lower() in SUFFIXES]


def _by_names(root: Path, homes: Sequence[_Home], deepest: int) -> Shape:
    """Folders called front and back, in every folder, are views of a product and no products."""
    level = deepest
    while level > 1:
        places = {home.path(level): home.at(level) for home in homes}
        counts = Counter(places.values())
        again = {path: name for path, name in places.items() if counts[name] > 1 or name.casefold() in VIEWS}
        if not again:
            break
        parents, names = {path[:-1] for path in again}, set(again.values())
        views = len(again) >= _MOSTLY * len(places) and {len(path) for path in places} == {level}
        if not views or not (len(names) < len(parents) or all(name.casefold() in VIEWS for name in names)):
            name = next(name for name in again.values() if counts[name] > 1 or name.casefold() in VIEWS)
            where = ["/".join(path) for path, other in again.items() if other == name]
            what = f"folders of one name: {' and '.join(where[:2])}" if len(where) > 1 else f"a folder {where[0]}"
            raise _question(root, homes, deepest, what)
        level -= 1
    return Shape(level, _note(homes, level, deepest))


def _named(homes: Sequence[_Home], deepest: int, rows: Collection[str]) -> int | None:
    """The level whose folders' names a table lists, if one does so more than all others."""
    found = {level: len({home.at(level) for home in homes} & set(rows)) for level in range(1, deepest + 1)}
    best = max(found.values())
    levels = [level for level, count in found.items() if count == best]
    return levels[0] if best and len(levels) == 1 else None


def _require_undivided(root: Path, homes: Sequence[_Home], deepest: int) -> None:
    tops = {home.parts[0].lower() for home in homes}
    if len(tops) > 1 and tops <= {*SPLITS, "valid", "validation"}:
        raise _question(root, homes, deepest, f"a dataset divided into {' and '.join(sorted(tops))}")


def _note(homes: Sequence[_Home], level: int, deepest: int, *, because: str = "") -> str:
    other = 1 if level > 1 else deepest
    reason = f", {because}" if because else ""
    return (
        f"{plural(_count(homes, level), 'product')} in the {ordinal(level)} level of folders{reason};"
        f" --product-level {other} for the {_count(homes, other):,} in the {ordinal(other)}"
    )


def _count(homes: Sequence[_Home], level: int) -> int:
    return len({home.at(level) for home in homes})


def _question(root: Path, homes: Sequence[_Home], deepest: int, received: str) -> CatalogError:
    choices = [
        f"--product-level {level} ({plural(len(names), 'product')}: {', '.join(map(printable, names[:3]))}"
        f"{', …' if len(names) > 3 else ''})"
        for level in range(1, deepest + 1)
        for names in [sorted({home.at(level) for home in homes})]
    ]
    return CatalogError(
        printable(f"expected product folders in one level of {root}, received {received}"),
        hint=f"Say which level holds the products: {' or '.join(choices)}",
    )


def ordinal(level: int) -> str:
    """``first``, ``second`` …"""
    return _ORDINALS[level - 1] if level <= len(_ORDINALS) else f"{level}th"


def _homes(root: Path, parts: tuple[str, ...], ignores: Ignores) -> Iterator[_Home]:
    relative = "/".join(parts)
    below = [entry.name for entry in _folders(root, relative, ignores) if not entry.is_symlink()]
    deeper = len(parts) < MAX_LEVEL
    if _has_pictures(root, relative, ignores):
        yield _Home(parts, any(True for name in below if deeper for _ in _homes(root, (*parts, name), ignores)))
    elif deeper:
        for name in below:
            yield from _homes(root, (*parts, name), ignores)


def _folders(root: Path, relative: str, ignores: Ignores) -> list[os.DirEntry[str]]:
    return sorted((entry for entry in _entries(root, relative, ignores) if is_dir(entry)), key=lambda e: e.name)


def _has_pictures(root: Path, relative: str, ignores: Ignores) -> bool:
    return any(
        os.path.splitext(entry.name)[1].lower() in SUFFIXES and not is_dir(entry)
        for entry in _entries(root, relative, ignores)
    )


def _entries(root: Path, relative: str, ignores: Ignores) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(root / relative) as found:
            for entry in found:
                if is_ignored(entry.name) or not is_text(entry.name):
                    continue
                if not ignores(f"{relative}/{entry.name}" if relative else entry.name, is_dir(entry)):
                    yield entry
    except OSError:
        return  # the walk says why
