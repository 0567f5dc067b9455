"""What an index run did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from retrieval.catalog.read import Join, Refusal
from retrieval.system import html

_SHOWN = 20


class KeypointsMade(NamedTuple):
    """What was done about the keypoints that close calls are looked at with.

    Attributes:
        made: pictures that were looked at.
        unread: pictures that are not where the index says, or cannot be read any more.
        forgotten: pictures that left the index.
    """

    made: int
    unread: int
    forgotten: int


@dataclass(slots=True)
class IndexReport:
    """What an index run did. ``updated`` counts replaced pictures and changed metadata together.

    Attributes:
        catalog: the folder that picture paths are relative to.
        index: where the index lies.
        model: the name of the model that made the vectors.
        fingerprint: and its fingerprint.
        added: pictures that were new.
        replaced: pictures whose content changed.
        metadata_updated: pictures whose product's metadata changed, and nothing else.
        unchanged: pictures for which there was nothing to do.
        removed: pictures that left the catalog and were removed.
        departed: pictures that left the catalog and are still in the index.
        moved: pictures whose bytes the catalog has under another product or path: from where to where, by image id.
        fresh: of a dry run: the pictures that would be written, path by content hash.
        refused: files that cannot be indexed, each with its reason, by path.
        ignored: files that are no part of a catalog, such as ``Thumbs.db``.
        images: pictures that the index holds now.
        products: products that the index holds now.
        waiting: how many other workers of a sharded run the index waits for.
        product_level: which level of folders holds the products, from 1.
        notes: what was understood of the catalog and a person may want to know, a line each.
        flawed_profiles: pictures whose color profiles are damaged and were ignored.
        join: what a table and the folders beside it do not have in common.
        planned: of a dry run: what would be done, and with which picture.
        done: pictures dealt with so far.
        keypoints: what was done about keypoints; None where nobody asked for them.
    """

    added: int = 0
    replaced: int = 0
    metadata_updated: int = 0
    unchanged: int = 0
    removed: int = 0
    departed: int = 0
    moved: dict[str, tuple[str, str]] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict, repr=False)
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
    product_level: int = 1
    notes: tuple[str, ...] = ()
    flawed_profiles: list[str] = field(default_factory=list, repr=False)
    join: Join = field(default_factory=Join)
    planned: list[tuple[str, str]] = field(default_factory=list)
    done: int = 0
    keypoints: KeypointsMade | None = None
    catalog: str = ""
    index: str = ""
    model: str = ""

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
            "moved": [{"from": old, "to": new} for old, new in sorted(self.moved.values())],
            "ignored": self.ignored,
            "products_without_pictures": list(self.products_without_pictures),
            "product_level": self.product_level,
            "notes": list(self.notes),
            "flawed_profiles": sorted(self.flawed_profiles),
            "rows_without_folder": list(self.join.rows),
            "folders_without_row": list(self.join.folders),
            "likely_pairs": [{"row": row, "folder": folder} for row, folder in self.join.pairs],
            "resumed": self.resumed,
            "dry_run": self.dry_run,
        }
        if self.shard:
            document |= {"shard": self.shard, "waiting_for_shards": self.waiting}
        if self.keypoints is not None:
            document["keypoints"] = self.keypoints._asdict()
        if self.dry_run:
            document["plan"] = [{"action": action, "image": image} for action, image in self.planned]
        return document

    def _repr_html_(self) -> str:
        """What a notebook shows: the counts, and what was refused."""
        counts = ("added", "updated", "unchanged", "removed", "departed")
        return html.fragment(
            f"{self.images:,} pictures of {self.products:,} products in {self.index}",
            html.table(counts, [[f"{getattr(self, name):,}" for name in counts]], numeric=range(len(counts))),
            html.table(("refused", "why"), [(r.path, r.reason) for r in self.refused[:_SHOWN]]) if self.refused else "",
            f"and {len(self.refused) - _SHOWN:,} more" if len(self.refused) > _SHOWN else "",
        )
