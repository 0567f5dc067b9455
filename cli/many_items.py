"""`itemrec query --many`: every item of the catalog in each photo, with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli import render
from retrieval.errors import ImageError, UsageError
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from retrieval.detection.found import FoundItems
    from retrieval.detection.planogram import Compliance
    from retrieval.recognition.api import Recognizer
    from retrieval.recognition.photo_source import PhotoSource
    from retrieval.types import Metadata

_NAMES = ("name", "title")


def query_many(
    shop: Recognizer,
    photos: Sequence[str],
    *,
    where: Sequence[str] | None,
    planogram: Path | None,
    out: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Find every item in photos, and say and draw what was found.

    Args:
        shop: the index and its model.
        photos: as the command line names them.
        where: see `Recognizer.recognize`.
        planogram: a file of what should stand there.
        out: a file for the photo with its items drawn in; of one photo.
        html: a file for a page of all of them.
        as_json: print one document.

    Returns:
        The exit code: 1 where a photo shows nothing of the catalog, or not what the planogram says.
    """
    from cli.query_text import find_photos

    sources = find_photos(photos)
    if out is not None and len(sources) > 1:
        raise UsageError("expected one photo with --out, received several", hint="--html FILE shows all of them.")
    expected = None
    if planogram is not None:
        from retrieval.detection.planogram import read_planogram

        expected = read_planogram(planogram)
    found: list[tuple[PhotoSource, FoundItems, Compliance | None]] = []
    refused: list[tuple[str, ImageError]] = []
    for source in sources:
        try:
            items = shop.find(source, where=where)
        except ImageError as error:
            if len(sources) == 1:
                raise
            refused.append((source.name, error))
            continue
        compliance = None
        if expected is not None:
            from retrieval.detection.planogram import compare

            compliance = compare(expected, [[item.product_id for item in row] for row in items.rows()])
        found.append((source, items, compliance))
        if not as_json:
            _print(items, compliance)
    if as_json:
        from retrieval.detection.found import items_document

        render.emit_json(
            items_document([(items, c) for _, items, c in found], refused, fingerprint=shop.model.fingerprint)
        )
    for name, why in refused:
        render.warn(f"{printable(name)}: {printable(why.message)}")
    if out is not None:
        _write_drawing(out, *found[0][:2])
    if html is not None:
        from retrieval.report.items_page import items_page
        from retrieval.report.page import write_page

        write_page(html, items_page([(source.read(), items, compliance) for source, items, compliance in found]))
        render.say(f"The page is {printable(html)}")
    if refused:
        return ImageError.exit_code
    return 1 if any(not items.items or (c is not None and not c.holds) for _, items, c in found) else 0


def _print(found: FoundItems, compliance: Compliance | None) -> None:
    name = "standard input" if found.source == "-" else found.source
    took = sum(found.timings_ms.values())
    counts = found.counts
    what = f"{plural(len(found.items), 'item')} of {plural(len(counts), 'product')}" if counts else "nothing found"
    render.emit(f"{printable(name)}: {what} ({took:,.0f} ms)")
    if found.missing:
        render.warn(
            f"{plural(found.missing, 'picture')} of the catalog cannot be read any more and could not be looked for"
        )
    if counts:
        unsure = {p: sum(i.product_id == p and i.verdict == "ambiguous" for i in found.items) for p in counts}
        called = {item.product_id: _called(item.matches[0].metadata) for item in found.items}
        columns = ["product", "name", "items", "not sure"]
        rows = [[p, called[p], f"{n:,}", f"{unsure[p]:,}" if unsure[p] else ""] for p, n in counts.items()]
        kept = [place for place, _ in enumerate(columns) if any(row[place] for row in rows)]
        render.table(
            [columns[place] for place in kept],
            [[printable(row[place]) for place in kept] for row in rows],
            right=[at for at, place in enumerate(kept) if place >= 2],
        )
    unknown = sum(region.verdict == "unknown" for region in found.regions)
    if found.regions:
        others = len(found.regions) - unknown
        seen = f"{plural(unknown, 'place')} with something unknown" if unknown else ""
        like = f"{plural(others, 'place')} that may show a product of the catalog" if others else ""
        render.emit(f"between them {' and '.join(filter(None, (seen, like)))}")
    if compliance is not None:
        from retrieval.detection.planogram import sentences

        render.emit(f"planogram: {compliance.right:,} of {plural(compliance.expected, 'item')} where it should stand")
        for line in sentences(compliance):
            render.emit(f"  {printable(line)}")
    render.emit()


def _called(metadata: Metadata) -> str:
    return next((str(metadata[key]) for key in _NAMES if metadata.get(key)), "")


def _write_drawing(file: Path, source: PhotoSource, found: FoundItems) -> None:
    from retrieval.detection.drawing import draw_items, to_bytes
    from retrieval.system.files import replace_file

    data = to_bytes(draw_items(source.read(), found), file.suffix)
    try:
        replace_file(file, data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"Cannot write {printable(file)}: {reason}", hint="Name another file.") from error
    render.say(f"The picture is {printable(file)}")
