"""Asking a service in tests."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tests.fakes import picture


def photo(product: int, view: int = 1) -> bytes:
    file = io.BytesIO()
    picture(product, view=view).save(file, "PNG")
    return file.getvalue()


def settled(client: TestClient, response: Any) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    job = response.json()
    deadline = time.monotonic() + 60
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
        job = client.get(f"/v1/jobs/{job['job']}").json()
    return job  # type: ignore[no-any-return]


def asked(client: TestClient, data: bytes) -> tuple[str, list[str]]:
    (result,) = client.post("/v1/recognize", files={"photo": data}).json()["results"]
    return result["verdict"], [m["product_id"] for m in result["matches"]]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
