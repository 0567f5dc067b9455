"""Pictures that are none of the catalog's ("not ours"), as an index keeps them beside its generations.

They belong to the place, not to a generation: no index run, rebuild, rollback or clean-up touches them. Each keeps a
small JPEG, from which another model makes its vector, and one vector for each of the last few models.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import IndexDamagedError, UsageError

REFUSALS_SCHEMA = "itemrec.refusals/1"
MODELS_KEPT = 4
"""Vectors of so many models are kept for each picture: of the live generation, and of those to go back to."""
MAX_TEXT = 1000
"""Longest note and name, in characters."""
_UNIT_TOLERANCE = 2e-3
SHORT_ID = 8
"""So many characters of an id are shown."""
_NAMESPACE = uuid.UUID("0d4ce8b1-47c5-5f0e-8e67-6b1ad0b1c0de")


@dataclass(frozen=True, slots=True, eq=False)
class RefusalPicture:
    """A picture that is no product of the catalog.

    Attributes:
        refusal_id: a UUID that its bytes decide, so that the same photo added twice is one.
        image: the name of the file that it came from.
        note: what it shows, or why it is refused; may be empty.
        created: when it was added first, ISO 8601 in UTC.
        vectors: its unit vector, float32, shape (d,), by the fingerprint of the model that made it; latest last.
    """

    refusal_id: str
    image: str
    note: str
    created: str
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @property
    def short(self) -> str:
        """The beginning of its id, as people name it."""
        return self.refusal_id[:SHORT_ID]

    def with_vector(self, fingerprint: str, vector: NDArray[np.float32]) -> RefusalPicture:
        """The same, with one more model's vector; those of the oldest models go."""
        kept = {f: v for f, v in self.vectors.items() if f != fingerprint}
        oldest = list(kept)[: max(0, len(kept) - MODELS_KEPT + 1)]
        return replace(self, vectors={f: v for f, v in kept.items() if f not in oldest} | {fingerprint: vector})

    def merged(self, other: RefusalPicture) -> RefusalPicture:
        """The same picture added again: the later words, and the vectors of both."""
        joined = replace(other, created=min(self.created, other.created), vectors=self.vectors)
        for fingerprint, vector in other.vectors.items():
            joined = joined.with_vector(fingerprint, vector)
        return replace(joined, note=other.note or self.note)

    def described(self) -> dict[str, str]:
        """What people and programs are told of it, as JSON."""
        return {"refusal_id": self.refusal_id, "image": self.image, "note": self.note, "created": self.created}

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back."""
        return {**self.described(), "vectors": {f: _base64(v) for f, v in self.vectors.items()}}

    @classmethod
    def from_json(cls, data: Any) -> RefusalPicture:
        """Read what `to_json` wrote, as what a stranger sent.

        Raises:
            IndexDamagedError: it is not that.
        """
        try:
            texts = [data[name] for name in ("refusal_id", "image", "note", "created")]
            if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts):
                raise ValueError("expected short texts")
            check_refusal_id(texts[0])
            if not isinstance(data["vectors"], dict) or len(data["vectors"]) > 2 * MODELS_KEPT:
                raise ValueError("expected the vectors of a few models")
            refusal_id, image, note, created = texts
            vectors = {_fingerprint(f): _vector(text) for f, text in data["vectors"].items()}
            return cls(refusal_id, image, note, created, vectors)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IndexDamagedError(
                f"A refused picture of the index cannot be read: {error}",
                hint="Restore the index from a snapshot, or remove what it says of refusals",
            ) from error


def _fingerprint(text: Any) -> str:
    if not re.fullmatch(r"[\w.:-]{1,128}", text):
        raise ValueError(f"expected a model's fingerprint, received {text!r:.80}")
    return str(text)


# The module base64 would do the same; a cold query would feel its import.
def _base64(vector: NDArray[np.float32]) -> str:
    return binascii.b2a_base64(vector.astype("<f4").tobytes(), newline=False).decode()


def _vector(text: str) -> NDArray[np.float32]:
    try:
        vector = np.frombuffer(binascii.a2b_base64(text), "<f4").astype(np.float32)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    # `is_unit` for one vector, in a fifth of its time: a query reads all of them. What is not finite compares false.
    if not abs(float(vector @ vector) - 1.0) <= _UNIT_TOLERANCE:
        raise ValueError("expected a unit vector")
    return vector


def check_refusal_id(refusal_id: str) -> None:
    """Refuse what is no id of a refusal: it also names a file; raises ValueError."""
    if str(uuid.UUID(refusal_id)) != refusal_id:
        raise ValueError(f"expected the id of a refusal, received {refusal_id!r:.80}")


def refusal_id_of(photo: bytes) -> str:
    """The id of a photo: the same bytes are the same refusal, whoever adds them."""
    return refusal_id_of_hash(hashlib.sha256(photo).hexdigest())


def refusal_id_of_hash(content_hash: str) -> str:
    """The id of a photo whose SHA-256 is known, in hex."""
    return str(uuid.uuid5(_NAMESPACE, content_hash))


def ordered(refusals: Iterable[RefusalPicture]) -> list[RefusalPicture]:
    """Oldest first: the one order in which they are read everywhere."""
    return sorted(refusals, key=lambda r: (r.created, r.refusal_id))


def named(refusals: Sequence[RefusalPicture], words: Iterable[str]) -> list[RefusalPicture]:
    """Those that somebody means, by id, by the beginning of one, or by the name of the file.

    Raises:
        UsageError: a word means none, or several.
    """
    found: dict[str, RefusalPicture] = {}
    for word in words:
        meant = [r for r in refusals if r.refusal_id == word or r.image == word]
        meant = meant or [r for r in refusals if len(word) >= 4 and r.refusal_id.startswith(word.lower())]
        if len(meant) != 1:
            several = f"{len(meant)}: {', '.join(r.short for r in meant[:8])}" if meant else "none"
            raise UsageError(
                f"expected the id or the name of one refused picture, received {word!r:.200}, which names {several}",
                hint="itemrec refuse list shows them with their ids",
            )
        found[meant[0].refusal_id] = meant[0]
    return list(found.values())


def read_refusals(text: str | bytes) -> list[RefusalPicture]:
    """What `write_refusals` wrote.

    Raises:
        IndexDamagedError: it is not that.
    """
    try:
        data = json.loads(text)
        if data["schema"] != REFUSALS_SCHEMA:
            raise ValueError(f"expected the schema {REFUSALS_SCHEMA}, received {data['schema']!r:.80}")
        entries = data["refusals"]
        if not isinstance(entries, list):
            raise ValueError("expected a list of pictures")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise IndexDamagedError(
            f"The index's list of refused pictures cannot be read: {error}",
            hint="Restore the index from a snapshot, or remove that list",
        ) from error
    return [RefusalPicture.from_json(entry) for entry in entries]


def write_refusals(refusals: Iterable[RefusalPicture]) -> str:
    """All of them as one JSON document, without their pictures."""
    return json.dumps({"schema": REFUSALS_SCHEMA, "refusals": [r.to_json() for r in refusals]}, ensure_ascii=False)


class RefusalStore(Protocol):
    """The refused pictures of one index. Every write is durable when the call returns; none needs the writer's lock.

    So pictures can be added and removed while an index run or a rebuild is under way, by several processes.
    """

    def version(self) -> str:
        """Another text whenever they may have changed; cheap enough for every query. Empty where there are none."""
        ...

    def read(self) -> list[RefusalPicture]:
        """All of them, oldest first.

        Raises:
            IndexDamagedError: what is stored cannot be read.
        """
        ...

    def picture(self, refusal_id: str) -> bytes:
        """The JPEG of one.

        Raises:
            IndexDamagedError: it is not there.
        """
        ...

    def add(self, refusals: Sequence[tuple[RefusalPicture, bytes]]) -> None:
        """Keep pictures, each with its JPEG; one that is there already keeps its vectors and gets the new words."""
        ...

    def remove(self, refusal_ids: Sequence[str]) -> None:
        """Forget pictures; ids that are not there are no error."""
        ...

    def set_vectors(self, fingerprint: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep a model's vectors, by id; ids that are gone meanwhile are no error."""
        ...
