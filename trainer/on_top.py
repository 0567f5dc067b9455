"""Learn on top of a frozen encoder, whatever runs it: what `itemrec train --model NAME` does, without TensorFlow.

The photos are embedded once. What is learned of their vectors is a projection in closed form, `discriminant`, which
takes seconds. How strongly it is regularized, how many directions it keeps, and whether it is better than the encoder's
own vectors, is decided on folds of products: every way is tried on photos of products that it did not see. The
projection becomes a part of the bundle and is applied in numpy behind the network, by `retrieval.models.encoder`.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.points import Calibration
from retrieval.calibration.support import LEAST_PRODUCTS
from retrieval.catalog.read import Refusal
from retrieval.errors import UsageError
from retrieval.evaluation import Photos, Target, gather_folder
from retrieval.metrics import identification, open_set
from retrieval.models.bundle import Bundle, write_bundle
from retrieval.models.projection import Projection
from retrieval.system.text import printable
from trainer.card import card_on_top
from trainer.finish import measure
from trainer.held_out import HeldOutEmbeddings, choose_held_out
from trainer.networks.projections import PRINCIPAL, discriminant, principal, unit_rows
from trainer.places import RunPaths
from trainer.progress import TrainingProgress
from trainer.report import TrainReport

RIDGES = (0.0, 0.1, 1.0)
DIMENSIONS = (128, 256)
"""What is tried on folds; `benchmarks/projection.py` prints what each is worth."""

STUDIO_REPEATS = 4
"""How often a catalog picture counts, where a photo counts once: as in `trainer.presets.Plan`."""

FOLDS = 5
FPIR = 0.1
_SHOTS = 5
"""Photos of a product in the gallery of a fold, at most; half of what there is where that is less."""

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to project, and what it was worth on products that it did not see, as the mean of the folds.

    Attributes:
        ridge: see `discriminant`; None for the encoder's own vectors.
        dimension: directions that are kept.
        r_at_1: photos whose nearest picture shows their product / photos, in a gallery of the other photos of all
            products.
        dir_at_fpir: in a gallery of these products alone, photos found first at the threshold where FPIR is `FPIR`.
        studio: R@1 in a gallery of the catalog's pictures; None without a catalog.
    """

    ridge: float | None
    dimension: int
    r_at_1: float = 0.0
    dir_at_fpir: float = 0.0
    studio: float | None = None

    @property
    def worth(self) -> float:
        """What ways are chosen by: finding the right product, in either gallery, counts as much as refusing others."""
        return self.r_at_1 + self.dir_at_fpir + (self.studio or 0.0)


def train_on_top(
    dataset: Path,
    out: Path,
    model: Bundle,
    *,
    catalog: Path | None = None,
    dimension: int | None = None,
    hold_out: float = 0.2,
    seed: int = 0,
    target: Target | None = None,
    replace: bool = False,
    progress: TrainingProgress,
) -> TrainReport:
    """Fit a projection to the vectors of a frozen model, and write a calibrated bundle with both.

    Args:
        dataset: as in `trainer.train.train`.
        out: where the bundle goes.
        model: the frozen model. Of one with a projection only the network is taken.
        catalog: catalog pictures that join what is learned from, or None.
        dimension: of the embedding; by default the folds choose.
        hold_out: share of products held out to calibrate the rejection of unknown products, in [0, 0.5].
        seed: random seed.
        target: what the threshold keeps; None as in `trainer.finish.calibrate_on_val`.
        replace: a bundle that is already there.
        progress: told how far it is.

    Raises:
        CatalogError, UsageError: there are too few products, or the dataset cannot be used.
        EncoderError: the model failed.
        BundleError: the bundle cannot be written.
    """
    started = time.perf_counter()
    frozen = dataclasses.replace(model, projected=None, dimension=model.features)
    folder = dataset / "train" if (dataset / "train").is_dir() else dataset
    photos = gather_folder(folder, frozen, progress=progress, stage="Embedding train")
    learned = [photos]
    if catalog is not None:
        learned.append(gather_folder(catalog, frozen, progress=progress, stage="Embedding the catalog"))
    for part in learned:
        for note in part.notes:
            progress.note(f"{printable(part.root)}: {note}")
        for refusal in part.refused:
            progress.note(f"left out {printable(refusal.path)}: {refusal.reason}")
    names, counts = np.unique(photos.labels, return_counts=True)
    if (counts >= 2).sum() < LEAST_PRODUCTS:
        raise UsageError(
            f"expected at least {LEAST_PRODUCTS} products with two photos each, to learn how photos of one product "
            f"differ, received {(counts >= 2).sum()} of {len(names)} in {printable(folder)}",
            hint=f"Add photos, or use {model.name} as it is and choose its threshold: itemrec calibrate",
        )
    val = None
    if (dataset / "val").is_dir():
        val = gather_folder(dataset / "val", frozen, progress=progress, stage="Embedding val")
    seen = learned if val is None else [*learned, val]
    ways = _judged(learned, dimension, seed, progress)
    best = max(ways, key=lambda way: way.worth)
    held_out = _held_out(learned, seen, best, hold_out, seed) if val is not None and hold_out else []
    if best.ridge is None:
        progress.note(
            f"No projection tells products apart better than {model.name} itself does: it is calibrated as it is."
        )
    progress.stage("Fitting")
    [projection] = fit(learned, np.array([], str), [best])
    # Directions that hold nothing are left out, so there may be fewer than were asked for.
    served = projection.matrix.shape[1] if projection is not None else model.features
    embeddings: dict[str, Vectors] = {}
    for part in seen:
        embeddings |= zip(part.content_hashes, projected(projection, part.vectors), strict=True)
    products = len(np.unique(np.concatenate([part.labels for part in learned])))
    record: dict[str, Any] = {
        "on_top_of": {"name": model.name, "fingerprint": model.fingerprint, "encoder_sha256": model.encoder_sha256},
        "recipe": {"ridge": best.ridge, "dimension": served, "catalog": catalog is not None, "seed": seed},
        "folds": [asdict(way) for way in ways],
        "pictures": sum(len(part) for part in learned),
        "products": products,
        "trained_on": {
            "photos": len(photos),
            "catalog_pictures": sum(len(part) for part in learned[1:]),
            "products": products,
        },
        "strangers": sum(len(one.products) for one in held_out),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("itemrec", "numpy", "pillow")},
    }
    places = RunPaths(dataset, catalog, out, out)

    def written(place: Path, calibration: Calibration | None, text: str, *, replace: bool) -> Bundle:
        return write_bundle(
            place,
            name=out.name,
            encoder=model.encoder_file,
            runtime=model.runtime,
            preprocessing=model.preprocessing,
            dimension=served,
            readout=model.readout,
            projection=projection,
            calibration=calibration,
            training=record,
            card=text,
            source=f"itemrec train --model {model.name}" + (f"; {model.source}" if model.source else ""),
            license=model.license,
            replace=replace,
        )

    with tempfile.TemporaryDirectory(prefix="itemrec-train-") as name:
        draft = written(Path(name) / "draft", None, "", replace=False)
        measured = measure(draft, places, target, embeddings, held_out, progress)
    record["seconds"] = record["seconds_with_calibration"] = round(time.perf_counter() - started, 1)
    text = card_on_top(out.name, record, measured.calibration, measured.warnings)
    bundle = written(out, measured.calibration, text, replace=replace)
    return TrainReport(
        model=dataclasses.replace(measured, bundle=bundle),
        int8=None,
        pictures=record["pictures"],
        products=record["products"],
        held_out=record["strangers"],
        epochs=0,
        refused=tuple(_refused(learned)),
        seconds=record["seconds"],
        run=None,
    )


def _refused(parts: Sequence[Photos]) -> list[Refusal]:
    return [refusal for part in parts for refusal in part.refused]


def _judged(learned: Sequence[Photos], dimension: int | None, seed: int, progress: TrainingProgress) -> list[Way]:
    """What every way is worth on folds of products."""
    photos = learned[0]
    ways = ways_of(photos.vectors.shape[1], dimension)
    order = np.random.default_rng([seed, len(photos.products)]).permutation(photos.products)
    found: list[list[tuple[float, ...]]] = [[] for _ in ways]
    progress.stage("Comparing on held-out products", FOLDS, "folds")
    for fold in range(FOLDS):
        unseen = order[fold::FOLDS]
        for results, projection in zip(found, fit(learned, unseen, ways), strict=True):
            vectors = projected(projection, photos.vectors)
            rates: tuple[float, ...] = judge(vectors, photos.labels, unseen, seed)
            if len(learned) > 1:
                asked, studio = np.isin(photos.labels, unseen), learned[1]
                gallery = projected(projection, studio.vectors)
                found_there = identification(vectors[asked], photos.labels[asked], gallery, studio.labels)
                rates = (*rates, found_there.top1 if found_there.known else 0.0)
            results.append(rates)
        progress.advance()
    judged = []
    for way, results in zip(ways, found, strict=True):
        r_at_1, rate, *rest = np.mean(results, axis=0).tolist()
        judged.append(dataclasses.replace(way, r_at_1=r_at_1, dir_at_fpir=rate, studio=rest[0] if rest else None))
    return judged


def _held_out(
    learned: Sequence[Photos], seen: Sequence[Photos], way: Way, share: float, seed: int
) -> list[HeldOutEmbeddings]:
    """What projections that did not see some of the products make of all pictures; every product once, or nearly."""
    times = max(1, int(1.0 / share))
    found = []
    for products in choose_held_out(learned[0].products.tolist(), share, times, seed):
        [projection] = fit(learned, np.array(products), [way])
        embeddings: dict[str, Vectors] = {}
        for part in seen:
            embeddings |= zip(part.content_hashes, projected(projection, part.vectors), strict=True)
        found.append(HeldOutEmbeddings(frozenset(products), embeddings))
    return found


def ways_of(features: int, dimension: int | None = None) -> list[Way]:
    """What is tried for an encoder of c ``features``, to a given dimension or those of `DIMENSIONS`."""
    sizes = [dimension] if dimension is not None else sorted({min(size, features) for size in DIMENSIONS})
    return [Way(None, features), *(Way(ridge, size) for size in sizes for ridge in RIDGES)]


def fit(learned: Sequence[Photos], unseen: NDArray[np.str_], ways: Sequence[Way]) -> list[Projection | None]:
    """Every way, fitted to the pictures of all products but the unseen ones; None for the encoder's own vectors."""
    photos, *studio = learned
    parts = [photos, *studio * STUDIO_REPEATS]
    vectors = np.concatenate([part.vectors for part in parts])
    names = np.concatenate([part.labels for part in parts])
    seen = ~np.isin(names, unseen)
    vectors, labels = vectors[seen], np.unique(names[seen], return_inverse=True)[1].astype(np.int64)
    spread = principal(vectors, PRINCIPAL * max(way.dimension for way in ways))
    return [
        Projection(*discriminant(vectors, labels, way.dimension, ridge=way.ridge, spread=spread))
        if way.ridge is not None
        else None
        for way in ways
    ]


def projected(projection: Projection | None, vectors: Vectors) -> Vectors:
    """Unit vectors behind a projection, as they are served; themselves where there is none."""
    return vectors if projection is None else unit_rows(projection(vectors))


def judge(vectors: Vectors, names: NDArray[np.str_], unseen: NDArray[np.str_], seed: int) -> tuple[float, float]:
    """What embeddings are worth on products that they were not learned from.

    Args:
        vectors: unit embeddings of photos of all products, shape (n, d).
        names: the product of each, shape (n,).
        unseen: the products in question.
        seed: draws the gallery of DIR.

    Returns:
        R@1 and DIR, as in `Way`.
    """
    of_unseen = np.isin(names, unseen)
    found = identification(vectors, names, vectors, names, exclude_self=True).outcomes
    r_at_1 = float((found.ranks == 1)[of_unseen & found.known].mean()) if (of_unseen & found.known).any() else 0.0
    rng = np.random.default_rng(seed)
    enrolled = np.zeros(len(names), bool)
    for product in unseen:
        rows = rng.permutation(np.flatnonzero(names == product))
        enrolled[rows[: min(_SHOTS, max(1, len(rows) // 2))]] = True
    asked = of_unseen & ~enrolled
    gallery, labels = vectors[enrolled], names[enrolled]
    known = identification(vectors[asked], names[asked], gallery, labels)
    others = identification(vectors[~of_unseen], names[~of_unseen], gallery, labels).best_distance
    reached = np.where(known.outcomes.ranks == 1, known.genuine, np.inf)
    return r_at_1, float(open_set(reached, others, (FPIR,))[0].dir)
