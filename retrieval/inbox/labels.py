"""Labels: many in one transaction, each with its own answer; and taking them back."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence

from retrieval.errors import UsageError
from retrieval.inbox.entries import MOST_LABELS, UNDO_SECONDS, NewLabel, Outcome, Said
from retrieval.inbox.inbox import Inbox
from retrieval.inbox.stored import state_of
from retrieval.indexing.teach import require_new_id

Allowed = Callable[[NewLabel], str]
"""Why somebody may not label so; empty where he may."""


def label(
    inbox: Inbox,
    labels: Sequence[NewLabel],
    *,
    exists: Callable[[str], bool],
    pictured: Callable[[str], bool] | None = None,
    allowed: Allowed = lambda label: "",
    by: str = "",
    tenant: str | None = None,
) -> Said:
    """Say what photos show. What can be kept is on the disk when this returns, all of it in one transaction.

    A label takes the place of one that the photo had; undo brings that back. What it means for the catalog is carried
    out by `retrieval.inbox.follow_up`, in this process or in the next.

    Args:
        inbox: where the photos are.
        labels: at most `MOST_LABELS`.
        exists: whether the catalog has a product.
        pictured: whether it has pictures of it; by default of all that it has.
        allowed: see `Allowed`.
        by: who says so.
        tenant: whose photos they must be; None for anybody's.

    Raises:
        UsageError: there are too many.
        DiskFullError, StoreError: they cannot be kept; none is.
    """
    _require_few(labels)
    batch = secrets.token_hex(8)
    items = []
    with inbox.database.write() as rows:
        for one in labels:
            fault = _fault(rows, one, exists, tenant)
            why = "" if fault else allowed(one)
            if fault or why:
                items.append(Outcome(one.photo, None, *(fault or (why, "not-allowed"))))
                continue
            items.append(_keep(rows, one, batch, by, inbox.now(), pictured or exists))
    return Said(batch, tuple(items))


def undo(inbox: Inbox, *, batch: str = "", photos: Sequence[str] = (), tenant: str | None = None) -> Said:
    """Take labels back: the photo has the one before again, or none, and the catalog follows.

    Args:
        inbox: where the photos are.
        batch: take back a whole call of `label`.
        photos: take back the last label of each of these.
        tenant: whose they must be; None for anybody's.

    Raises:
        UsageError: there are too many.
        DiskFullError, StoreError: it cannot be kept; then all labels stay.
    """
    _require_few(photos)
    now = inbox.now()
    items = []
    with inbox.database.write() as rows:
        if batch:
            found = rows.execute(
                "SELECT photo, n FROM labels WHERE batch = ? AND undone IS NULL AND (? IS NULL OR tenant = ?)"
                " ORDER BY n DESC",
                (batch, tenant, tenant),
            ).fetchall()
        else:
            found = []
            for photo in dict.fromkeys(photos):
                last = rows.execute(
                    "SELECT photo, MAX(n) n FROM labels WHERE photo = ? AND undone IS NULL"
                    " AND (? IS NULL OR tenant = ?)",
                    (photo, tenant, tenant),
                ).fetchone()
                if last["n"] is None:
                    items.append(
                        Outcome(photo, None, "expected a photo with a label, received one without", "no-label")
                    )
                else:
                    found.append(last)
        for row in found:
            at = rows.execute("SELECT at FROM labels WHERE n = ?", (row["n"],)).fetchone()["at"]
            if at < now - UNDO_SECONDS:
                why = "expected a label of the last 30 days, received an older one"
                items.append(Outcome(row["photo"], None, why, "too-late"))
                continue
            rows.execute("UPDATE labels SET undone = ? WHERE n = ?", (now, row["n"]))
            rows.execute(
                "UPDATE photos SET label = (SELECT MAX(n) FROM labels WHERE photo = ? AND undone IS NULL)"
                " WHERE photo = ?",
                (row["photo"], row["photo"]),
            )
            _follow(rows, row["photo"])
            items.append(Outcome(row["photo"], "waiting"))
    return Said(batch, tuple(items))


def _fault(
    rows: sqlite3.Connection, label: NewLabel, exists: Callable[[str], bool], tenant: str | None
) -> tuple[str, str] | None:
    """What is wrong with a label, and a short name of it."""
    if fault := label.fault():
        return fault, "wrong-usage"
    if not rows.execute(
        "SELECT 1 FROM photos WHERE photo = ? AND (? IS NULL OR tenant = ?)", (label.photo, tenant, tenant)
    ).fetchone():
        return "expected a photo of the inbox, received an id that it does not have", "no-photo"
    if label.kind not in ("product", "new"):
        return None
    coming = _coming(rows, label.product_id)
    known = exists(label.product_id)
    if label.kind == "product" and not known and not coming:
        return "expected a product of the catalog, received an id that it does not have", "no-product"
    if label.kind == "new":
        if known and not coming:
            return "expected a new product, received one that exists", "product-exists"
        try:
            require_new_id(label.product_id)
        except UsageError as error:
            return error.message, "wrong-usage"
    return None


def _coming(rows: sqlite3.Connection, product_id: str) -> bool:
    """Whether a label that holds makes this product."""
    return bool(
        rows.execute(
            "SELECT 1 FROM labels JOIN photos ON photos.label = labels.n"
            " WHERE labels.product_id = ? AND labels.kind = 'new' LIMIT 1",
            (product_id,),
        ).fetchone()
    )


def _keep(
    rows: sqlite3.Connection, label: NewLabel, batch: str, by: str, now: float, pictured: Callable[[str], bool]
) -> Outcome:
    photo = rows.execute("SELECT * FROM photos WHERE photo = ?", (label.photo,)).fetchone()
    held_out = bool(photo["held_out"])
    if held_out and not photo["badges"] and label.kind in ("product", "new") and not pictured(label.product_id):
        taught = rows.execute(
            "SELECT 1 FROM labels JOIN photos ON photos.label = labels.n WHERE labels.product_id = ?"
            " AND photos.held_out = 0 AND photos.badges = '' LIMIT 1",
            (label.product_id,),
        ).fetchone()
        if not taught:
            # Without a picture there is no product: the photo that makes one is taught, and its near-equals with it.
            held_out = False
            rows.execute("UPDATE photos SET held_out = 0 WHERE stack = ?", (photo["stack"],))
            for mate in rows.execute(
                "SELECT photo FROM photos WHERE stack = ? AND label IS NOT NULL", (photo["stack"],)
            ):
                _follow(rows, mate["photo"])
    said = (label.kind, label.product_id, label.name, label.gtin, label.note)
    added = rows.execute(
        "INSERT INTO labels (batch, photo, tenant, kind, product_id, name, gtin, note, by, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (batch, label.photo, photo["tenant"], *said, by, now),
    ).lastrowid
    rows.execute("UPDATE photos SET label = ? WHERE photo = ?", (added, label.photo))
    _follow(rows, label.photo)
    state, why = state_of(label.kind, held_out, photo["badges"].split(), "")
    return Outcome(label.photo, state, why)


def _follow(rows: sqlite3.Connection, photo: str) -> None:
    """Note that the catalog has to follow: what is noted is carried out, whatever happens in between."""
    rows.execute(
        "INSERT INTO todo (photo, version, problem) VALUES (?, 1, '')"
        " ON CONFLICT (photo) DO UPDATE SET version = version + 1, problem = ''",
        (photo,),
    )


def _require_few(items: Sequence[object]) -> None:
    if len(items) > MOST_LABELS:
        raise UsageError(
            f"expected at most {MOST_LABELS:,} labels, received {len(items):,}", hint="Send them in several calls."
        )
