"""Thumbnails inside HTML."""

from pathlib import Path

import pytest

from retrieval.errors import ImageError
from retrieval.images.inline import data_uri, figure
from tests.pictures import samples


@pytest.mark.parametrize("kind", ["jpeg", "png-alpha", "gif-animated", "webp", "heic"])
def test_a_picture_of_any_format_becomes_a_small_jpeg(kind: str) -> None:
    assert data_uri(samples()[kind], 32).startswith("data:image/jpeg;base64,/9j/")


def test_a_broken_picture_is_refused() -> None:
    with pytest.raises(ImageError):
        data_uri(b"nothing")


def test_a_figure_holds_the_picture_and_says_what_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "one.jpg"
    file.write_bytes(samples()["jpeg"])
    for picture in (file, file.read_bytes()):
        shown = figure(picture, '<b>"one"</b>')
        assert shown.startswith("<figure")
        assert 'src="data:image/jpeg;base64,' in shown
        assert "<b>" not in shown
        assert shown.count("&lt;b&gt;&#34;one&#34;&lt;/b&gt;") == 2


@pytest.mark.parametrize("picture", [b"nothing", Path("/nowhere/at/all.jpg")])
def test_a_picture_that_is_gone_leaves_a_frame(picture: bytes | Path) -> None:
    shown = figure(picture, "one")
    assert "<img" not in shown
    assert 'aria-label="one"' in shown


def test_a_file_outside_its_root_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "outside.jpg").write_bytes(samples()["jpeg"])
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    assert "<img" not in figure(root / "link.jpg", "link", root=root)
