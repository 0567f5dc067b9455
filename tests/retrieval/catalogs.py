"""Small catalogs on disk, and what comes out of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.catalog.read import Catalog, Refusal, read_catalog
from retrieval.errors import CatalogError
from retrieval.types import CatalogImage

PIXELS = b"\xff\xd8\xff never opened by the catalog"


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PIXELS)


def pictures(catalog: Catalog) -> list[tuple[str, str]]:
    return [(e.product_id, e.image) for e in catalog.entries() if isinstance(e, CatalogImage)]


def refusals(catalog: Catalog) -> dict[str, str]:
    found = [e for e in catalog.entries() if isinstance(e, Refusal)]
    for refusal in found:
        assert refusal.reason.startswith("expected a picture")
        assert ", received " in refusal.reason
        assert refusal.reason.isprintable()
        assert refusal.path.isprintable()
    paths = {refusal.path: refusal.code for refusal in found}
    assert len(paths) == len(found)
    return paths


def fails(path: Path) -> str:
    """The one line with which a catalog is refused."""
    with pytest.raises(CatalogError) as caught:
        read_catalog(path)
    assert caught.value.message.isprintable()
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value.message
