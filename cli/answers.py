"""What `itemrec query` reads and prints: photos in, answers out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from cli import render
from retrieval import images
from retrieval.errors import ImageError, UsageError
from retrieval.recognizer import RefusedPhoto
from retrieval.store import Index
from retrieval.text import printable
from retrieval.types import Match, Recognition, Where

MANY = 8
_VERDICT_STYLE = {"match": "bold green", "ambiguous": "bold yellow", "unknown": "bold red"}
_EVIDENCE_SHOWN = 2


def find_photos(photos: Sequence[str]) -> dict[str, Callable[[], bytes]]:
    """Names of the photos and how to read each: files as given, folders searched, - is standard input."""
    sources: dict[str, Callable[[], bytes]] = {}
    for photo in photos:
        path = Path(photo)
        if photo == "-":
            sources["-"] = _read_stdin
        elif path.is_dir():
            files = sorted(f for f in path.rglob("*") if not f.is_dir() and not f.name.startswith("."))
            pictures = [f for f in files if f.suffix.lower() in images.SUFFIXES]
            if not pictures:
                raise UsageError(
                    f"expected a folder with photos, received {printable(photo)}, which has none",
                    hint=f"Known suffixes: {' '.join(sorted(images.SUFFIXES))}",
                )
            if len(files) > len(pictures):
                render.say(f"{photo}: {len(files) - len(pictures):,} files are no photos by their suffix")
            sources |= {str(f): partial(images.read_file, f) for f in pictures}
        else:
            sources[photo] = partial(images.read_file, path)
    return sources


@cache
def _read_stdin() -> bytes:
    data = sys.stdin.buffer.read(images.DEFAULT_LIMITS.max_bytes + 1)
    if len(data) > images.DEFAULT_LIMITS.max_bytes:
        raise ImageError(
            f"expected a photo of at most {images.DEFAULT_LIMITS.max_bytes:,} bytes, received more on stdin",
            reason="too-many-bytes",
            hint="Send a smaller picture.",
        )
    return data


def document(
    answers: Sequence[Recognition], refused: Sequence[RefusedPhoto], fingerprint: str, threshold: float
) -> dict[str, Any]:
    """The ``itemrec.query/1`` document."""
    return {
        "schema": "itemrec.query/1",
        "fingerprint": fingerprint,
        "threshold": threshold,
        "results": [answer.to_json() for answer in answers],
        "refused": [{"path": r.source, "reason": r.error.message, "code": r.error.reason} for r in refused],
    }


def tally(answers: Sequence[Recognition], refused: Sequence[RefusedPhoto]) -> str:
    """One line that counts the verdicts of many photos."""
    counts = Counter(answer.verdict for answer in answers)
    parts = [f"{counts[v]:,} {v}" for v in ("match", "ambiguous", "unknown")]
    return f"{len(answers) + len(refused):,} photos: {', '.join([*parts, f'{len(refused):,} refused'])}"


def explain_filters(target: Index, filters: Where) -> None:
    """Say so when a filter value does not exist: a typing error must not pass for an unknown product."""
    with target.reader() as (store, _):
        for key, wanted in filters.items():
            values = store.values(key, limit=1000)
            if not {str(v) for v, _ in values} & {str(w) for w in wanted}:
                common = ", ".join(printable(str(v)) for v, _ in values[:8])
                asked = ", ".join(printable(str(w)) for w in wanted)
                render.warn(f"no indexed product has {key}={asked}; the commonest values are: {common}")


class Printer:
    """Prints answers: drawn with pictures where the terminal can show them, aligned text elsewhere."""

    def __init__(self, sources: Mapping[str, Callable[[], bytes]], thumbnails: bool | None) -> None:
        self._sources = sources
        self._pictures = thumbnails if thumbnails is not None else len(sources) <= MANY and render.in_color()

    def __call__(self, answer: Recognition, catalog: Path) -> None:
        """Print one answer, with pictures from the catalog that was indexed."""
        self._headline(answer)
        if not answer.matches:
            render.emit()
            return
        if self._pictures:
            from cli.thumbnails import show

            show(self._sources[answer.source], [catalog / m.evidence[0].image for m in answer.matches])
        sure = ["" if m.confidence is None else f"{m.confidence:.0%}" for m in answer.matches]
        shown = any(sure)
        render.table(
            ("product", "name", *(("confidence",) if shown else ()), "score", "share", "votes", "distance", "evidence"),
            [
                (
                    match.product_id,
                    _describe(match),
                    *((sure[place],) if shown else ()),
                    f"{match.score:.3f}",
                    f"{match.share:.0%}",
                    str(match.votes),
                    f"{match.best_distance:.3f}",
                    "  ".join(
                        f"{e.image.removeprefix(match.product_id + '/')} {e.distance:.3f}"
                        for e in match.evidence[:_EVIDENCE_SHOWN]
                    ),
                )
                for place, match in enumerate(answer.matches)
            ],
            right=(2, 3, 4, 5, 6)[: 4 + shown],
        )
        render.emit()

    def _headline(self, answer: Recognition) -> None:
        ms = sum(answer.timings_ms.values())
        name = "standard input" if answer.source == "-" else answer.source
        detail = f"{ms:.0f} ms" if answer.matches else f"nothing within {answer.threshold:.3f}; {ms:.0f} ms"
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


def _describe(match: Match) -> str:
    name = next((str(match.metadata[k]) for k in ("title", "name") if match.metadata.get(k)), "")
    price = match.metadata.get("price")
    return f"{name} ({price})" if name and price not in (None, "") else name
