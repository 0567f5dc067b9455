"""How a record is written into a Qdrant payload, and how filters find it again; one codec for every store.

A payload is ``{"product_id", "image", "hash", "kind", "meta", "tags"}``, without ``kind`` in what releases of before
wrote. ``meta`` is the product's
metadata as JSON text: read back as an object, the engine may return a float that differs in
its last bit, and metadata would seem changed in every index run. ``tags`` repeats it as one keyword per column,
``["category","Milk"]`` in compact JSON, so that a single keyword index serves filters on any
column: column names with dots, brackets or quotes never meet Qdrant's JSON-path syntax,
numbers and strings stay apart, and the cost of opening an index does not grow with the
number of columns.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import UNIT_TOLERANCE, is_unit
from retrieval.errors import IndexDamagedError, StoreError
from retrieval.index.commands import REBUILD_HINT
from retrieval.types import (
    MAX_COLUMNS,
    MAX_VALUE_BYTES,
    PICTURE_KINDS,
    Compare,
    IndexedImage,
    JsonScalar,
    JsonValue,
    Metadata,
    PictureKind,
    Point,
    Where,
)

PRODUCT = "product_id"
IMAGE = "image"
HASH = "hash"
KIND = "kind"
META = "meta"
TAGS = "tags"
SHOWN = (PRODUCT, IMAGE, KIND, META)
"""What an answer needs of a payload: reading the rest takes as long as scanning ten thousand pictures."""

MAX_NAME_BYTES = 4096
"""Longest product id, image path or column name, in UTF-8: the longest path Linux opens."""
MAX_TAG_BYTES = 200
"""A longer keyword is indexed by its hash, so that descriptions do not swell the index."""

_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CODE = re.compile(r"[+-]?0\d")
_HINT = "Repair that entry of the catalog or its products table"


def encode(record: IndexedImage) -> dict[str, Any]:
    """The payload of a record that `check_record` accepted."""
    return {
        PRODUCT: record.product_id,
        IMAGE: record.image,
        HASH: record.content_hash,
        **({} if record.kind is None else {KIND: record.kind}),
        **encode_metadata(record.metadata),
    }


def encode_metadata(metadata: Metadata) -> dict[str, Any]:
    """The part of a payload that a change of metadata replaces."""
    tags = dict.fromkeys(tag(key, value) for key, held in metadata.items() for value in each(held))
    return {META: _compact(dict(metadata)), TAGS: list(tags)}


def size(payload: Mapping[str, Any]) -> int:
    """At most this many bytes of UTF-8 are in a payload."""
    return 4 * sum(map(len, (payload[PRODUCT], payload[IMAGE], payload[HASH], payload[META], *payload[TAGS])))


def decode(image_id: str, payload: Mapping[str, Any] | None) -> IndexedImage:
    """The record of a payload.

    Raises:
        IndexDamagedError: it is not one that `encode` wrote.
    """
    try:
        if payload is None:
            raise TypeError("no payload")
        return IndexedImage(
            image_id=image_id,
            product_id=payload[PRODUCT],
            image=payload[IMAGE],
            content_hash=payload[HASH],
            metadata=json.loads(payload[META]),
            kind=_kind(payload),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(image_id, error) from error


def decode_shown(found: Any, known: dict[str, Metadata]) -> tuple[str, str, Metadata, PictureKind | None]:
    """Product, picture, metadata and kind of a payload of which only the fields of `SHOWN` were asked for.

    Args:
        found: with ``id``, for the error, and ``payload``: as it is stored, or those fields of it.
        known: metadata by their text, added to: pictures of one product mostly have the same.

    Raises:
        IndexDamagedError: it is not one that `encode` wrote.
    """
    payload = found.payload
    try:
        if payload is None:
            raise TypeError("no payload")
        text = payload[META]
        metadata = known.get(text)
        if metadata is None:
            metadata = known[text] = _read_metadata(text)
        return payload[PRODUCT], payload[IMAGE], metadata, _kind(payload)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(str(found.id), error) from error


def _read_metadata(text: str) -> Metadata:
    """As `json.loads` of what `encode` wrote, without what it does for other texts."""
    metadata: Metadata
    metadata, end = _read_json(text)
    if end != len(text):
        raise ValueError(f"more than an object as {META}: {text!r:.80}")
    return metadata


_read_json = json.JSONDecoder().raw_decode


def _kind(payload: Mapping[str, Any]) -> PictureKind | None:
    kind: PictureKind | None = payload.get(KIND)
    if kind is not None and kind not in PICTURE_KINDS:
        raise ValueError(f"{kind!r:.80} as the kind of a picture")
    return kind


def _damaged(image_id: str, error: Exception) -> IndexDamagedError:
    return IndexDamagedError(
        f"expected the record of a picture at point {image_id}, received {error}", hint=REBUILD_HINT
    )


def tag(key: str, value: JsonScalar) -> str:
    """The keyword under which a column's value is found: equal numbers give equal keywords."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = _compact([key, value])
    if len(text) > MAX_TAG_BYTES // 4 and len(text.encode()) > MAX_TAG_BYTES:
        return json.dumps([_head(key), {"sha256": hashlib.sha256(text.encode()).hexdigest()}], ensure_ascii=False)
    return text


def read_tag(text: str) -> tuple[str, JsonScalar] | None:
    """Column and value of a keyword; None where only its hash was kept."""
    key, value = json.loads(text)
    return None if isinstance(value, dict) else (key, value)


def tag_head(key: str) -> str:
    """What every keyword of a column begins with; other columns' keywords may, too."""
    return _compact([_head(key)])[:-2]


def each(value: JsonValue) -> Sequence[JsonScalar]:
    """The values that a column holds: those of a list, or the one."""
    return value if isinstance(value, list) else (value,)


def filter_tags(
    where: Where, tags: Callable[[], Iterable[str]], metadata_with: Callable[[str], Metadata]
) -> list[list[str]]:
    """A filter as lists of keywords: a point must carry one of each list.

    Numbers are compared as numbers, also where a table spells them: ``3.5`` finds ``3.50``. No engine is asked to
    compare; it is asked which values there are.

    Args:
        where: the filter.
        tags: every keyword that the index holds, of any column; asked only for numbers and comparisons.
        metadata_with: the metadata of one point that carries a keyword; a long value is indexed by its hash alone.
    """
    found: list[list[str]] = []
    for key, wanted in where.items():
        compared = [value for value in wanted if isinstance(value, Compare)]
        equal = [value for value in wanted if not isinstance(value, Compare)]
        spelled = (spelled_number(value) for value in equal if isinstance(value, str))
        numbers = {number for number in spelled if number is not None}
        held = list(_held(key, tags(), metadata_with)) if numbers or compared else []
        if equal or not compared:
            same = [text for text, value in held if isinstance(value, str) and spelled_number(value) in numbers]
            found.append(list(dict.fromkeys((*wanted_tags(key, equal), *same))))
        found += [[text for text, value in held if holds(value, condition)] for condition in compared]
    return found


def _held(key: str, tags: Iterable[str], metadata_with: Callable[[str], Metadata]) -> Iterator[tuple[str, JsonScalar]]:
    head = tag_head(key)
    for text in tags:
        if text.startswith(head):
            read = read_tag(text)
            if read is None:
                yield from ((text, value) for value in each(metadata_with(text).get(key)) if tag(key, value) == text)
            elif read[0] == key:
                yield text, read[1]


def holds(value: JsonScalar, condition: Compare) -> bool:
    """Whether a value satisfies a comparison; text that spells no number satisfies none but ``?``."""
    if condition.sign == "?":
        return value not in (None, "")
    number = spelled_number(value)
    if number is None:
        return False
    return {
        "<": number < condition.number,
        "<=": number <= condition.number,
        ">": number > condition.number,
        ">=": number >= condition.number,
    }[condition.sign]


def matches(value: JsonScalar, wanted: Sequence[JsonScalar | Compare]) -> bool:
    """Whether one value of a column is what a filter asks for."""
    return all(
        tag("", value) in tags
        for tags in filter_tags({"": tuple(wanted)}, lambda: [tag("", value)], lambda _: {"": value})
    )


def spelled_number(value: object) -> float | None:
    """The number that a value is or spells; None for codes such as ``0012``, and for truth values."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text) or _CODE.match(text):
            return None
        value = int(text) if text.isdigit() and len(text) <= 18 else float(text)
    return value if math.isfinite(value) else None


def wanted_tags(key: str, values: Sequence[JsonScalar]) -> list[str]:
    """The keywords that one filter term accepts.

    A string matches that string. Because a command line can only type strings, it also matches
    what it spells: ``"3.5"`` the number 3.5, ``"true"`` the truth value, ``""`` a missing value.
    """
    accepted: dict[str, None] = {}
    for value in values:
        check_value(key, value)
        for variant in (value, *_spelled(value)):
            accepted[tag(key, variant)] = None
    return list(accepted)


def _spelled(value: JsonScalar) -> list[JsonScalar]:
    if not isinstance(value, str):
        return []
    if value == "":
        return [None]
    if value.lower() in ("true", "false"):
        return [value.lower() == "true"]
    if _NUMBER.fullmatch(value):
        if re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII):
            return [int(value)]
        number = float(value)
        return [number] if math.isfinite(number) else []
    return []


def _head(key: str) -> str:
    return key.encode()[: MAX_TAG_BYTES // 2].decode(errors="ignore")


def check_points(points: Sequence[Point], dimension: int) -> NDArray[np.float32]:
    """Refuse a batch that the engine would half-write or silently spoil.

    Args:
        points: records with unit vectors.
        dimension: length d of the index's vectors.

    Returns:
        The vectors, float32, shape (n, d), contiguous.

    Raises:
        StoreError: names the first point that is wrong and what is wrong with it.
    """
    for point in points:
        check_record(point.record)
        vector = point.vector
        if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape != (dimension,):
            received = f"{vector.dtype} {vector.shape}" if isinstance(vector, np.ndarray) else type(vector).__name__
            raise StoreError(
                f"expected a float32 vector of shape ({dimension},) for {point.record.image!r}, received {received}"
            )
    vectors = np.stack([p.vector for p in points]) if points else np.empty((0, dimension), np.float32)
    if not is_unit(vectors):
        row = next(i for i, vector in enumerate(vectors) if not is_unit(vector))
        with np.errstate(all="ignore"):  # NaN of whatever bits is no warning, but what is said here
            norm = float(np.linalg.norm(vectors[row].astype(np.float64)))
        raise StoreError(f"expected a finite vector of norm 1 for {points[row].record.image!r}, received norm {norm}")
    return vectors


def check_vector(vector: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Refuse a query vector that is not float32, finite, of norm 1 and of shape (d,); raises StoreError."""
    if not isinstance(vector, np.ndarray) or vector.shape != (dimension,) or vector.dtype != np.float32:
        received = f"{vector.dtype} {vector.shape}" if isinstance(vector, np.ndarray) else type(vector).__name__
        raise StoreError(
            f"expected a float32 query vector of shape ({dimension},), received {received}",
            hint="Embed the photo with the model that built the index",
        )
    # As `is_unit`, without what arrays cost a single vector; NaN is within no bound.
    if not abs(math.hypot(*vector.tolist()) - 1.0) <= UNIT_TOLERANCE:
        raise StoreError("expected a finite query vector of norm 1, received another norm")
    return vector


def check_record(record: IndexedImage) -> None:
    """Refuse a record that could not be read back exactly; raises StoreError."""
    check_id(record.image_id)
    for name, text in (
        ("product id", record.product_id),
        ("image path", record.image),
        ("content hash", record.content_hash),
    ):
        _check_text(name, text, record.image, MAX_NAME_BYTES)
    if not record.product_id:
        raise StoreError(f"expected a product id for {record.image!r}, received an empty one", hint=_HINT)
    check_metadata(record.metadata, record.image)


def check_id(image_id: str) -> str:
    """Refuse an id that is not a UUID in its canonical spelling; raises StoreError."""
    try:
        if str(uuid.UUID(image_id)) == image_id:
            return image_id
    except (ValueError, AttributeError, TypeError):
        pass
    raise StoreError(f"expected a UUID as image id, received {image_id!r}")


def next_id(image_id: str | None) -> uuid.UUID | None:
    """The id that follows: where a scroll begins that leaves out what came before; None at either end."""
    number = -1 if image_id is None else uuid.UUID(image_id).int
    return uuid.UUID(int=number + 1) if 0 <= number < 2**128 - 1 else None


def id_steps(count: int) -> list[uuid.UUID]:
    """``count`` ids at equal distances, from the smallest on."""
    return [uuid.UUID(int=i * 2**128 // count) for i in range(count)]


def check_metadata(metadata: Metadata, owner: str) -> None:
    """Refuse metadata that JSON cannot carry unchanged; raises StoreError naming ``owner``."""
    if len(metadata) > MAX_COLUMNS:
        raise StoreError(
            f"expected at most {MAX_COLUMNS} metadata columns for {owner!r}, received {len(metadata)}",
            hint=_HINT,
        )
    for key, value in metadata.items():
        _check_text("metadata column name", key, owner, MAX_NAME_BYTES)
        check_value(key, value)


def check_value(key: str, value: JsonValue) -> None:
    """Refuse a metadata value that is no JSON scalar within bounds, nor a list of some; raises StoreError."""
    if isinstance(value, list) and not any(isinstance(one, list) for one in value) and len(value) <= MAX_COLUMNS:
        for one in value:
            check_value(key, one)
        return
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(f"value of {key!r}", value, value[:80], MAX_VALUE_BYTES)
        return
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    raise StoreError(
        f"expected a string, a finite number, a 64-bit integer, true, false or nothing for {key!r}, "
        f"received {value!r:.80}",
        hint=_HINT,
    )


def _check_text(name: str, text: str, owner: str, limit: int) -> None:
    if not isinstance(text, str):
        raise StoreError(f"expected text as {name} of {owner!r}, received {type(text).__name__}", hint=_HINT)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise StoreError(
            f"expected valid Unicode as {name} of {owner!r}, received {text!r:.80}",
            hint="Rename the file or repair the table: its bytes are not UTF-8",
        ) from error
    if size > limit:
        raise StoreError(f"expected at most {limit} bytes as {name} of {owner!r:.80}, received {size}", hint=_HINT)
