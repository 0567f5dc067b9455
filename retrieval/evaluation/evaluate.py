"""gather -> pure metrics -> one document."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from retrieval.calibration.confidence import Confidence
from retrieval.calibration.in_force import InForce
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import UsageError
from retrieval.evaluation.answers import Answers, ProbeAnswer, answer_all, nearest_distances
from retrieval.evaluation.confidence import confidence_section
from retrieval.evaluation.document import (
    SCHEMA,
    DataDoc,
    EvaluationDoc,
    ExcludedDoc,
    GalleryDoc,
    MatchDoc,
    ModelDoc,
    ProbeDoc,
    RefusedDoc,
    TwinDoc,
)
from retrieval.evaluation.identification import categories_of, identification_section, nearest_own
from retrieval.evaluation.leakage import Exclusion, Twin, find_twins
from retrieval.evaluation.looked import looked_section
from retrieval.evaluation.open_set import first_is_right, fpir_thresholds, open_set_section
from retrieval.evaluation.pairs import pairs_section
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.probabilities import probabilities_section
from retrieval.evaluation.rate_docs import number
from retrieval.evaluation.refusals import refusals_section
from retrieval.evaluation.same_item import views_section
from retrieval.evaluation.served import served_section
from retrieval.evaluation.served_answers import ServedAnswers, serve_all
from retrieval.evaluation.summary import headline, warnings_of
from retrieval.evaluation.thresholds import Thresholds, thresholds_for, with_chosen
from retrieval.images.perceptual_hash import NEAR_BITS
from retrieval.metrics import FAR_TARGETS, FPIR_TARGETS, Identification
from retrieval.models.bundle import Calibration
from retrieval.recognition.looker import Looker
from retrieval.refusals import KnownRefusals
from retrieval.system.version import release
from retrieval.types import ModelIdentity

_EVIDENCE = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured, and how it is reported.

    Attributes:
        split: the name of the split.
        data: the dataset's folder.
        gallery_source: ``index``, ``train``, ``catalog`` or ``folder``.
        gallery_location: the index or folder.
        model: the model that made all vectors.
        calibration: the model's calibration, or one chosen on another split; None without.
        calibration_source: ``model`` or ``split``.
        threshold: given by hand; None takes the calibration's.
        far_targets: FARs to report at.
        fpir_targets: FPIRs to report at.
        in_force: what the calibration says of a gallery like this one; None where nobody looked.
        category_column: the metadata column that groups products.
        max_bits: see `retrieval.images.perceptual_hash.NEAR_BITS`.
        views: measure up to so many photos of one item together; 1 does not.
        studio: share of the gallery's products that a studio picture shows; None where nobody looked.
    """

    split: str
    data: str
    gallery_source: str
    gallery_location: str
    model: ModelIdentity
    calibration: Calibration | None = None
    calibration_source: str = "model"
    threshold: float | None = None
    far_targets: tuple[float, ...] = FAR_TARGETS
    fpir_targets: tuple[float, ...] = FPIR_TARGETS
    in_force: InForce | None = None
    category_column: str = "category"
    max_bits: int = NEAR_BITS
    views: int = 1
    studio: float | None = None


def evaluate(
    found: Photos,
    gallery: Photos,
    setting: Setting,
    *,
    notes: Sequence[str] = (),
    refusals: KnownRefusals | None = None,
    looker: Looker | None = None,
) -> EvaluationDoc:
    """Measure everything about one split against one gallery.

    Args:
        found: the split's photos, as gathered.
        gallery: what a query would search.
        setting: the rest.
        notes: warnings of the gathering, put first.
        refusals: pictures that the index holds of what is not ours.
        looker: looks closer with the index's keypoints; None does not.

    Raises:
        UsageError: there is no threshold, no probe is left after exclusions, or no probe's product is
            in the gallery.
    """
    start = time.perf_counter()
    exclusion = find_twins(found, gallery, max_bits=setting.max_bits)
    if not exclusion.kept:
        raise UsageError(
            f"expected photos that the gallery does not hold, received {len(found)} that it all has",
            hint="Evaluate a split that was not indexed: --split test, or another --gallery.",
        )
    photos = found.only(exclusion.kept)
    if not np.isin(photos.labels, gallery.labels).any():
        raise UsageError(
            f"expected products of the split {setting.split} in the gallery, received none of its "
            f"{len(photos.products)} (its first is {photos.products[0]}, the gallery's {gallery.products[0]})",
            hint="Name the gallery that fits: --gallery train, --gallery FOLDER, or --index of the right catalog.",
        )
    far_targets = with_chosen(setting.far_targets, "far", setting.calibration)
    fpir_targets = with_chosen(setting.fpir_targets, "fpir", setting.calibration)
    thresholds = thresholds_for(
        setting.calibration,
        given=setting.threshold,
        source=setting.calibration_source,
        model=setting.model.name,
        digest=found.digest(),
        split=setting.split,
        far_targets=far_targets,
        fpir_targets=fpir_targets,
    )
    use = thresholds.use["value"]
    pairs = pairs_section(photos, thresholds, far_targets)
    far_thresholds = [doc["threshold"] for doc in pairs["at_far"].values()]
    # Thresholds that no calibration has are chosen on the distances first; ranks at them take a second pass.
    at_fpir = fpir_thresholds(*nearest_distances(photos, gallery), thresholds, fpir_targets)
    answers = answer_all(
        photos, gallery, use, [MAX_DISTANCE, *(t for t in (*far_thresholds, *at_fpir.values()) if t is not None)]
    )
    served = None if setting.threshold is not None else serve_all(photos, gallery, setting.in_force)
    sureness = None if served is None else served.sureness
    identification, nearest = identification_section(
        photos, gallery, answers, use, category_column=setting.category_column
    )
    document = EvaluationDoc(
        schema=SCHEMA,
        itemrec=release(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        split=setting.split,
        photos=len(photos),
        products=len(photos.products),
        verdict="",
        tone="",
        warnings=[],
        data=DataDoc(
            root=setting.data,
            folder=str(found.root),
            found=len(found),
            refused=[RefusedDoc(path=r.path, reason=r.reason) for r in found.refused],
            digest=found.digest(),
        ),
        model=ModelDoc(
            name=setting.model.name,
            path=setting.model.path,
            fingerprint=setting.model.fingerprint,
            dimension=setting.model.dimension,
        ),
        gallery=GalleryDoc(
            source=setting.gallery_source,
            location=setting.gallery_location,
            folder=str(gallery.root),
            images=len(gallery),
            products=len(gallery.products),
            refused=len(gallery.refused),
            digest=gallery.digest(),
        ),
        threshold=thresholds.use,
        pairs=pairs,
        identification=identification,
        open_set=open_set_section(
            photos, answers, thresholds, pairs["at_far"], at_fpir, gallery_products=len(gallery.products)
        ),
        confidence=confidence_section(answers, thresholds.confidence, same_photos=thresholds.same_photos),
        refusals=None
        if refusals is None
        else refusals_section(photos, answers, refusals, use, studio=setting.studio, served=served),
        closer_look=None if looker is None else looked_section(photos, gallery, looker),
        views=None
        if setting.views < 2
        else views_section(photos, gallery, use, setting.views, setting.calibration, sureness),
        probabilities=probabilities_section(photos, gallery, setting.in_force),
        served=None if served is None else served_section(served),
        excluded=_excluded(found, exclusion, setting.max_bits),
        probes=_probes(photos, gallery, answers, nearest, thresholds, setting.category_column, served),
    )
    document["verdict"], document["tone"] = headline(document)
    document["warnings"] = [*notes, *warnings_of(document)]
    document["seconds"] = round(time.perf_counter() - start, 3)
    return document


def _excluded(found: Photos, exclusion: Exclusion, max_bits: int) -> ExcludedDoc:
    def twin(t: Twin) -> TwinDoc:
        return TwinDoc(
            source=found.sources[t.probe],
            product=str(found.labels[t.probe]),
            image=t.image,
            image_product=t.image_product,
            reason=t.reason,
            bits=t.bits,
        )

    def count(reason: str) -> int:
        return sum(t.reason == reason for t in exclusion.twins)

    return ExcludedDoc(
        same_hash=count("same-hash"),
        near_duplicate=count("near-duplicate"),
        repeated=count("repeated"),
        max_bits=max_bits,
        unchecked=exclusion.unchecked,
        list=[twin(t) for t in exclusion.twins],
        look_alikes=[twin(t) for t in exclusion.look_alikes],
    )


def _probes(
    photos: Photos,
    gallery: Photos,
    answers: Answers,
    nearest: Identification,
    thresholds: Thresholds,
    category_column: str,
    served: ServedAnswers | None,
) -> list[ProbeDoc]:
    by_probability = {} if served is None else served.probes()
    categories = categories_of(photos, gallery, category_column)
    own_images = nearest_own(photos, gallery)
    ranks = answers.outcomes[MAX_DISTANCE].ranks
    documents = []
    for i, source in enumerate(photos.sources):
        answer, unknown = answers.answers[i], answers.left_one_out[i]
        documents.append(
            ProbeDoc(
                source=source,
                product=str(photos.labels[i]),
                category=categories[i] if categories else None,
                known=bool(answers.known[i]),
                rank=int(ranks[i]),
                knn_rank=int(nearest.outcomes.ranks[i]),
                average_precision=number(nearest.average_precision[i]),
                own_distance=number(answers.genuine[i]),
                own_image=own_images[i],
                rival_distance=number(answers.impostor[i]),
                verdict=answer.verdict,
                right=first_is_right(answer, str(photos.labels[i])),
                matches=_matches(answer, thresholds.confidence),
                as_stranger=None
                if math.isinf(answers.impostor[i])
                else {
                    "verdict": unknown.verdict,
                    "matches": _matches(unknown, thresholds.confidence)[:1],
                },
                served=by_probability.get(i),
            )
        )
    return documents


def _matches(answer: ProbeAnswer, confidence: Confidence | None) -> list[MatchDoc]:
    probability = confidence.of(answer.matches) if confidence else None
    return [
        MatchDoc(
            product_id=match.product_id,
            score=match.score,
            votes=match.votes,
            share=match.share,
            best_distance=match.best_distance,
            confidence=probability if place == 0 else None,
            evidence=[{"image": e.image, "distance": e.distance} for e in match.evidence[:_EVIDENCE]],
        )
        for place, match in enumerate(answer.matches)
    ]
