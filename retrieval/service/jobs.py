"""What is taught reaches the index in jobs: one after the other, those that wait together in one switch."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from retrieval.catalog.read import read_catalog
from retrieval.errors import IndexBusyError, ItemrecError
from retrieval.indexing import changes
from retrieval.indexing.changes import Change
from retrieval.indexing.teach import Taught, is_taught, remove_picture, update_index, write_picture
from retrieval.recognition.api import Recognizer
from retrieval.service.problems import Problem
from retrieval.service.product_list import ProductList
from retrieval.system.text import one_form
from retrieval.types import Metadata, image_id

State = Literal["waiting", "running", "done", "failed"]
Action = Literal["add", "remove", "edit", "remove-product", "undo"]

_KEPT = 1000
_AGAIN_SECONDS = 1.0
_MOST_WAITING = 256


@dataclass(slots=True)
class Job:
    """Something that is on its way into the index.

    Attributes:
        id: names it.
        product_id: what was taught.
        action: what is done.
        image: the picture's path in the catalog; empty where it is not about one.
        added: pictures that the index gets, with what the catalog says of their products.
        removed: image ids that it loses.
        described: what the catalog says now of products whose pictures stay, by image id.
        change: what can be undone; None where taking it back is a request of its own.
        state: how far it is.
        message: why it failed; empty otherwise.
    """

    id: str
    product_id: str
    action: Action
    image: str = ""
    added: Sequence[tuple[Taught, Metadata]] = ()
    removed: Sequence[str] = ()
    described: Mapping[str, Metadata] = field(default_factory=dict)
    change: Change | None = None
    state: State = "waiting"
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.job/1`` document."""
        return {
            "schema": "itemrec.job/1",
            "job": self.id,
            "state": self.state,
            "action": self.action,
            "product_id": self.product_id,
            "image": self.image,
            "change": self.change.id if self.change is not None and not self.change.undone else None,
            "message": self.message,
        }


class Teaching:
    """Takes changes of the catalog into its folder at once, and into the index soon after. Thread-safe.

    A change is acknowledged when it lies durably in the folder. What did not reach the index before the process ended
    is found by `catch_up` when the next one begins.

    Attributes:
        changing: held while the catalog's folder changes.
    """

    def __init__(self, shop: Recognizer, products: ProductList, *, wait: Callable[[float], None] = time.sleep) -> None:
        """Begin with nothing to do.

        Args:
            shop: the index and its model.
            products: what the index holds.
            wait: sleeps, for tests.
        """
        self._shop = shop
        self._products = products
        self._wait = wait
        self.changing = threading.Lock()
        self._changed = threading.Condition()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: list[Job] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def teach(self, photo: bytes, product_id: str, *, name: str = "", new: bool = False) -> Job:
        """Make a photo a picture of a product.

        Args:
            photo: the bytes of an untrusted picture.
            product_id: what it shows.
            name: what a new product is called.
            new: make the product.

        Raises:
            ItemrecError: see `retrieval.indexing.teach.write_picture`.
            Problem: 503 when too much waits.
        """
        self._require_room()
        catalog = self.catalog
        with self.changing:
            taught = write_picture(catalog, photo, product_id, self.images(product_id), name=name, new=new)
            metadata = read_catalog(catalog).metadata(product_id)
            job = Job(_id(), product_id, "add", taught.image, added=[(taught, metadata)])
            if not taught.new:
                job.state = "done"
            return self._put(job)

    def forget(self, product_id: str, image: str) -> Job:
        """Take a taught picture back.

        Raises:
            ItemrecError: see `retrieval.indexing.teach.remove_picture`.
            Problem: 503 when too much waits.
        """
        self._require_room()
        catalog = self.catalog
        with self.changing:
            remove_picture(catalog, product_id, image, self.images(product_id))
            return self._put(Job(_id(), product_id, "remove", image, removed=[image_id(product_id, image)]))

    def describe(self, product_id: str, values: Mapping[str, str], *, new: bool) -> Job:
        """Write what the table says of a product.

        Raises:
            ItemrecError: see `retrieval.indexing.changes.describe_product`.
            Problem: 503 when too much waits.
        """
        self._require_room()
        catalog = self.catalog
        with self.changing:
            images = self.images(product_id)
            change = changes.describe_product(catalog, product_id, images, values, new=new)
            return self._put(self._described(change, images, "edit"))

    def remove(self, product_id: str) -> Job:
        """Take a product out of the catalog.

        Raises:
            ItemrecError: see `retrieval.indexing.changes.remove_product`.
            Problem: 503 when too much waits.
        """
        self._require_room()
        with self.changing:
            images = self.images(product_id)
            change = changes.remove_product(self.catalog, product_id, images)
            gone = [image_id(product_id, image) for image in images]
            return self._put(Job(_id(), product_id, "remove-product", removed=gone, change=change))

    def remove_any(self, product_id: str, image: str) -> Job:
        """Take any picture out of the catalog.

        Raises:
            ItemrecError: see `retrieval.indexing.changes.remove_any_picture`.
            Problem: 503 when too much waits.
        """
        self._require_room()
        with self.changing:
            change = changes.remove_any_picture(self.catalog, product_id, image, self.images(product_id))
            gone = [image_id(product_id, image)]
            return self._put(Job(_id(), product_id, "remove", image, removed=gone, change=change))

    def set_cover(self, product_id: str, image: str) -> None:
        """Choose the picture that is shown for a product.

        Raises:
            ItemrecError: see `retrieval.indexing.changes.set_cover`.
        """
        with self.changing:
            changes.set_cover(self.catalog, product_id, image, self.images(product_id))

    def changes(self) -> list[Change]:
        """What can be undone, newest first."""
        return [change for change in changes.read_changes(self.catalog) if not change.undone]

    def change(self, ident: str) -> Change:
        """A change by its id.

        Raises:
            Problem: 404 when there is none, or it was undone, or it was long ago.
        """
        found = next((change for change in self.changes() if change.id == ident), None)
        if found is None:
            raise Problem(404, "no-change", "expected the id of a change, received one that is not known")
        return found

    def undo(self, ident: str) -> Job:
        """Put back what a change took out.

        Raises:
            ItemrecError: see `retrieval.indexing.changes.undo`.
            Problem: 404 when there is no such change, 503 when too much waits.
        """
        self._require_room()
        with self.changing:
            undone = changes.undo(self.catalog, self.change(ident))
            return self._put(self._restored(undone))

    def job(self, ident: str) -> Job:
        """A job by its id.

        Raises:
            Problem: 404 when there is none, or it was long ago.
        """
        with self._changed:
            job = self._jobs.get(ident)
        if job is None:
            raise Problem(404, "no-job", "expected the id of a job, received one that is not known")
        return job

    def catch_up(self) -> None:
        """Find taught pictures that lie in the folder and did not reach the index."""
        catalog = self.catalog
        changed = changes.read_changes(catalog)
        taught = [file for file in sorted(catalog.glob("*/taught-*.jpg")) if is_taught(file.name)]
        if not taught and not changed:
            return  # the index need not be read whole at every start
        known = {image for product in self._products.all() for image in product.images}
        table = read_catalog(catalog)
        for file in taught:
            image = file.relative_to(catalog).as_posix()
            if image not in known:
                product_id = one_form(file.parent.name)
                new = (Taught(product_id, image, new=True), table.metadata(product_id))
                self._put(Job(_id(), product_id, "add", image, added=[new]))
        changed = [changes.resume(catalog, change) for change in reversed(changed)]
        table = read_catalog(catalog)
        for change in changed:
            if change.undone:
                self._put(self._restored(change))
            elif change.action == "edit":
                told = self._products.get(change.product_id)
                if told is not None and told.metadata != table.metadata(change.product_id):
                    self._put(self._described(change, told.images, "edit"))
            elif gone := [i for i in change.images if i in known and not (catalog / i).exists()]:
                ids = [image_id(change.product_id, image) for image in gone]
                self._put(Job(_id(), change.product_id, "remove-product", removed=ids, change=change))
        changes.sweep(catalog)

    def close(self) -> None:
        """Finish the job under way; what waits is found again by the next process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    @property
    def catalog(self) -> Path:
        """The catalog's folder."""
        return Path(self._shop.live().catalog)

    def images(self, product_id: str) -> list[str]:
        """Pictures that a product has, less those that are on their way out, and those on their way in."""
        known = self._products.get(product_id)
        images = dict.fromkeys(known.images if known else [])
        with self._changed:
            waiting = [job for job in self._waiting if job.product_id == product_id]
        for job in waiting:
            images |= dict.fromkeys(taught.image for taught, _ in job.added)
            images = {i: None for i in images if image_id(product_id, i) not in job.removed}
        return list(images)

    def _described(self, change: Change, images: Sequence[str], action: Action) -> Job:
        metadata = read_catalog(self.catalog).metadata(change.product_id)
        told = {image_id(change.product_id, image): metadata for image in images}
        return Job(_id(), change.product_id, action, described=told, change=change)

    def _restored(self, change: Change) -> Job:
        """The way back into the index of what a change had taken out."""
        if change.action == "edit":
            return self._described(change, self.images(change.product_id), "undo")
        metadata = read_catalog(self.catalog).metadata(change.product_id)
        back = [(Taught(change.product_id, image, new=True), metadata) for image in change.images]
        return Job(_id(), change.product_id, "undo", added=back, change=change)

    def _require_room(self) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            raise Problem(503, "busy", "Too much waits for the index already", hint="Try again in a moment.")

    def _put(self, job: Job) -> Job:
        if job.change is not None:
            changes.sweep(self.catalog)
        with self._changed:
            self._jobs[job.id] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
            if job.state == "waiting":
                self._waiting.append(job)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="itemrec-teaching", daemon=True)
                    self._thread.start()
                self._changed.notify_all()
        return job

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                batch = list(self._waiting)
                for job in batch:
                    job.state = "running"
            state: State = "failed"
            try:
                self._do(batch)
            except IndexBusyError:
                # An index run is under way. It may take these pictures along; until it ends, they wait.
                for job in batch:
                    job.state = "waiting"
                self._wait(_AGAIN_SECONDS)
                continue
            except ItemrecError as error:
                message = error.message
            except Exception as error:  # noqa: BLE001 (the thread must outlive whatever one job meets)
                message = f"something unexpected broke: {type(error).__name__}"
            else:
                state, message = "done", ""
            with self._changed:
                for job in batch:
                    job.state, job.message = state, message
                    self._waiting.remove(job)

    def _do(self, batch: list[Job]) -> None:
        # Of a picture that was added and taken back while all this waited, the last word counts.
        added: dict[str, tuple[Taught, Metadata]] = {}
        removed: dict[str, None] = {}
        described: dict[str, Metadata] = {}
        for job in batch:
            for taught, metadata in job.added:
                ident = image_id(taught.product_id, taught.image)
                added[ident] = (taught, metadata)
                removed.pop(ident, None)
                described.pop(ident, None)
            for ident in job.removed:
                removed[ident] = None
                added.pop(ident, None)
                described.pop(ident, None)
            for ident, metadata in job.described.items():
                if ident in added:
                    added[ident] = (added[ident][0], metadata)
                elif ident not in removed:
                    described[ident] = metadata
        if added or removed or described:
            self._shop.update(
                lambda index, bundle, live: update_index(
                    index, bundle, live, added=added.values(), removed=removed, described=described
                )
            )
        for job in batch:
            if job.change is not None and job.change.undone:
                changes.drop(self.catalog, job.change)


def _id() -> str:
    return secrets.token_hex(8)
