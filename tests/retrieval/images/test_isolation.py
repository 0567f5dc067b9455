"""A decoder that dies, hangs or eats memory costs its picture, and nothing else."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ImageError, ItemrecError
from retrieval.images import isolation
from retrieval.images.formats import Header, read_header
from retrieval.images.isolation import Pool
from retrieval.images.perceptual_hash import HASHED, hash_of, perceptual_hash
from retrieval.images.pictures import decode, prepare, thumbnail, views
from retrieval.images.preprocessing import Preprocessing
from retrieval.images.views import Prepared, Squashed, Thumbnail, View, Whole, render
from tests.pictures import box, encode, full, samples, scene
from tests.retrieval.images import deadly_decoder as deadly

DEADLY = deadly.__name__
MEMORY = 640 * 2**20


def stub(height: int = 64) -> Header:
    """A picture that the deadly decoder draws, or dies of."""
    return Header("TIFF", ((96, height),), 1, b"")


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(2, seconds=20, memory=MEMORY, program=DEADLY)
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[Pool]:
    made = Pool(2, seconds=1, memory=MEMORY, program=DEADLY)
    yield made
    made.close()


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        call()
    assert caught.value.message.startswith("expected ")
    assert caught.value.hint
    return caught.value.reason


@pytest.mark.parametrize(
    ("height", "expected"),
    [
        (deadly.SEGFAULT, "decoder-crashed"),
        (deadly.ABORT, "decoder-crashed"),
        (deadly.EXIT, "decoder-crashed"),
        (deadly.EAT, "out-of-memory"),
    ],
)
def test_a_deadly_picture_is_refused_and_the_next_one_decoded(pool: Pool, height: int, expected: str) -> None:
    """In a fresh child, and in one that has decoded before."""
    assert reason(lambda: pool.render(stub(height), [Whole()])) == expected
    assert pool.render(stub(), [Whole()])[0].size == (96, 64)
    assert reason(lambda: pool.render(stub(height), [Whole()])) == expected


@pytest.mark.parametrize("height", [deadly.HANG, deadly.SPIN])
def test_a_decoder_that_hangs_is_stopped(hasty: Pool, height: int) -> None:
    assert reason(lambda: hasty.render(stub(height), [Whole()])) == "decoder-hung"
    assert hasty.render(stub(), [Whole()])[0].size == (96, 64)


def test_what_a_decoder_leaks_is_not_the_next_pictures_fault(pool: Pool) -> None:
    for _ in range(7):
        assert pool.render(stub(deadly.LEAK), [Whole()])[0].size == (96, deadly.LEAK)


def test_what_a_decoder_prints_is_no_answer(pool: Pool, capfd: pytest.CaptureFixture[str]) -> None:
    assert pool.render(stub(deadly.CHATTER), [Whole()])[0].size == (96, deadly.CHATTER)
    assert capfd.readouterr() == ("", "")


def test_deaths_among_threads_cost_only_their_own_pictures(pool: Pool) -> None:
    heights = [64, deadly.SEGFAULT, 64, deadly.EXIT, 64, 64]

    def one(height: int) -> object:
        try:
            return pool.render(stub(height), [Whole()])[0].size
        except ImageError as error:
            return error.reason

    with ThreadPoolExecutor(6) as workers:
        found = list(workers.map(one, heights))
    assert found == [(96, 64) if height == 64 else "decoder-crashed" for height in heights]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_child_that_died_while_it_waited_is_replaced(pool: Pool) -> None:
    pool.render(stub(), [Whole()])
    [child] = pool._idle
    os.kill(child._process.pid, signal.SIGKILL)
    child._process.wait()
    assert pool.render(stub(), [Whole()])[0].size == (96, 64)


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    data = tmp_path / "picture.tif"
    data.write_bytes(samples()["tiff"])
    code = (
        "import sys, os, pathlib\n"
        "from retrieval.images import isolation, pictures\n"
        "pictures.decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(isolation.pool()._idle[0]._process.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(data)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    # The pipe closed, so the child ends by itself; it is gone, or about to be.
    gone = threading.Event()
    for _ in range(200):
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            gone.set()
            break
        if Path(f"/proc/{done.stdout.strip()}/stat").exists() and " Z " in Path(
            f"/proc/{done.stdout.strip()}/stat"
        ).read_text(encoding="utf-8"):
            gone.set()
            break
        gone.wait(0.05)
    assert gone.is_set()


def test_no_child_at_all_is_the_environments_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ItemrecError, match="Cannot start the process that decodes") as caught:
        Pool(1).render(stub(), [Whole()])
    assert not isinstance(caught.value, ImageError)
    monkeypatch.undo()
    with pytest.raises(ItemrecError, match="Cannot start"):
        Pool(1, program="retrieval.images.no_such_module").render(stub(), [Whole()])


def test_where_there_is_no_interpreter_pictures_are_decoded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(isolation, "_pool", None)
    assert decode(samples()["tiff"]).size == (96, 64)
    assert not isinstance(isolation.pool(), Pool)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_uses_children_of_its_own() -> None:
    decode(samples()["tiff"])
    before = isolation.pool()
    pid = os.fork()
    if not pid:
        try:
            same = isolation.pool() is before
            right = decode(samples()["tiff"]).size == (96, 64)
            isolation.pool().close()  # type: ignore[union-attr]
            os._exit(0 if right and not same else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert decode(samples()["tiff"]).size == (96, 64)


VIEWS: list[View] = [Prepared(Preprocessing(32, 40)), Thumbnail(20), HASHED, Squashed(16), Whole((64, 64)), Whole()]


@pytest.mark.parametrize("name", sorted(samples()))
def test_views_are_the_same_together_and_apart(name: str) -> None:
    """One decode gives what each function gives alone, here and in a child."""
    data = samples()[name]
    prepared, small, hashed, *_ = views(data, *VIEWS)
    np.testing.assert_array_equal(np.asarray(prepared), prepare(data, Preprocessing(32, 40)))
    np.testing.assert_array_equal(np.asarray(small), np.asarray(thumbnail(data, 20)))
    assert hash_of(hashed) == perceptual_hash(data)
    header = read_header(data)
    assert header is not None
    for one, other in zip(views(data, *VIEWS), render(header, VIEWS), strict=True):
        assert one.mode == other.mode
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_views_of_a_large_turned_jpeg_share_what_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image, JpegImagePlugin

    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(scene(1600, 1200), "JPEG", exif=exif.tobytes())
    loads: list[tuple[int, int]] = []
    load = JpegImagePlugin.JpegImageFile.load

    def counted(self: JpegImagePlugin.JpegImageFile) -> object:
        if self.tile:
            loads.append(self.size)
        return load(self)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", counted)
    pre = Preprocessing(100, 100)
    prepared, small, hashed = views(data, Prepared(pre), Thumbnail(64), HASHED)
    assert loads == [(200, 150)]
    np.testing.assert_array_equal(np.asarray(prepared), prepare(data, pre))
    np.testing.assert_array_equal(np.asarray(small), np.asarray(thumbnail(data, 64)))
    assert hash_of(hashed) == perceptual_hash(data)


def test_a_cold_jpeg_starts_no_child(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from retrieval.images import pictures\n"
        "for path in sys.argv[1:]:\n"
        "    pictures.decode(pathlib.Path(path).read_bytes())\n"
        "print([m for m in ('retrieval.images.isolation', 'multiprocessing') if m in sys.modules])\n"
    )
    paths = [tmp_path / name for name in ("jpeg", "png", "webp", "gif", "bmp")]
    for path in paths:
        path.write_bytes(samples()[path.name])
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def heic_with_xmp(content_type: bytes) -> bytes:
    """A HEIC of one picture and an XMP packet that describes it."""
    tile = samples()["heic"]
    at = tile.index(b"hvcC") - 4
    config = tile[at : at + int.from_bytes(tile[at : at + 4], "big")]
    coded = tile[tile.index(b"mdat") + 4 :]
    packet = b"<x:xmpmeta/>"
    head = box(b"ftyp", b"heic", bytes(4), b"mif1heicmiaf")

    def info(number: int, kind: bytes, rest: bytes) -> bytes:
        made = full(b"infe", struct.pack(">HH4s", number, 0, kind), rest)
        return made[:8] + b"\x02" + made[9:]

    def meta(offset: int) -> bytes:
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", 1)),
            full(
                b"iloc",
                struct.pack(">BBH", 0x44, 0, 2),
                struct.pack(">HHHII", 1, 0, 1, offset, len(coded)),
                struct.pack(">HHHII", 2, 0, 1, offset + len(coded), len(packet)),
            ),
            full(
                b"iinf",
                struct.pack(">H", 2),
                info(1, b"hvc1", b"\x00"),
                info(2, b"mime", b"\x00" + content_type + b"\x00"),
            ),
            full(b"iref", box(b"cdsc", struct.pack(">HHH", 2, 1, 1))),
            box(
                b"iprp",
                box(b"ipco", config, full(b"ispe", struct.pack(">II", 96, 64)), full(b"pixi", bytes([3, 8, 8, 8]))),
                full(b"ipma", struct.pack(">I", 1), struct.pack(">HBBBB", 1, 3, 0x81, 2, 3)),
            ),
        )

    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", coded, packet)


@pytest.mark.parametrize("content_type", [b"application/rdf+xml", b"application/rdf\x81xml"])
def test_decoders_are_not_shown_the_metadata_of_a_heic(content_type: bytes) -> None:
    """One byte of it ended the process inside pi_heif."""
    data = heic_with_xmp(content_type)
    header = read_header(data)
    assert header is not None
    assert len(header.data) == len(data)
    assert b"application/rdf" not in header.data
    assert b"cdsc" not in header.data
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(decode(samples()["heic"])))
