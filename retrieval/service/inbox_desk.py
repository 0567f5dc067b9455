"""The inbox of a service: what is asked is kept, what is said of it is carried out, each tenant sees its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from retrieval.catalog.read import read_catalog
from retrieval.errors import ItemrecError
from retrieval.inbox.drift import find_drift
from retrieval.inbox.entries import Entry, NewLabel, Page, Said
from retrieval.inbox.follow_up import Shelf, follow, waiting
from retrieval.inbox.inbox import Inbox, tenant_of
from retrieval.inbox.labels import label, undo
from retrieval.inbox.weeks import how_good
from retrieval.recognition.answer import Answer
from retrieval.recognition.api import Recognizer
from retrieval.service.access import Key
from retrieval.service.jobs import Teaching
from retrieval.service.observed import Observed
from retrieval.service.problems import Problem
from retrieval.service.product_list import ProductList
from retrieval.service.shown import ShownPictures
from retrieval.types import Metadata

AGAIN_SECONDS = 1.0
"""After which what could not be carried out is tried again: an index run may be under way."""

DRIFT_SECONDS = 60.0
"""Between two looks for drift."""
MOST_NEVER_FOUND = 200
"""Products that no photo found, as one answer names them; how many there are is said."""

_log = logging.getLogger("itemrec.serve")


class InboxDesk:
    """What the routes do with an inbox. Thread-safe."""

    def __init__(
        self,
        inbox: Inbox,
        shop: Recognizer,
        products: ProductList,
        teaching: Teaching,
        pictures: ShownPictures,
        observed: Observed,
        sees: Callable[[Key | None, Metadata], bool],
    ) -> None:
        """Begin with nothing under way.

        Args:
            inbox: where photos are kept.
            shop: the index and its model.
            products: what the index holds.
            teaching: what else changes the catalog.
            pictures: makes links, and pictures small.
            observed: counters.
            sees: whether a product is one that a key may see.
        """
        self.inbox = inbox
        self._shop = shop
        self._products = products
        self._shelf = Shelf(teaching.images, teaching.changing)
        self._pictures = pictures
        self._observed = observed
        self._sees = sees
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._drift_at = float("-inf")

    def start(self) -> None:
        """Carry out what an earlier process left, and from now on what is said."""
        self.inbox.sweep()
        self._thread = threading.Thread(target=self._run, name="itemrec-inbox", daemon=True)
        self._thread.start()
        self._count()

    def close(self) -> None:
        """Finish what is under way; what waits is noted for the next process."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self.inbox.close()

    def keep(
        self, photos: Sequence[tuple[str, bytes]], answer: Answer, *, request: str, place: int, key: Key | None
    ) -> list[str]:
        """Keep the photos of one answer; their ids. A photo that cannot be kept is answered all the same.

        Args:
            photos: name and bytes of each.
            answer: to all of them.
            request: its id.
            place: of the first of them in the request, from 0.
            key: who asked.
        """
        tenant = tenant_of(key.where) if key is not None else ""
        kept = []
        for number, (name, data) in enumerate(photos, place):
            try:
                kept.append(self.inbox.keep(data, answer, request=request, place=number, name=name, tenant=tenant))
            except ItemrecError as error:
                # The answer is what was asked for; a full disk must not take it away.
                self._observed.not_kept()
                _log.warning("A photo is not in the inbox: %s", error.message)
        self._count()
        return kept

    def label(self, labels: Sequence[NewLabel], key: Key | None) -> Said:
        """Say what photos show; see `retrieval.inbox.labels.label`."""
        # Read before the transaction begins, not in it.
        pictured = {product.product_id for product in self._products.all()}
        known = pictured.union(read_catalog(Path(self._shop.live().catalog)).products)
        said = label(
            self.inbox,
            labels,
            exists=known.__contains__,
            pictured=pictured.__contains__,
            allowed=partial(self._allowed, key),
            by=key.id if key is not None else "",
            tenant=tenant_seen(key),
        )
        self._follow()
        return said

    def undo(self, batch: str, photos: Sequence[str], key: Key | None) -> Said:
        """Take labels back; see `retrieval.inbox.labels.undo`."""
        said = undo(self.inbox, batch=batch, photos=photos, tenant=tenant_seen(key))
        self._follow()
        return said

    def entry(self, photo: str, key: Key | None) -> Entry:
        """One photo.

        Raises:
            Problem: 404 when it is not there, or another tenant's.
        """
        found = self.inbox.entry(photo, tenant=tenant_seen(key))
        if found is None:
            raise Problem(404, "no-photo", "expected a photo of the inbox, received an id that it does not have")
        return found

    def asked_in(self, request: str, place: int, key: Key | None) -> str:
        """The photo of a request.

        Raises:
            Problem: 404 when it is not kept, or another tenant's.
        """
        photo = self.inbox.asked_in(request, place, tenant=tenant_seen(key))
        if photo is None:
            raise Problem(404, "no-request", "expected the id of a request whose photo is kept, received another")
        return photo

    def page_document(self, page: Page, key: Key | None) -> dict[str, Any]:
        """The ``itemrec.inbox/1`` document."""
        stacks = []
        for stack in page.stacks:
            document = stack.to_json()
            document["photos"] = [self.described(entry) for entry in stack.photos]
            stacks.append(document)
        held = self.inbox.held(tenant=tenant_seen(key))
        return {"schema": "itemrec.inbox/1", "held": held.to_json(), "stacks": stacks, "after": page.after or None}

    def note_drift(self) -> None:
        """Count whether answers have left their usual range; at most once a minute, since it reads many."""
        now = time.monotonic()
        if now - self._drift_at < DRIFT_SECONDS:
            return
        self._drift_at = now
        for one in find_drift(self.inbox):
            self._observed.drift(one.of, one.since)

    def quality_document(self, weeks: int, key: Key | None) -> dict[str, Any]:
        """The ``itemrec.inbox-quality/1`` document; each product with a link to its first picture."""
        products = {p.product_id: p for p in self._products.all() if self._sees(key, p.metadata)}
        found = how_good(self.inbox, products, weeks=weeks, tenant=tenant_seen(key))

        def shown(product_id: str) -> dict[str, Any] | None:
            product = products.get(product_id)
            if not product_id:
                return None
            link = self._pictures.link(product.images[0]) if product and product.images else None
            return {"product_id": product_id, "name": product.name if product else "", "link": link}

        confusions = []
        for one in found.confusions:
            links = [{"photo": photo, "link": self._link(photo)} for photo in one.photos]
            confusions.append({"said": shown(one.said), "shows": shown(one.shows), "count": one.count, "photos": links})
        return {
            "schema": "itemrec.inbox-quality/1",
            "weeks": [week.to_json() for week in found.weeks],
            "all": found.all.to_json(),
            "drift": [one.to_json() for one in find_drift(self.inbox, tenant=tenant_seen(key))],
            "confusions": confusions,
            "never_found": {
                "total": len(found.never_found),
                "products": [shown(product_id) for product_id in found.never_found[:MOST_NEVER_FOUND]],
            },
        }

    def described(self, entry: Entry) -> dict[str, Any]:
        """A photo with links to its picture and to those of its candidates."""
        document = entry.to_json()
        document["link"] = self._link(entry.photo)
        for match in [*document["matches"], *document["nearest"]]:
            for evidence in match["evidence"]:
                evidence["link"] = self._pictures.link(evidence["image"])
        return document

    def is_signed(self, photo: str, signature: str) -> bool:
        """True when the link of this photo was given out."""
        return self._pictures.is_signed(_name(photo), signature)

    def picture(self, photo: str, size: int) -> tuple[bytes, str]:
        """A photo as a small JPEG, and its tag.

        Raises:
            Problem: 404 when it is not there.
        """
        try:
            return self._pictures.smaller(self.inbox.picture(photo), size)
        except ItemrecError as error:
            raise Problem(404, "no-photo", "The photo is not in the inbox any more") from error

    def _link(self, photo: str) -> str:
        return f"v1/inbox/{photo}/picture?sig={self._pictures.signature(_name(photo))}"

    def _allowed(self, key: Key | None, said: NewLabel) -> str:
        """Why a key may not label so; empty where it may."""
        if key is None or not key.where or said.kind not in ("product", "new"):
            return ""
        product = self._products.get(said.product_id)
        if said.kind == "new" or product is None:
            return "expected a key that sees the whole catalog to make a product, received one with a filter"
        if not self._sees(key, product.metadata):
            return "expected a product that this key sees, received another"
        return ""

    def _follow(self) -> None:
        self._wake.set()
        self._count()

    def _run(self) -> None:
        again = True
        while not self._closed.is_set():
            self._wake.clear()
            try:
                followed = follow(self.inbox, self._shop, lambda: self._shelf, again=again)
                again = False
                for why in followed.failed.values():
                    _log.warning("A labeled photo is not taught: %s", why)
            except ItemrecError as error:
                _log.info("What was labeled waits: %s", error.message)
            except Exception:  # noqa: BLE001 (the thread must outlive whatever one photo meets)
                _log.exception("What was labeled waits")
            self._count()
            if self._closed.is_set():
                return
            self._wake.wait(AGAIN_SECONDS if self._behind() else None)

    def _behind(self) -> bool:
        try:
            return bool(waiting(self.inbox, 1))
        except ItemrecError:
            return True

    def _count(self) -> None:
        try:
            held = self.inbox.held()
        except ItemrecError:
            return
        self._observed.inbox(photos=held.photos, unlabeled=held.unlabeled, waiting=held.waiting, size=held.bytes)


def tenant_seen(key: Key | None) -> str | None:
    """Whose photos a key sees; None for everybody's."""
    return tenant_of(key.where) if key is not None and key.where else None


def _name(photo: str) -> str:
    """What a link to a photo of the inbox signs: no path of a catalog begins so."""
    return f"inbox/{photo}/picture"
