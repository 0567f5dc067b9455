"""What the starter is worth: the same questions to it and to its baselines, on products never trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.choose import OpenSetDistances, OpenSetMeasurement, measure_open_set
from retrieval.images.preprocessing import Preprocessing
from retrieval.metrics import Identification, Rate, identification, pair_rates
from retrieval.metrics.openset import finding_distances, open_set
from retrieval.models.bundle import Bundle
from retrieval.models.encoder import load_encoder
from trainer.starter.baselines import Embed
from trainer.starter.photo_set import PhotoSet, read_photos

UNKNOWN_SHARE = 0.4
GALLERY_PHOTOS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Pictures with their roles: a gallery, probes of its products, and probes of unknown products.

    Attributes:
        name: what it tries.
        pixels: RGB, uint8, shape (n, h, w, 3).
        labels: the product of each picture, shape (n,).
        gallery: which pictures are in the gallery, shape (n,).
        probes: which are probes of enrolled products, shape (n,).
        unknown: which are probes of products not enrolled, shape (n,).
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    gallery: NDArray[np.bool_]
    probes: NDArray[np.bool_]
    unknown: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one embedding does in one trial.

    Attributes:
        top1: probes whose nearest product is the right one.
        top5: probes whose product is among the five nearest.
        map_at_r: mean average precision at R.
        val: same-product pairs of probes accepted where FAR is 1 %.
        eer: equal error rate of those pairs.
        dir: probes found first and within the threshold at which 5 % of the probes of unknown products are accepted;
            None without unknown products.
        gallery_products: products in the gallery.
        gallery_pictures: pictures in the gallery.
    """

    top1: Rate
    top5: Rate
    map_at_r: float
    val: Rate
    eer: float
    dir: Rate | None
    gallery_products: int
    gallery_pictures: int


def drawn_trials(photos: PhotoSet, name: str) -> list[Trial]:
    """Two trials on drawings: a gallery of studio pictures and photos, and one of studio pictures alone.

    Unknown products are whole families: a variant of an enrolled product is not unknown but a
    mistake of another kind, which top-1 counts.
    """
    families = photos.families[photos.labels]
    unknown = families % 10 < round(10 * UNKNOWN_SHARE)
    order = _number_within_product(photos)
    shelf = ~photos.studio & (order < GALLERY_PHOTOS)
    asked = ~photos.studio & (order >= GALLERY_PHOTOS)
    roles = {
        f"{name}, gallery of studio pictures and {GALLERY_PHOTOS} photos": photos.studio | shelf,
        f"{name}, gallery of studio pictures": photos.studio,
    }
    return [
        Trial(title, photos.pixels, photos.labels, gallery & ~unknown, asked & ~unknown, asked & unknown)
        for title, gallery in roles.items()
    ]


def grocery_trials(folder: Path, preprocessing: Preprocessing) -> list[Trial]:
    """Two trials on real photos in ``photos/train``, ``photos/val`` and ``catalog`` of a folder."""
    probes = read_photos(folder / "photos" / "val", preprocessing)
    galleries = {
        "real photos, gallery of photos": read_photos(folder / "photos" / "train", preprocessing),
        "real photos, gallery of studio pictures": read_photos(folder / "catalog", preprocessing),
    }
    return [_joined(name, gallery, probes) for name, gallery in galleries.items()]


def measure(trial: Trial, embed: Embed) -> Figures:
    """All figures of one embedding in one trial."""
    found = identify(trial, embed)
    probes = embed(trial.pixels[trial.probes])
    pairs = pair_rates(probes, trial.labels[trial.probes], thresholds=(), far_targets=(0.01,))
    (rejecting,) = open_set(*finding_distances(found), fpir_targets=(0.05,))
    return Figures(
        top1=found.outcomes.top(1),
        top5=found.outcomes.top(5),
        map_at_r=found.map_at_r,
        val=Rate(pairs.at_far[0].accepted_same, pairs.at_far[0].same),
        eer=pairs.curve.eer,
        dir=rejecting.found if found.unknown else None,
        gallery_products=found.gallery_products,
        gallery_pictures=found.gallery_images,
    )


def with_unknown_products(trial: Trial, *, every: int = 4) -> Trial:
    """The same trial without every fourth product in the gallery: probes of those are out-of-gallery probes then."""
    left_out = trial.labels % every == 0
    return Trial(
        trial.name,
        trial.pixels,
        trial.labels,
        trial.gallery & ~left_out,
        trial.probes & ~left_out,
        trial.unknown | (trial.probes & left_out),
    )


def at_threshold(trial: Trial, embed: Embed, threshold: float) -> OpenSetMeasurement:
    """FPIR and FNIR of a trial with unknown products at a threshold that was chosen elsewhere."""
    return measure_open_set(distances_of(trial, identify(trial, embed)), threshold)


def distances_of(trial: Trial, found: Identification) -> OpenSetDistances:
    """What a threshold is chosen and measured on, of the trial that was identified."""
    labels, is_known = trial.labels[trial.probes | trial.unknown], found.outcomes.known
    known, unknown = finding_distances(found)
    return OpenSetDistances(known, labels[is_known], unknown, labels[~is_known], found.gallery_products)


def identify(trial: Trial, embed: Embed) -> Identification:
    """All probes of a trial, those of unknown products among them, against its gallery."""
    asked = trial.probes | trial.unknown
    return identification(
        embed(trial.pixels[asked]),
        trial.labels[asked],
        embed(trial.pixels[trial.gallery]),
        trial.labels[trial.gallery],
    )


def encoder_of(bundle: Bundle) -> Embed:
    """The bundle's encoder as a function of any number of pictures."""
    encoder = load_encoder(bundle, threads=1)
    return lambda pixels: np.concatenate(
        [encoder.encode(np.ascontiguousarray(pixels[i : i + 16])) for i in range(0, len(pixels), 16)]
    )


def _number_within_product(photos: PhotoSet) -> NDArray[np.int64]:
    """0, 1, 2... along the photos of each product; studio pictures are not counted."""
    numbers = np.zeros(len(photos.labels), dtype=np.int64)
    for product in range(len(photos.products)):
        own = np.flatnonzero((photos.labels == product) & ~photos.studio)
        numbers[own] = np.arange(len(own))
    return numbers


def _joined(name: str, gallery: PhotoSet, probes: PhotoSet) -> Trial:
    products: Sequence[str] = sorted({*gallery.products, *probes.products})
    numbers = {product: i for i, product in enumerate(products)}
    labels = np.concatenate([np.array([numbers[s.products[label]] for label in s.labels]) for s in (gallery, probes)])
    in_gallery = np.arange(len(labels)) < len(gallery.labels)
    enrolled = np.isin(labels, labels[in_gallery])
    return Trial(
        name,
        np.concatenate([gallery.pixels, probes.pixels]),
        labels,
        in_gallery,
        ~in_gallery & enrolled,
        ~in_gallery & ~enrolled,
    )
