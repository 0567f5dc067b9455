"""Looks for catalog pictures, and refused ones, in a photo, with keypoints that were kept beside the index."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import ImageError, StoreError
from retrieval.index.manifest import KEYPOINTS_FILE
from retrieval.recognition.closer import PICTURES, best_of, clearest
from retrieval.types import Match, RefusedBy, Sighting, image_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.index.refusals import RefusalStore
    from retrieval.verification.kept import KeptLooks, PictureLook
    from retrieval.verification.keypoints import Keypoints


class Looker:
    """Looks closer at photos of one index. Thread-safe.

    Attributes:
        on_demand: look also where no keypoints of this index are kept yet.
    """

    def __init__(self, location: str, *, on_demand: bool = False, refusals: RefusalStore | None = None) -> None:
        """Open nothing yet.

        Args:
            location: of the index.
            on_demand: see above.
            refusals: those of the index; without, no refused picture is looked for.
        """
        self._refusals = refusals
        self._location = location
        self._alone = "://" not in location
        self._looks: KeptLooks | None = None
        self.on_demand = on_demand

    def ready(self) -> bool:
        """Whether there is anything to look with: keypoints of this index, and OpenCV. Cheap enough for every query."""
        # A cold query of an index without keypoints imports nothing for this.
        if not self.on_demand and self._alone and not os.path.exists(os.path.join(self._location, KEYPOINTS_FILE)):
            return False
        from retrieval.verification.opencv import available

        return (self.on_demand or self._kept().there()) and available()

    def look(
        self,
        wanted: Sequence[Match],
        refusal: RefusedBy | None = None,
        *,
        photos: Sequence[tuple[str, Callable[[], tuple[NDArray[np.uint8], float]]]],
        catalog: str,
    ) -> Sequence[Sighting]:
        """Look for products in a photo, or in each of several of one item.

        Args:
            wanted: the products; of each its nearest pictures are looked for.
            refusal: a refused picture to look for with them.
            photos: the name of each and what gives it, upright, small, RGB, uint8, shape (height, width, 3), and how
                many times larger it is in its file.
            catalog: the folder that the paths of their pictures are relative to.

        Returns:
            A sighting for each picture, found or not, in the photo that shows most of them; keypoints that are not
            kept are made, and kept from then on, where the catalog can be read. None where no photo can be.
        """
        shown = {
            image_id(m.product_id, e.image): (m.product_id, e.image) for m in wanted for e in m.evidence[:PICTURES]
        }
        makes: dict[str, _Make] = {
            picture: partial(_catalog_picture, catalog, image) for picture, (_, image) in shown.items()
        }
        if refusal is not None and self._refusals is not None:
            shown[refusal.refusal_id] = "", refusal.image
            makes[refusal.refusal_id] = partial(_refused_picture, self._refusals, refusal.refusal_id)
        looks = self._looks_of(makes)
        if not looks:
            return ()
        from retrieval.verification.keypoints import find_keypoints

        wanted_looks = {shown[picture]: look for picture, look in looks.items()}
        seen = []
        for name, photo in photos:
            try:
                pixels, times = photo()
            except ImageError:  # it is gone meanwhile
                continue
            one = sightings(wanted_looks, pixels, find_keypoints(pixels), times)
            if refusal is not None:
                one = [s if s.product_id else replace(s, refusal_id=refusal.refusal_id) for s in one]
            seen.append([replace(sighting, photo=name) for sighting in one] if len(photos) > 1 else one)
        return clearest(seen)

    def kept(self, picture: str) -> PictureLook | None:
        """What is kept of a picture, by its `retrieval.types.image_id` or a refusal's id; None where nothing is."""
        return self._kept().get([picture]).get(picture)

    def _kept(self) -> KeptLooks:
        if self._looks is None:
            from retrieval.verification.kept import KeptLooks

            self._looks = KeptLooks(self._location)
        return self._looks

    def _looks_of(self, makes: Mapping[str, _Make]) -> dict[str, PictureLook]:
        looks = self._kept().get(list(makes))
        missing = {picture: make for picture, make in makes.items() if picture not in looks}
        if missing:
            looks |= self._made(missing)
        return looks

    def _made(self, missing: Mapping[str, _Make]) -> dict[str, PictureLook]:
        from retrieval.verification.kept import PictureLook

        made = []
        for picture, make in missing.items():
            try:
                made.append((picture, *make()))
            except (ImageError, StoreError):  # not on this machine, or gone from the index meanwhile
                continue
        with suppress(StoreError):  # of a disk that may not be written: they are made again next time
            self._kept().put(made)
        return {picture: PictureLook.from_bytes(look) for picture, _, look in made}


_Make = Callable[[], tuple[str, bytes]]
"""Looks at a picture: gives the hash of its bytes, and what was seen."""


def _catalog_picture(catalog: str, image: str) -> tuple[str, bytes]:
    from retrieval.catalog.fetched import locate
    from retrieval.images import pictures
    from retrieval.verification.kept import look_at

    file, root = locate(Path(catalog), image)
    data = pictures.read_file(file, root=root)
    return pictures.content_hash(data), look_at(data)


def _refused_picture(refusals: RefusalStore, refusal_id: str) -> tuple[str, bytes]:
    from retrieval.images import pictures
    from retrieval.verification.kept import KEPT_REFUSED, look_at

    data = refusals.picture(refusal_id)
    return pictures.content_hash(data), look_at(data, most=KEPT_REFUSED)


def sightings(
    looks: Mapping[tuple[str, str], PictureLook], pixels: NDArray[np.uint8], points: Keypoints, times: float = 1.0
) -> Sequence[Sighting]:
    """What is seen of catalog pictures, and of a refused one, in a photo.

    Args:
        looks: what is kept of each, by product and path; of a refused picture, one at most, by the empty name and its
            own.
        pixels: the photo, upright, small, RGB, uint8, shape (height, width, 3).
        points: its keypoints.
        times: how many times larger it is in its file, whose pixels quadrilaterals are in.
    """
    from retrieval.verification import compare, leaning, locate, match

    seen, found = [], {}
    for (product_id, image), look in looks.items():
        pairs = match(look.keypoints, points)
        place = locate(look.keypoints, points, pairs, steady=True)
        if place is None:
            seen.append(Sighting(product_id, image))
            continue
        found[product_id, image] = place, look.keypoints.points[pairs[place.inliers, 0]]
        alike = compare(look.pixels, pixels, place, printed=look.keypoints.points)
        quad = tuple((float(x) * times, float(y) * times) for x, y in place.quad)
        correlation, color = (None, None) if alike is None else (alike.correlation, alike.color)
        seen.append(Sighting(product_id, image, len(place.inliers), quad, correlation, color))
    refused = next((name for name in found if not name[0]), None)
    if refused is None:
        return seen
    rival, (at, _) = looks[refused].pixels, found[refused]
    best = best_of(seen)

    def against(one: Sighting) -> Sighting:
        name = one.product_id, one.image
        # Of a product's pictures only that one counts.
        if name == refused or name not in found or best[one.product_id] is not one:
            return one
        place, agreeing = found[name]
        return replace(one, leaning=leaning(looks[name].pixels, rival, pixels, (place, at), printed=agreeing))

    return [against(one) for one in seen]
