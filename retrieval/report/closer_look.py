"""The page of a closer look: a photo beside the catalog pictures that were looked for in it, and where they differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
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


def closer_look_page(answers: Sequence[Answer], catalog: str, kept: KeptLook) -> str:
    """The page of some answers.

    Args:
        answers: to photos that can be read again.
        catalog: the folder that the paths of the catalog's pictures are relative to.
        kept: gives what was kept of one; it is shown where the picture does not lie there.
    """
    looked = [answer for answer in answers if answer.closer_look is not None]
    changed = sum(answer.closer_look is not None and answer.closer_look.changed for answer in answers)
    sections = [
        Section(
            f"photo-{number}",
            PurePath(answer.source).name or answer.source,
            _body(answer, catalog, kept),
            tone=_TONES[answer.verdict],
        )
        for number, answer in enumerate(answers, 1)
    ]
    verdict = f"{len(looked):,} of {plural(len(answers), 'photo')} looked at closer, {changed:,} answered otherwise"
    return page(
        "A closer look",
        verdict=verdict,
        lead=(
            "Where two products are close, their catalog pictures are looked for in the photo. Beside each: the photo "
            "as if taken from where the catalog picture was, and the same with what differs in red; light and tint do "
            "not count.",
        ),
        sections=sections,
    )


def _body(answer: Answer, catalog: str, kept: KeptLook) -> Markup:
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
        why = "Not looked at closer: no two products are close, or none of them was found in the photo."
        shown = [_figure(None if photo is None else np.asarray(photo), "the photo")]
        shown += [_nearest(match, catalog, kept) for match in (answer.matches or answer.nearest)[:_NEAREST]]
        return Markup("<p><strong>{}</strong></p><p>{}</p>{}").format(said, why, strip(shown))
    before = look.before_in_words()
    rows = [] if photo is None else [_sighting(s, np.asarray(photo), side, catalog, kept) for s in look.seen]
    return Markup('<p><strong>{}</strong></p><p>{}</p><div class="look">{}</div>').format(said, before, cards(rows))


def _sighting(seen: Sighting, photo: Pixels, side: int, catalog: str, kept: KeptLook) -> Markup:
    from retrieval.verification.alignment import align, between
    from retrieval.verification.difference import SIDE, differences, outlined, place_of

    picture = _picture(seen.product_id, seen.image, catalog, kept)
    shown = [_figure(picture, "catalog picture", alt=f"Catalog picture of {seen.product_id}")]
    if not seen.inliers:
        shown.insert(0, _figure(photo, "photo", alt="The photo"))
        return card(seen.product_id, "Not found in the photo.", strip(shown))
    quad = np.array(seen.quad) * (max(photo.shape[:2]) / max(side, 1))
    shown.insert(0, _figure(outlined(photo, quad), "where it lies in the photo", alt="The photo with an outline"))
    if picture is not None:
        one, other, mask = align(picture, photo, place_of(quad, (picture.shape[1], picture.shape[0])), side=SIDE)
        look = kept(seen.product_id, seen.image)
        if look is not None and len(look.keypoints) > 2:
            mask = mask & between(look.keypoints.points, look.keypoints.size, mask.shape)
        shown.append(_figure(other, "photo, laid under it", alt="The photo as seen from where the picture was taken"))
        shown.append(_figure(differences(one, other, mask), "what differs", alt="The same, with what differs in red"))
    numbers = [f"{plural(seen.inliers, 'point')} agree"]
    if seen.correlation is not None and seen.color is not None:
        numbers += [f"brightness correlates {seen.correlation:.2f}", f"color {seen.color:.2f}"]
    return card(seen.product_id, ", ".join(numbers), strip(shown))


def _nearest(match: Match, catalog: str, kept: KeptLook) -> Markup:
    image = match.evidence[0].image
    return _figure(_picture(match.product_id, image, catalog, kept), match.product_id)


def _picture(product_id: str, image: str, catalog: str, kept: KeptLook) -> Pixels | None:
    file, root = locate(Path(catalog), image)
    try:
        return np.asarray(pictures.thumbnail(pictures.read_file(file, root=root), _SIDE))
    except ImageError:
        look = kept(product_id, image)
        return None if look is None else look.pixels


def _figure(pixels: Pixels | None, caption: str, *, alt: str = "") -> Markup:
    return figure(None if pixels is None else _uri(pixels), caption, alt=alt or caption)


def _uri(pixels: Pixels) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
