"""`Inbox`: photos that were asked about, on this disk, within caps; and what people say they show.

    with Inbox(Path("inbox")) as inbox:
        photo = inbox.keep(data, answer, request="7d4c6d5b9e1a2f30")
        inbox.label([NewLabel(photo, "product", "0012")], exists=shop_has)
        for stack in inbox.page(Wanted(labeled=False)).stacks: ...

A picture lies in the folder before the row that names it: whoever dies in between leaves a file that nobody names,
which `Inbox.sweep` removes. What a label means for the catalog is carried out by `retrieval.inbox.follow_up`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from retrieval.errors import UsageError
from retrieval.images import pictures
from retrieval.images.perceptual_hash import HASHED, hash_of
from retrieval.inbox.database import NAME, Database
from retrieval.inbox.entries import (
    MOST_SHOWN,
    Entry,
    Held,
    Page,
    Stack,
    Wanted,
    cursor,
    place_of,
)
from retrieval.inbox.shot import SEEN, shot_of
from retrieval.inbox.stacks import Stacks, signed
from retrieval.inbox.stored import ENTRIES, condition, entry_of
from retrieval.system.files import os_errors, replace_file
from retrieval.system.text import printable
from retrieval.types import Match, Recognition

MAX_SIDE = 1024
"""Longer side of a picture that is kept, pixels."""
QUESTION_SECONDS = 400 * 86_400.0
"""What was answered is remembered for so long, without the photo: a year, to compare with."""

EVERYTHING = Wanted()
_PICTURES = "pictures"
_ID = re.compile(r"[0-9a-f]{24}")
_LEFT_SECONDS = 3600.0
_DAY = 86_400.0
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Caps:
    """How much an inbox may hold. The oldest photos without a label go first, then the oldest with one.

    Attributes:
        photos: at most.
        bytes: of pictures, at most.
        days: a photo without a label is kept for so long after it was asked about last.
    """

    photos: int = 20_000
    bytes: int = 2 * 2**30
    days: float = 90.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What `Inbox.sweep` removed.

    Attributes:
        photos: how many.
        bytes: of their pictures.
    """

    photos: int
    bytes: int


class Inbox:
    """The photos of one folder. Thread-safe, and several processes may have it open.

    Attributes:
        folder: where it lies.
        caps: how much it may hold.
        database: its rows.
    """

    def __init__(
        self, folder: Path, *, caps: Caps = Caps(), make: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        """Open it.

        Args:
            folder: on a disk of this machine, for nothing else.
            caps: see `Caps`.
            make: make it if missing.
            clock: seconds since 1970, for tests.

        Raises:
            UsageError: there is none and it is not to be made, or something else lies there.
            DiskFullError, StoreError: it cannot be made or opened.
        """
        self.folder = folder
        self.caps = caps
        self._clock = clock
        if not make and not is_inbox(folder):
            raise UsageError(
                f"expected an inbox, received nothing at {printable(str(folder))}",
                hint="itemrec serve --inbox DIR makes one and keeps the photos that it is asked about.",
            )
        with os_errors("make an inbox", folder):
            (folder / _PICTURES).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.database = Database(folder)
        self._stacks = Stacks()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its files."""
        self.database.close()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    def keep(
        self, data: bytes, answer: Recognition, *, request: str, place: int = 0, name: str = "", tenant: str = ""
    ) -> str:
        """Keep a photo and its answer; both are on the disk when this returns.

        A photo that is there already gets the new answer and stays one.

        Args:
            data: the bytes of the photo as they came.
            answer: what was answered.
            request: id of the request.
            place: which photo of the request it is, from 0.
            name: what its sender calls it.
            tenant: whose it is; a key with a filter sees its own alone.

        Returns:
            The photo's id.

        Raises:
            ImageError: the bytes are no picture we accept.
            DiskFullError, StoreError: it cannot be kept.
        """
        content = pictures.content_hash(data)
        photo = hashlib.sha256(f"{content}\n{tenant}".encode()).hexdigest()[:24]
        file = self._file(photo)
        known = self.database.rows("SELECT bytes FROM photos WHERE photo = ?", (photo,))
        if known and file.is_file():
            values: dict[str, Any] = {}
        else:
            values = self._written(data, file)
        now = self._clock()
        first = _first(answer)
        with self.database.write() as rows:
            answered = (name, request, now, answer.verdict, _remembered(answer), answer.fingerprint, photo)
            again = rows.execute(
                "UPDATE photos SET name = ?, request = ?, asked = ?, times = times + 1, verdict = ?, answer = ?,"
                " fingerprint = ? WHERE photo = ?",
                answered,
            ).rowcount
            if not again:
                if not values:  # another process removed it since it was looked for
                    values = self._written(data, file)
                stack, held_out = self._stacks.stack_of(rows, photo, content, values["picture_hash"], tenant)
                rows.execute(
                    "INSERT INTO photos (photo, content_hash, tenant, stack, picture_hash, held_out, name, request,"
                    " first_asked, asked, times, verdict, answer, fingerprint, width, height, brightness, sharpness,"
                    " badges, bytes, label) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                    " (SELECT MAX(n) FROM labels WHERE photo = ? AND undone IS NULL))",
                    (
                        *(photo, content, tenant, stack, signed(values["picture_hash"]), held_out, name, request),
                        *(now, now, answer.verdict, _remembered(answer), answer.fingerprint),
                        *(values[key] for key in ("width", "height", "brightness", "sharpness", "badges", "bytes")),
                        photo,
                    ),
                )
            rows.execute(
                "INSERT INTO questions (request, place, photo, tenant, asked, first, verdict, product_id, confidence,"
                " distance, fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(request, place, photo, tenant, now, not again, answer.verdict),
                    first.product_id if first and answer.matches else None,
                    first.confidence if first else None,
                    first.best_distance if first else None,
                    answer.fingerprint,
                ),
            )
        if not again:
            self.make_room()
        return photo

    def page(self, wanted: Wanted = EVERYTHING, *, limit: int = 50, after: str = "", tenant: str | None = None) -> Page:
        """Some stacks: those with unlabeled photos that were unknown or ambiguous first, then the rest, newest first.

        Args:
            wanted: which photos.
            limit: how many stacks at most, at least 1.
            after: the cursor of the page before; empty for the first.
            tenant: whose; None for everybody's.

        Raises:
            UsageError: the cursor is none.
        """
        where, values = condition(wanted, tenant)
        # Newest last in numbers, first in the list: the time is negated so that one comparison of rows goes on.
        found = self.database.rows(
            "SELECT stack, grp, newest, n FROM (SELECT stack, COUNT(*) n, -MAX(asked) newest,"
            " MIN(CASE WHEN label IS NULL AND verdict != 'match' THEN 0 ELSE 1 END) grp"
            f" FROM photos WHERE {where} GROUP BY stack)"
            " WHERE (grp, newest, stack) > (?, ?, ?) ORDER BY grp, newest, stack LIMIT ?",
            (*values, *(place_of(after) if after else (-1, 0.0, "")), limit + 1),
        )
        chosen = found[:limit]
        stacks = []
        for row in chosen:
            members = self.database.rows(
                f"{ENTRIES} WHERE {where} AND stack = ? ORDER BY asked DESC, photos.n DESC LIMIT ?",
                (*values, row["stack"], MOST_SHOWN),
            )
            stacks.append(Stack(row["stack"], tuple(entry_of(member) for member in members), row["n"]))
        more = len(found) > limit
        last = chosen[-1] if chosen else None
        return Page(tuple(stacks), cursor(last["grp"], last["newest"], last["stack"]) if more and last else "")

    def entry(self, photo: str, *, tenant: str | None = None) -> Entry | None:
        """One photo; None where there is none of that id.

        Args:
            photo: its id.
            tenant: whose it must be; None for anybody's.
        """
        rows = self.database.rows(
            f"{ENTRIES} WHERE photos.photo = ? AND (? IS NULL OR photos.tenant = ?)", (photo, tenant, tenant)
        )
        return entry_of(rows[0]) if rows else None

    def entries(self, wanted: Wanted = EVERYTHING, *, tenant: str | None = None) -> list[Entry]:
        """Every photo of a filter, oldest first."""
        where, values = condition(wanted, tenant)
        return [entry_of(row) for row in self.database.rows(f"{ENTRIES} WHERE {where} ORDER BY photos.n", values)]

    def asked_in(self, request: str, place: int = 0, *, tenant: str | None = None) -> str | None:
        """The photo of a request; of several requests of one id the last. None where it is not kept.

        Args:
            request: its id.
            place: which photo of it, from 0.
            tenant: whose it must be; None for anybody's.
        """
        rows = self.database.rows(
            "SELECT photo FROM questions WHERE request = ? AND place = ? AND (? IS NULL OR tenant = ?)"
            " ORDER BY n DESC LIMIT 1",
            (request, place, tenant, tenant),
        )
        return str(rows[0]["photo"]) if rows else None

    def picture(self, photo: str) -> bytes:
        """The JPEG of a photo.

        Raises:
            ImageError: it is not there.
        """
        return pictures.read_file(self._file(photo), root=self.folder)

    def held(self, *, tenant: str | None = None) -> Held:
        """How much it holds.

        Args:
            tenant: of whom; None for everybody.
        """
        # Without a tenant an index alone answers: this is asked with every photo.
        where, values = ("", ()) if tenant is None else (" WHERE tenant = ?", (tenant,))
        [row] = self.database.rows(
            "SELECT COUNT(*) photos, COALESCE(SUM(label IS NULL), 0) unlabeled, COALESCE(SUM(bytes), 0) bytes,"
            f" (SELECT COUNT(*) FROM todo WHERE problem = '') waiting FROM photos{where}",
            values,
        )
        return Held(row["photos"], row["unlabeled"], row["waiting"], row["bytes"])

    def make_room(self) -> Swept:
        """Remove what the caps leave no room for; photos on their way into the catalog stay.

        Raises:
            StoreError: it cannot be written.
        """
        now = self._clock()
        gone: dict[str, int] = {}
        with self.database.write() as rows:
            old = rows.execute(
                "SELECT photo, bytes FROM photos WHERE label IS NULL AND asked < ?", (now - self.caps.days * _DAY,)
            ).fetchall()
            gone |= {row["photo"]: row["bytes"] for row in old}
            count, size = rows.execute("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM photos").fetchone()
            count, size = count - len(gone), size - sum(gone.values())
            if count > self.caps.photos or size > self.caps.bytes:
                settled = (
                    "SELECT photo, bytes FROM photos WHERE photo NOT IN (SELECT photo FROM todo WHERE problem = '')"
                )
                # One after the other, in the order of an index: a full inbox makes room for every photo.
                oldest = (f"{settled} AND label IS {which} ORDER BY asked" for which in ("NULL", "NOT NULL"))
                for row in chain.from_iterable(rows.execute(found) for found in oldest):
                    if count <= self.caps.photos and size <= self.caps.bytes:
                        break
                    if row["photo"] not in gone:
                        gone[row["photo"]] = row["bytes"]
                        count, size = count - 1, size - row["bytes"]
            rows.executemany("DELETE FROM photos WHERE photo = ?", [(photo,) for photo in gone])
            # Before the end of the transaction: whoever is asked about such a photo next writes its picture anew.
            for photo in gone:
                with suppress(OSError):
                    self._file(photo).unlink(missing_ok=True)
        return Swept(len(gone), sum(gone.values()))

    def sweep(self) -> Swept:
        """`make_room`, and remove what is not needed any more: pictures that nobody names, questions of last year.

        Raises:
            StoreError: it cannot be written.
        """
        swept = self.make_room()
        with self.database.write() as rows:
            rows.execute("DELETE FROM questions WHERE asked < ?", (self._clock() - QUESTION_SECONDS,))
            named = {row["photo"] for row in rows.execute("SELECT photo FROM photos")}
        bytes_left = 0
        for file in (self.folder / _PICTURES).glob("*/*"):
            with suppress(OSError):
                status = file.stat()
                # A younger one may belong to a photo whose row is about to be written.
                if file.stem not in named and status.st_mtime < time.time() - _LEFT_SECONDS:
                    file.unlink()
                    bytes_left += status.st_size
        return Swept(swept.photos, swept.bytes + bytes_left)

    def _written(self, data: bytes, file: Path) -> dict[str, Any]:
        """Write the picture of a photo; what its row says of it."""
        kept = pictures.to_jpeg(data, MAX_SIDE)
        hashed, seen = pictures.views(kept, HASHED, SEEN)
        shot = shot_of(seen, *pictures.size_of(data))
        with os_errors("keep a photo", self.folder):
            file.parent.mkdir(mode=0o700, exist_ok=True)
            replace_file(file, kept)
        return {
            "picture_hash": hash_of(hashed),
            "width": shot.width,
            "height": shot.height,
            "brightness": shot.brightness,
            "sharpness": shot.sharpness,
            "badges": " ".join(shot.badges),
            "bytes": len(kept),
        }

    def _file(self, photo: str) -> Path:
        if not _ID.fullmatch(photo):
            raise UsageError("expected the id of a photo, received another text")
        return self.folder / _PICTURES / photo[:2] / f"{photo}.jpg"


def is_inbox(folder: Path) -> bool:
    """True for a folder that holds an inbox."""
    return (folder / NAME).is_file()


def tenant_of(where: Iterable[str]) -> str:
    """The name under which the photos of keys with this filter are kept; empty for keys without one."""
    return "\n".join(sorted(where))


def _remembered(answer: Recognition) -> str:
    """An answer as a row keeps it."""
    document: dict[str, Any] = {}
    for key, matches in (("matches", answer.matches), ("nearest", answer.nearest)):
        document[key] = [_candidate(match) for match in matches[:_SHOWN]]
    if answer.in_catalog is not None:
        document["in_catalog"] = answer.in_catalog
    if answer.refused_by is not None:
        document["refused_by"] = answer.refused_by.to_json()
    if answer.blanks:
        document["blanks"] = list(answer.blanks)
    return json.dumps(document, ensure_ascii=False)


def _candidate(match: Match) -> Mapping[str, Any]:
    evidence = match.evidence[0] if match.evidence else None
    return {
        "product_id": match.product_id,
        "confidence": match.confidence,
        "best_distance": match.best_distance,
        "metadata": dict(match.metadata),
        "evidence": [{"image": evidence.image, "distance": evidence.distance}] if evidence else [],
    }


def _first(answer: Recognition) -> Match | None:
    return next(iter((*answer.matches, *answer.nearest)), None)
