"""The keypoints of an index's pictures, made after it went live: what is missing is made, what is gone is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from retrieval.catalog.fetched import locate
from retrieval.errors import ImageError
from retrieval.images import pictures
from retrieval.index.protocols import Index
from retrieval.indexing.report import KeypointsMade
from retrieval.system.progress import Progress, Silent
from retrieval.system.threads import default_threads, ordered_map
from retrieval.verification.kept import KeptLooks, look_at

_WRITTEN = 64
"""Pictures whose keypoints are written at once: what a run that is killed has to make again."""


def make_keypoints(index: Index, *, threads: int | None = None, progress: Progress | None = None) -> KeypointsMade:
    """Make the keypoints of all pictures of the live generation that have none; the index itself is only read.

    Whatever ends it, what was made is kept, and the next run goes on from there. Those of refused pictures are made
    when one is looked for, and are kept while it is there.

    Args:
        index: an index that was built.
        threads: that read and look; default one per core.
        progress: told how far it is.

    Raises:
        UsageError: OpenCV is not installed, and there is something to look at.
        StoreError: they cannot be kept, or the index cannot be read.
    """
    shown, kept = progress or Silent(), KeptLooks(index.location)
    with index.reader() as (store, manifest):
        known = [(record.image_id, record.content_hash, record.image) for record in store.records()]
    images = {image_id: image for image_id, _, image in known}
    wanted = list(kept.missing((image_id, content_hash) for image_id, content_hash, _ in known))
    made = unread = 0
    if wanted:
        shown.stage("Looking for keypoints", len(wanted))
        look = _looking(Path(manifest.catalog), images)
        for part in _parts(ordered_map(look, wanted, threads or default_threads())):
            done = [(image_id, content_hash, seen) for (image_id, content_hash), seen in part if seen is not None]
            kept.put(done)
            made, unread = made + len(done), unread + len(part) - len(done)
            shown.advance(len(part))
    refused = [refusal.refusal_id for refusal in index.refusals.read()]
    return KeypointsMade(made, unread, kept.prune([*images, *refused]))


_Wanted = tuple[str, str]


def _looking(catalog: Path, images: dict[str, str]) -> Callable[[_Wanted], tuple[_Wanted, bytes | None]]:
    def look(wanted: _Wanted) -> tuple[_Wanted, bytes | None]:
        image_id, content_hash = wanted
        file, root = locate(catalog, images[image_id])
        try:
            data = pictures.read_file(file, root=root)
            # Another picture has that name by now: the next run indexes it, and makes its keypoints.
            if pictures.content_hash(data) != content_hash:
                return wanted, None
            return wanted, look_at(data)
        except ImageError:
            return wanted, None

    return look


def _parts(
    looks: Iterator[tuple[_Wanted, bytes | None]],
) -> Iterator[list[tuple[_Wanted, bytes | None]]]:
    while part := list(islice(looks, _WRITTEN)):
        yield part
