"""From a dataset to a trained encoder: read, keep features, train, finish, export. Reads from top to bottom."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from retrieval.catalog import Refusal
from retrieval.disk import os_errors
from retrieval.errors import UsageError
from retrieval.preprocessing import Preprocessing
from retrieval.text import printable
from trainer.checkpoint import read_checkpoint, remove_checkpoint
from trainer.dataset import Pictures, read_pictures
from trainer.duration import Amounts, seconds_to_train
from trainer.export import Export, export_litert
from trainer.logs import EpochLog, ScalarLog
from trainer.loop import Resume, train
from trainer.losses import build_losses
from trainer.network import Parts, assemble, encoder, readout, start_head
from trainer.presets import Plan
from trainer.readout import class_means, joint, unit_rows
from trainer.sources import Source, open_source
from trainer.validate import can_validate, validator
from trainer.view import View

_PARITY_PICTURES = 64
_BATCH = 1024

_START_PICTURES, _START_EACH = 1_000, 5
"""Pictures that decide where a head begins, at least; and how many for each product, and for each of its units."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a training reads and writes.

    Attributes:
        dataset: a folder with train/ and, better, val/; or of product folders, which is all training then.
        catalog: catalog pictures that join the training, or None.
        run: the run directory: logs and checkpoint.
        cache: keeps features by content hash.
    """

    dataset: Path
    catalog: Path | None
    run: Path
    cache: Path


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """An encoder that learned, exported and checked.

    Attributes:
        keras: the Keras model, pictures to embeddings.
        export: the LiteRT model, with its parity.
        preprocessing: what its input goes through.
        dimension: of its embeddings.
        record: how it was trained; JSON values.
        pictures: that it learned from.
        known: embeddings (d,) of the training pictures by their SHA-256, from what is kept of them; empty where
            training needed none.
        refused: files that could not be read.
    """

    keras: Any
    export: Export
    preprocessing: Preprocessing
    dimension: int
    record: dict[str, Any]
    pictures: Pictures
    known: dict[str, NDArray[np.float32]]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """What there is to learn from: pictures, how often each counts, and photos to validate on."""

    pictures: Pictures
    repeats: NDArray[np.int64]
    validation: Pictures | None
    refused: tuple[Refusal, ...]


def learn(places: Places, plan: Plan, view: View, *, resume: bool = False) -> Trained:
    """Train an encoder on a dataset.

    Args:
        places: where everything is.
        plan: the recipe.
        view: told how far it is.
        resume: continue from the checkpoint in the run directory.

    Raises:
        CatalogError, UsageError: the dataset or the recipe cannot be used.
        CollapseError: the recipe collapsed on these pictures.
        EncoderError: the export does not compute what was trained.
        DiskFullError, StoreError: the cache or the run directory cannot be written.
    """
    started = time.perf_counter()
    material = _read(places, plan, view)
    pictures = material.pictures
    if not resume:  # what is resumed may turn out to be another training, whose checkpoints stay
        _forget_more_members(places.run, plan.network.members)
    members: list[Parts] = []
    pooled: list[NDArray[np.float32]] = []
    logs: list[EpochLog] = []
    for number in range(plan.network.members):
        parts, source, its_logs = _member(number, material, places, plan, view, resume=resume)
        members.append(parts)
        logs += its_logs
        if plan.network.features or material.validation is not None:
            pooled.append(source.plain(parts.pooled))

    view.stage("Finishing", None)
    preprocessing = members[0].preprocessing
    above = readout(members, (joint(pooled), pictures.labels) if plan.network.features else None)
    known = {}
    if pooled:
        known = dict(zip(pictures.hashes, above.predict(pooled, batch_size=_BATCH, verbose=0), strict=True))
    served = encoder(members, above)
    probes = pictures.pixels(preprocessing, pictures.spread(_PARITY_PICTURES))
    export = export_litert(served, preprocessing, probes)
    dimension = int(served.output.shape[-1])
    record = {
        "dimension": dimension,
        "recipe": json.loads(json.dumps(asdict(plan))),
        "pictures": len(pictures),
        "products": len(pictures.products),
        "validation": len(material.validation) if material.validation is not None else 0,
        "parameters": int(served.count_params()),
        "backend": keras.backend.backend(),
        "cores": os.cpu_count(),
        "seconds": round(time.perf_counter() - started, 1),
        "epochs": [asdict(entry) for entry in logs],
        "export": {
            "weights": export.weights,
            "max_difference": export.max_difference,
            "min_cosine": export.min_cosine,
            "pictures": export.pictures,
        },
        "versions": {name: version(name) for name in ("itemrec", "keras", "numpy", "pillow")},
    }
    return Trained(served, export, preprocessing, dimension, record, pictures, known, material.refused)


def _member(
    number: int, material: _Material, places: Places, plan: Plan, view: View, *, resume: bool
) -> tuple[Parts, Source, list[EpochLog]]:
    """Train one of the networks that are served together; they differ in what is drawn for them, batches above all."""
    run = member_folder(places.run, number)
    losses = build_losses(plan.loss, plan.loss_parameters, seed=plan.seed + number)
    keras.utils.set_random_seed(plan.seed + number)
    of_all = f" {number + 1} of {plan.network.members}" if plan.network.members > 1 else ""
    view.stage(f"Loading the network{of_all}", None)
    parts = assemble(plan.network)
    source = open_source(parts, material.pictures, material.repeats, plan, places.cache, number)
    if number == 0:
        view.estimate(seconds_to_train(source, parts, plan, _amounts(material, places, plan, resume)))
    source.fill(view)
    validate = validator(source, parts, material.validation, view)
    proxies = _start(parts, source, material, plan)
    identity = _identity(material, plan, number)
    done = _settle(run, identity, resume, view)
    with ScalarLog(run, after=done) as log:
        view.stage(f"Training{of_all}", plan.schedule.epochs, "epochs", done=done)

        def on_epoch(entry: EpochLog) -> None:
            log.epoch(entry)
            view.epoch(entry)

        logs = train(
            parts.network,
            source.batches,
            losses,
            plan.schedule,
            products=source.batches.products,
            proxies=proxies,
            slow=parts.slow,
            validate=validate,
            on_epoch=on_epoch,
            resume=Resume(run, identity),
        )
    return parts, source, logs


def member_folder(run: Path, number: int) -> Path:
    """Where a member of a training keeps its log and checkpoint: the first in the run directory itself."""
    return run if number == 0 else run / f"member-{number + 1}"


def _forget_more_members(run: Path, members: int) -> None:
    """Remove the logs and checkpoints that an earlier training there left of more networks than there will be."""
    number = members
    while (folder := member_folder(run, number)).is_dir():
        with os_errors("write the run directory", folder):
            shutil.rmtree(folder)
        number += 1


def forget_checkpoints(run: Path) -> None:
    """Remove the checkpoints of a training that is over; its logs stay."""
    for folder in (run, *sorted(run.glob("member-*"))):
        remove_checkpoint(folder)


def _read(places: Places, plan: Plan, view: View) -> _Material:
    folder, has_splits = places.dataset / "train", True
    if not folder.is_dir():
        if not places.dataset.is_dir():
            raise UsageError(
                f"expected a dataset, a folder with train/ and val/, received nothing at {printable(places.dataset)}",
                hint="itemrec prepare RAW OUT makes one from product folders.",
            )
        folder, has_splits = places.dataset, False
        view.note(f"{places.dataset} has no train/: all of it is trained on, and nothing is left to validate on.")
    pictures = _pictures(folder, "Reading train", view)
    refused = pictures.refused
    repeats = np.ones(len(pictures), np.int64)
    if places.catalog is not None:
        studio = _pictures(places.catalog, "Reading the catalog", view)
        pictures, refused = pictures.joined(studio), refused + studio.refused
        repeats = np.concatenate([repeats, np.full(len(studio), plan.studio_repeats)])
    if len(pictures.products) < 2:
        raise UsageError(
            f"expected at least 2 products to tell apart, received {len(pictures.products)} in {printable(folder)}",
            hint="A split is a folder that holds one folder of pictures a product.",
        )
    few = int((np.bincount(pictures.labels) < 2).sum())
    if few:
        view.note(
            f"{few:,} of {len(pictures.products):,} products have a single picture: views of it stand in for photos. "
            "Expect less than with five photos or more of each."
        )
    validation = None
    if has_splits and (places.dataset / "val").is_dir():
        validation = _pictures(places.dataset / "val", "Reading val", view)
        refused += validation.refused
        if not can_validate(validation):
            view.note("val holds no two photos of one product, or no two products: nothing is validated.")
    return _Material(pictures, repeats, validation, refused)


def _pictures(folder: Path, stage: str, view: View) -> Pictures:
    view.stage(stage, None)
    last = 0

    def notify(done: int, _: int) -> None:
        nonlocal last
        view.advance(done - last)
        last = done

    found = read_pictures(folder, notify=notify)
    for refusal in found.refused:
        view.note(f"left out {printable(refusal.path)}: {refusal.reason}")
    return found


def _start(parts: Parts, source: Source, material: _Material, plan: Plan) -> NDArray[np.float32] | None:
    """Begin where the frozen features already are, instead of at random; returns where the proxies begin."""
    if plan.network.head != "linear" or not parts.pretrained:
        return None
    labels = material.pictures.labels
    units = parts.network.get_layer("head").units
    rows = material.pictures.spread(max(_START_PICTURES, _START_EACH * source.batches.products, _START_EACH * units))
    first = start_head(parts, source.plain(parts.pooled, rows))
    return unit_rows(class_means(first, labels[rows])) if plan.network.unit else None


def _settle(run: Path, identity: str, resume: bool, view: View) -> int:
    """How many epochs are done already; an old checkpoint is forgotten where nothing is resumed."""
    if not resume:
        remove_checkpoint(run)
        return 0
    saved = read_checkpoint(run, identity)
    if saved is None:
        view.note(f"There is no checkpoint in {printable(run)}: training from the start.")
        return 0
    view.note(f"Continuing after epoch {saved.epoch}.")
    return saved.epoch


def _amounts(material: _Material, places: Places, plan: Plan, resume: bool) -> Amounts:
    validation = len(material.validation) if material.validation is not None else 0
    done = 0
    for number in range(plan.network.members) if resume else ():
        saved = read_checkpoint(member_folder(places.run, number), _identity(material, plan, number))
        done += saved.epoch if saved is not None else 0
    return Amounts(len(material.pictures), validation, done)


def _identity(material: _Material, plan: Plan, member: int) -> str:
    """Digest of everything that decides the result."""
    pictures, validation = material.pictures, material.validation
    content = {
        "plan": asdict(plan),
        "member": member,
        "pictures": [*zip(pictures.hashes, pictures.labels.tolist(), material.repeats.tolist(), strict=True)],
        "validation": sorted(validation.hashes) if validation is not None else [],
        "backend": keras.backend.backend(),
        "versions": [version("itemrec"), version("keras")],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
