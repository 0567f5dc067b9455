"""The page of a closer look: a photo beside the pictures that were looked for in it, and where they differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.fetched import locate
from retrieval.errors import ImageError
from retrieval.images import pictures
from retrieval.recognition.answer import Answer
from retrieval.report.page import Markup, Section, Tone, card, cards, figure, page, strip
from retrieval.system.text import plural
from retrieval.types import Sighting

if TYPE_CHECKING:
    from retrieval.types import Match
    from retrieval.verification.kept import PictureLook

_SIDE = 384
_NEAREST = 3
_TONES: dict[str, Tone] = {"match": "good", "ambiguous": "warn", "unknown": "bad"}

Pixels = NDArray[np.uint8]
KeptLook = Callable[[str, str], "PictureLook | None"]
"""What is kept of a catalog picture, by product and path."""
RefusedLook = Callable[[str], "PictureLook | None"]
"""What is kept of a refused picture, by its id."""


@dataclass(frozen=True, slots=True)
class _Pictures:
    """Where the pictures are that are shown."""

    catalog: str
    kept: KeptLook
    refused: RefusedLook

    def look(self, seen: Sighting) -> PictureLook | None:
        """What is kept of a picture that was looked for."""
        return self.refused(seen.refusal_id) if seen.refusal_id else self.kept(seen.product_id, seen.image)

    def pixels(self, seen: Sighting) -> Pixels | None:
        """Such a picture, as large as it is to be had."""
        if not seen.refusal_id:
            file, root = locate(Path(self.catalog), seen.image)
            with suppress(ImageError):
                return np.asarray(pictures.thumbnail(pictures.read_file(file, root=root), _SIDE))
        look = self.look(seen)
        return None if look is None else look.pixels


def closer_look_page(answers: Sequence[Answer], catalog: str, kept: KeptLook, refused: RefusedLook) -> str:
    """The page of some answers.

    Args:
        answers: to photos that can be read again.
        catalog: the folder that the paths of the catalog's pictures are relative to.
        kept: gives what was kept of one; it is shown where the picture does not lie there.
        refused: gives what was kept of a refused picture.
    """
    shown = _Pictures(catalog, kept, refused)
    looked = [answer for answer in answers if answer.closer_look is not None]
    changed = sum(answer.closer_look is not None and answer.closer_look.changed for answer in answers)
    sections = [
        Section(
            f"photo-{number}",
            PurePath(answer.source).name or answer.source,
            _body(answer, shown),
            tone=_TONES[answer.verdict],
        )
        for number, answer in enumerate(answers, 1)
    ]
    verdict = f"{len(looked):,} of {plural(len(answers), 'photo')} looked at closer, {changed:,} answered otherwise"
    return page(
        "A closer look",
        verdict=verdict,
        lead=(
            "Where two products are close, their catalog pictures are looked for in the photo, and where a refused "
            "picture is near, that one too. Beside each: the photo as if taken from where the picture was, and the "
            "same with what differs in red; light and tint do not count.",
        ),
        sections=sections,
    )


def _body(answer: Answer, have: _Pictures) -> Markup:
    first = (answer.matches or answer.nearest)[:1]
    sure = f", {100 * first[0].confidence:.0f} % sure" if first and first[0].confidence is not None else ""
    said = f"{answer.verdict}: {first[0].product_id}{sure}" if first else answer.verdict
    look = answer.closer_look
    try:
        photo = None if answer.photo is None else pictures.thumbnail(answer.photo(), _SIDE)
        side = 0 if answer.photo is None else pictures.longer_side(answer.photo())
    except ImageError:
        photo, side = None, 0
    if look is None:
        why = (
            "Not looked at closer: no two products are close and no refused picture is near, or none of them was found "
            "in the photo."
        )
        shown = [_figure(None if photo is None else np.asarray(photo), "the photo")]
        shown += [_nearest(match, have) for match in (answer.matches or answer.nearest)[:_NEAREST]]
        return Markup("<p><strong>{}</strong></p><p>{}</p>{}").format(said, why, strip(shown))
    before = look.before_in_words()
    looked_for = [*look.seen, *filter(None, [look.refusal])]
    rows = [] if photo is None else [_sighting(s, np.asarray(photo), side, have) for s in looked_for]
    return Markup('<p><strong>{}</strong></p><p>{}</p><div class="look">{}</div>').format(said, before, cards(rows))


def _sighting(seen: Sighting, photo: Pixels, side: int, have: _Pictures) -> Markup:
    from retrieval.verification.alignment import align, between
    from retrieval.verification.difference import SIDE, differences, outlined, place_of

    picture = have.pixels(seen)
    title = f"Refused: {seen.image}" if seen.refusal_id else seen.product_id
    what = "refused picture" if seen.refusal_id else "catalog picture"
    shown = [_figure(picture, what, alt=f"The {what}" if seen.refusal_id else f"Catalog picture of {seen.product_id}")]
    if not seen.inliers:
        shown.insert(0, _figure(photo, "photo", alt="The photo"))
        return card(title, "Not found in the photo.", strip(shown))
    quad = np.array(seen.quad) * (max(photo.shape[:2]) / max(side, 1))
    shown.insert(0, _figure(outlined(photo, quad), "where it lies in the photo", alt="The photo with an outline"))
    if picture is not None:
        one, other, mask = align(picture, photo, place_of(quad, (picture.shape[1], picture.shape[0])), side=SIDE)
        look = have.look(seen)
        if look is not None and len(look.keypoints) > 2:
            mask = mask & between(look.keypoints.points, look.keypoints.size, mask.shape)
        shown.append(_figure(other, "photo, laid under it", alt="The photo as seen from where the picture was taken"))
        shown.append(_figure(differences(one, other, mask), "what differs", alt="The same, with what differs in red"))
    return card(title, seen.in_words(), strip(shown))


def _nearest(match: Match, have: _Pictures) -> Markup:
    return _figure(have.pixels(Sighting(match.product_id, match.evidence[0].image)), match.product_id)


def _figure(pixels: Pixels | None, caption: str, *, alt: str = "") -> Markup:
    return figure(None if pixels is None else _uri(pixels), caption, alt=alt or caption)


def _uri(pixels: Pixels) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
