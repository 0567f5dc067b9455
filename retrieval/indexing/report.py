"""What an index run did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from retrieval.catalog.read import Refusal


@dataclass(slots=True)
class IndexReport:
    """What an index run did. ``updated`` counts replaced pictures and changed metadata together."""

    added: int = 0
    replaced: int = 0
    metadata_updated: int = 0
    unchanged: int = 0
    removed: int = 0
    departed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    ignored: int = 0
    products_without_pictures: tuple[str, ...] = ()
    images: int = 0
    products: int = 0
    seconds: float = 0.0
    fingerprint: str = ""
    resumed: bool = False
    dry_run: bool = False
    shard: str = ""
    waiting: int = 0
    planned: list[tuple[str, str]] = field(default_factory=list)
    done: int = 0
    """Pictures dealt with so far, of as many as `retrieval.catalog.read.Catalog.count` says."""

    @property
    def updated(self) -> int:
        """Pictures whose point changed: replaced pictures and changed metadata."""
        return self.replaced + self.metadata_updated

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.index/1`` document."""
        document: dict[str, Any] = {
            "schema": "itemrec.index/1",
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "refused": [{"path": r.path, "reason": r.reason, "code": r.code} for r in self.refused],
            "images": self.images,
            "products": self.products,
            "seconds": round(self.seconds, 3),
            "fingerprint": self.fingerprint,
            "metadata_updated": self.metadata_updated,
            "departed": self.departed,
            "ignored": self.ignored,
            "products_without_pictures": list(self.products_without_pictures),
            "resumed": self.resumed,
            "dry_run": self.dry_run,
        }
        if self.shard:
            document |= {"shard": self.shard, "waiting_for_shards": self.waiting}
        if self.dry_run:
            document["plan"] = [{"action": action, "image": image} for action, image in self.planned]
        return document
