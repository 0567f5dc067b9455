"""From nothing to the starter's bundle: draw, train, export, calibrate, measure, write."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.calibration.points import Calibration
from retrieval.models.bundle import Bundle, write_bundle
from retrieval.system.progress import Progress
from trainer.starter import recipe
from trainer.starter.calibrate import calibrate
from trainer.starter.card import write_card
from trainer.starter.drawings import render
from trainer.starter.measure import encoder_of


def build(out: Path, *, cache: Path, grocery: Path | None, progress: Progress) -> Bundle:
    """Make the starter anew and write it to ``out``, replacing the bundle that is there.

    Args:
        out: the bundle's directory.
        cache: keeps the drawings, about 2 GB.
        grocery: real photos to measure on as well (``photos/train``, ``photos/val``, ``catalog``).
        progress: told what is going on, one line at a time.

    Raises:
        DiskFullError: the cache has not enough space.
        EncoderError: the export does not compute what Keras computes.
        BundleError, UsageError: ``out`` cannot be written or holds something else.
    """
    import keras

    from trainer.networks.export import export_litert
    from trainer.progress import EpochLog
    from trainer.starter.fit import fit

    clock = _Clock(progress)
    train = render(recipe.TRAIN, recipe.KEPT, cache, progress=progress)
    validation = render(recipe.VALIDATION, recipe.PREPROCESSING, cache, progress=progress)
    clock.lap("drawing")

    progress.stage("Training", recipe.RECIPE.epochs, "epochs")

    def show(log: EpochLog) -> None:
        progress.advance()
        progress.note(
            f"epoch {log.epoch}/{recipe.RECIPE.epochs}: loss {log.loss:.3f}, "
            f"distance to own product {log.anchor_positive:.3f}, to others {log.anchor_negative:.3f}, "
            f"spread {log.spread:.3f}, {log.seconds:.0f} s"
        )

    keras.utils.set_random_seed(recipe.SEED)
    network = recipe.build_network(recipe.TRAINED_SIZE)
    logs = fit(network, train, recipe.RECIPE, recipe.TRAINED, on_epoch=show)
    served = recipe.build_network()
    served.set_weights(network.get_weights())
    training = clock.lap("training")

    probes = np.asarray(validation.pixels[:: max(1, len(validation.pixels) // 256)])
    export = export_litert(served, recipe.PREPROCESSING, probes, weights=recipe.WEIGHTS)
    record: dict[str, Any] = {
        "recipe": asdict(recipe.RECIPE),
        "network": {
            "name": network.name,
            "width": recipe.WIDTH,
            "trained_size": recipe.TRAINED_SIZE,
            "parameters": network.count_params(),
        },
        "drawings": asdict(recipe.TRAIN),
        "pictures": len(train.labels),
        "seconds": training,
        "cores": os.cpu_count(),
        "epochs": [asdict(log) for log in logs],
        "export": {
            "weights": export.weights,
            "max_difference": export.max_difference,
            "min_cosine": export.min_cosine,
            "pictures": export.pictures,
        },
        "versions": {name: version(name) for name in ("itemrec", "keras", "numpy", "pillow")},
    }

    # A draft first: what is calibrated and measured is the bundle itself, read back from disk.
    with tempfile.TemporaryDirectory(prefix="itemrec-starter-") as folder:
        draft = write_bundle(
            Path(folder) / "draft",
            name=recipe.NAME,
            encoder=export.model,
            runtime="litert",
            preprocessing=recipe.PREPROCESSING,
            dimension=recipe.DIMENSION,
            training=record,
            source="python -m trainer.starter",
            license="Apache-2.0",
        )
        return finish(draft, out, cache=cache, grocery=grocery, progress=progress)


def finish(trained: Bundle, out: Path, *, cache: Path, grocery: Path | None, progress: Progress) -> Bundle:
    """Calibrate a trained bundle, measure it, write its card, and put it all at ``out``.

    Also what repeats those steps for the bundle that ships, without training it again.

    Raises:
        EncoderError: no threshold keeps a target.
        BundleError, UsageError: ``out`` cannot be written or holds something else.
    """
    clock = _Clock(progress)

    def write(to: Path, calibration: Calibration, card: str) -> Bundle:
        return write_bundle(
            to,
            name=trained.name,
            encoder=trained.encoder_file.read_bytes(),
            runtime=trained.runtime,
            preprocessing=trained.preprocessing,
            dimension=trained.dimension,
            calibration=calibration,
            training=trained.training,
            card=card,
            source=trained.source,
            license=trained.license,
            replace=True,
        )

    validation = render(recipe.VALIDATION, trained.preprocessing, cache, progress=progress)
    with tempfile.TemporaryDirectory(prefix="itemrec-starter-") as folder:
        calibration = calibrate(encoder_of(trained), validation, progress=progress)
        draft = write(Path(folder) / "draft", calibration, card="")
        card = write_card(draft, cache=cache, grocery=grocery, progress=progress)
    clock.lap("calibrating and measuring")
    return write(out, calibration, card)


class _Clock:
    """Says what each stage took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._since = time.perf_counter()

    def lap(self, stage: str) -> float:
        now = time.perf_counter()
        seconds, self._since = round(now - self._since, 1), now
        self._progress.note(f"{stage}: {seconds:.0f} s")
        return seconds
