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
from trainer.held_out import HeldOutEmbeddings
from trainer.loop.checkpoint import read_checkpoint, remove_checkpoint
from trainer.loop.logs import ScalarLog
from trainer.loop.loop import Resume, train
from trainer.losses import build_losses
from trainer.material import TrainingData, read_training_data
from trainer.networks.assemble import Network, assemble, embedding_above, encoder, in_batches, start_head
from trainer.networks.export import Export, Weights, convert_litert, export_litert
from trainer.networks.pretrained import model_named
from trainer.networks.projections import class_means, joint, unit_rows
from trainer.places import RunPaths
from trainer.presets import Plan, stored
from trainer.progress import EpochLog, TrainingProgress
from trainer.sources import Source, open_source
from trainer.validation import validator

_HELD_OUT = "strangers"
"""Where in the run directory the networks that do not see the held-out products have their logs and checkpoints."""

_PARITY_PICTURES = 64
_BATCH = 1024

_START_PICTURES, _START_EACH = 1_000, 5
"""Pictures that decide where a head begins, at least; and how many for each product, and for each of its units."""


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
        embeddings: (d,) of the training pictures by their SHA-256, from their cached features; empty where training
            needed none.
        held_out: what each training without some of the products makes of photos; none where there was none.
        refused: files that could not be read.
    """

    keras: Any
    export: Export
    preprocessing: Preprocessing
    dimension: int
    record: dict[str, Any]
    pictures: Pictures
    embeddings: dict[str, NDArray[np.float32]]
    held_out: tuple[HeldOutEmbeddings, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """One of the networks of a training.

    Attributes:
        number: 0 for the first; decides what is drawn for it.
        folder: where its log and checkpoint are.
        which: how its stages tell it from the others, empty for an only one.
        data: what it learns from.
        plan: its recipe.
    """

    number: int
    folder: Path
    which: str
    data: TrainingData
    plan: Plan


def learn(paths: RunPaths, plan: Plan, progress: TrainingProgress, *, resume: bool = False) -> Trained:
    """Train an encoder on a dataset: `learn_from` what is read there."""
    data = read_training_data(paths.dataset, paths.catalog, plan, progress)
    return learn_from(data, paths, plan, progress, resume=resume)


def learn_from(
    data: TrainingData,
    paths: RunPaths,
    plan: Plan,
    progress: TrainingProgress,
    *,
    resume: bool = False,
    weights: Weights = "float32",
) -> Trained:
    """Train an encoder.

    Args:
        data: what there is to learn from.
        paths: where the run and the cache are.
        plan: the recipe.
        progress: told how far it is.
        resume: continue from the checkpoint in the run directory.
        weights: how the exported encoder stores its weights.

    Raises:
        CatalogError, UsageError: the dataset or the recipe cannot be used.
        CollapseError: the recipe collapsed on these pictures.
        EncoderError: the export does not compute what was trained.
        DiskFullError, StoreError: the cache or the run directory cannot be written.
    """
    started = time.perf_counter()
    pictures, shown = data.pictures, data.shown()
    runs = _runs(paths.run, plan, data)
    if not resume:  # what is resumed may turn out to be another training, whose checkpoints stay
        _forget_others(paths.run, runs)
    networks: list[Network] = []
    pooled: list[NDArray[np.float32]] = []
    logs: list[EpochLog] = []
    amounts: Amounts | None = _amounts(runs, resume)
    for run in runs[: plan.network.ensemble]:
        network, source, its_logs = _network(run, paths, progress, resume=resume, amounts=amounts)
        amounts = None
        networks.append(network)
        logs += its_logs
        if plan.network.features or data.validation is not None:
            pooled.append(source.outputs(network.pooled, shown))
    count = plan.network.ensemble
    held_out = tuple(
        _held_out(runs[(turn + 1) * count : (turn + 2) * count], lacking, data, paths, progress, resume=resume)
        for turn, lacking in enumerate(data.held_out)
    )

    progress.stage("Finishing")
    preprocessing = networks[0].preprocessing
    above = embedding_above(networks, (joint(pooled), shown.labels) if plan.network.features else None)
    embeddings = {}
    if pooled:
        embeddings = dict(zip(shown.hashes, above.predict(pooled, batch_size=_BATCH, verbose=0), strict=True))
    served = encoder(networks, above)
    probes = pictures.pixels(preprocessing, pictures.spread(_PARITY_PICTURES))
    export = export_litert(served, preprocessing, probes, weights=weights)
    dimension = int(served.output.shape[-1])
    record = {
        "dimension": dimension,
        "recipe": json.loads(json.dumps(stored(plan))),
        "pictures": len(pictures),
        "products": len(pictures.products),
        "validation": len(data.validation) if data.validation is not None else 0,
        "strangers": sum(map(len, data.held_out)),
        "trained_on": _trained_on(pictures, paths),
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
    return Trained(served, export, preprocessing, dimension, record, pictures, embeddings, held_out, data.refused)


def _trained_on(pictures: Pictures, paths: RunPaths) -> dict[str, int]:
    """Photos and catalog pictures that were learned from, for who asks the bundle what its model has seen."""
    catalog = 0 if paths.catalog is None else sum(root == paths.catalog for root in pictures.roots)
    return {"photos": len(pictures) - catalog, "catalog_pictures": catalog, "products": len(pictures.products)}


def _runs(folder: Path, plan: Plan, data: TrainingData) -> list[_Run]:
    """The ensemble, and then as many networks that do not see the held-out products, if any.

    As many, since fewer would take unknown products for known ones less often than the ensemble does.
    """
    count = plan.network.ensemble
    names = [f" {i + 1} of {count}" if count > 1 else "" for i in range(count)]
    runs = [_Run(i, member_folder(folder, i), name, data, plan) for i, name in enumerate(names)]
    for turn, lacking in enumerate(data.held_out):
        rest, without = data.without(lacking), f" once more, without {len(lacking):,} products"
        for i, name in enumerate(names):
            number = turn * count + i
            place = member_folder(folder / _HELD_OUT, number)
            runs.append(_Run(count + number, place, name + without, rest, plan.of_held_out))
    return runs


def learn_without(
    data: TrainingData, paths: RunPaths, plan: Plan, progress: TrainingProgress, *, resume: bool = False
) -> HeldOutEmbeddings:
    """What a training without the held-out products makes of all pictures.

    Args:
        data: with held-out products, of which this training does without the first lot.
        paths: where the run and the cache are.
        plan: the recipe.
        progress: told how far it is.
        resume: continue from the checkpoints in the run directory.
    """
    count = plan.network.ensemble
    runs = _runs(paths.run, plan, data)[count : 2 * count]
    return _held_out(runs, data.held_out[0], data, paths, progress, resume=resume)


def export_without(
    data: TrainingData, paths: RunPaths, plan: Plan, progress: TrainingProgress, *, weights: Weights = "float32"
) -> tuple[bytes, Preprocessing, int]:
    """The encoder of `learn_without`'s training, exported: the bytes, what its input goes through, its dimension."""
    count = plan.network.ensemble
    runs = _runs(paths.run, plan, data)[count : 2 * count]
    networks, _, _, above = _without(runs, data.held_out[0], data, paths, progress, resume=True)
    served = encoder(networks, above)
    return convert_litert(served, weights), networks[0].preprocessing, int(served.output.shape[-1])


def _held_out(
    runs: Sequence[_Run],
    lacking: Sequence[str],
    data: TrainingData,
    paths: RunPaths,
    progress: TrainingProgress,
    *,
    resume: bool,
) -> HeldOutEmbeddings:
    """Train an ensemble without some products, and see what it makes of all pictures and of val's photos."""
    networks, sources, pooled, above = _without(runs, lacking, data, paths, progress, resume=resume)
    val, shown = data.validation, data.shown()
    embeddings = dict(zip(shown.hashes, above.predict(pooled, batch_size=_BATCH, verbose=0), strict=True))
    if val is not None:
        pooled_val = []
        for network, source in zip(networks, sources, strict=True):
            inputs = source.inputs(val, progress)
            pooled_val.append(in_batches(network.pooled, (inputs[i : i + 64] for i in range(0, len(inputs), 64))))
        embeddings |= dict(zip(val.hashes, above.predict(pooled_val, batch_size=_BATCH, verbose=0), strict=True))
    return HeldOutEmbeddings(frozenset(lacking), embeddings)


def _without(
    runs: Sequence[_Run],
    lacking: Sequence[str],
    data: TrainingData,
    paths: RunPaths,
    progress: TrainingProgress,
    *,
    resume: bool,
) -> tuple[list[Network], list[Source], list[NDArray[np.float32]], Any]:
    """Networks trained without some products, what they learned from, pooled features of it, and what is above."""
    networks: list[Network] = []
    sources: list[Source] = []
    pooled: list[NDArray[np.float32]] = []
    shown = data.shown()
    for run in runs:
        network, source, _ = _network(run, paths, progress, resume=resume)
        progress.stage("Embedding held-out products")
        networks.append(network)
        sources.append(source)
        pooled.append(source.outputs(network.pooled, shown))
    names = shown.names()
    seen = ~np.isin(names, list(lacking))
    learned = joint(pooled)[seen], np.unique(names[seen], return_inverse=True)[1]
    above = embedding_above(networks, learned if runs[0].plan.network.features else None)
    return networks, sources, pooled, above


def _network(
    run: _Run,
    paths: RunPaths,
    progress: TrainingProgress,
    *,
    resume: bool,
    amounts: Amounts | None = None,
) -> tuple[Network, Source, list[EpochLog]]:
    """Train one network; those of an ensemble differ in what is drawn for them, batches above all.

    Args:
        run: which.
        paths: where everything is.
        progress: told how far it is, and with ``amounts`` how long all networks will take.
        resume: continue from its checkpoint.
        amounts: of all networks; given with the first.
    """
    number, folder, data, plan = run.number, run.folder, run.data, run.plan
    losses = build_losses(plan.loss, plan.loss_parameters, seed=plan.seed + number)
    keras.utils.set_random_seed(plan.seed + number)
    progress.stage(f"Loading the network{run.which}")
    network = assemble(plan.network)
    sampler = data.sampler(plan, number)
    source = open_source(
        network, data.pictures, data.repeats, plan, paths.cache, sampler, fewer_views=data.fewer_views()
    )
    if amounts is not None:
        progress.estimate(seconds_to_train(source, network, plan, amounts))
    source.fill(progress)
    validate = validator(source, network, data.validation, progress)
    identity = _identity(data, plan, number)
    done = _settle(folder, identity, resume, progress)
    proxies = None if done else _start(network, source, data, plan)
    with ScalarLog(folder, after=done) as log:
        progress.stage(f"Training{run.which}", plan.schedule.epochs, "epochs", done=done)

        def on_epoch(entry: EpochLog) -> None:
            log.epoch(entry)
            progress.epoch(entry)

        logs = train(
            network.model,
            source.batches,
            losses,
            plan.schedule,
            products=source.batches.products,
            proxies=proxies,
            slow=network.slow,
            validate=validate,
            on_epoch=on_epoch,
            resume=Resume(folder, identity),
        )
    return network, source, logs


def member_folder(run: Path, number: int) -> Path:
    """Where a network of an ensemble keeps its log and checkpoint: the first in the run directory itself."""
    return run if number == 0 else run / f"member-{number + 1}"


def _networks_in(run: Path) -> list[Path]:
    """Where trainings there left logs and checkpoints of networks beside the first."""
    beside = [*run.glob("member-*"), *(run / _HELD_OUT).glob("member-*"), run / _HELD_OUT]
    return [folder for folder in beside if folder.is_dir()]


def _forget_others(run: Path, runs: Sequence[_Run]) -> None:
    """Remove the logs and checkpoints that an earlier training there left of networks that there will not be."""
    wanted = {run.folder for run in runs}
    for folder in _networks_in(run):
        if folder not in wanted:
            with os_errors("write the run directory", folder):
                shutil.rmtree(folder)


def forget_checkpoints(run: Path) -> None:
    """Remove the checkpoints of a training that is over; its logs stay."""
    for folder in (run, *_networks_in(run)):
        remove_checkpoint(folder)


def _start(network: Network, source: Source, data: TrainingData, plan: Plan) -> NDArray[np.float32] | None:
    """Begin where the frozen features already are, instead of at random; returns where the proxies begin."""
    if plan.network.head != "linear" or not network.pretrained:
        return None
    labels = data.pictures.labels
    units = network.model.get_layer("head").units
    rows = data.pictures.spread(max(_START_PICTURES, _START_EACH * source.batches.products, _START_EACH * units))
    first = start_head(network, source.outputs(network.pooled, data.pictures.only(rows)))
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


def _amounts(runs: Sequence[_Run], resume: bool) -> Amounts:
    data = runs[0].data
    networks = done = 0.0
    for run in runs:
        part = len(run.data.pictures) / len(data.pictures)
        saved = read_checkpoint(run.folder, _identity(run.data, run.plan, run.number)) if resume else None
        networks += part * run.plan.schedule.epochs / runs[0].plan.schedule.epochs
        done += part * saved.epoch if saved is not None else 0.0
    validation = len(data.validation) if data.validation is not None else 0
    return Amounts(len(data.pictures), validation, networks, done)


def _identity(data: TrainingData, plan: Plan, member: int) -> str:
    """Digest of everything that decides the result."""
    pictures, validation = data.pictures, data.validation
    content: dict[str, Any] = {
        "plan": stored(plan),
        "member": member,
        "pictures": [*zip(pictures.hashes, pictures.labels.tolist(), data.repeats.tolist(), strict=True)],
        "validation": sorted(validation.hashes) if validation is not None else [],
        "backend": keras.backend.backend(),
        "versions": [version("itemrec"), version("keras")],
    }
    if data.mixture is not None:
        content["mixture"] = data.mixture.to_json()
    if (start := model_named(plan.network.weights)) is not None:
        content["start"] = start.fingerprint
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
