"""Rows of an inbox as `retrieval.inbox.entries` has them: which to read, and what they say."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from retrieval.inbox.entries import Entry, Label, State, Wanted

ENTRIES = (
    "SELECT photos.*, labels.kind label_kind, labels.product_id label_product, labels.name label_name, labels.gtin,"
    " labels.note, labels.by, labels.at, labels.batch, todo.problem"
    " FROM photos LEFT JOIN labels ON labels.n = photos.label LEFT JOIN todo ON todo.photo = photos.photo"
)


def condition(wanted: Wanted, tenant: str | None) -> tuple[str, list[Any]]:
    """A condition on ``photos``, and its values."""
    terms, values = ["1"], list[Any]()
    if tenant is not None:
        terms.append("photos.tenant = ?")
        values.append(tenant)
    if wanted.verdicts:
        terms.append(f"photos.verdict IN ({', '.join('?' * len(wanted.verdicts))})")
        values += wanted.verdicts
    if wanted.labeled is not None:
        terms.append(f"photos.label IS {'NOT ' if wanted.labeled else ''}NULL")
    if wanted.quality:
        tests = ("photos.badges = ?" if one == "good" else "instr(photos.badges, ?)" for one in wanted.quality)
        terms.append(f"({' OR '.join(tests)})")
        values += ["" if one == "good" else one for one in wanted.quality]
    if wanted.since is not None:
        terms.append("photos.asked >= ?")
        values.append(wanted.since)
    if wanted.product_id:
        terms.append("photos.label IN (SELECT n FROM labels WHERE product_id = ?)")
        values.append(wanted.product_id)
    return " AND ".join(terms), values


def entry_of(row: sqlite3.Row) -> Entry:
    """What a row of `ENTRIES` says."""
    return Entry(
        photo=row["photo"],
        stack=row["stack"],
        name=row["name"],
        request=row["request"],
        first_asked=row["first_asked"],
        asked=row["asked"],
        times=row["times"],
        verdict=row["verdict"],
        answer=json.loads(row["answer"]),
        fingerprint=row["fingerprint"],
        width=row["width"],
        height=row["height"],
        brightness=row["brightness"],
        sharpness=row["sharpness"],
        badges=tuple(row["badges"].split()),
        held_out=bool(row["held_out"]),
        content_hash=row["content_hash"],
        bytes=row["bytes"],
        label=_label(row),
    )


def _label(row: sqlite3.Row) -> Label | None:
    if row["label_kind"] is None:
        return None
    state, why = state_of(row["label_kind"], bool(row["held_out"]), row["badges"].split(), row["problem"])
    if state == "waiting" and row["problem"] is None:
        state = "refused" if row["label_kind"] == "not-ours" else "taught"
    return Label(
        kind=row["label_kind"],
        product_id=row["label_product"],
        name=row["label_name"],
        gtin=row["gtin"],
        note=row["note"],
        by=row["by"],
        at=row["at"],
        batch=row["batch"],
        state=state,
        why=why,
    )


def state_of(kind: str, held_out: bool, badges: Sequence[str], problem: str | None) -> tuple[State, str]:
    """What becomes of a label, and why it is not taught; ``waiting`` for one that is or will be.

    Args:
        kind: see `LabelKind`.
        held_out: the photo is.
        badges: of the photo.
        problem: what the last try to teach it met; empty before, None where nothing is to be done.
    """
    if kind == "skip":
        return "kept", ""
    if held_out:
        return "measured", "One photo in five is kept to measure on, and never taught."
    if badges:
        return "kept", f"The photo is {' and '.join(badges)}: it is measured on, not taught."
    return ("failed", problem) if problem else ("waiting", "")
