"""The refused pictures of an index on a server: points of a small collection beside its generations, ``NAME-refusals``.

Each change is one request for one point, so that several machines can make theirs at the same time. One more point
holds a token that every change replaces: whoever keeps them in memory asks for it alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import IndexDamagedError, UsageError
from retrieval.index.refusals import REFUSALS_SCHEMA, RefusalPicture, check_refusal_id, ordered
from retrieval.index.server.collections import KEY, Collections, read_metadata
from retrieval.index.server.errors import MissingError

VERSION_SECONDS = 1.0
"""What another machine changed is seen after so long at most: a query should not pay for a question of its own."""
_TOKEN = "00000000-0000-4000-8000-000000000000"
_PICTURE = "picture"
_VECTOR = "vector_"
_WORDS = ("image", "note", "created")
_PAGE = 1000


class ServerRefusals:
    """See `retrieval.index.refusals.RefusalStore` for what its methods promise."""

    def __init__(self, collections: Collections) -> None:
        """Name them; nothing is asked."""
        self._collections = collections
        self._name = f"{collections.address.name}-refusals"
        self._asked: tuple[float, str] | None = None

    def version(self) -> str:
        """See `RefusalStore.version`; asked of the server at most once in `VERSION_SECONDS`."""
        if self._asked is None or time.monotonic() - self._asked[0] >= VERSION_SECONDS:
            found = self._retrieve(_TOKEN, ["token"])
            self._asked = (time.monotonic(), str(found.get("token", "")) if found else "")
        return self._asked[1]

    def read(self) -> list[RefusalPicture]:
        """See `RefusalStore.read`."""
        from qdrant_client import models

        found: list[RefusalPicture] = []
        offset: Any = None
        link = self._collections.link
        while True:
            try:
                page, offset = link.read(
                    "read the refused pictures",
                    link.client.scroll,
                    self._name,
                    limit=_PAGE,
                    offset=offset,
                    with_payload=models.PayloadSelectorExclude(exclude=[_PICTURE]),
                    with_vectors=False,
                )
            except MissingError:
                return []
            found += [_decode(str(point.id), point.payload or {}) for point in page if str(point.id) != _TOKEN]
            if offset is None:
                return ordered(found)

    def picture(self, refusal_id: str) -> bytes:
        """See `RefusalStore.picture`."""
        check_refusal_id(refusal_id)
        found = self._retrieve(refusal_id, [_PICTURE])
        try:
            return base64.b64decode((found or {})[_PICTURE], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise IndexDamagedError(
                f"The refused picture {refusal_id[:8]} is not in {self._name}",
                hint=f"Remove it, and add its photo again: itemrec refuse remove {refusal_id[:8]}",
            ) from error

    def add(self, refusals: Sequence[tuple[RefusalPicture, bytes]]) -> None:
        """See `RefusalStore.add`."""
        if not refusals:
            return
        self._make()
        known = {r.refusal_id: r for r in self.read()}
        for refusal, picture in refusals:
            check_refusal_id(refusal.refusal_id)
            kept = known[refusal.refusal_id].merged(refusal) if refusal.refusal_id in known else refusal
            self._upsert(refusal.refusal_id, _encode(kept) | {_PICTURE: base64.b64encode(picture).decode()})
        self._touch()

    def remove(self, refusal_ids: Sequence[str]) -> None:
        """See `RefusalStore.remove`."""
        from qdrant_client import models

        for refusal_id in refusal_ids:
            check_refusal_id(refusal_id)
        link = self._collections.link
        selector = models.PointIdsList(points=list(refusal_ids))
        try:
            link.write("remove refused pictures", link.client.delete, self._name, selector, wait=True)
        except MissingError:
            return
        self._touch()

    def set_vectors(self, fingerprint: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """See `RefusalStore.set_vectors`."""
        from qdrant_client import models

        link = self._collections.link
        for known in self.read():
            if known.refusal_id not in vectors:
                continue
            now = known.with_vector(fingerprint, vectors[known.refusal_id])
            # By a filter: a point that somebody removed meanwhile matches nothing, where its id would be an error.
            this = models.Filter(must=[models.HasIdCondition(has_id=[known.refusal_id])])
            operations: list[Any] = [
                models.SetPayloadOperation(
                    set_payload=models.SetPayload(
                        payload={_VECTOR + fingerprint: _encode(now)[_VECTOR + fingerprint]}, filter=this
                    )
                )
            ]
            if gone := sorted(_VECTOR + old for old in known.vectors.keys() - now.vectors.keys()):
                operations.append(
                    models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=gone, filter=this))
                )
            link.write(
                "keep the vectors of refused pictures",
                link.client.batch_update_points,
                self._name,
                operations,
                wait=True,
            )
        self._touch()

    def _retrieve(self, point_id: str, fields: list[str]) -> dict[str, Any] | None:
        link = self._collections.link
        try:
            found = link.read(
                "look for refused pictures",
                link.client.retrieve,
                self._name,
                ids=[point_id],
                with_payload=fields,
                with_vectors=False,
            )
        except MissingError:
            return None
        return dict(found[0].payload or {}) if found else None

    def _upsert(self, point_id: str, payload: dict[str, Any]) -> None:
        from qdrant_client import models

        link = self._collections.link
        # A vector that means nothing: not every server keeps points without one.
        point = models.PointStruct(id=point_id, vector=[1.0], payload=payload)
        link.write("keep a refused picture", link.client.upsert, self._name, [point], wait=True)

    def _touch(self) -> None:
        self._upsert(_TOKEN, {"token": uuid.uuid4().hex})
        self._asked = None

    def _make(self) -> None:
        """Make the collection where there is none, for as many copies as the index has.

        Raises:
            UsageError: a collection of that name belongs to another program.
        """
        from qdrant_client import models

        collections, link = self._collections, self._collections.link
        info = collections.info(self._name)
        if info is not None:
            if (read_metadata(info) or {}).get("schema") != REFUSALS_SCHEMA:
                raise UsageError(
                    f"The collection {self._name!r} at {collections.address.url} belongs to another program",
                    hint="Give the index another name: --index http://HOST:6333/NAME",
                )
            return
        listing = collections.listing()
        newest = max([*listing.complete, *listing.building], default=0)
        made = collections.info(collections.name(newest))
        parameters = made.config.params if made is not None else None

        def attempt() -> None:
            try:
                link.client.create_collection(
                    self._name,
                    vectors_config=models.VectorParams(size=1, distance=models.Distance.DOT),
                    replication_factor=getattr(parameters, "replication_factor", None),
                    write_consistency_factor=getattr(parameters, "write_consistency_factor", None),
                    on_disk_payload=True,
                    metadata={KEY: json.dumps({"schema": REFUSALS_SCHEMA})},
                )
            except Exception as error:
                # Another machine was first.
                if "already exists" not in str(error):
                    raise

        link.write("make a collection for refused pictures", attempt)


def _encode(refusal: RefusalPicture) -> dict[str, Any]:
    data = refusal.to_json()
    order = list(refusal.vectors)
    return {word: data[word] for word in _WORDS} | {_VECTOR + f: data["vectors"][f] for f in order}


def _decode(point_id: str, payload: dict[str, Any]) -> RefusalPicture:
    vectors = {key.removeprefix(_VECTOR): value for key, value in payload.items() if key.startswith(_VECTOR)}
    data = {word: payload.get(word) for word in _WORDS}
    return RefusalPicture.from_json(data | {"refusal_id": point_id, "vectors": vectors})
