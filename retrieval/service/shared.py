"""What the routes of a service share: the index and its model, keys, turns, and what was taught."""

from __future__ import annotations

import secrets
from functools import partial

from starlette.requests import Request

from retrieval.inbox.inbox import Inbox
from retrieval.index.payload import each, matches
from retrieval.recognition.api import Recognizer
from retrieval.recognition.recognizer import parse_where
from retrieval.service.access import Access, Key, Role, TooMany
from retrieval.service.inbox_desk import InboxDesk
from retrieval.service.jobs import Teaching
from retrieval.service.observed import Observed
from retrieval.service.problems import Problem
from retrieval.service.product_list import ProductList
from retrieval.service.settings import Settings
from retrieval.service.shown import ShownPictures
from retrieval.service.turns import Turns
from retrieval.system.threads import default_threads
from retrieval.types import Metadata

LONGEST_NAME = 200
"""Characters of a file's name that are shown."""

_LINGER = 1.0
_SEND_KEY = "Send it as: Authorization: Bearer irk.…"


class Shared:
    """One service. Each module of routes gets it, and adds its own routes.

    Attributes:
        settings: how it runs.
        access: keys.
        shop: the index and its model.
        turns: threads for what takes time; routes hand everything that reads a file or an index to it.
        products: what the index holds.
        teaching: what changes the catalog.
        pictures: catalog pictures for browsers, and their links.
        observed: counters.
        inbox: keeps what is asked about; None where nothing is to be kept.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the index and the model.

        Raises:
            ItemrecError: as `Recognizer` and `Access` raise.
        """
        threads = settings.threads or default_threads()
        self.settings = settings
        self.access = Access(settings.keys)
        self.shop = Recognizer(
            settings.index,
            model=settings.model,
            threshold=settings.threshold,
            sure=settings.sure,
            in_catalog=settings.in_catalog,
            verify=settings.verify,
            threads=default_threads(),
            linger=_LINGER,
        )
        self.turns = Turns(threads=threads, waiting=settings.waiting, seconds=settings.seconds)
        # scrypt is slow on purpose; who guesses keys must not take the threads that answer photos.
        self._doors = Turns(threads=1, waiting=64, seconds=settings.seconds)
        self.products = ProductList(self.shop)
        self.teaching = Teaching(self.shop, self.products)
        self.pictures = ShownPictures(secrets.token_bytes(32))
        self.observed = Observed()
        self.inbox = self._inbox(settings)
        self.note_index()

    def start(self) -> None:
        """Take up what an earlier process left."""
        self.teaching.catch_up()
        if self.inbox is not None:
            self.inbox.start()

    def close(self) -> None:
        """Finish what is under way, then let go of the index."""
        self.turns.close()
        self._doors.close()
        self.teaching.close()
        if self.inbox is not None:
            self.inbox.close()
        self.shop.close()

    def _inbox(self, settings: Settings) -> InboxDesk | None:
        if settings.inbox is None:
            return None
        inbox = Inbox(settings.inbox, caps=settings.inbox_caps)
        return InboxDesk(inbox, self.shop, self.products, self.teaching, self.pictures, self.observed, self.sees)

    async def allowed(self, request: Request, role: Role) -> Key | None:
        """The key that a request came with; None where none is asked for.

        Raises:
            Problem: 401 without a key of ours, 403 for one that may not, 429 for one that asks too often.
        """
        if self.access.open:
            return None
        kind, _, sent = request.headers.get("authorization", "").partition(" ")
        challenge = {"WWW-Authenticate": "Bearer"}
        if kind.lower() != "bearer" or not sent.strip():
            raise Problem(401, "no-key", "expected a key, received none", hint=_SEND_KEY, headers=challenge)
        try:
            key = await self._doors.run(partial(self.access.check, sent.strip()))
        except TooMany as error:
            wait = {"Retry-After": str(max(1, round(error.seconds + 0.5)))}
            raise Problem(429, "too-often", "This key asks more often than it may", headers=wait) from error
        if key is None:
            raise Problem(401, "wrong-key", "expected a key of this service, received another", headers=challenge)
        if not key.allows(role):
            raise Problem(403, "not-allowed", f"expected a key that may {role}, received one that may {key.role}")
        return key

    def everything(self, key: Key | None) -> None:
        """Refuse a key that sees a part of the catalog where all of it is shown.

        Raises:
            Problem: 403.
        """
        if key is not None and key.where:
            raise Problem(403, "not-allowed", "expected a key that sees the whole catalog, received one with a filter")

    def sees(self, key: Key | None, metadata: Metadata) -> bool:
        """True when what is said of a product is within what a key may see.

        Raises:
            UsageError: the key's filter names a column that the catalog does not have.
        """
        if key is None or not key.where:
            return True
        wanted = parse_where(key.where, self.shop.live()) or {}
        return all(any(matches(v, terms) for v in each(metadata.get(name))) for name, terms in wanted.items())

    def note_index(self) -> None:
        """Count what the index holds now."""
        manifest = self.shop.manifest
        self.observed.index(images=manifest.images, products=manifest.products, generation=manifest.generation)
