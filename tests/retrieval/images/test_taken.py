"""When a photo was taken, by its EXIF, as cameras write it and as nobody should."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from retrieval.images.taken import taken

NOON = 1_700_049_600


def jpeg(when: object | None, *, file: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 1
    if when is not None:
        exif.get_ifd(0x8769)[0x9003] = when
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, file, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("file", ["JPEG"])
def test_what_a_camera_wrote(file: str) -> None:
    assert taken(jpeg("2023:11:15 12:00:00", file=file)) == NOON
    assert taken(jpeg("2023:11:15 12:00:01", file=file)) == NOON + 1


@pytest.mark.parametrize("when", [None, "yesterday at noon ok", "2023:13:45 99:00:00", "0000:00:00 00:00:00", "2023"])
def test_what_says_nothing(when: str | None) -> None:
    assert taken(jpeg(when)) is None


def test_damage_says_nothing() -> None:
    whole = jpeg("2023:11:15 12:00:00")
    for cut in range(len(whole)):
        assert taken(whole[:cut]) in (None, NOON)
    for place in range(20, 120):
        for byte in (0x00, 0x7F, 0xFF):
            taken(whole[:place] + bytes([byte]) + whole[place + 1 :])
    assert taken(b"") is None
