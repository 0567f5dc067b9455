"""From photos and drawings to the built-in bundle: draw, train, export, calibrate, measure, write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from retrieval.models.bundle import Bundle, read_bundle, write_bundle
from retrieval.models.encoder import load_encoder
from trainer.learn import learn_from
from trainer.material import TrainingData
from trainer.progress import TrainingProgress
from trainer.starter import recipe
from trainer.starter.calibrate import calibrate
from trainer.starter.card import write_card
from trainer.starter.first_day import FOLDS, first_day, mean_of
from trainer.starter.folds import Fold, fold_bundle, run_paths, train_fold
from trainer.starter.mixture import RealPhotos, mix, read_real

_TIMED = 50


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """Makes the built-in model and its folds, of one folder of photos. What is in the cache is not computed again.

    Attributes:
        real: the photos.
        data: all that the model learns from.
        cache: keeps drawings, features and runs.
        progress: told how far it is.
    """

    real: RealPhotos
    data: TrainingData
    cache: Path
    progress: TrainingProgress

    @classmethod
    def open(cls, grocery: Path, cache: Path, progress: TrainingProgress) -> Maker:
        """Read the photos; draw what is not drawn yet.

        Args:
            grocery: real photos: ``photos/train``, ``photos/val`` and ``catalog``, folders of product folders.
            cache: keeps drawings, features and runs, about 3 GB.
            progress: told how far it is.

        Raises:
            CatalogError: a folder of photos is not there.
            DiskFullError, StoreError: the cache cannot be written.
        """
        real = read_real(grocery, progress)
        return cls(real, mix(real, cache, progress), cache, progress)

    def model(self) -> Bundle:
        """Train what is shipped, on everything: a bundle without thresholds, kept with its run."""
        paths = run_paths(self.data, self.cache, "model")
        place = paths.run / "bundle"
        if place.is_dir():
            return read_bundle(place)
        trained = learn_from(self.data, paths, recipe.PLAN, self.progress, resume=True, weights=recipe.WEIGHTS)
        real, drawn = self.real, recipe.DRAWN
        record = trained.record | {
            "share": recipe.SHARE,
            "real": {
                "photos": len(real.photos) + len(real.asked),
                "studio": len(real.studio),
                "products": len(real.photos.products),
            },
            "drawn": asdict(drawn) | {"pictures": drawn.products * (1 + drawn.photos)},
        }
        return write_bundle(
            place,
            name=recipe.NAME,
            encoder=trained.export.model,
            runtime="litert",
            preprocessing=trained.preprocessing,
            dimension=trained.dimension,
            training=record,
            source="python -m trainer.starter",
            license="Apache-2.0",
        )

    def fold(self, number: int) -> Fold:
        """Train without a fold of the products, 0 to 4."""
        return train_fold(number, self.data, self.real, self.cache, self.progress)

    def fold_bundle(self, number: int) -> Bundle:
        """The model of that training, as a bundle without thresholds."""
        return fold_bundle(number, self.data, self.real, self.cache, self.progress)

    def build(self, out: Path, folds: Sequence[int] = range(FOLDS)) -> Bundle:
        """Train the model and its folds, calibrate on the folds, and write the bundle, replacing the one that is there.

        Args:
            out: the bundle's directory.
            folds: those that are trained, to measure and to calibrate; fewer say less.

        Raises:
            EncoderError: the export does not compute what Keras computes, or no threshold keeps its target.
            BundleError, UsageError: ``out`` cannot be written or holds something else.
        """
        bundle = self.model()
        tried = [self.fold(number) for number in folds]
        row = mean_of([first_day(fold.shop, fold.held_out) for fold in tried])
        calibration = calibrate(tried)
        measured = {"folds": list(folds), "first_day": row, "milliseconds": round(1e3 * _processor_seconds(bundle), 1)}
        record = {**bundle.training, **measured}
        return write_bundle(
            out,
            name=bundle.name,
            encoder=bundle.encoder_file,
            runtime=bundle.runtime,
            preprocessing=bundle.preprocessing,
            dimension=bundle.dimension,
            calibration=calibration,
            training=record,
            card=write_card(record, row, calibration, bundle.encoder_bytes),
            source=bundle.source,
            license=bundle.license,
            replace=True,
        )


def _processor_seconds(bundle: Bundle) -> float:
    """What a prepared picture takes of one core, whatever else runs beside."""
    encoder = load_encoder(bundle, threads=1)
    blank = np.full((1, bundle.preprocessing.height, bundle.preprocessing.width, 3), 127, np.uint8)
    encoder.encode(blank)
    started = time.process_time()
    for _ in range(_TIMED):
        encoder.encode(blank)
    return (time.process_time() - started) / _TIMED
