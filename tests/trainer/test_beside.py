"""A training beside the built-in model: which photos count, and what makes it better."""

from __future__ import annotations

import numpy as np

from tests.retrieval.evaluations import drawn_photos
from trainer.beside import found
from trainer.report import Comparison, Found


def photos(kind: str, products: list[int], angles: list[float]):
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return drawn_photos(np.arange(len(products)), vectors, np.array(products), kind)


def test_photos_count_whose_product_is_in_the_gallery():
    gallery = photos("photo", [0, 1, 2], [0.0, 1.0, 2.0])
    asked = photos("asked", [0, 1, 1, 3], [0.1, 1.1, 0.1, 2.0])  # the third is nearest to 0, and 3 is not there
    assert found(asked, gallery) == Found(2, 3)
    assert found(asked, gallery, ["p001"]) == Found(1, 2)
    assert found(asked, gallery, ["p003"]) == Found(0, 0)
    assert Found(0, 0).rate is None


def test_only_more_known_photos_make_a_training_better():
    def beside(known: int, new: int) -> Comparison:
        return Comparison(Found(known, 100), Found(90, 100), Found(new, 20), Found(18, 20))

    assert beside(91, 0).better
    assert not beside(90, 20).better
    assert beside(91, 15).to_json()["built_in"]["new"] == {"found": 18, "probes": 20, "rate": 0.9}
