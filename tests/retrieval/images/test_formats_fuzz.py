"""Whatever the bytes, the answer is pixels or an `ImageError`: no other error, no warning, no output."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retrieval.errors import ImageError
from retrieval.images.formats import exif_orientation, read_header
from retrieval.images.pictures import REASONS, Limits, prepare
from retrieval.images.preprocessing import Preprocessing
from tests.pictures import exif, mend_png, samples

# A mutated header may ask for much within the default cap, and a hundred such pictures take a while.
LIMITS = Limits(max_pixels=1_000_000, max_streamed_pixels=1_000_000)
CASES = 150


def mutate(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # Headers are short and matter most.
        at = rng.randrange(min(len(out), 80) if rng.random() < 0.5 else len(out))
        match rng.randrange(7):
            case 0 | 1:
                out[at] = rng.randrange(256)
            case 2:
                out[at] ^= 1 << rng.randrange(8)
            case 3:
                out[at : at + 4] = rng.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0"))
            case 4:
                del out[at : at + rng.randrange(1, 9)]
            case 5:
                out[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 6:
                start = rng.randrange(len(out))
                out[at:at] = out[start : start + rng.randrange(1, 64)]
        if not out:
            return b""
    return bytes(out)


@pytest.mark.parametrize("name", samples())
def test_mutated_pictures(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(name)
    pre = Preprocessing(height=24, width=24)
    outcomes: Counter[str] = Counter()
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(CASES):
            data = mutate(samples()[name], rng)
            if name.startswith("png") and rng.random() < 0.7:
                data = mend_png(data)
            try:
                pixels = prepare(data, pre, limits=LIMITS)
            except ImageError as error:
                outcomes[error.reason] += 1
                texts.append(error.message)
            else:
                assert (pixels.shape, pixels.dtype) == ((24, 24, 3), np.uint8)
                outcomes["fine"] += 1
    assert outcomes.keys() <= REASONS | {"fine"}
    assert all(text.isprintable() for text in texts)
    assert not caught, [str(warning.message) for warning in caught]
    assert capfd.readouterr() == ("", "")
    assert outcomes["damaged"] + outcomes["truncated"] > 10, outcomes


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(samples())), st.integers(0, 64), st.binary(max_size=300))
def test_noise_after_a_true_start(name: str, keep: int, noise: bytes) -> None:
    with suppress(ImageError):
        prepare(samples()[name][:keep] + noise, Preprocessing(height=24, width=24), limits=LIMITS)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_noise_alone_is_of_no_format(noise: bytes) -> None:
    assert read_header(b"\x00" + noise) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100))
@example(b"II*\x00")
def test_any_exif_has_an_orientation(block: bytes) -> None:
    for data in (block, b"Exif\x00\x00" + block, b"II*\x00" + block, exif(6)[:20] + block):
        assert 1 <= exif_orientation(data) <= 8
