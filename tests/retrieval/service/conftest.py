"""A shop of three products, and a service of it, afresh for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from retrieval.indexing.run import index as index_catalog
from retrieval.service import jobs
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.fakes import fake_bundle, use_pixel_encoder, write_catalog


@pytest.fixture
def _shop_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    use_pixel_encoder(monkeypatch)
    monkeypatch.setattr(jobs, "_AGAIN_SECONDS", 0.01)


@pytest.fixture
def shop(tmp_path: Path, _shop_encoder: None) -> Path:
    bundle = fake_bundle(tmp_path / "bundle")
    catalog = write_catalog(tmp_path / "catalog", products=3, views=2)
    (catalog / "products.csv").write_text("product_id,name,price\np000,Zero,1\np001,One,2\np002,Two,3\n")
    index_catalog(catalog, tmp_path / "index", model=bundle.path)
    return tmp_path


@pytest.fixture
def client(shop: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(index=str(shop / "index")))) as client:
        yield client
