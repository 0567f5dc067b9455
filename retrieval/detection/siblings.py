"""Which of several packages of one family lies at a place: compared where their catalog pictures differ.

Variants share nearly all of what is printed on them, so at one place all of them are about as much alike, and what
decides is how well each picture happens to lie over the photo. So the picture of each is bent onto the photo first, a
few pixels, as a can that was turned a little asks for; then two of them are as blurred and as bright as the photo is,
and it is projected onto what tells them apart: 1 where it shows the one, -1 where it shows the other, near 0 where it
shows neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.detection.known import KnownPicture
from retrieval.verification.opencv import opencv

SIDE = 224
"""Pixels of the longer side at which siblings are compared, at most: a word is a few pixels high."""
BLURS = (0.0, 0.8, 1.4, 2.2, 3.2)
"""Standard deviations, in pixels of what is compared, of which one makes a picture as blurred as the photo."""
BENT = 0.08
"""How far a picture is bent, as a part of the longer side: more is another picture."""
DIFFERS = 10.0
"""Gray levels by which two pictures differ where they are compared."""
COVERED = 60.0
"""By which the photo differs from both where something stands before the item."""
_SOFT = 0.8
"""What both are blurred by at least: noise is none of the print."""
_FEWEST = 12
_NEAR = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
_EDGE = 0.02
_RIM = 0.01
"""What is left out within the photo's edge of an item and within its own: there its shape decides, not its print."""
_PLAIN = 12
"""How far a background's values may lie from those of its corner."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a place says about two siblings.

    Attributes:
        towards: 1 where the photo shows the first, -1 where it shows the second.
        strength: how large what tells them apart is there, in standard deviations of what neither explains.
    """

    towards: float
    strength: float


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A place of a photo, and what each of several catalog pictures would look like there.

    Attributes:
        seen: the place, as if seen from where the first picture was taken, float32, shape (h, w, 3).
        pictures: likewise, and as blurred.
        masks: where each lies within the photo and within the picture, shape (h, w).
    """

    seen: NDArray[np.float32]
    pictures: Sequence[NDArray[np.float32]]
    masks: Sequence[NDArray[np.bool_]]


def lay(pictures: Sequence[tuple[KnownPicture, NDArray[np.float64]]], photo: NDArray[np.uint8]) -> Laid:
    """Lay pictures over one place of a photo.

    Args:
        pictures: each with the homography from its pixels to those of the photo; the first one's frame is used.
        photo: RGB, uint8, shape (height, width, 3).
    """
    first, to_photo = pictures[0]
    left, top, right, bottom = first.box
    corners = np.array([(left, top, 1), (right, top, 1), (right, bottom, 1), (left, bottom, 1)], float) @ to_photo.T
    quad = corners[:, :2] / corners[:, 2:]
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    longest = float(max(sides[::2].mean(), sides[1::2].mean()))
    scale = min(SIDE, max(64.0, longest)) / max(right - left, bottom - top)
    size = (max(16, round((right - left) * scale)), max(16, round((bottom - top) * scale)))
    stretch = np.array([[(right - left) / size[0], 0, left], [0, (bottom - top) / size[1], top], [0, 0, 1.0]])
    seen, within = _laid(photo, to_photo @ stretch, size, longest / max(size))
    rim = round(_EDGE * max(size)) + 1
    within[:rim] = within[-rim:] = False
    within[:, :rim] = within[:, -rim:] = False
    cv2 = opencv()
    laid, masks = [], []
    for known, own in pictures:
        to_own = np.linalg.inv(own) @ to_photo @ stretch
        picture, _ = _laid(known.pixels, to_own, size, 1.0 / scale)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        inside = cv2.warpPerspective(_item(known), to_own, size, flags=flags)
        inside = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=round(_RIM * max(size)) + 1, borderValue=0)
        bent, there = _bent_onto(picture, seen, within & inside.astype(bool))
        laid.append(bent)
        masks.append(there)
    gray, seen_gray = _gray(laid[0]), _gray(seen)
    blur = max(BLURS, key=lambda far: _alike(_blurred(gray, far), seen_gray, masks[0])) if masks[0].any() else 0.0
    soft = max(_SOFT, blur)
    return Laid(_blurred(seen, _SOFT), [_blurred(picture, soft) for picture in laid], masks)


def tell(laid: Laid, one: int, other: int) -> Difference | None:
    """Which of two pictures the photo shows; None where nothing can be said.

    Args:
        laid: the place.
        one: the number of a picture there.
        other: of another.
    """
    mask = laid.masks[one] & laid.masks[other]
    if mask.mean() < 0.25:
        return None
    a, b, seen = laid.pictures[one], laid.pictures[other], laid.seen
    apart = _largest(a - b)
    same = mask & (apart <= np.quantile(apart[mask], 0.6))
    middle = (a + b) * np.float32(0.5)
    lit = _as_lit(middle, seen, same)
    if lit is None:
        return None
    gain, offset = lit
    way = (a - b) * gain
    off = seen - (middle * gain + offset)
    half = way * np.float32(0.5)
    # What covers the item is like neither of the two.
    covered = np.minimum(_largest(off - half), _largest(off + half)) > COVERED
    # A line that lies a pixel off in one of the two tells nothing: what differs does so wherever it is moved to.
    lasting = np.min([_largest(a - np.roll(b, by, axis=(0, 1))) for by in _NEAR], axis=0)
    mask = mask & ~covered
    if not (same & mask).any():
        return None
    telling = mask & (lasting >= max(DIFFERS, 0.3 * float(np.quantile(lasting[mask], 0.995))))
    if telling.sum() < _FEWEST:
        return None
    noise, away, along = float(off[same & mask].std()), off[telling], way[telling]
    power = float(np.square(along).sum())
    return Difference(2.0 * float((away * along).sum()) / power, float(np.sqrt(power / 3)) / max(noise, 2.0))


def _item(known: KnownPicture) -> NDArray[np.uint8]:
    """1 where a picture shows its item, 0 where it shows the plain background that touches its edges."""
    height, width = known.pixels.shape[:2]
    if not known.plain:
        return np.ones((height, width), np.uint8)
    cv2 = opencv()
    framed = cv2.copyMakeBorder(known.pixels, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    mask = np.zeros((height + 4, width + 4), np.uint8)
    how = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
    for corner in ((0, 0), (width + 1, 0), (0, height + 1), (width + 1, height + 1)):
        if not mask[corner[1] + 1, corner[0] + 1]:
            cv2.floodFill(framed, mask, corner, 0, (_PLAIN,) * 3, (_PLAIN,) * 3, how)
    item: NDArray[np.uint8] = 1 - mask[2:-2, 2:-2]
    return item


def _laid(
    picture: NDArray[np.uint8], to_picture: NDArray[np.float64], size: tuple[int, int], times: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A picture in another frame, float32, and where there is one; what is much larger is reduced first."""
    cv2 = opencv()
    inside = np.ones(picture.shape[:2], np.uint8)
    flags = cv2.WARP_INVERSE_MAP
    mask = cv2.warpPerspective(inside, to_picture, size, flags=cv2.INTER_NEAREST | flags).astype(bool)
    if times > 1.3:
        height, width = picture.shape[:2]
        smaller = (max(1, round(width / times)), max(1, round(height / times)))
        picture = cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA)
        to_picture = np.diag([smaller[0] / width, smaller[1] / height, 1.0]) @ to_picture
    laid = cv2.warpPerspective(picture, to_picture, size, flags=cv2.INTER_LINEAR | flags)
    return laid.astype(np.float32), mask


def _bent_onto(
    picture: NDArray[np.float32], seen: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A picture moved by the pixels that it is off, which change slowly from place to place."""
    cv2 = opencv()
    if mask.sum() < 100:
        return picture, mask
    lit = _as_lit(picture, seen, mask)
    gain, offset = lit if lit is not None else (1.0, 0.0)
    one, other = (np.clip(_blurred(_gray(im), 1.0), 0, 255).astype(np.uint8) for im in (seen, picture * gain + offset))
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setVariationalRefinementAlpha(60.0)
    found = flow.calc(one, other, None)
    side = max(seen.shape)
    # What a word moves by to become another word is taken for no bend: only what its neighborhood does, too.
    found = cv2.GaussianBlur(cv2.medianBlur(found, 5), (0, 0), 0.06 * side)
    length = np.linalg.norm(found, axis=2, keepdims=True)
    found *= np.minimum(1.0, BENT * side / np.maximum(length, 1e-6))
    y, x = np.mgrid[: seen.shape[0], : seen.shape[1]].astype(np.float32)
    at = (x + found[:, :, 0], y + found[:, :, 1])
    bent = cv2.remap(picture, *at, cv2.INTER_LINEAR)
    there = cv2.remap(mask.astype(np.uint8), *at, cv2.INTER_NEAREST).astype(bool)
    return bent, there & mask


def _blurred(picture: NDArray[np.float32], far: float) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = opencv().GaussianBlur(picture, (0, 0), far) if far else picture
    return blurred


def _gray(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    gray: NDArray[np.float32] = opencv().transform(picture, np.full((1, 3), 1 / 3, np.float32))
    return gray


def _largest(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the three channels' absolute values; over an axis of three, numpy takes twenty times as long."""
    red, green, blue = (np.abs(difference[:, :, channel]) for channel in range(3))
    largest: NDArray[np.float32] = np.maximum(np.maximum(red, green), blue)
    return largest


def _alike(picture: NDArray[np.float32], seen: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    x, y = picture[mask], seen[mask]
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / max(float(np.sqrt(np.square(x).sum() * np.square(y).sum())), 1e-6))


def _as_lit(
    picture: NDArray[np.float32], seen: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Gain and offset of each channel with which a picture becomes as bright as the photo; None where it is flat."""
    keep = mask
    for _ in range(2):
        if keep.sum() < 50:
            return None
        gains, offsets = [], []
        for channel in range(3):
            x, y = picture[:, :, channel][keep], seen[:, :, channel][keep]
            mx, my = float(x.mean()), float(y.mean())
            x, y = x - mx, y - my
            gains.append(float(np.clip((x * y).sum() / max(float(np.square(x).sum()), 1.0), 0.3, 2.0)))
            offsets.append(my - gains[-1] * mx)
        gain, offset = np.array(gains, np.float32), np.array(offsets, np.float32)
        away = _largest(picture * gain + offset - seen)
        keep = mask & (away <= np.quantile(away[mask], 0.8))
    return gain, offset
