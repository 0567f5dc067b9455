"""Reading a file: the bytes of a regular file within bounds, or a reason, at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from retrieval.errors import ImageError
from retrieval.images import pictures
from retrieval.images.pictures import Limits, decode, read_file
from tests.pictures import samples


def test_read_file_gives_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(samples()["jpeg"])
    assert read_file(tmp_path / "a.jpg", root=tmp_path) == samples()["jpeg"]


def test_read_file_stops_at_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(1001))
    limits = Limits(max_bytes=1000)
    with pytest.raises(ImageError, match="at most 1,000 bytes, received 1,001") as caught:
        read_file(path, limits=limits)
    assert caught.value.reason == "too-many-bytes"
    with pytest.raises(ImageError) as caught:
        decode(bytes(1001), limits=limits)
    assert caught.value.reason == "too-many-bytes"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a file whose size says 0")
def test_read_file_counts_what_it_reads_not_what_the_size_says() -> None:
    with pytest.raises(ImageError) as caught:
        read_file(Path("/proc/self/status"), limits=Limits(max_bytes=100))
    assert caught.value.reason == "too-many-bytes"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_sockets_devices_and_folders_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is short
        try:
            sock.bind("socket.jpg")
        finally:
            os.chdir(here)
        for path in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", tmp_path / "socket.jpg", Path("/dev/zero")):
            with pytest.raises(ImageError) as caught:
                read_file(path)
            assert caught.value.reason == "not-a-file", path


@pytest.mark.parametrize("name", ["no.jpg", "a.jpg/no.jpg", "x" * 300 + ".jpg", "nul\0.jpg", "new\nline.jpg"])
def test_paths_that_lead_nowhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ImageError) as caught:
        read_file(tmp_path / name)
    assert caught.value.reason in {"missing", "unreadable"}
    assert caught.value.message.isprintable()


def test_links_that_leave_the_root_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "root-2"
    root.mkdir()
    outside.mkdir()
    (outside / "a.jpg").write_bytes(samples()["jpeg"])
    (root / "file.jpg").symlink_to(outside / "a.jpg")
    (root / "folder").symlink_to(outside)
    (root / "loop.jpg").symlink_to("loop.jpg")
    for path in (root / "file.jpg", root / "folder" / "a.jpg", root / ".." / "root-2" / "a.jpg"):
        with pytest.raises(ImageError) as caught:
            read_file(path, root=root)
        assert caught.value.reason == "outside-catalog"
        assert read_file(path) == samples()["jpeg"]
    with pytest.raises(ImageError) as caught:
        read_file(root / "loop.jpg", root=root)
    assert caught.value.reason in {"missing", "unreadable"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(samples()["jpeg"])
    path.chmod(0)
    with pytest.raises(ImageError) as caught:
        read_file(path)
    assert caught.value.reason == "unreadable"


def test_a_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(samples()["jpeg"])

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(pictures, "_read", fail)
    with pytest.raises(ImageError, match="Input/output error") as caught:
        read_file(path)
    assert caught.value.reason == "unreadable"
