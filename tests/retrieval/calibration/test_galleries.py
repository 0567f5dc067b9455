"""Which calibration holds for which kind of gallery."""

from __future__ import annotations

import json

import pytest

from retrieval.calibration.galleries import Expectation, GalleryShape, Kind
from retrieval.calibration.in_force import in_force
from retrieval.calibration.points import Calibration, ForGallery, OperatingPoint
from retrieval.calibration.sureness import Sureness
from retrieval.calibration.verdict_table import GroupVerdicts, LookAlike, VerdictTable

SURENESS = Sureness((1.0, -2.0, 1.0, 0.0), (1.0, -2.0, 1.0, 0.0), (5, 9), 10, 5, 3, 0.2)
TABLE = VerdictTable(0.8, 0.5, (GroupVerdicts("known", 3, 5, 1, 2, 1, 1),), (LookAlike("a", "b", 9, 7),))


def calibration(threshold: float, *galleries: ForGallery, sureness: Sureness | None = None) -> Calibration:
    points = (OperatingPoint("far=0.01", threshold),)
    return Calibration(threshold, "far=0.01", points, sureness=sureness, galleries=galleries)


def of_kind(kind: Kind, threshold: float) -> ForGallery:
    shape = GalleryShape(81, 81, 1.0)
    expect = (Expectation("new", 33, 88, 100, 16),)
    return ForGallery(kind, shape, calibration(threshold, sureness=SURENESS), expect)


@pytest.mark.parametrize(
    ("pictures", "studio", "kind"),
    [
        ([1] * 81, 1.0, "studio"),
        ([1], 1.0, "studio"),
        ([1] * 20_000, 0.97, "studio"),
        ([1] * 81, 0.0, "few"),
        ([5] * 81, 0.1, "few"),
        ([10, 10, 10], 0.0, "few"),
        ([40, 30, 11], 0.0, "many"),
        ([1] * 40 + [30] * 41, 0.5, "mixed"),
        ([40, 30, 11], None, None),
        ([], 0.0, "few"),
    ],
)
def test_the_kind_of_a_gallery(pictures: list[int], studio: float | None, kind: Kind | None) -> None:
    shape = GalleryShape(len(pictures), sum(pictures), studio)
    assert shape.kind == kind
    assert shape.products == len(pictures)
    assert shape.pictures == sum(pictures)
    assert GalleryShape.from_json(json.loads(json.dumps(shape.to_json()))) == shape


def test_the_one_that_fits_is_in_force() -> None:
    whole = calibration(0.9, of_kind("studio", 1.1), of_kind("many", 0.5))
    found = in_force(whole, GalleryShape(2, 2, 1.0))
    assert (found.calibration.threshold, found.kind, found.fits, found.why_not) == (1.1, "studio", True, "")
    assert found.calibration.sureness == SURENESS
    assert found.expect[0].five == 88


def test_none_that_fits_is_said() -> None:
    whole = calibration(0.9, of_kind("many", 0.5), sureness=SURENESS)
    found = in_force(whole, GalleryShape(2, 2, 1.0))
    assert (found.calibration.threshold, found.fits) == (0.9, False)
    assert "Not calibrated for this catalog (studio pictures)" in found.why_not
    assert "more than 10 photos" in found.why_not
    assert not found.expect


def test_an_index_of_before_does_not_know() -> None:
    found = in_force(calibration(0.9, of_kind("many", 0.5)), None)
    assert found.calibration.threshold == 0.9
    assert found.fits is None
    assert "does not say" in found.why_not


def test_a_bundle_of_before_works_and_says_what_it_does_not_know() -> None:
    found = in_force(calibration(0.9), GalleryShape(2, 2, 1.0))
    assert found.calibration.threshold == 0.9
    assert found.fits is None
    assert "does not say which kind of catalog" in found.why_not


def test_written_and_read() -> None:
    whole = calibration(0.9, of_kind("studio", 1.1), sureness=SURENESS)
    tabled = Calibration.from_json(whole.to_json() | {"verdicts": TABLE.to_json()})
    assert tabled.verdicts == TABLE
    assert Calibration.from_json(json.loads(json.dumps(tabled.to_json()))) == tabled
    assert TABLE.groups[0].photos == 10


def test_kinds_are_distinct_and_flat() -> None:
    with pytest.raises(ValueError, match="one calibration for each kind"):
        calibration(0.9, of_kind("studio", 1.1), of_kind("studio", 1.2))
    with pytest.raises(ValueError, match="of one kind"):
        ForGallery("studio", GalleryShape(1, 1), calibration(0.9, of_kind("many", 0.5)))
