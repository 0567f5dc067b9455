"""Pure: what an index run has to do with each picture, from what the index already knows."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from enum import Enum

from retrieval.index.sharding import Shard
from retrieval.types import IndexedImage, Metadata


class Action(Enum):
    """What happens to one picture."""

    ADD = "add"
    REPLACE = "replace"
    METADATA = "metadata"
    KEEP = "keep"


def metadata_digest(metadata: Metadata) -> bytes:
    """Eight bytes that change when a product's metadata change; the order of keys does not matter."""
    text = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


class IndexSnapshot:
    """What the index held when the run began, compactly: about 200 bytes a picture.

    Content hashes are shortened to 16 bytes, which two pictures share by chance
    once in 10^38 comparisons.
    """

    def __init__(self, records: Iterable[IndexedImage] = (), shard: Shard | None = None) -> None:
        """Read what the index holds.

        Args:
            records: all of it.
            shard: the part that this worker takes; None for everything.
        """
        self._shard = shard
        self._digests: dict[bytes, bytes] = {
            _key(r.image_id): _short(r.content_hash) + metadata_digest(r.metadata)
            for r in records
            if self.takes(r.image_id)
        }
        self._unseen = set(self._digests)

    def __len__(self) -> int:
        return len(self._digests)

    def takes(self, image_id: str) -> bool:
        """True for pictures that this worker is to deal with."""
        return self._shard is None or self._shard.takes(image_id)

    def share(self, total: int) -> int:
        """About how many of so many pictures this worker is to deal with."""
        return total if self._shard is None else total // self._shard.count

    def see(self, image_id: str) -> None:
        """Note that the catalog still has this picture, so that it does not count as departed."""
        self._unseen.discard(_key(image_id))

    def action(self, image_id: str, content_hash: str, digest: bytes) -> Action:
        """What to do with a picture of the catalog.

        Args:
            image_id: its point id.
            content_hash: SHA-256 of its bytes now, hex.
            digest: `metadata_digest` of its product now.
        """
        known = self._digests.get(_key(image_id))
        if known is None:
            return Action.ADD
        if known[:16] != _short(content_hash):
            return Action.REPLACE
        return Action.KEEP if known[16:] == digest else Action.METADATA

    def departed(self) -> Iterator[str]:
        """Ids of the pictures that the index holds and the catalog does not, in a stable order."""
        for key in sorted(self._unseen):
            yield str(uuid.UUID(bytes=key))


def _key(image_id: str) -> bytes:
    return uuid.UUID(image_id).bytes


def _short(content_hash: str) -> bytes:
    return bytes.fromhex(content_hash[:32])
