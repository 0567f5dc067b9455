"""The experiment's collapse, for real: a dense head on frozen features, batch-hard triplets on vectors that
are not normalized, margin 0.2, random batches of 32. The default recipe learns the same data.

The features stand for those of a frozen network: what tells products apart lies under
stronger differences of light and view that all products share, so that the farthest
picture of a product is farther than the nearest of another.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from retrieval.errors import CollapseError
from tests.lazily import lazily
from trainer.data.sampling import pk_batches, random_batches
from trainer.loop.collapse import CollapseMonitor

keras = lazily("keras")
losses = lazily("trainer.losses")
build_losses, cosine_classifier, pair_metrics = lazily(
    "trainer.losses", "build_losses", "cosine_classifier", "pair_metrics"
)

PRODUCTS, PHOTOS, TRAINED = 40, 12, 8  # the last 4 photos of each product are held out
MARGIN = 0.2


@dataclass(frozen=True)
class EpochLog:
    epoch: int
    loss: float
    anchor_positive: float
    anchor_negative: float
    active_triplets: float
    spread: float


@dataclass(frozen=True)
class Run:
    logs: list
    alarm: CollapseError | None
    alarm_epoch: int | None
    embeddings: np.ndarray


def features(seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(PRODUCTS), PHOTOS)
    products = rng.normal(size=(PRODUCTS, 128))
    light_and_view = rng.normal(size=(16, 128)) * 0.5
    x = products[labels] + rng.normal(size=(len(labels), 16)) @ light_and_view
    x += rng.normal(size=x.shape) * 0.5
    return (0.1 * np.maximum(x, 0.0)).astype("float32"), labels


def train(loss, *, seed, unit, batches, epochs, after_alarm=0):
    """A head of two dense layers, as the experiment had; goes on for some epochs after the alarm."""
    keras.utils.set_random_seed(seed)
    x, labels = features(seed)
    trained = np.flatnonzero(np.arange(len(x)) % PHOTOS < TRAINED)
    built = build_losses(loss, seed=seed)
    source = keras.Input((x.shape[1],))
    hidden = keras.layers.Dense(128, activation="relu")(keras.layers.Dropout(0.2)(source))
    vectors = keras.layers.Dense(128)(hidden)
    outputs = {"embeddings": keras.layers.UnitNormalization()(vectors) if unit else vectors}
    if "cosines" in built.losses:
        outputs["cosines"] = cosine_classifier(PRODUCTS)(outputs["embeddings"])
    model = keras.Model(source, outputs)
    metrics = pair_metrics(built.scale)
    model.compile(
        keras.optimizers.Adam(3e-3),
        built.losses,
        loss_weights=built.weights,
        metrics={"embeddings": metrics},
        jit_compile=False,
    )
    monitor, logs, alarm, alarm_epoch = CollapseMonitor(built.scale), [], None, None
    for epoch in range(1, epochs + 1):
        model.reset_metrics()
        values = {}
        for batch in batches(labels[trained], seed=seed, epoch=epoch):
            rows = trained[batch]
            targets = dict.fromkeys(outputs, labels[rows])
            values = model.train_on_batch(x[rows], targets, return_dict=True)
        numbers = {metric.name: float(metric.result()) for metric in metrics}
        spread = numbers.pop("embedding_spread")
        logs.append(EpochLog(epoch, float(values["loss"]), spread=spread, **numbers))
        if alarm is None:
            try:
                monitor.check(logs[-1])
            except CollapseError as error:
                alarm, alarm_epoch = error, epoch
        elif epoch >= alarm_epoch + after_alarm:
            break
    embeddings = keras.Model(source, outputs["embeddings"]).predict(x, batch_size=512, verbose=0)
    return Run(logs, alarm, alarm_epoch, embeddings)


def experiment(seed):
    def batches(labels, seed, epoch):
        return random_batches(labels, size=32, seed=seed, epoch=epoch)

    return train("triplet-batch-hard", seed=seed, unit=False, batches=batches, epochs=100, after_alarm=10)


def recipe(loss, seed):
    def batches(labels, seed, epoch):
        return pk_batches(labels, products=16, views=4, seed=seed, epoch=epoch)

    assert losses.LOSSES[loss].batches == "pk"
    return train(loss, seed=seed, unit=True, batches=batches, epochs=30)


def recall_at_1(embeddings):
    """Held-out photos whose nearest trained photo is of their product."""
    labels = np.arange(len(embeddings)) // PHOTOS
    held_out = np.arange(len(embeddings)) % PHOTOS >= TRAINED
    gallery, probes = embeddings[~held_out].astype(float), embeddings[held_out].astype(float)
    distances = ((probes[:, None] - gallery[None]) ** 2).sum(axis=2)
    return (labels[~held_out][distances.argmin(axis=1)] == labels[held_out]).mean()


@pytest.fixture(scope="module", params=[1])
def seed(request):
    return request.param


@pytest.fixture(scope="module")
def collapsed(seed):
    return experiment(seed)


@pytest.fixture(scope="module")
def default(seed):
    return recipe("supcon+softmax", seed)


def test_the_experiment_collapses_and_is_stopped_with_the_cure(collapsed):
    assert collapsed.logs[0].anchor_negative > 1.0  # it had somewhere to fall from
    assert collapsed.alarm is not None
    assert "one embedding for all pictures" in str(collapsed.alarm)
    assert "supcon+softmax or triplet-semi-hard, on unit vectors" in collapsed.alarm.hint
    assert 3 < collapsed.alarm_epoch <= 60


def test_at_the_alarm_the_loss_sits_at_the_margin_and_both_distances_are_gone(collapsed):
    log = collapsed.logs[collapsed.alarm_epoch - 1]
    assert log.loss == pytest.approx(MARGIN, rel=0.1)
    assert max(log.anchor_positive, log.anchor_negative) < 0.1 * MARGIN
    assert log.active_triplets > 0.99


def test_the_alarm_is_not_premature(collapsed):
    later = collapsed.logs[collapsed.alarm_epoch :]
    assert len(later) == 10
    for log in later:
        assert log.anchor_negative < 0.2 * MARGIN
        assert log.loss == pytest.approx(MARGIN, rel=0.2)
    assert recall_at_1(collapsed.embeddings) < 0.15  # the features alone find more


def test_the_default_recipe_learns_the_same_data(collapsed, default):
    assert default.alarm is None
    assert default.logs[-1].spread > 0.5
    assert default.logs[-1].anchor_negative > default.logs[-1].anchor_positive + 0.5
    assert recall_at_1(default.embeddings) > recall_at_1(collapsed.embeddings) + 0.4
    assert recall_at_1(default.embeddings) > 0.8


def test_so_does_the_other_cure_that_the_message_names(collapsed, seed):
    semi_hard = recipe("triplet-semi-hard", seed)
    assert semi_hard.alarm is None
    assert semi_hard.logs[-1].spread > 0.3
    assert recall_at_1(semi_hard.embeddings) > recall_at_1(collapsed.embeddings) + 0.4


def report(name, run):
    log = run.logs[(run.alarm_epoch or len(run.logs)) - 1]
    told = f"epoch {run.alarm_epoch}" if run.alarm else "none"
    distances = f"{log.anchor_positive:.3f} | {log.anchor_negative:.3f}"
    print(f"| {name} | {told} | {log.loss:.3f} | {distances} | {log.spread:.3f} | {recall_at_1(run.embeddings):.3f} |")


if __name__ == "__main__":  # python -m tests.trainer.loop.test_collapse_reproduced
    for number in range(3):
        print(f"\nseed {number}: the features alone find {recall_at_1(features(number)[0]):.3f}")
        print("| recipe | alarm | loss | within | between | spread | R@1 at the end |")
        print("|---|---|---|---|---|---|---|")
        report("batch-hard, any length, random batches", experiment(number))
        for loss in ("triplet-batch-hard", "triplet-semi-hard", "supcon+softmax"):
            report(f"{loss}, unit, PK batches", recipe(loss, number))
