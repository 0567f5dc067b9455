"""What is taught reaches the index in jobs: one after the other, those that wait together in one switch."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from retrieval.catalog.read import read_catalog
from retrieval.errors import IndexBusyError, ItemrecError
from retrieval.indexing.teach import Taught, is_taught, remove_picture, update_index, write_picture
from retrieval.recognition.api import Recognizer
from retrieval.service.problems import Problem
from retrieval.service.product_list import ProductList
from retrieval.system.text import one_form
from retrieval.types import Metadata, image_id

State = Literal["waiting", "running", "done", "failed"]

_KEPT = 1000
_AGAIN_SECONDS = 1.0
_MOST_WAITING = 256


@dataclass(slots=True)
class Job:
    """Something that is on its way into the index.

    Attributes:
        id: names it.
        state: how far it is.
        product_id: what was taught.
        image: the picture's path in the catalog.
        action: what is done with it.
        message: why it failed; empty otherwise.
    """

    id: str
    product_id: str
    image: str
    action: Literal["add", "remove"]
    state: State = "waiting"
    message: str = ""
    metadata: Metadata | None = None

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.job/1`` document."""
        return {
            "schema": "itemrec.job/1",
            "job": self.id,
            "state": self.state,
            "action": self.action,
            "product_id": self.product_id,
            "image": self.image,
            "message": self.message,
        }


class Teaching:
    """Takes confirmed photos into the catalog's folder at once, and into the index soon after. Thread-safe.

    A picture is acknowledged when it lies durably in the folder. What did not reach the index before the process ended
    is found by `catch_up` when the next one begins.
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
        self._folder = threading.Lock()
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
        catalog = Path(self._shop.live().catalog)
        with self._folder:
            taught = write_picture(catalog, photo, product_id, self._images(product_id), name=name, new=new)
            metadata = read_catalog(catalog).metadata(product_id)
            job = Job(_id(), product_id, taught.image, "add", metadata=metadata)
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
        catalog = Path(self._shop.live().catalog)
        with self._folder:
            remove_picture(catalog, product_id, image, self._images(product_id))
            return self._put(Job(_id(), product_id, image, "remove"))

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
        catalog = Path(self._shop.live().catalog)
        taught = [file for file in sorted(catalog.glob("*/taught-*.jpg")) if is_taught(file.name)]
        if not taught:
            return  # the index need not be read whole at every start
        known = {image for product in self._products.all() for image in product.images}
        table = read_catalog(catalog)
        for file in taught:
            image = file.relative_to(catalog).as_posix()
            if image not in known:
                product_id = one_form(file.parent.name)
                self._put(Job(_id(), product_id, image, "add", metadata=table.metadata(product_id)))

    def close(self) -> None:
        """Finish the job under way; what waits is found again by the next process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _images(self, product_id: str) -> list[str]:
        """Pictures that a product has, and those on their way."""
        known = self._products.get(product_id)
        with self._changed:
            coming = [j.image for j in self._waiting if j.product_id == product_id and j.action == "add"]
        return [*(known.images if known else []), *coming]

    def _require_room(self) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            raise Problem(503, "busy", "Too much waits for the index already", hint="Try again in a moment.")

    def _put(self, job: Job) -> Job:
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
        # Of a picture that was added and taken back while it waited, the last word counts.
        last = {job.image: job for job in batch}
        added = [
            (Taught(j.product_id, j.image, new=True), j.metadata or {}) for j in last.values() if j.action == "add"
        ]
        removed = [image_id(j.product_id, j.image) for j in last.values() if j.action == "remove"]
        self._shop.update(lambda index, bundle, live: update_index(index, bundle, live, added=added, removed=removed))


def _id() -> str:
    return secrets.token_hex(8)
