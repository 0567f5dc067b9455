"""A folder of pictures without product folders: which file names are pictures of one product.

``4711.jpg``, ``4711_2.jpg``, ``4711-back.jpg`` and ``4711 (2).jpg`` are four pictures of 4711. But a product can be
called ``AB-12`` as well: a table's ids decide where there is a table; else a number is a picture's only where the name
before it is a file, too, or other files show that it is meant so. Where neither is so the command asks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from retrieval.errors import CatalogError, UsageError
from retrieval.system.text import one_form, plural, printable

SEPARATORS: Mapping[str, str] = {"_": "_", "-": "-", ".": ".", "space": " "}
"""What ``--split-names`` takes, and the character that it stands for; also ``none``."""
VIEWS = frozenset(
    {"front", "back", "side", "left", "right", "top", "bottom", "inside", "outside", "detail", "details", "zoom"}
    | {"close-up", "closeup", "main", "alt", "large", "small", "thumb", "thumbs", "thumbnail", "thumbnails"}
    | {"original", "originals", "img", "images", "pictures", "photos", "views"}
)
"""What shops call the views of a product."""
_MORE_VIEWS = frozenset({"rear", "label", "pack", "package", "packshot", "hero", "image", "picture", "photo", "view"})

_COPY = re.compile(r"(.+?) - (?:copy|kopie|copie|copia|kopia)(?: ?\(\d+\))?|(.+?) ?\(\d{1,3}\)", re.IGNORECASE)
_NUMBER = re.compile(r"(.+)([_\-. ])(\d{1,3})")
_WORDS = "|".join(sorted(VIEWS | _MORE_VIEWS, key=len, reverse=True))
_WORD = re.compile(rf"(.+?)([_\-. ])({_WORDS})(?:[_\-. ]?\d{{1,2}})?", re.IGNORECASE)
_LETTER = re.compile(r"(.*\d)[a-z]", re.IGNORECASE)
_CAMERA = re.compile(
    r"(img|dsc|dscn|dscf|pxl|mvimg|image|photo|picture|foto|screenshot|whatsapp image|sam|gopr|_mg|_dsc)[\W_]?\d.*"
    r"|p\d{7}|\d{8}[\W_]\d{6}.*|[0-9a-f]{8}-[0-9a-f]{4}-.*",
    re.IGNORECASE,
)
_MOSTLY = 0.8
_MOST_PICTURES = 40
"""More pictures with one name before the number look like products that are numbered."""
_SHOWN = 3


class _Numbered(NamedTuple):
    """A name that may be a picture of what stands before its number."""

    base: str
    separator: str
    number: int


@dataclass(frozen=True, slots=True)
class Names:
    """Which product a file of a flat folder shows.

    Attributes:
        products: by the file's name without its ending, in its one form.
        refused: names that could be of several products, or of none, with the reason.
        note: what was understood, a line.
    """

    products: Mapping[str, str]
    refused: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def product(self, stem: str) -> str:
        """The product of a file name; one that came later is a product of its own."""
        name = one_form(stem)
        return self.products.get(name, name)


def understand_names(
    stems: Iterable[str], rows: Collection[str] = (), *, split: str | None = None, where: str = "the folder"
) -> Names:
    """Find the rule that explains the file names of a flat folder.

    Args:
        stems: the names without their endings.
        rows: product ids of a table.
        split: what a user said: a key of `SEPARATORS`, or ``none`` where every file is a product of its own.
        where: the folder, for messages.

    Raises:
        CatalogError: more than one rule explains them.
        UsageError: ``split`` is no separator.
    """
    names = sorted({one_form(stem) for stem in stems})
    if split is not None and split != "none" and split not in SEPARATORS:
        raise UsageError(
            f"expected --split-names {', '.join(SEPARATORS)} or none, received {printable(split)}",
        )
    if rows:
        return _by_rows(names, rows, split)
    if split is not None:
        products = {name: name if split == "none" else _cut(name, SEPARATORS[split]) for name in names}
        return _named(products, f", as --split-names {split} says")
    cameras = [name for name in names if _CAMERA.fullmatch(name)]
    if len(cameras) >= _MOSTLY * len(names) and len(names) > 1:
        raise CatalogError(
            f"expected product folders, or files named by product, in {where}, received names that cameras give:"
            f" {_some(cameras)}",
            hint="Put the pictures of a product into a folder of its own; --split-names none: every file is a product.",
        )
    products, doubtful = _by_names(names, frozenset())
    if doubtful:
        raise _question(doubtful, names, where)
    return _named(products, "")


def names_rows(stems: Collection[str], rows: Collection[str]) -> int:
    """How many of the names begin with an id of a table."""
    found = _by_rows([one_form(stem) for stem in stems], rows, "none")
    known = {row.casefold() for row in rows}
    return sum(product.casefold() in known for product in found.products.values())


def _by_rows(names: Sequence[str], rows: Collection[str], split: str | None) -> Names:
    """A table's ids decide: the longest that a name begins with. What is left is read as without a table."""
    exact = {row.casefold(): row for row in rows}
    lengths = sorted({len(row) for row in exact}, reverse=True)
    products: dict[str, str] = {}
    left: list[str] = []
    separators: set[str] = set()
    for name in names:
        folded = name.casefold()
        found = exact.get(folded) or next(
            (exact[folded[:n]] for n in lengths if folded[:n] in exact and _ends_there(folded, n)), None
        )
        if found is None:
            left.append(name)
            continue
        products[name] = found
        if (numbered := _numbered(name)) and numbered.base.casefold() == found.casefold():
            separators.add(numbered.separator)
    refused: dict[str, str] = {}
    if split is not None:
        products |= {name: name if split == "none" else _cut(name, SEPARATORS[split]) for name in left}
    elif left:
        others, doubtful = _by_names(left, separators)
        products |= {name: product for name, product in others.items() if name not in doubtful}
        refused = {
            name: f"no row of the table is its product, and it could be {base} or a product of its own"
            for name, base in doubtful.items()
        }
    known = len(names) - len(left)
    return _named(products, f", {known:,} of {plural(len(names), 'file')} by ids that are known", refused)


def _ends_there(name: str, length: int) -> bool:
    """Whether an id that a name begins with ends where the name goes on: at a separator, or 4711 before 4711b."""
    rest = name[length:]
    return rest[0] in "_-. (" or (len(rest) == 1 and rest.isalpha() and name[length - 1].isdigit())


def _by_names(names: Sequence[str], separators: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The product of each name, by names alone; and which are doubtful, with what they could be a picture of.

    Args:
        names: in order.
        separators: those after which a number is known to be a picture's.
    """
    spelled = {name.casefold(): name for name in names}
    plain: dict[str, str] = {}  # without what says that it is a copy or a view
    products: dict[str, str] = {}
    words = _words(names, spelled)
    for name in names:
        copy = _COPY.fullmatch(name)
        base = (copy[1] or copy[2]) if copy else words.get(name, name)
        plain[name] = spelled.get(base.casefold(), base)
    bases = {base.casefold(): base for base in plain.values()}
    groups: dict[tuple[str, str], dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for base in sorted(set(plain.values())):
        if numbered := _numbered(base):
            groups[numbered.base.casefold(), numbered.separator][numbered.number].append(base)
    cut: dict[str, str] = {}
    open_: dict[tuple[str, str], list[str]] = {}
    shown = set(separators)
    doubtful: dict[str, str] = {}
    for (base, separator), numbers in sorted(groups.items()):
        members = [name for found in numbers.values() for name in found]
        first, last = min(numbers), max(numbers)
        counted = last <= len(numbers) + 2
        if base in bases:
            if counted and len(members) <= _MOST_PICTURES:
                cut |= dict.fromkeys(members, bases[base])
                shown.add(separator)
            else:
                doubtful |= dict.fromkeys(members, bases[base])
        elif first <= 1 and counted:
            open_[base, separator] = members
    for (_, separator), members in open_.items():
        base = _numbered(members[0]).base  # type: ignore[union-attr]
        if separator in shown and len(members) <= _MOST_PICTURES:
            cut |= dict.fromkeys(members, base)
        elif len(members) > 1:
            doubtful |= dict.fromkeys(members, base)
    # 4711.jpg beside 4711a.jpg: a second picture, or a variant?
    for base in set(plain.values()):
        letter = _LETTER.fullmatch(base)
        if letter and letter[1].casefold() in bases:
            doubtful[base] = bases[letter[1].casefold()]
    for name in names:
        products[name] = cut.get(plain[name], plain[name])
    return products, {name: doubtful[plain[name]] for name in names if plain[name] in doubtful}


def _words(names: Sequence[str], spelled: Mapping[str, str]) -> dict[str, str]:
    """What names with a view's word in them are pictures of: ``4711-back`` of 4711, where 4711 has another picture."""

    def base(match: re.Match[str]) -> str:
        return match[1].rstrip(" _-.")

    found = {name: match for name in names if (match := _WORD.fullmatch(name)) and match[1].strip(" _-.")}
    several: dict[str, int] = defaultdict(int)
    for match in found.values():
        several[base(match).casefold()] += 1
    numbered = {n.base.casefold() for name in names if (n := _numbered(name))}
    clear = {
        name: base(match)
        for name, match in found.items()
        if several[key := base(match).casefold()] > 1 or key in spelled or key in numbered
    }
    if not clear:
        return {}
    ways = {found[name][2] for name in clear}
    return {name: base(match) for name, match in found.items() if name in clear or match[2] in ways}


def _numbered(name: str) -> _Numbered | None:
    match = _NUMBER.fullmatch(name)
    base = match[1].rstrip(" _-.") if match else ""
    return _Numbered(base, match[2], int(match[3])) if match and base else None


def _cut(name: str, separator: str) -> str:
    """What stands before the last separator, and before every number and view's word at the end."""
    if (copy := _COPY.fullmatch(name)) is not None:
        name = copy[1] or copy[2]
    parts = name.split(separator)
    short = list(parts)
    while len(short) > 1 and (re.fullmatch(r"\d{1,3}", short[-1]) or short[-1].casefold() in VIEWS | _MORE_VIEWS):
        short.pop()
    if len(short) == len(parts) > 1:
        short.pop()
    return separator.join(short).rstrip() or name


def _named(products: Mapping[str, str], because: str, refused: Mapping[str, str] | None = None) -> Names:
    count = len(set(products.values()))
    several = [name for name, product in products.items() if product != name]
    example = f" ({printable(several[0])} is a picture of {printable(products[several[0]])})" if several else ""
    each = "" if several or because else ", one for every file name"
    return Names(
        products, refused or {}, f"{plural(count, 'product')} by the names of the files{because}{each}{example}"
    )


def _question(doubtful: Mapping[str, str], names: Sequence[str], where: str) -> CatalogError:
    name, base = next(iter(doubtful.items()))
    used = {number.separator for other in names if (number := _numbered(other))}
    ways = [
        f"--split-names {key} ({plural(len({_cut(other, character) for other in names}), 'product')})"
        for key, character in SEPARATORS.items()
        if character in used
    ]
    ways.append(f"--split-names none ({plural(len(names), 'product')})")
    return CatalogError(
        printable(
            f"expected file names that tell the product in {where}, received {name}, which could be a picture of"
            f" {base} or a product of its own, as {len(doubtful):,} of {plural(len(names), 'name')}"
        ),
        hint=f"Say which is meant: {' or '.join(ways)}; or put a products.csv with the ids beside them.",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
