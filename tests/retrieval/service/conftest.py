"""A shop of three products, and a service of it: afresh for each test, and one for tests that change nothing."""

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


def make_shop(folder: Path) -> Path:
    bundle = fake_bundle(folder / "bundle")
    catalog = write_catalog(folder / "catalog", products=3, views=2)
    (catalog / "products.csv").write_text("product_id,name,price\np000,Zero,1\np001,One,2\np002,Two,3\n")
    index_catalog(catalog, folder / "index", model=bundle.path)
    return folder


@pytest.fixture
def shop(tmp_path: Path, _shop_encoder: None) -> Path:
    return make_shop(tmp_path)


@pytest.fixture
def client(shop: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(index=str(shop / "index")))) as client:
        yield client


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    """A service and its shop, for tests of what is refused: they say that nothing changed."""
    with pytest.MonkeyPatch.context() as patch:
        use_pixel_encoder(patch)
        place = make_shop(tmp_path_factory.mktemp("lasting"))
        with TestClient(create_app(Settings(index=str(place / "index")))) as client:
            yield client, place
