"""Drawn codes are read however they lie; what is no code is none."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from retrieval.barcodes.scan import read_codes
from retrieval.barcodes.stripes import LOOKED_AT, cuts
from tests.retrieval.barcodes.drawn import photo_of

EAN, UPC = "4006381333931", "036000291452"
FOUND = "04006381333931"


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"angle": 30},
        {"angle": 45},
        {"angle": 90},
        {"angle": 135},
        {"angle": 180},
        {"blur": 1.5},
        {"angle": 40, "blur": 1.2},
        {"covered": 0.6},
        {"covered": 0.85},
        {"width": 130},
        {"width": 850},
    ],
    ids=str,
)
def test_a_code_is_read_turned_blurred_partly_covered_small_and_large(how: dict[str, Any]) -> None:
    assert [code.gtin for code in read_codes(photo_of(EAN, **how))] == [FOUND]


def test_a_code_without_its_end_is_not_guessed() -> None:
    photo = photo_of(EAN)
    photo.paste((128, 120, 110), (250, 200, 400, 450))
    assert read_codes(photo) == ()


@pytest.mark.parametrize(
    ("number", "kind", "gtin"),
    [
        (UPC, "UPCA", "00036000291452"),
        ("96385074", "EAN8", "00000096385074"),
        ("01234565", "UPCE", "00012345000065"),
        ("14006381333938", "ITF14", "14006381333938"),
    ],
)
def test_every_format_of_retail_is_read(number: str, kind: str, gtin: str) -> None:
    assert [code.gtin for code in read_codes(photo_of(number, kind=kind))] == [gtin]


def test_two_codes_in_one_photo_lie_where_they_lie() -> None:
    left, right = sorted(read_codes(photo_of(EAN, "0" + UPC), scale=2.0), key=lambda code: code.quad[0][0])
    assert (left.gtin, right.gtin) == (FOUND, "00036000291452")
    for code, start in ((left, 40), (right, 540)):
        (x0, y0), (x1, y1) = np.min(code.quad, axis=0) / 2, np.max(code.quad, axis=0) / 2
        assert start < x0 < start + 60
        assert start + 240 < x1 < start + 300
        assert 240 < y0 < y1 < 410


@pytest.mark.parametrize("kind", ["blank", "tiny", "line", "noise", "blinds", "grid"])
def test_what_is_no_code_is_none_and_few_places_are_read(kind: str) -> None:
    pixels = np.full((900, 1200), 255, np.uint8)
    if kind == "tiny":
        pixels = pixels[:8, :8]
    elif kind == "line":
        pixels = pixels[:1]
    elif kind == "noise":
        pixels = np.random.default_rng(0).integers(0, 255, pixels.shape, np.uint8)
    elif kind == "blinds":
        pixels[:, ::7] = pixels[:, 1::7] = 0
    elif kind == "grid":
        pixels[::9] = 0
        pixels[:, ::9] = 0
    photo = Image.fromarray(pixels)
    assert read_codes(photo) == ()
    assert len(list(cuts(photo))) <= sum(LOOKED_AT.values())
