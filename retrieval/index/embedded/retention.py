"""The generations that an embedded index keeps: going live, which there are, going back to one, removing them.

A folder under ``generations`` is complete when it holds a manifest and no ``build.json``. Everything
here but the listing needs the writer's lock, so that nothing is built or switched meanwhile.
"""

from __future__ import annotations

from retrieval.index.checks import require_sound
from retrieval.index.embedded.build_record import BuildRecord
from retrieval.index.embedded.place import BUILD_FILE, COMMIT_PATIENCE, Place
from retrieval.index.manifest import Generation, Manifest, choose_kept, choose_removed, worth_keeping
from retrieval.system.files import allocated, os_errors


def switch(place: Place, manifest: Manifest) -> None:
    """Make a new complete generation the committed one; drop those that are not worth keeping."""
    replaced = place.name_or_none()
    place.make_current(manifest)
    (place.generation_path(manifest.generation) / BUILD_FILE).unlink(missing_ok=True)
    kept = worth_keeping(manifest, int(replaced[4:]) if replaced else None, place.complete().values())
    staying = {place.generation_path(n) for n in (manifest.generation, *kept)}
    to_delete = [folder for folder in place.folders() if folder not in staying]
    with os_errors("clear", place.path):
        if to_delete:
            with place.read_lock(COMMIT_PATIENCE, "committing"):
                for folder in to_delete:
                    place.remove_generation(folder)


def list_generations(place: Place) -> list[Generation]:
    """See `retrieval.index.protocols.Index.generations`."""
    live = place.current_name()
    whole = place.complete()
    found = [
        Generation(
            number,
            "live" if place.generation_path(number).name == live else "kept",
            manifest.model,
            manifest.images,
            manifest.products,
            manifest.created,
            allocated(place.generation_path(number)),
        )
        for number, manifest in whole.items()
    ]
    for folder in place.folders():
        record = BuildRecord.read(folder / BUILD_FILE)
        if record is not None and record.generation not in whole:
            found.append(Generation(record.generation, "building", record.model, None, None, None, allocated(folder)))
    return sorted(found, key=lambda g: g.number)


def rollback(place: Place, number: int | None) -> Manifest:
    """See `retrieval.index.protocols.Index.rollback`."""
    live = place.require_committed()
    with place.writing("rolling back"):
        target = choose_kept(live.generation, place.complete(), number)
        if target == live:
            return live
        # The engine of a kept generation may have been damaged since: look before the switch.
        with place.read_lock(place.patience, "checking"), place.open_generation(target) as store:
            require_sound(store, target)
        with os_errors("commit", place.path):
            # Cut off right after its own switch, the live one is still marked as a build: it is complete.
            (place.generation_path(live.generation) / BUILD_FILE).unlink(missing_ok=True)
        place.make_current(target)
    return target


def collect(place: Place, keep: int) -> list[Generation]:
    """See `retrieval.index.protocols.Index.collect`."""
    place.require_committed()
    with place.writing("removing old generations"):
        every = list_generations(place)
        removed = choose_removed(every, keep)
        staying = {place.generation_path(g.number) for g in every if g not in removed}
        to_delete = [folder for folder in place.folders() if folder not in staying]
        with place.read_lock(place.patience, "removing old generations"), os_errors("clear", place.path):
            for folder in to_delete:
                place.remove_generation(folder)
    return removed
