"""The generations that an embedded index keeps: which there are, going back to one, removing them.

A folder under ``generations`` is complete when it holds a manifest and no ``build.json``. Everything
here but the listing needs the writer's lock, so that nothing is built or switched meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import IndexDamagedError
from retrieval.index.checks import require_sound
from retrieval.index.embedded.build import BuildRecord
from retrieval.index.embedded.copy import BUILD_FILE
from retrieval.index.manifest import Generation, Manifest, choose_kept
from retrieval.system.files import allocated, os_errors

if TYPE_CHECKING:
    from retrieval.index.embedded.index import EmbeddedIndex


def complete(index: EmbeddedIndex) -> dict[int, Manifest]:
    """Every complete generation that can be read, the live one included, by number."""
    found: dict[int, Manifest] = {}
    live = index.name_or_none()
    for folder in folders(index):
        if folder.name == live or not (folder / BUILD_FILE).exists():
            try:
                manifest = index.read_manifest(folder.name)
            except (FileNotFoundError, IndexDamagedError):
                continue
            found[manifest.generation] = manifest
    return found


def folders(index: EmbeddedIndex) -> list[Path]:
    """The folders of all generations, complete or not, by name."""
    try:
        return sorted(f for f in (index.path / "generations").iterdir() if f.is_dir())
    except FileNotFoundError:
        return []


def list_generations(index: EmbeddedIndex) -> list[Generation]:
    """See `retrieval.index.protocols.Index.generations`."""
    live = index.current_name()
    whole = complete(index)
    found = [
        Generation(
            number,
            "live" if index.generation_path(number).name == live else "kept",
            manifest.model,
            manifest.images,
            manifest.products,
            manifest.created,
            allocated(index.generation_path(number)),
        )
        for number, manifest in whole.items()
    ]
    for folder in folders(index):
        record = BuildRecord.read(folder / BUILD_FILE)
        if record is not None and record.generation not in whole:
            found.append(Generation(record.generation, "building", record.model, None, None, None, allocated(folder)))
    return sorted(found, key=lambda g: g.number)


def rollback(index: EmbeddedIndex, number: int | None) -> Manifest:
    """See `retrieval.index.protocols.Index.rollback`."""
    live = index.require_committed()
    with index.writing("rolling back"):
        target = choose_kept(live.generation, complete(index), number)
        if target == live:
            return live
        # The engine of a kept generation may have been damaged since: look before the switch.
        with index.read_lock(index.patience, "checking"), index.open_generation(target) as store:
            require_sound(store, target)
        with os_errors("commit", index.path):
            # Cut off right after its own switch, the live one is still marked as a build: it is complete.
            (index.generation_path(live.generation) / BUILD_FILE).unlink(missing_ok=True)
        index.make_current(target)
    return target


def collect(index: EmbeddedIndex, keep: int) -> list[Generation]:
    """See `retrieval.index.protocols.Index.collect`."""
    index.require_committed()
    with index.writing("removing old generations"):
        every = list_generations(index)
        kept = sorted((g for g in every if g.state == "kept"), key=lambda g: g.created or "")
        spared = {g.number for g in kept[len(kept) - keep :]} if keep > 0 else set()
        live = index.current_name()
        removed = [g for g in every if g.state != "live" and g.number not in spared]
        names = {index.generation_path(number).name for number in spared} | {live}
        doomed = [folder for folder in folders(index) if folder.name not in names]
        with index.read_lock(index.patience, "removing old generations"), os_errors("clear", index.path):
            for folder in doomed:
                index.remove_generation(folder)
    return removed
