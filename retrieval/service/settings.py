"""How a service runs: what `itemrec serve` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.inbox.inbox import Caps

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]", "testserver")
"""Names under which a service without keys answers: no page of elsewhere reaches it by a name of its own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a service runs.

    Attributes:
        index: a directory or the URL of a server, as in `Recognizer`.
        model: see `Recognizer`.
        threshold: see `Recognizer`, as the two that follow.
        sure: a match from this probability of being right on.
        in_catalog: else ambiguous from this probability of being in the catalog on.
        verify: look closer at close calls; by default where the index has keypoints.
        keys: a file of keys; None asks for none.
        page: also serve the page.
        threads: photos answered at once.
        waiting: requests that may wait beside them.
        seconds: how long a request may take.
        hosts: names that the service answers to; empty for any.
        origins: pages of elsewhere that may ask; none unless named.
        inbox: a folder that keeps what is asked about; None keeps nothing.
        inbox_caps: how much it may hold.
    """

    index: str = ".itemrec"
    model: str | None = None
    threshold: float | None = None
    sure: float | None = None
    in_catalog: float | None = None
    verify: bool | None = None
    keys: Path | None = None
    page: bool = True
    threads: int = 0
    waiting: int = 32
    seconds: float = 30.0
    hosts: Sequence[str] = LOCAL_HOSTS
    origins: Sequence[str] = ()
    inbox: Path | None = None
    inbox_caps: Caps = field(default_factory=Caps)
