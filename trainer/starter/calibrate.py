"""The starter's thresholds, chosen on drawings of products that it was not trained on."""

from __future__ import annotations

from retrieval.calibration.choose import FarChoice, FpirChoice, choose_by_far, choose_by_fpir
from retrieval.calibration.points import Calibration
from retrieval.errors import EncoderError
from retrieval.system.progress import Progress
from trainer.starter.baselines import Embed
from trainer.starter.measure import distances_of, drawn_trials, identify
from trainer.starter.photo_set import PhotoSet

FPIR_TARGETS = (0.05, 0.1, 0.2)
CHOSEN = "fpir=0.2"
"""What queries use: it answers "is it none of ours?"."""

FAR_TARGETS = (0.001, 0.01, 0.05)


def calibrate(embed: Embed, photos: PhotoSet, *, progress: Progress) -> Calibration:
    """Operating points for identification and for pairs of photos, with intervals by product.

    Args:
        embed: the encoder that will be served.
        photos: drawings of products that it never saw.
        progress: told each point.

    Raises:
        EncoderError: the encoder is so poor that no threshold keeps a target.
    """
    # The gallery of studio pictures alone: what most shops begin with, and the harder one.
    _, trial = drawn_trials(photos, "validation drawings")
    found = identify(trial, embed)
    by_fpir = choose_by_fpir(distances_of(trial, found), FPIR_TARGETS)
    shots = ~photos.studio
    _, by_far = choose_by_far(embed(photos.pixels[shots]), photos.labels[shots], FAR_TARGETS)
    choices: list[FpirChoice | FarChoice] = [*by_fpir, *by_far]
    for choice in choices:
        if choice.threshold is None:
            raise EncoderError(
                f"expected an encoder that can be calibrated, received one that cannot: {choice.refusal}",
                hint="train it longer",
            )
        progress.note(f"threshold {choice.threshold:.4f} for {choice.name}. {choice.refusal}".rstrip())
    points = [choice.operating_point() for choice in choices]
    (chosen,) = (point for point in points if point.name == CHOSEN)
    return Calibration(
        chosen.threshold,
        chosen.name,
        tuple(points),
        measured_on=(
            f"drawings of {len(photos.products)} products that were not trained on; FPIR with unknown products of "
            f"families that are not enrolled, against {found.gallery_images} studio pictures of "
            f"{found.gallery_products} products; FAR over all pairs of {int(shots.sum())} photos"
        ),
    )
