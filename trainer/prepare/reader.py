"""Read every picture of the source once: hash it, convert it, let it wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import Refusal
from retrieval.errors import ImageError
from retrieval.images import pictures
from retrieval.images.formats import read_header
from retrieval.images.formats.color_profile import noticing
from retrieval.images.perceptual_hash import miniature, perceptual_hash, same_picture
from retrieval.images.taken import taken
from retrieval.system.files import os_errors
from retrieval.system.text import printable
from retrieval.system.threads import ordered_map
from trainer.prepare.source import Found, Source
from trainer.prepare.staging import Staging
from trainer.prepare.types import Converted, Picture

Known = Mapping[str, Converted]
"""What became of pictures before, by the SHA-256 of their source, where it is still there."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Opens pictures of the source in threads.

    Attributes:
        source: where they are.
        max_side: see `trainer.prepare.types.Options`.
        known: pictures that need not be converted again.
        staging: where converted pictures wait; None when nothing may be written.
        threads: how many.
        flawed: pictures whose color profiles are damaged and were ignored.
    """

    source: Source
    max_side: int
    known: Known
    staging: Staging | None
    threads: int
    flawed: list[str] = field(default_factory=list)

    def read(self, found: Sequence[Found]) -> Iterator[Picture | Refusal]:
        """Each picture, or why it cannot be used, in their order.

        Raises:
            StoreError: there is no room to let them wait.
        """
        return ordered_map(self._read, found, self.threads)

    def _read(self, found: Found) -> Picture | Refusal:
        try:
            data = pictures.read_file(found.file, root=found.root)
            source_sha256 = pictures.content_hash(data)
            with noticing() as flaws:
                made = self.known.get(source_sha256) or self._convert(data, source_sha256)
            if flaws:
                self.flawed.append(found.source)
        except ImageError as error:
            return Refusal(printable(found.source), error.message, error.reason)
        when = taken(data)
        return Picture(found.product_id, found.source, found.name, found.split, source_sha256, len(data), made, when)

    def _convert(self, data: bytes, source_sha256: str) -> Converted:
        waiting = self.staging.get(source_sha256) if self.staging else None
        jpeg = pictures.to_jpeg(data, self.max_side) if waiting is None else waiting
        stored, made = read_header(data), read_header(jpeg)
        assert stored is not None  # `to_jpeg` opened it
        assert made is not None
        sha256 = pictures.content_hash(jpeg)
        # Before it waits: what is too small once reduced is refused here.
        hashed = perceptual_hash(jpeg)
        if waiting is None and self.staging:
            with os_errors("write pictures", self.staging.folder):
                self.staging.put(source_sha256, sha256, jpeg)
        return Converted(sha256, made.sizes[0], len(jpeg), hashed, stored.sizes[0])

    def confirm(self, pairs: Sequence[tuple[Picture, Picture]], places: Mapping[str, Found]) -> list[bool]:
        """Whether each pair shows the same picture, by a look at the pixels of both.

        Args:
            pairs: of pictures that `read` returned.
            places: where their sources are.

        Raises:
            ImageError: a picture changed since it was read.
        """
        sources = sorted({picture.source for pair in pairs for picture in pair})

        def look(source: str) -> NDArray[np.uint8]:
            return miniature(pictures.read_file(places[source].file, root=places[source].root))

        looks = dict(zip(sources, ordered_map(look, sources, self.threads), strict=True))
        return [same_picture(looks[one.source], looks[other.source]) for one, other in pairs]
