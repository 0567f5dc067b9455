"""From a dataset to a trained encoder: read, keep features, train, finish, export. Reads from top to bottom."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import Refusal
from retrieval.images.preprocessing import Preprocessing
from retrieval.system.files import os_errors
from retrieval.system.text import printable
from trainer.data.dataset import Pictures
from trainer.estimate import Amounts, seconds_to_train
from trainer.held_out import Unseen
from trainer.loop.checkpoint import read_checkpoint, remove_checkpoint
from trainer.loop.logs import ScalarLog
from trainer.loop.loop import Resume, train
from trainer.losses import build_losses
from trainer.material import Material, read_material
from trainer.networks.assemble import Parts, assemble, encoder, readout, start_head
from trainer.networks.export import Export, export_litert
from trainer.networks.projections import class_means, joint, unit_rows
from trainer.presets import Plan
from trainer.progress import EpochLog, TrainingProgress
from trainer.sources import Source, open_source
from trainer.validation import validator

_UNSEEN = "strangers"
"""Where in the run directory the network that does not see all products has its log and checkpoint."""

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
        unseen: what a training without some products makes of photos; None where there was none.
        refused: files that could not be read.
    """

    keras: Any
    export: Export
    preprocessing: Preprocessing
    dimension: int
    record: dict[str, Any]
    pictures: Pictures
    known: dict[str, NDArray[np.float32]]
    unseen: Unseen | None
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One of the networks of a training.

    Attributes:
        number: 0 for the first; decides what is drawn for it.
        run: where its log and checkpoint are.
        which: how its stages tell it from the others, empty for an only one.
        material: what it learns from.
    """

    number: int
    run: Path
    which: str
    material: Material


def learn(places: Places, plan: Plan, progress: TrainingProgress, *, resume: bool = False) -> Trained:
    """Train an encoder on a dataset.

    Args:
        places: where everything is.
        plan: the recipe.
        progress: told how far it is.
        resume: continue from the checkpoint in the run directory.

    Raises:
        CatalogError, UsageError: the dataset or the recipe cannot be used.
        CollapseError: the recipe collapsed on these pictures.
        EncoderError: the export does not compute what was trained.
        DiskFullError, StoreError: the cache or the run directory cannot be written.
    """
    started = time.perf_counter()
    material = read_material(places.dataset, places.catalog, plan, progress)
    pictures = material.pictures
    turns = _turns(places.run, plan, material)
    if not resume:  # what is resumed may turn out to be another training, whose checkpoints stay
        _forget_others(places.run, turns)
    members: list[Parts] = []
    pooled: list[NDArray[np.float32]] = []
    logs: list[EpochLog] = []
    amounts: Amounts | None = _amounts(turns, plan, resume)
    for turn in turns[: plan.network.members]:
        parts, source, its_logs = _network(turn, places, plan, progress, resume=resume, amounts=amounts)
        amounts = None
        members.append(parts)
        logs += its_logs
        if plan.network.features or material.validation is not None:
            pooled.append(source.plain(parts.pooled))
    unseen = None
    if material.strangers:
        unseen = _unseen(turns[plan.network.members :], material, places, plan, progress, resume=resume)

    progress.stage("Finishing")
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
        "strangers": len(material.strangers),
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
    return Trained(served, export, preprocessing, dimension, record, pictures, known, unseen, material.refused)


def _turns(run: Path, plan: Plan, material: Material) -> list[_Turn]:
    """The members, and then as many that do not see all products, if any: fewer would bring strangers less near."""
    count = plan.network.members
    names = [f" {i + 1} of {count}" if count > 1 else "" for i in range(count)]
    turns = [_Turn(i, member_folder(run, i), name, material) for i, name in enumerate(names)]
    if material.strangers:
        rest, lacking = material.without_strangers(), f" once more, without {len(material.strangers):,} products"
        turns += [
            _Turn(count + i, member_folder(run / _UNSEEN, i), name + lacking, rest) for i, name in enumerate(names)
        ]
    return turns


def _unseen(
    turns: Sequence[_Turn], material: Material, places: Places, plan: Plan, progress: TrainingProgress, *, resume: bool
) -> Unseen:
    """Train as many networks as are served without some products, and see what they make of all pictures."""
    members: list[Parts] = []
    pooled: list[NDArray[np.float32]] = []
    for turn in turns:
        parts, source, _ = _network(turn, places, plan, progress, resume=resume)
        progress.stage("Embedding held-out products")
        members.append(parts)
        pooled.append(source.plain(parts.pooled, material.pictures))
    learned = joint(pooled)[material.shown()], turns[0].material.pictures.labels
    above = readout(members, learned if plan.network.features else None)
    embeddings = above.predict(pooled, batch_size=_BATCH, verbose=0)
    return Unseen(frozenset(material.strangers), dict(zip(material.pictures.hashes, embeddings, strict=True)))


def _network(
    turn: _Turn,
    places: Places,
    plan: Plan,
    progress: TrainingProgress,
    *,
    resume: bool,
    amounts: Amounts | None = None,
) -> tuple[Parts, Source, list[EpochLog]]:
    """Train one network; those that are served together differ in what is drawn for them, batches above all.

    Args:
        turn: which.
        places: where everything is.
        plan: the recipe.
        progress: told how far it is, and with ``amounts`` how long all networks will take.
        resume: continue from its checkpoint.
        amounts: of all networks; given with the first.
    """
    number, run, material = turn.number, turn.run, turn.material
    losses = build_losses(plan.loss, plan.loss_parameters, seed=plan.seed + number)
    keras.utils.set_random_seed(plan.seed + number)
    progress.stage(f"Loading the network{turn.which}")
    parts = assemble(plan.network)
    source = open_source(parts, material.pictures, material.repeats, plan, places.cache, number)
    if amounts is not None:
        progress.estimate(seconds_to_train(source, parts, plan, amounts))
    source.fill(progress)
    validate = validator(source, parts, material.validation, progress)
    proxies = _start(parts, source, material, plan)
    identity = _identity(material, plan, number)
    done = _settle(run, identity, resume, progress)
    with ScalarLog(run, after=done) as log:
        progress.stage(f"Training{turn.which}", plan.schedule.epochs, "epochs", done=done)

        def on_epoch(entry: EpochLog) -> None:
            log.epoch(entry)
            progress.epoch(entry)

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


def _networks_in(run: Path) -> list[Path]:
    """Where trainings there left logs and checkpoints of networks beside the first."""
    beside = [*run.glob("member-*"), *(run / _UNSEEN).glob("member-*"), run / _UNSEEN]
    return [folder for folder in beside if folder.is_dir()]


def _forget_others(run: Path, turns: Sequence[_Turn]) -> None:
    """Remove the logs and checkpoints that an earlier training there left of networks that there will not be."""
    wanted = {turn.run for turn in turns}
    for folder in _networks_in(run):
        if folder not in wanted:
            with os_errors("write the run directory", folder):
                shutil.rmtree(folder)


def forget_checkpoints(run: Path) -> None:
    """Remove the checkpoints of a training that is over; its logs stay."""
    for folder in (run, *_networks_in(run)):
        remove_checkpoint(folder)


def _start(parts: Parts, source: Source, material: Material, plan: Plan) -> NDArray[np.float32] | None:
    """Begin where the frozen features already are, instead of at random; returns where the proxies begin."""
    if plan.network.head != "linear" or not parts.pretrained:
        return None
    labels = material.pictures.labels
    units = parts.network.get_layer("head").units
    rows = material.pictures.spread(max(_START_PICTURES, _START_EACH * source.batches.products, _START_EACH * units))
    first = start_head(parts, source.plain(parts.pooled, material.pictures.only(rows)))
    return unit_rows(class_means(first, labels[rows])) if plan.network.unit else None


def _settle(run: Path, identity: str, resume: bool, progress: TrainingProgress) -> int:
    """How many epochs are done already; an old checkpoint is forgotten where nothing is resumed."""
    if not resume:
        remove_checkpoint(run)
        return 0
    saved = read_checkpoint(run, identity)
    if saved is None:
        progress.note(f"There is no checkpoint in {printable(run)}: training from the start.")
        return 0
    progress.note(f"Continuing after epoch {saved.epoch}.")
    return saved.epoch


def _amounts(turns: Sequence[_Turn], plan: Plan, resume: bool) -> Amounts:
    material = turns[0].material
    networks = done = 0.0
    for turn in turns:
        part = len(turn.material.pictures) / len(material.pictures)
        saved = read_checkpoint(turn.run, _identity(turn.material, plan, turn.number)) if resume else None
        networks += part
        done += part * saved.epoch if saved is not None else 0.0
    validation = len(material.validation) if material.validation is not None else 0
    return Amounts(len(material.pictures), validation, networks, done)


def _identity(material: Material, plan: Plan, member: int) -> str:
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
