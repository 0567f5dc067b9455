from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from retrieval.errors import ImageError
from retrieval.images.perceptual_hash import (
    NEAR_BITS,
    block_differences,
    hamming,
    miniature,
    near_duplicates,
    near_duplicates_within,
    nearest,
    perceptual_hash,
    same_picture,
)


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A smooth random scene: what photos look like to a hash."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def encoded(im: Image.Image, format_: str = "JPEG", **options: int) -> bytes:
    buffer = io.BytesIO()
    im.save(buffer, format_, **options)
    return buffer.getvalue()


def test_a_copy_saved_again_is_near_and_another_photo_is_not() -> None:
    originals = [perceptual_hash(encoded(photo(i))) for i in range(30)]
    for i, original in enumerate(originals):
        im = photo(i)
        copies = [
            encoded(im, quality=30),
            encoded(im, "PNG"),
            encoded(im.resize((160, 120), Image.Resampling.LANCZOS)),
            encoded(im.point(lambda v: min(255, int(v * 1.1)))),
        ]
        assert all(hamming(perceptual_hash(copy), original) <= NEAR_BITS for copy in copies)
    pairs = near_duplicates_within(originals)
    assert pairs == []


def test_a_turned_photo_is_judged_upright() -> None:
    im = photo(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = im.transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", exif=exif, quality=95)
    assert hamming(perceptual_hash(buffer.getvalue()), perceptual_hash(encoded(im))) <= NEAR_BITS


def test_pictures_without_structure_hash_to_zero() -> None:
    rng = np.random.default_rng(0)
    noisy = Image.fromarray((128 + rng.normal(0, 1, (200, 200))).astype(np.uint8))
    assert perceptual_hash(encoded(Image.new("RGB", (64, 64), "white"))) == 0
    assert perceptual_hash(encoded(noisy, "PNG")) == 0
    assert perceptual_hash(encoded(photo(1))) != 0


def test_bytes_that_are_no_picture_are_refused() -> None:
    with pytest.raises(ImageError):
        perceptual_hash(b"not a picture")


def test_pairs_are_those_of_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    import retrieval.images.perceptual_hash

    rng = np.random.default_rng(1)
    a = [int(v) for v in rng.integers(0, 2**64, 70, dtype=np.uint64)]
    b = [v ^ (1 << int(rng.integers(64))) ^ (1 << int(rng.integers(64))) for v in a[::3]] + [0, 2**64 - 1]
    for block in (1, 100, 2**22):
        monkeypatch.setattr(retrieval.images.perceptual_hash, "_BLOCK", block)
        for bits in (0, 2, 24):
            expected = [
                (i, j, hamming(x, y)) for i, x in enumerate(a) for j, y in enumerate(b) if hamming(x, y) <= bits
            ]
            assert near_duplicates(a, b, bits) == expected
            both = a + b
            assert near_duplicates_within(both, bits) == [
                (i, j, d) for i, j, d in near_duplicates(both, both, bits) if i < j
            ]
        where, how = nearest(a, b)
        assert how.tolist() == [min(hamming(x, y) for y in b) for x in a]
        assert [hamming(a[i], b[j]) for i, j in enumerate(where.tolist())] == how.tolist()


def test_empty_sets() -> None:
    assert near_duplicates([], [], 3) == []
    assert near_duplicates([1], [], 3) == []
    assert near_duplicates_within([], 3) == []
    with pytest.raises(ValueError, match="at least one"):
        nearest([1], [])


def other_word(im: Image.Image) -> Image.Image:
    other = im.copy()
    w, h = im.size
    other.paste((250, 250, 250), (w // 3, h // 2, w // 3 + w // 3, h // 2 + h // 6))
    other.paste((20, 20, 20), (w // 3 + 8, h // 2 + 6, w // 3 + w // 4, h // 2 + h // 6 - 6))
    return other


def other_color(im: Image.Image) -> Image.Image:
    red, green, blue = im.split()
    return Image.merge("RGB", (blue, green, red))


def test_copies_are_the_same_picture() -> None:
    for seed in range(20):
        im = photo(seed)
        original = miniature(encoded(im, quality=95))
        assert original.shape == (64, 64, 3)
        for copy in (
            encoded(im, quality=30),
            encoded(im, "PNG"),
            encoded(im.resize((160, 120), Image.Resampling.LANCZOS)),
            encoded(im.resize((900, 675), Image.Resampling.BICUBIC), quality=80),
            encoded(im.point(lambda v: int(v * 0.85))),
        ):
            assert same_picture(original, miniature(copy))
            assert same_picture(miniature(copy), original)


def test_packs_that_differ_in_a_word_or_in_color_are_not() -> None:
    for seed in range(20):
        im = photo(seed)
        for other in (other_word(im), other_color(im), photo(seed + 100)):
            assert not same_picture(miniature(encoded(im)), miniature(encoded(other)))


def test_flat_pictures_are_compared_without_dividing_by_nothing() -> None:
    white, gray = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), "gray")
    red = Image.new("RGB", (64, 64), "red")
    assert same_picture(miniature(encoded(white)), miniature(encoded(gray)))
    assert not same_picture(miniature(encoded(white)), miniature(encoded(red)))
    assert block_differences(miniature(encoded(white)), miniature(encoded(white))) == (0.0, 0.0)
