import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.errors import EncoderError, ImageError
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, EncoderPool, Look, Refused, embed_pictures
from tests.fakes import SIDE, PixelEncoder, fake_bundle

POISON = 250


class Brittle(PixelEncoder):
    """Fails on a batch that holds a picture of one shade; counts how many use it at once."""

    made = 0
    inside = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.busy = threading.Lock()

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self.busy.acquire(blocking=False), "two threads in one encoder"
        try:
            time.sleep(0.001)
            if (pixels == POISON).any():
                raise EncoderError("poison")
            return super().encode(pixels)
        finally:
            self.busy.release()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    Brittle.made = 0
    PixelEncoder.calls = 0
    monkeypatch.setattr("retrieval.models.embedding.load_encoder", lambda bundle, threads=1: Brittle())
    return fake_bundle(tmp_path / "b")


def look(shade: int) -> Look[str]:
    if shade == 13:
        raise ImageError("expected a picture, received a superstition", reason="not-a-picture")
    if shade == 0:
        return Look("known", None)
    pixels = np.full((SIDE, SIDE, 3), shade, np.uint8)
    pixels[0, 0, 0] = 0 if shade != POISON else POISON
    return Look(f"shade {shade}", pixels)


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("threads", [1, 4])
def test_results_come_in_the_order_of_the_items(bundle: Bundle, batch: int, threads: int) -> None:
    shades = [n % 40 for n in range(100)]
    results = list(embed_pictures(iter(shades), bundle, look, threads=threads, batch=batch))
    assert [r.item for r in results] == shades
    one = PixelEncoder()
    for shade, result in zip(shades, results, strict=True):
        if shade == 13:
            assert isinstance(result, Refused)
            assert isinstance(result.error, ImageError)
            continue
        assert isinstance(result, Embedded)
        if shade == 0:
            assert (result.facts, result.vector) == ("known", None)
            continue
        pixels = look(shade).pixels
        assert pixels is not None
        assert result.vector is not None
        assert np.array_equal(result.vector, one.encode(pixels[None])[0])
        assert result.facts == f"shade {shade}"
    assert Brittle.made <= threads


def test_nothing_is_embedded_of_nothing(bundle: Bundle) -> None:
    assert list(embed_pictures([], bundle, look)) == []
    assert list(embed_pictures(iter([0, 0, 13]), bundle, look, batch=2))[2].item == 13
    assert Brittle.made == 0


def test_a_failing_network_ends_the_run(bundle: Bundle) -> None:
    with pytest.raises(EncoderError, match="poison"):
        list(embed_pictures(iter([1, POISON, 2]), bundle, look, batch=3))


def test_or_costs_the_pictures_it_fails_on(bundle: Bundle) -> None:
    results = list(embed_pictures(iter([1, POISON, 2, 13]), bundle, look, batch=4, alone=True))
    assert [type(r).__name__ for r in results] == ["Embedded", "Refused", "Embedded", "Refused"]
    assert isinstance(results[1], Refused)
    assert isinstance(results[1].error, EncoderError)


def test_a_single_picture_gets_every_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def load(bundle: Bundle, threads: int = 1) -> PixelEncoder:
        asked.append(threads)
        return PixelEncoder()

    monkeypatch.setattr("retrieval.models.embedding.load_encoder", load)
    bundle = fake_bundle(tmp_path / "b")
    list(embed_pictures([5], bundle, look, threads=6))
    list(embed_pictures(list(range(1, 9)), bundle, look, threads=6))
    assert asked[0] == 6
    assert set(asked[1:]) == {1}


def test_whoever_stops_early_ends_the_threads(bundle: Bundle) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        n = 1
        while True:
            taken.append(n)
            yield 1
            n += 1

    results = embed_pictures(endless(), bundle, look, threads=2, batch=2)
    next(results)
    assert len(taken) <= 2 * 2 * 8
    before = threading.active_count()
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() < before


def test_encoders_are_used_again(bundle: Bundle) -> None:
    pool = EncoderPool(bundle)
    for _ in range(5):
        list(embed_pictures([1, 2, 3, 4], bundle, look, threads=2, encoders=pool))
    assert Brittle.made <= 2
