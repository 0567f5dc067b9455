"""What barcodes make of an answer: a code that is read in the photo decides.

**Whose code.** A code is looked up by the keyword index that answers filters, in the columns of codes and in every
usual spelling of its number: with and without zeros before it, as text and as a number.

**The code wins** over the picture, because its check digit makes misreading it rare, and because packages that look
alike are what pictures take for one another: the product that carries it is the *match*. Of several, of two codes or of
one that products share, all are shown as *ambiguous*, unless the picture alone says which of those that share it.

**A code that is not in the catalog** proves nothing by itself: tables lack codes, and a product has several. Where the
product that the picture matches carries another code, though, the two contradict each other; then neither wins, and
the answer is *ambiguous*. Numbers that shops give out themselves, for weighed goods and coupons, contradict nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retrieval.barcodes.gtin import as_printed, in_store, is_code_column, normal, spellings
from retrieval.catalog.columns import plain
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import UsageError
from retrieval.index.manifest import Manifest
from retrieval.index.payload import each, tag
from retrieval.index.protocols import VectorStore
from retrieval.recognition import votes
from retrieval.types import Conflict, Match, ReadCode, Recognition, Where

MOST_PICTURES = 256
"""Pictures that are looked at to tell which products carry a code."""


def code_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Those of a catalog's columns that hold barcodes."""
    return tuple(column for column in columns if is_code_column(plain(column)))


def products_with(code: str, columns: Iterable[str], store: VectorStore) -> tuple[str, ...]:
    """The products that carry a code, each once.

    Args:
        code: 14 digits.
        columns: those that hold codes.
        store: the generation.
    """
    tags = [tag(column, spelling) for column in columns for spelling in (*spellings(code), *as_printed(code))]
    return tuple(dict.fromkeys(record.product_id for record in store.tagged(tags, limit=MOST_PICTURES)))


def with_codes(
    found: Recognition,
    codes: Sequence[ReadCode],
    columns: Sequence[str],
    store: VectorStore,
    vector: NDArray[np.float32],
    *,
    where: Where | None,
) -> Recognition:
    """An answer with the codes that were read in its photo, which may decide it.

    Args:
        found: what the picture alone says.
        codes: what was read; nothing changes without.
        columns: those of the catalog that hold codes.
        store: the generation that ``found`` comes from.
        vector: of the photo, shape (d,): what orders products and fetches their pictures.
        where: products outside this filter are not found by their codes either.
    """
    if not codes:
        return found
    carried: dict[str, Match] = {}
    known: list[ReadCode] = []
    for code in codes:
        products = products_with(code.gtin, columns, store)
        for product_id in products:
            if product_id not in carried:
                carried |= _ranked(product_id, store, vector, where, found.threshold)
        known.append(replace(code, products=tuple(p for p in products if p in carried)))
    picture = found.matches[0] if found.verdict == "match" else None
    if carried:
        return _by_code(found, known, list(carried.values()), picture)
    conflict = next((c for c in known if picture is not None and _contradicts(c, picture, columns)), None)
    if picture is None or conflict is None:
        return replace(found, codes=tuple(known))
    said = Conflict(picture.product_id, conflict.gtin, "neither")
    return replace(found, verdict="ambiguous", codes=tuple(known), conflict=said)


def _by_code(
    found: Recognition, codes: Sequence[ReadCode], carried: Sequence[Match], picture: Match | None
) -> Recognition:
    """The answer where products of the catalog carry the codes."""
    names = {match.product_id for match in carried}
    matches = tuple(sorted(carried, key=lambda m: votes.place(m.best_distance, m.score, found.threshold)))
    conflict = None
    if picture is not None and picture.product_id not in names:
        first = next(code for code in codes if code.products)
        conflict = Conflict(picture.product_id, first.gtin, "barcode")
    shared = sum(bool(code.products) for code in codes) == 1
    if len(matches) > 1 and shared and picture is not None and picture.product_id in names:
        matches = tuple(match for match in matches if match.product_id == picture.product_id)
        names = {picture.product_id}
    others = [match for match in (*found.matches, *found.nearest) if match.product_id not in names]
    room = max(0, len(found.matches) + len(found.nearest) - len(matches))
    return replace(
        found,
        verdict="match" if len(matches) == 1 else "ambiguous",
        matches=matches,
        nearest=tuple(replace(match, confidence=None) for match in others[:room]),
        in_catalog=None,
        refused_by=None,
        by="barcode",
        codes=tuple(codes),
        conflict=conflict,
    )


def _ranked(
    product_id: str, store: VectorStore, vector: NDArray[np.float32], where: Where | None, threshold: float
) -> dict[str, Match]:
    """A product as the picture ranks it, by its id; nothing where the filter leaves it out."""
    near = store.search(
        vector, limit=votes.EVIDENCE, max_distance=MAX_DISTANCE, where=where, product_id=product_id, exact=True
    )
    return {match.product_id: match for match in votes.rank(near, threshold=threshold)}


def _contradicts(code: ReadCode, product: Match, columns: Iterable[str]) -> bool:
    """True where a product carries codes, and not this one."""
    own = {normal(value) for column in columns for value in each(product.metadata.get(column))} - {None}
    return bool(own) and code.gtin not in own and not in_store(code.gtin)


def wanted_columns(manifest: Manifest, *, required: bool) -> tuple[str, ...]:
    """The columns of barcodes that decide; none where codes are not read.

    Args:
        manifest: names the columns that exist.
        required: by the user; else only where it is possible.

    Raises:
        UsageError: they are wanted and cannot be read or looked up.
    """
    columns = code_columns(manifest.metadata_keys)
    if required:
        from retrieval.barcodes.scan import require_reader

        require_reader()
        if not columns:
            raise UsageError(
                "expected a column of barcodes in the catalog's table, received none",
                hint="Call it gtin, ean, upc or barcode, and index the catalog again.",
            )
    if not columns:
        return ()
    from retrieval.barcodes.scan import installed

    return columns if installed() else ()
