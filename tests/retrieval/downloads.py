"""What the tests of downloading share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from retrieval.download.fetch import Downloaded, Patience, fetch
from tests.retrieval.servers import Request, Server

CONTENT = bytes(range(256)) * 1000 + b"the end"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(connect=2, read=0.5, window=0.3, slowest=1000, backoff=0.01, attempts=4)


def get(server: Server | str, dest: Path, **options: Any) -> Downloaded:
    url = server if isinstance(server, str) else server.url()
    values = {"sha256": SHA256, "allow_private": True, "patience": QUICK}
    return fetch(url, dest, **(values | options))


def part_of(dest: Path) -> Path:
    return dest.with_name(f".{dest.name}.{SHA256[:16]}.part")


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def ok(request: Request) -> None:
    request.serve(CONTENT, ETag='"1"')
