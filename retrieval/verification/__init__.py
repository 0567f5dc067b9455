"""A closer look at two pictures: where one lies in the other, and how alike they are there.

    keypoints = find_keypoints(pixels)                     # of each picture, once
    pairs = match(of_catalog_picture, of_photo)            # which points look alike
    place = locate(of_catalog_picture, of_photo, pairs)    # where the catalog picture lies, or None
    alike = compare(catalog_pixels, photo_pixels, place)   # pixel by pixel, where both show the same

An embedding sees a picture as a whole. Printed packages are flat pictures: points on them are found again in a photo,
say where the package lies, and what differs there is what tells it from its look-alike. Things without print, fruit
say, have no such points: nothing is located, and nothing is said.

OpenCV does the work (extra ``verify``); it is imported when the first picture is looked at.
"""

from retrieval.verification.alignment import Alike, align, compare, leaning
from retrieval.verification.geometry import Place, locate
from retrieval.verification.keypoints import Keypoints, find_keypoints
from retrieval.verification.matching import match
from retrieval.verification.opencv import available

__all__ = [
    "Alike",
    "Keypoints",
    "Place",
    "align",
    "available",
    "compare",
    "find_keypoints",
    "leaning",
    "locate",
    "match",
]
