"""What `itemrec doctor` finds, on an index in memory."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli.main import invoke
from retrieval import doctor
from retrieval.calibration.galleries import GalleryShape
from retrieval.calibration.in_force import InForce
from retrieval.calibration.points import Calibration, ForGallery, OperatingPoint
from retrieval.calibration.sureness import Sureness
from retrieval.catalog.read import read_catalog
from retrieval.distance import normalize
from retrieval.doctor import Check, examine
from retrieval.images.pictures import to_png
from retrieval.index.commands import index_command
from retrieval.index.refusals import RefusalPicture, refusal_id_of
from retrieval.indexing.indexer import index_catalog
from retrieval.models.bundle import Bundle, set_calibration
from retrieval.recognition.expectations import beyond_the_fit
from retrieval.refusals import refuse
from retrieval.types import Point
from tests.contract.reference import MemoryIndex
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    use_pixel_encoder(monkeypatch)
    return fake_bundle(tmp_path / "bundle")


@pytest.fixture
def index(tmp_path: Path, bundle: Bundle) -> MemoryIndex:
    index = MemoryIndex("some where")
    index_catalog(read_catalog(write_catalog(tmp_path / "catalog", products=5, views=4)), index, bundle, threads=1)
    return index


def checks(index: MemoryIndex, bundle: Bundle, sample: int | None = 200) -> dict[str, Check]:
    return {check.name: check for check in examine(index, str(bundle.path), sample=sample)}


def damage(index: MemoryIndex) -> None:
    """Give every picture the vector of something else, unit length as it should be."""
    with index.reader() as (store, _):
        for name, point in list(store.rows.items()):
            other = normalize(np.roll(point.vector, 7)[None] + 0.1)[0]
            store.rows[name] = Point(point.record, other)


def test_a_healthy_index(index: MemoryIndex, bundle: Bundle) -> None:
    found = checks(index, bundle)
    assert all(check.healthy for check in found.values())
    assert found["pictures"].facts == {"tried": 20, "off": []}
    assert found["self-retrieval"].facts == {"tried": 20, "lost": 0}


def test_what_is_in_force_is_told_and_warns_where_it_does_not_fit(index: MemoryIndex, bundle: Bundle) -> None:
    found = checks(index, bundle)["calibration"]
    assert (found.state, found.healthy) == ("warn", True)
    assert "does not say which kind of catalog" in found.detail
    point = OperatingPoint("strangers=0.2", 0.4)
    fitting = ForGallery("few", GalleryShape(9, 40, 0.0), Calibration(0.7, "x", (OperatingPoint("x", 0.7),)))
    whole = Calibration(0.4, point.name, (point,), galleries=(fitting,))
    set_calibration(bundle.path, whole)
    manifest = index.manifest()
    assert manifest is not None
    assert manifest.studio is not None  # the run looked at its pictures
    kind = GalleryShape(manifest.products, manifest.images, manifest.studio).kind
    found = checks(index, bundle)["calibration"]
    assert found.state == ("ok" if kind == "few" else "warn")
    assert found.to_json()["state"] == found.state
    index.set_calibration(Calibration.given(0.3).to_json())
    found = checks(index, bundle)["calibration"]
    assert (found.state, found.facts["threshold"], found.facts["own"]) == ("ok", 0.3, True)


def test_a_catalog_far_larger_than_what_was_measured_warns() -> None:
    sureness = Sureness((1.0, -1.0, 1.0, 0.0), (1.0, -1.0, 1.0, 0.0), (15, 81), 200, 200, 20, 0.2)
    found = InForce(Calibration(0.4, "x", (OperatingPoint("x", 0.4),), sureness=sureness), "studio", True)
    assert beyond_the_fit(found, 162) == ""
    assert "for 20,000 it is not calibrated" in beyond_the_fit(found, 20_000)


def test_refused_pictures_are_examined_where_there_are_any(index: MemoryIndex, bundle: Bundle) -> None:
    assert "refusals" not in checks(index, bundle)
    refuse(index.refusals, bundle, "a.png", to_png(picture(40)))
    assert checks(index, bundle)["refusals"].detail == "1 picture of what is not ours"
    broken = RefusalPicture(refusal_id_of(b"b"), "b.png", "", "2026-01-01")
    index.refusals.add([(broken, b"no picture")])
    found = checks(index, bundle)["refusals"]
    assert not found.healthy
    assert found.detail == (
        f"2 pictures of what is not ours, 1 of them not yet with this model's vector; 1 cannot be read: {broken.short}"
    )
    assert broken.short in found.hint


def test_vectors_of_something_else_are_found(index: MemoryIndex, bundle: Bundle) -> None:
    damage(index)
    found = checks(index, bundle)
    assert not found["pictures"].healthy
    assert len(found["pictures"].facts["off"]) == 20
    assert "--index 'some where'" in found["pictures"].hint
    assert found["self-retrieval"].healthy


def test_pictures_that_changed_or_left_are_not_compared(index: MemoryIndex, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "catalog" / "p000" / "0.png").unlink()
    shutil.copy(tmp_path / "catalog" / "p002" / "1.png", tmp_path / "catalog" / "p001" / "0.png")
    assert checks(index, bundle)["pictures"].facts == {"tried": 18, "off": []}
    shutil.rmtree(tmp_path / "catalog")
    gone = checks(index, bundle)["pictures"]
    assert gone.healthy
    assert "not compared" in gone.detail


@pytest.mark.parametrize(("sample", "tried"), [(1, 1), (7, 7), (10, 10), (20, 20), (None, 20)])
def test_the_sample_is_spread_over_the_index(
    index: MemoryIndex, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, sample: int | None, tried: int
) -> None:
    monkeypatch.setattr(doctor, "TURN", 3)
    assert checks(index, bundle, sample)["self-retrieval"].facts == {"tried": tried, "lost": 0}


def test_an_index_that_is_replaced_meanwhile(
    index: MemoryIndex, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "TURN", 3)
    found: dict[str, Check] = {}
    for check in examine(index, str(bundle.path)):
        found[check.name] = check
        if check.name == "pictures":
            live = index._manifest
            assert live is not None
            index._kept = {}
            index._manifest = replace(live, generation=live.generation + 1)
    assert found["self-retrieval"].healthy
    assert "replaced" in found["self-retrieval"].detail


def test_the_command_that_rebuilds_is_one_that_runs(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    catalog = write_catalog(tmp_path / "my catalog", products=2, views=1)
    command = index_command(str(catalog), str(tmp_path / "an index"), model=str(bundle.path))
    program, *words = shlex.split(command)
    assert (program, invoke(words)) == ("itemrec", 0)
    assert "2 added" in capsys.readouterr().out
