import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.catalog.listing import Listing
from retrieval.catalog.read import Catalog, Refusal, read_catalog
from retrieval.errors import CatalogError
from retrieval.types import CatalogImage
from tests.fakes import write_catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return read_catalog(write_catalog(tmp_path / "catalog", products=4, views=5))


def test_every_entry_once_and_in_order(catalog: Catalog) -> None:
    expected = list(catalog.entries())
    for ahead in (1, 2, 3, 7, 100):
        with Listing(catalog, ahead=ahead) as listing:
            assert list(listing) == expected
            assert listing.total == 20


def test_the_catalog_is_walked_once(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []
    entries = Catalog.entries

    def counted(self: Catalog) -> Iterator[CatalogImage | Refusal]:
        walks.append(threading.current_thread().name)
        return entries(self)

    monkeypatch.setattr(Catalog, "entries", counted)
    with Listing(catalog) as listing:
        assert listing.wait() == 20
        assert len(list(listing)) == 20
    assert walks == ["itemrec-list"]


def test_it_runs_ahead_but_not_without_bound(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    entries = Catalog.entries

    def counted(self: Catalog) -> Iterator[CatalogImage | Refusal]:
        for entry in entries(self):
            seen.append(entry)
            yield entry

    monkeypatch.setattr(Catalog, "entries", counted)
    with Listing(catalog, ahead=6) as listing:
        taken = iter(listing)
        next(taken)
        deadline = time.monotonic() + 10
        while len(seen) < 7 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(seen) <= 8  # six wait, one was taken, one is in hand
        assert listing.total is None
        assert listing.wait() == 20  # whoever must know the total pays with memory
        assert len(list(taken)) == 19


def test_whoever_stops_early_leaves_no_thread(catalog: Catalog) -> None:
    before = threading.active_count()
    with Listing(catalog, ahead=2) as listing:
        next(iter(listing))
    assert threading.active_count() == before


def test_a_failure_of_the_walk_comes_where_the_entries_end(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Catalog.entries

    def failing(self: Catalog) -> Iterator[CatalogImage | Refusal]:
        found = entries(self)
        yield next(found)
        raise CatalogError("the share went away")

    monkeypatch.setattr(Catalog, "entries", failing)
    with Listing(catalog) as listing:
        taken = iter(listing)
        next(taken)
        with pytest.raises(CatalogError, match="went away"):
            next(taken)
    with Listing(catalog) as listing, pytest.raises(CatalogError, match="went away"):
        listing.wait()
