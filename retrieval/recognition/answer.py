"""What `Recognizer` answers: a `Recognition` that knows where its pictures lie, so that a notebook can show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import ImageError
from retrieval.types import Match, Recognition

if TYPE_CHECKING:
    from markupsafe import Markup

    from retrieval.recognition.recognizer import RefusedPhoto

_SHOWN = 5
_HEADINGS = ("product", "P(right)", "score", "share", "votes", "distance")


@dataclass(frozen=True, slots=True)
class AnswerMatch(Match):
    """A product that the photo may show, and where its pictures lie.

    Attributes:
        catalog: the folder that the paths in ``evidence`` are relative to; it may have moved since.
    """

    catalog: str = ""

    @property
    def picture(self) -> Path:
        """The file of its nearest picture; of one that was fetched by its address, that in the cache."""
        # A query whose pictures nobody looks at does not pay for the import.
        from retrieval.catalog.fetched import locate

        return locate(Path(self.catalog), self.evidence[0].image)[0]

    def _repr_html_(self) -> str:
        """What a notebook shows: its nearest pictures and what the catalog says about it."""
        from retrieval.system import html

        nearest = [_figure(self, e.image, f"{e.distance:.3f}") for e in self.evidence[:_SHOWN]]
        known = html.table(("", ""), [(key, str(value)) for key, value in self.metadata.items()])
        return html.fragment(
            self.product_id,
            html.table(_HEADINGS, [_numbers(self)], numeric=range(1, len(_HEADINGS))),
            html.row(nearest),
            known if self.metadata else "",
        )


@dataclass(frozen=True, slots=True)
class Answer(Recognition):
    """The answer to one photo: verdict, ranked matches, and what it took.

    Attributes:
        matches: best first; empty when the verdict is ``unknown``.
        nearest: products that are not near enough, best first.
        photo: reads the photo again; None where it was not kept.
    """

    matches: tuple[AnswerMatch, ...]
    nearest: tuple[AnswerMatch, ...] = ()
    photo: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, found: Recognition, catalog: str, photo: Callable[[], bytes] | None = None) -> Answer:
        """The same answer, with its pictures.

        Args:
            found: what was recognized.
            catalog: the folder that the pictures' paths are relative to.
            photo: reads the photo again.
        """
        values = {f.name: getattr(found, f.name) for f in fields(Recognition)}
        for ranked in ("matches", "nearest"):
            values[ranked] = tuple(
                AnswerMatch(**{f.name: getattr(match, f.name) for f in fields(Match)}, catalog=catalog)
                for match in values[ranked]
            )
        return cls(**values, photo=photo)

    def _repr_html_(self) -> str:
        """What a notebook shows: the photo beside the nearest pictures of the products it may show."""
        from retrieval.system import html

        detail = f" ({self.reason})" if self.reason else ""
        shown = self.matches or self.nearest
        pictures = [*self._photo(), *(_figure(m, m.evidence[0].image, m.product_id) for m in shown[:_SHOWN])]
        rows = [_numbers(match) for match in shown]
        found = [html.row(pictures), html.table(_HEADINGS, rows, numeric=range(1, len(_HEADINGS))) if rows else ""]
        if self.by == "barcode":
            detail = " (by barcode)"
        elif self.matches and self.matches[0].confidence is None:
            detail = " (not calibrated)"
        if shown and not self.matches:
            found = [html.dimmed("nearest, not near enough:", *found)]
        found = [*(html.dimmed(sentence) for sentence in self.said_of_codes), *found]
        return html.fragment(f"{self.source}: {self.verdict}{detail}", *found)

    def _photo(self) -> list[Markup]:
        if self.photo is None:
            return []
        from retrieval.images.inline import figure

        try:
            return [figure(self.photo(), "the photo")]
        except ImageError:  # it is gone meanwhile
            return []


def query_document(
    answers: Sequence[Recognition],
    refused: Sequence[RefusedPhoto],
    *,
    fingerprint: str,
    threshold: float,
    calibration: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The ``itemrec.query/1`` document, which `itemrec query --json` prints and the service answers.

    Args:
        answers: to the photos that could be read.
        refused: those that could not.
        fingerprint: the model's.
        threshold: squared L2, the largest distance that counted.
        calibration: what is in use, as `Recognizer.in_use` says it.
    """
    return {
        "schema": "itemrec.query/1",
        "fingerprint": fingerprint,
        "threshold": threshold,
        "results": [answer.to_json() for answer in answers],
        "refused": [{"path": r.source, "reason": r.error.message, "code": r.error.reason} for r in refused],
        "calibration": calibration,
    }


def _figure(match: AnswerMatch, image: str, caption: str) -> Markup:
    # A query that nobody shows in a notebook does not pay for the import.
    from retrieval.catalog.fetched import locate
    from retrieval.images.inline import figure

    file, root = locate(Path(match.catalog), image)
    return figure(file, caption, root=root)


def _numbers(match: Match) -> Sequence[str]:
    return (
        match.product_id,
        "" if match.confidence is None else f"{match.confidence:.0%}",
        f"{match.score:.3f}",
        f"{match.share:.0%}",
        str(match.votes),
        f"{match.best_distance:.3f}",
    )
