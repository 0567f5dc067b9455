"""Pictures that are none of the catalog's: kept in an index, embedded by its model, and found again near a photo.

    refusal = refuse(index, bundle, "rival.jpg", data, note="the shop next door sells it")
    known = KnownRefusals.load(index.refusals, bundle)
    known.nearest(vector)

There are few of them, tens to thousands, so that one product of a matrix and a vector compares a photo with all.
How near one must be to refuse a photo is said by `retrieval.recognition.decision`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE
from retrieval.errors import ImageError, IndexDamagedError, StoreError
from retrieval.images import pictures
from retrieval.index.refusals import MAX_TEXT, RefusalPicture, RefusalStore, refusal_id_of
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import EncoderPool, Look, Refused, embed_pictures
from retrieval.system.text import one_form, printable
from retrieval.types import RefusedBy

_log = logging.getLogger("itemrec.index")

KEPT_SIDE = 512
"""Longer side of the JPEG that is kept, in pixels: no network here looks at more."""


def refuse(
    store: RefusalStore,
    bundle: Bundle,
    name: str,
    photo: bytes,
    *,
    note: str = "",
    encoders: EncoderPool | None = None,
) -> RefusalPicture:
    """Keep a photo of something that is no product of the catalog. It counts from the next query on.

    The same photo again is the same refusal: it gets the new note.

    Args:
        store: the refusals of an index.
        bundle: the index's model.
        name: of the file that the photo came from.
        photo: the bytes of the file.
        note: what it shows, or why it is refused.
        encoders: lends the encoder, for callers that embed again and again.

    Raises:
        ImageError: the photo cannot be read.
        EncoderError: the network failed.
        StoreError: it could not be kept.
    """
    kept = pictures.to_jpeg(photo, KEPT_SIDE)
    refusal = RefusalPicture(
        refusal_id_of(photo),
        printable(PurePath(name).name or name)[:MAX_TEXT],
        printable(one_form(note))[:MAX_TEXT],
        datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    # Of the picture that is kept, not of the photo: another model has no other, and the same model gives this vector.
    vectors = _embedded({refusal.refusal_id: kept}, bundle, encoders)
    refusal = refusal.with_vector(bundle.fingerprint, vectors[refusal.refusal_id])
    store.add([(refusal, kept)])
    return refusal


def embed_missing(
    store: RefusalStore, bundle: Bundle, *, encoders: EncoderPool | None = None
) -> Sequence[RefusalPicture]:
    """All refusals, each with this model's vector: those that have none are embedded from the pictures kept.

    One whose picture was damaged meanwhile is left out, and logged: the others still count. Where the vectors cannot
    be kept, on a disk that may not be written, say, they are made again next time.

    Raises:
        IndexDamagedError: the list cannot be read.
        EncoderError: the network failed.
    """
    found = store.read()
    kept: dict[str, bytes] = {}
    for refusal in found:
        if not _has(refusal, bundle):
            try:
                kept[refusal.refusal_id] = store.picture(refusal.refusal_id)
                pictures.check(kept[refusal.refusal_id])
            except (ImageError, IndexDamagedError) as error:
                kept.pop(refusal.refusal_id, None)
                _log.warning("The refused picture %s does not count: %s", refusal.short, error.message)
    made = _embedded(kept, bundle, encoders)
    if made:
        with suppress(StoreError):
            store.set_vectors(bundle.fingerprint, made)
    seen = [r.with_vector(bundle.fingerprint, made[r.refusal_id]) if r.refusal_id in made else r for r in found]
    return [refusal for refusal in seen if _has(refusal, bundle)]


def _has(refusal: RefusalPicture, bundle: Bundle) -> bool:
    vector = refusal.vectors.get(bundle.fingerprint)
    return vector is not None and vector.shape == (bundle.dimension,)


def _embedded(
    kept: Mapping[str, bytes], bundle: Bundle, encoders: EncoderPool | None
) -> dict[str, NDArray[np.float32]]:
    vectors: dict[str, NDArray[np.float32]] = {}
    for result in embed_pictures(list(kept), bundle, partial(_look, kept, bundle), encoders=encoders):
        if isinstance(result, Refused):
            raise result.error
        assert result.vector is not None
        vectors[result.item] = result.vector
    return vectors


def _look(kept: Mapping[str, bytes], bundle: Bundle, refusal_id: str) -> Look[None]:
    return Look(None, pictures.prepare(kept[refusal_id], bundle.preprocessing))


@dataclass(frozen=True, slots=True, eq=False)
class KnownRefusals:
    """The refusals of an index as one model sees them.

    Attributes:
        pictures: oldest first.
        vectors: their unit vectors, shape (n, d).
    """

    pictures: Sequence[RefusalPicture]
    vectors: NDArray[np.float32]

    @classmethod
    def load(cls, store: RefusalStore, bundle: Bundle, *, encoders: EncoderPool | None = None) -> KnownRefusals:
        """Read them; see `embed_missing` for what may be raised."""
        found = embed_missing(store, bundle, encoders=encoders)
        vectors = [r.vectors[bundle.fingerprint] for r in found]
        return cls(found, np.stack(vectors) if vectors else np.zeros((0, bundle.dimension), np.float32))

    def nearest(self, vector: NDArray[np.float32]) -> RefusedBy | None:
        """The refusal nearest to a photo, and how near it is; None where there are none.

        Args:
            vector: unit vector of the photo, shape (d,).
        """
        if not len(self.vectors):
            return None
        # Differences, not 2 - 2c: a photo that is itself refused has the distance 0, not the rounding of a cosine.
        distances = np.square(self.vectors - vector).sum(axis=1)
        place = int(distances.argmin())
        found = self.pictures[place]
        return RefusedBy(found.refusal_id, found.image, found.note, min(float(distances[place]), MAX_DISTANCE))
