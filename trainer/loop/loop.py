"""The training loop, on any Keras backend: batches in, a trained network out. Reads from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ItemrecError
from trainer.data.batches import Array, Batches
from trainer.loop.checkpoint import Checkpoint, pack, read_checkpoint, unpack, write_checkpoint
from trainer.loop.collapse import CollapseMonitor
from trainer.loop.optimizer import LayerwiseAdamW
from trainer.losses import BuiltLosses, cosine_classifier, pair_metrics
from trainer.losses.registry import Head
from trainer.progress import EpochLog

Tensor = Any

Validate = Callable[[Any], tuple[float, float]]
"""Measures the network on photos that it does not learn from: (VAL at FAR 1 %, R@1)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the weights move.

    Attributes:
        epochs: passes over the photos.
        learning_rate: the highest, of the head; reached after the warm-up, then a cosine to 0.
        backbone_rate: of pretrained layers, relative to that of the head, in [0, 1].
        warmup: part of all steps in which the rate rises from 0.
        weight_decay: of AdamW; norms and biases have none.
        clip: largest global norm of a gradient.
        patience: epochs without a better validation after which training stops; 0 to go on to the end.
    """

    epochs: int
    learning_rate: float
    backbone_rate: float = 1.0
    warmup: float = 0.05
    weight_decay: float = 1e-4
    clip: float = 5.0
    patience: int = 0


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a run keeps its checkpoints.

    Attributes:
        folder: the run directory.
        identity: digest of everything that decides the result.
    """

    folder: Path
    identity: str


def train(
    network: Any,
    batches: Batches,
    losses: BuiltLosses,
    schedule: Schedule,
    *,
    products: int,
    proxies: NDArray[np.float32] | None = None,
    slow: frozenset[str] = frozenset(),
    validate: Validate | None = None,
    on_epoch: Callable[[EpochLog], None] | None = None,
    resume: Resume | None = None,
) -> list[EpochLog]:
    """Train a network in place. With a validation, the weights of the best epoch are the result.

    Args:
        network: Keras model whose output is embeddings (n, d).
        batches: what to learn from.
        losses: on embeddings, on cosines with learned products, or both.
        schedule: how.
        products: how many there are.
        proxies: where the learned products begin, unit vectors (products, d); at random by default.
        slow: paths of the variables that move at `Schedule.backbone_rate`.
        validate: measured after each epoch.
        on_epoch: called after each epoch, before its checkpoint is written.
        resume: continue from the checkpoint there, if there is one, and write one after each epoch.

    Returns:
        One log an epoch, those before a resume included.

    Raises:
        CollapseError: all embeddings have become one.
        ItemrecError: the loss is not a number any more.
        UsageError: the checkpoint is of another training.
    """
    total = sum(batches.steps(epoch) for epoch in range(schedule.epochs))
    trainee = compiled(network, losses, schedule, products, total=total, proxies=proxies, slow=slow)
    monitor = CollapseMonitor(scale=losses.scale)
    logs: list[EpochLog] = []
    best: tuple[float, int, list[Array]] = (-1.0, 0, [])
    saved = read_checkpoint(resume.folder, resume.identity) if resume else None
    if saved is not None:
        logs = [EpochLog(**log) for log in saved.state["logs"]]
        for log in logs:
            monitor.check(log)
        _restore(trainee.variables, unpack("network", saved.arrays))
        _restore(trainee.optimizer.variables, unpack("optimizer", saved.arrays))
        best = (saved.state["best"], saved.state["best_epoch"], unpack("best", saved.arrays))

    for epoch in range(len(logs), schedule.epochs):
        started = time.perf_counter()
        trainee.reset_metrics()
        values: dict[str, Any] = {}
        for inputs, labels in batches.epoch(epoch):
            # inputs (n, ...) float, labels (n,)
            targets = dict.fromkeys(trainee.output_names, labels)
            values = trainee.train_on_batch(inputs, targets, return_dict=True)
        log = _log(epoch + 1, values, time.perf_counter() - started, trainee.optimizer)
        if not np.isfinite(log.loss):
            raise ItemrecError(
                f"expected a loss that is a number, received {log.loss} in epoch {log.epoch}",
                hint="Lower the learning rate: --learning-rate 3e-4",
            )
        monitor.check(log)
        if validate is not None:
            val, right = validate(network)
            log = replace(log, val_at_far=val, r_at_1=right)
            if val + right > best[0]:
                best = (val + right, epoch + 1, [np.array(w) for w in network.get_weights()])
        logs.append(log)
        if on_epoch is not None:
            on_epoch(log)
        if resume is not None:
            arrays = pack("network", trainee.variables) | pack("optimizer", trainee.optimizer.variables)
            arrays |= pack("best", best[2])
            state = {"logs": [asdict(log) for log in logs], "best": best[0], "best_epoch": best[1]}
            write_checkpoint(resume.folder, resume.identity, Checkpoint(epoch + 1, arrays, state))
        if validate is not None and schedule.patience and epoch + 1 - best[1] >= schedule.patience:
            break
    if best[2]:
        network.set_weights(best[2])
    return logs


def compiled(
    network: Any,
    losses: BuiltLosses,
    schedule: Schedule,
    products: int,
    *,
    total: int,
    proxies: NDArray[np.float32] | None = None,
    slow: frozenset[str] = frozenset(),
) -> Any:
    """The network with its losses and its optimizer, as `train` steps it; ``total`` is how many steps there will be."""
    embeddings = network.output  # (n, d)
    outputs: dict[Head, Tensor] = {"embeddings": embeddings}
    if "cosines" in losses.losses:
        classifier = cosine_classifier(products)
        outputs["cosines"] = classifier(embeddings)  # (n, products)
        if proxies is not None:
            classifier.set_weights([np.ascontiguousarray(proxies.T)])
    trainee = keras.Model(network.inputs, outputs)
    warmup = max(1, round(schedule.warmup * total))
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=schedule.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, total - warmup),
    )
    optimizer = LayerwiseAdamW(
        rate,
        slow=slow,
        slowdown=schedule.backbone_rate,
        weight_decay=schedule.weight_decay,
        global_clipnorm=schedule.clip,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    margin = losses.parameters.get("margin", 0.2)
    trainee.compile(
        optimizer=optimizer,
        loss={name: losses.losses.get(name) for name in outputs},
        loss_weights={name: losses.weights.get(name, 0.0) for name in outputs},
        metrics={"embeddings": pair_metrics(float(margin) or 0.2)},
        # XLA's convolutions are several times slower on CPUs; but JAX has nothing else, and runs op by op without it.
        jit_compile=keras.backend.backend() == "jax",
    )
    # What is made only in the first step makes TensorFlow trace that step a second time.
    optimizer.build(trainee.trainable_variables)
    if keras.backend.backend() != "jax":  # which makes it from shapes, and would compile each operation of this
        blank = {name: keras.ops.zeros((2, *output.shape[1:])) for name, output in outputs.items()}  # (2, n)
        labels = dict.fromkeys(outputs, keras.ops.zeros((2,), "int32"))
        trainee.compute_loss(y=labels, y_pred=blank)
        trainee.compute_metrics(None, labels, blank)
        trainee.reset_metrics()
    return trainee


def _log(epoch: int, values: dict[str, Any], seconds: float, optimizer: Any) -> EpochLog:
    def of(name: str) -> float:
        # With a single output Keras leaves its name out.
        return float(values[name] if name in values else values[f"embeddings_{name}"])

    return EpochLog(
        epoch=epoch,
        loss=float(values["loss"]),
        anchor_positive=of("anchor_positive"),
        anchor_negative=of("anchor_negative"),
        spread=of("embedding_spread"),
        seconds=seconds,
        active_triplets=of("active_triplets"),
        learning_rate=float(optimizer.learning_rate),
    )


def _restore(variables: list[Any], arrays: list[Array]) -> None:
    if len(variables) != len(arrays):
        raise ItemrecError(
            f"expected a checkpoint of {len(variables)} variables, received {len(arrays)}",
            hint="Train anew, without --resume.",
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
