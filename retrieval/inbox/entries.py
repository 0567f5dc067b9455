"""What an inbox holds: photos with their answers, labels, and what became of these."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from retrieval.barcodes.gtin import normal
from retrieval.errors import UsageError
from retrieval.types import Verdict

LabelKind = Literal["product", "new", "not-ours", "skip"]
"""What somebody says of a photo: a product of the catalog, a new one, none of ours, or nothing worth saying."""

Badge = Literal["small", "dark", "blurred"]
"""Why a photo is not taught: see `retrieval.inbox.shot`."""

State = Literal["waiting", "taught", "refused", "measured", "kept", "failed"]
"""What became of a label: on its way; a picture of the catalog; a refusal; held out to be measured on; written down
alone (skipped, or a photo with a badge); or not taught, and why is said."""

UNDO_SECONDS = 30 * 86_400.0
"""A label can be taken back for so long."""
MOST_LABELS = 1000
"""Labels of one call."""
LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class NewLabel:
    """What somebody says of a photo.

    Attributes:
        photo: its id.
        kind: see `LabelKind`.
        product_id: which product, for ``product`` and ``new``.
        name: what a new product is called.
        gtin: the number under a new product's barcode, or empty; written into the catalog's table where that has a
            column of barcodes.
        note: what a photo shows that is not ours.
    """

    photo: str
    kind: LabelKind
    product_id: str = ""
    name: str = ""
    gtin: str = ""
    note: str = ""

    def fault(self) -> str:
        """What is wrong with it in itself; empty when nothing is."""
        if self.kind not in get_args(LabelKind):
            return f"expected a label out of {', '.join(get_args(LabelKind))}, received another"
        if (self.kind in ("product", "new")) != bool(self.product_id):
            return (
                "expected the id of a product, received none"
                if not self.product_id
                else f"expected no product with the label {self.kind}, received one"
            )
        if any(len(text) > LONGEST_TEXT for text in (self.product_id, self.name, self.note)):
            return f"expected texts of at most {LONGEST_TEXT} characters, received a longer one"
        if not all(text.isprintable() for text in (self.product_id, self.name, self.note)):
            return "expected texts in one line, received control characters"
        if self.gtin and (not self.gtin.isascii() or not self.gtin.isdigit() or normal(self.gtin) is None):
            return "expected the digits of a GTIN with its check digit, received another text"
        if self.kind != "new" and (self.name or self.gtin):
            return "expected a name or GTIN with a new product only, received one with another label"
        return ""


@dataclass(frozen=True, slots=True)
class Label:
    """What was said of a photo, by whom, and what became of it.

    Attributes:
        kind: see `LabelKind`.
        product_id: which product; empty for others.
        name: what a new product is called.
        gtin: of a new product.
        note: what a photo shows that is not ours.
        by: id of the key that said so; empty where none was asked for.
        at: when, seconds since 1970.
        batch: names the call that it came with; undo takes it.
        state: what became of it.
        why: why it is not taught; empty where it is, or waits.
    """

    kind: LabelKind
    product_id: str
    name: str
    gtin: str
    note: str
    by: str
    at: float
    batch: str
    state: State
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The ``label`` of an entry."""
        return {
            "label": self.kind,
            "product_id": self.product_id or None,
            "name": self.name,
            "gtin": self.gtin,
            "note": self.note,
            "by": self.by,
            "at": moment(self.at),
            "undo_until": moment(self.at + UNDO_SECONDS),
            "batch": self.batch,
            "state": self.state,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """A photo in the inbox.

    Attributes:
        photo: its id, from the hash of its bytes.
        stack: the id of the first of the near-equal shots that it belongs to.
        name: what its sender called it; only shown.
        request: id of the request that asked last.
        first_asked: when it came first, seconds since 1970.
        asked: when it was asked last.
        times: how often.
        verdict: of the last answer.
        answer: its ``matches``, ``nearest`` and ``in_catalog``, as ``itemrec.query/1`` has them, with one picture each.
        fingerprint: of the model that answered.
        width: of the photo as it came, pixels.
        height: the same.
        brightness: see `retrieval.inbox.shot`.
        sharpness: the same.
        badges: why it is not taught; empty for a good one.
        held_out: with a label it is measured on and never taught.
        content_hash: SHA-256 of the bytes that came, in hex.
        bytes: of the picture that is kept.
        label: what was said of it; None where nothing was.
    """

    photo: str
    stack: str
    name: str
    request: str
    first_asked: float
    asked: float
    times: int
    verdict: Verdict
    answer: Mapping[str, Any]
    fingerprint: str
    width: int
    height: int
    brightness: float
    sharpness: float
    badges: tuple[Badge, ...]
    held_out: bool
    content_hash: str
    bytes: int
    label: Label | None = None

    def to_json(self) -> dict[str, Any]:
        """One of the ``photos`` of a stack."""
        return {
            "photo": self.photo,
            "name": self.name,
            "request_id": self.request,
            "first_asked": moment(self.first_asked),
            "asked": moment(self.asked),
            "times": self.times,
            "verdict": self.verdict,
            **self.answer,
            "fingerprint": self.fingerprint,
            "quality": {
                "width": self.width,
                "height": self.height,
                "brightness": round(self.brightness, 1),
                "sharpness": round(self.sharpness, 4),
                "badges": list(self.badges),
            },
            "held_out": self.held_out,
            "label": self.label.to_json() if self.label else None,
        }


@dataclass(frozen=True, slots=True)
class Stack:
    """Near-equal shots, newest first.

    Attributes:
        stack: its id.
        photos: those that the filter lets through, at most `MOST_SHOWN`.
        count: how many it lets through.
    """

    stack: str
    photos: tuple[Entry, ...]
    count: int

    def to_json(self) -> dict[str, Any]:
        """One of the ``stacks`` of a page."""
        return {"stack": self.stack, "count": self.count, "photos": [photo.to_json() for photo in self.photos]}


MOST_SHOWN = 50
"""Photos of one stack on a page."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which photos to list.

    Attributes:
        verdicts: these alone; empty for all.
        labeled: with a label, without one, or None for both.
        quality: ``good`` or badges; a photo needs one of them. Empty for all.
        since: asked then or later, seconds since 1970.
        product_id: labeled with this product.
    """

    verdicts: Sequence[Verdict] = ()
    labeled: bool | None = None
    quality: Sequence[str] = ()
    since: float | None = None
    product_id: str = ""

    def __post_init__(self) -> None:
        _require("verdict", self.verdicts, get_args(Verdict))
        _require("quality", self.quality, ("good", *get_args(Badge)))


@dataclass(frozen=True, slots=True)
class Page:
    """Some stacks, and how to go on.

    Attributes:
        stacks: unlabeled photos that were unknown or ambiguous first, then the others; newest first.
        after: the cursor of the next page; empty on the last.
    """

    stacks: tuple[Stack, ...]
    after: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """How much an inbox holds.

    Attributes:
        photos: all of them.
        unlabeled: those without a label.
        waiting: labels on their way into the catalog.
        bytes: of the pictures.
    """

    photos: int
    unlabeled: int
    waiting: int
    bytes: int

    def to_json(self) -> dict[str, int]:
        """The ``held`` of documents."""
        return {"photos": self.photos, "unlabeled": self.unlabeled, "waiting": self.waiting, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one label or undo of a call.

    Attributes:
        photo: the id that was named.
        state: see `State`; for an undo ``waiting`` or ``kept``; None where it was refused.
        why: why it is refused, or will not be taught.
        code: a short stable name of why it was refused; empty otherwise.
    """

    photo: str
    state: State | None
    why: str = ""
    code: str = ""

    def to_json(self) -> dict[str, Any]:
        """One of ``items``."""
        return {"photo": self.photo, "ok": self.state is not None, "state": self.state, "why": self.why} | (
            {"code": self.code} if self.code else {}
        )


@dataclass(frozen=True, slots=True)
class Said:
    """The result of a call that labels or takes back.

    Attributes:
        batch: names it; undo takes it.
        items: one for each that was sent, in order.
    """

    batch: str
    items: tuple[Outcome, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.labels/1`` document."""
        return {"schema": "itemrec.labels/1", "batch": self.batch, "items": [item.to_json() for item in self.items]}


def moment(seconds: float) -> str:
    """A time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Seconds since 1970 of a time as people and programs write it: ISO 8601; without a zone it is UTC.

    Raises:
        UsageError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError("expected a time in ISO 8601, received another text", hint="2026-11-28T09:30:00Z") from error


def cursor(*place: int | float | str) -> str:
    """A place in a list as text."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place_of(text: str) -> tuple[int, float, str]:
    """The place that `cursor` wrote.

    Raises:
        UsageError: it is none.
    """
    try:
        group, at, stack = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return int(group), float(at), str(stack)
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise UsageError(
            "expected the cursor of a page, received another text", hint="Take `after` of the page before."
        ) from error


def _require(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    if any(text not in known for text in given):
        raise UsageError(f"expected a {what} out of {', '.join(known)}, received another")
