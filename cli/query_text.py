"""What `itemrec query` reads and prints: photos in, answers out."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from cli import render
from cli.answer_table import percent, print_products
from retrieval.errors import ImageError, UsageError
from retrieval.images import pictures
from retrieval.index.payload import matches
from retrieval.recognition.answer import Answer
from retrieval.recognition.api import Recognizer
from retrieval.recognition.photo_source import PhotoSource
from retrieval.recognition.recognizer import RefusedPhoto, parse_where
from retrieval.system.text import plural, printable
from retrieval.types import Compare, JsonScalar, Recognition

_VERDICT_STYLE = {"match": "bold green", "ambiguous": "bold yellow", "unknown": "bold red"}
_EVERY = 2**31


def find_photos(photos: Sequence[str]) -> list[PhotoSource]:
    """The photos, each once: files as given, folders searched, - is standard input."""
    sources: dict[str, Callable[[], bytes]] = {}
    for photo in photos:
        path = Path(photo)
        if photo == "-":
            sources["-"] = _read_stdin
        elif path.is_dir():
            sources |= _photos_in(photo)
        else:
            sources[photo] = partial(pictures.read_file, path)
    return [PhotoSource(name, read) for name, read in sources.items()]


def _photos_in(folder: str) -> dict[str, Callable[[], bytes]]:
    """The photos below a folder, in order; a folder in it that cannot be read is refused like a photo."""
    # Not needed for a single photo, whose answer must not wait for the import.
    from retrieval.catalog.ignored import is_ignored

    closed: list[OSError] = []
    found: dict[str, Callable[[], bytes]] = {}
    skipped = 0
    for place, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        for name in sorted(name for name in names if not is_ignored(name)):
            file = Path(place, name)
            if file.suffix.lower() in pictures.SUFFIXES:
                found[str(file)] = partial(pictures.read_file, file)
            else:
                skipped += 1
    found |= {str(error.filename): partial(_refuse_folder, error) for error in closed}
    if not found:
        raise UsageError(
            f"expected a folder with photos, received {printable(folder)}, which has none",
            hint=f"Known suffixes: {' '.join(sorted(pictures.SUFFIXES))}",
        )
    if skipped:
        render.say(f"{printable(folder)}: {plural(skipped, 'file')} left out, no photo by its suffix")
    return found


def _refuse_folder(error: OSError) -> bytes:
    raise ImageError(
        f"expected a folder that can be read, received {error.strerror}: {printable(error.filename)}",
        reason="unreadable",
        hint="Check its permissions.",
    )


@cache
def _read_stdin() -> bytes:
    data = sys.stdin.buffer.read(pictures.DEFAULT_LIMITS.max_bytes + 1)
    if len(data) > pictures.DEFAULT_LIMITS.max_bytes:
        raise ImageError(
            f"expected a photo of at most {pictures.DEFAULT_LIMITS.max_bytes:,} bytes, received more on stdin",
            reason="too-many-bytes",
            hint="Send a smaller picture.",
        )
    return data


def tally(answers: Sequence[Recognition], refused: Sequence[RefusedPhoto]) -> str:
    """One line that counts the verdicts of many photos."""
    counts = Counter(answer.verdict for answer in answers)
    parts = [f"{counts[v]:,} {v}" for v in ("match", "ambiguous", "unknown")]
    return f"{plural(len(answers) + len(refused), 'photo')}: {', '.join([*parts, f'{len(refused):,} refused'])}"


def explain_filters(shop: Recognizer, terms: Sequence[str]) -> None:
    """Say so when a filter value does not exist: a typing error must not pass for an unknown product."""
    for key, wanted in (parse_where(terms, shop.manifest) or {}).items():
        values = shop.values(key, limit=_EVERY)
        if not any(matches(value, wanted) for value, _ in values):
            common = ", ".join(printable(str(v)) for v, _ in values[:8])
            asked = " and ".join(filter(None, _spelled(key, wanted)))
            render.warn(f"no indexed product has {asked}; the commonest values are: {common}")


def _spelled(key: str, wanted: Sequence[JsonScalar | Compare]) -> Iterator[str]:
    """A filter of a column as it was typed."""
    equal = [printable(str(value)) for value in wanted if not isinstance(value, Compare)]
    yield f"{printable(key)}={', '.join(equal)}" if equal else ""
    for value in wanted:
        if isinstance(value, Compare):
            yield f"{printable(key)}{value.sign}{'' if value.sign == '?' else f'{value.number:g}'}"


class Printer:
    """Prints answers: drawn with pictures where the terminal can show them, aligned text elsewhere."""

    def __init__(
        self, sources: Sequence[PhotoSource], thumbnails: bool | None, *, few: bool, explain: bool = False
    ) -> None:
        self._explain = explain
        self._reads = {source.name: source.read for source in sources}
        self._pictures = thumbnails if thumbnails is not None else few and render.in_color()
        if self._pictures and find_spec("textual_image") is None:
            self._pictures = False
            if thumbnails:
                from retrieval.system.installation import install_hint, missing

                render.warn(f"{missing('textual-image', '--thumbnails')}. {install_hint('thumbnails')}")

    def __call__(self, answer: Answer) -> None:
        """Print one answer, with pictures from the catalog that was indexed."""
        self._headline(answer)
        for sentence in answer.said_of_codes:
            _emit_dim(printable(sentence))
        if self._pictures and (answer.matches or answer.nearest):
            from cli.thumbnails import show

            show(
                self._reads[(answer.photos or (answer.source,))[0]],
                [m.picture for m in answer.matches or answer.nearest],
            )
        if answer.matches:
            print_products(answer.matches, explain=self._explain)
        elif answer.nearest:
            _emit_dim("nearest, not near enough:")
            print_products(answer.nearest, explain=self._explain, dim=True)
        if self._explain and answer.closer_look is not None:
            for sentence in (answer.closer_look.before_in_words(), *answer.closer_look.seen_in_words()):
                _emit_dim(printable(sentence))
        render.emit()

    def _headline(self, answer: Recognition) -> None:
        ms = sum(answer.timings_ms.values())
        name = "standard input" if answer.source == "-" else answer.source
        detail = "; ".join(filter(None, (printable(answer.reason), _how_sure(answer), f"{ms:.0f} ms")))
        if render.on_terminal():
            from rich.console import Console
            from rich.text import Text

            Console().print(
                Text.assemble(
                    (printable(name), "bold"),
                    "  ",
                    (answer.verdict.upper(), _VERDICT_STYLE[answer.verdict]),
                    (f"  {detail}", "dim"),
                )
            )
        else:
            render.emit(f"{printable(name)}: {answer.verdict} ({detail})")


def _how_sure(answer: Recognition) -> str:
    """The one number of an answer; of what is unknown, the reason is said instead."""
    if not answer.matches:
        return ""
    if answer.by == "barcode":
        return f"by barcode {', '.join(code.number for code in answer.codes if code.products)}"
    confidence = answer.matches[0].confidence
    return "not calibrated" if confidence is None else f"{percent(confidence)} sure"


def _emit_dim(text: str) -> None:
    """A line beside the answer."""
    if not render.on_terminal():
        render.emit(text)
        return
    from rich.console import Console

    Console().print(text, style="dim", highlight=False)
