"""The loop: a resumed run ends where an uninterrupted one does, the best epoch is kept, a bad one is said."""

import numpy as np
import pytest

from retrieval.errors import CollapseError, ItemrecError, UsageError
from tests.lazily import lazily
from trainer.data.sampling import pk_batches
from trainer.loop.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

keras = lazily("keras")
Resume, Schedule, train = lazily("trainer.loop.loop", "Resume", "Schedule", "train")
LayerwiseAdamW = lazily("trainer.loop.optimizer", "LayerwiseAdamW")
build_losses = lazily("trainer.losses", "build_losses")

PRODUCTS, EACH, WIDTH = 10, 8, 24


class Vectors:
    """Batches of made-up features: products are directions, photos are noise around them."""

    products = PRODUCTS

    def __init__(self, seed=0, noise=1.0):
        rng = np.random.default_rng(seed)
        self.labels = np.repeat(np.arange(PRODUCTS), EACH)
        centers = rng.normal(size=(PRODUCTS, WIDTH))
        self.x = (centers[self.labels] + noise * rng.normal(size=(len(self.labels), WIDTH))).astype(np.float32)

    def _rows(self, epoch):
        return pk_batches(self.labels, products=5, views=4, seed=0, epoch=epoch)

    def steps(self, epoch):
        return sum(1 for _ in self._rows(epoch))

    def epoch(self, epoch):
        for rows in self._rows(epoch):
            yield self.x[rows], self.labels[rows]


def network(seed=0):
    keras.utils.set_random_seed(seed)
    x = keras.Input((WIDTH,))
    y = keras.layers.Dense(32, activation="relu", name="old")(x)
    y = keras.layers.Dropout(0.3)(y)
    y = keras.layers.Dense(8, name="new")(y)
    return keras.Model(x, keras.layers.UnitNormalization(name="embeddings")(y))


def run(model, *, epochs=6, loss="supcon+softmax", **options):
    schedule = options.pop("schedule", Schedule(epochs, learning_rate=1e-2))
    return train(model, Vectors(), build_losses(loss), schedule, products=PRODUCTS, **options)


class Killed(Exception):
    pass


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path):
    whole = network()
    logs = run(whole, resume=Resume(tmp_path / "whole", "x"))

    def die(log):
        if log.epoch == 4:
            raise Killed  # before this epoch's checkpoint: it has to be done again

    with pytest.raises(Killed):
        run(network(), resume=Resume(tmp_path / "cut", "x"), on_epoch=die)
    resumed = network(seed=9)  # another start, to see that nothing of it stays
    seen = []
    again = run(resumed, resume=Resume(tmp_path / "cut", "x"), on_epoch=lambda log: seen.append(log.epoch))
    assert seen == [4, 5, 6]
    for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert [log.loss for log in again] == pytest.approx([log.loss for log in logs], rel=1e-6)


def test_the_same_seed_gives_the_same_weights():
    one = network()
    run(one, epochs=3)
    two = network()
    run(two, epochs=3)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_weights_of_the_best_epoch_are_the_result_also_after_a_resume(tmp_path):
    scores = {1: 0.2, 2: 0.9, 3: 0.3, 4: 0.1}
    kept = {}

    def make(model, kept):
        count = iter(range(1, 9))

        def validate(_):
            epoch = next(count)
            kept[epoch] = [w.copy() for w in model.get_weights()]
            return scores[epoch], 0.0

        return validate

    model = network()
    logs = run(model, epochs=4, validate=make(model, kept), resume=Resume(tmp_path, "x"))
    assert [log.val_at_far for log in logs] == [0.2, 0.9, 0.3, 0.1]
    for a, b in zip(model.get_weights(), kept[2], strict=True):
        np.testing.assert_array_equal(a, b)
    finished = network(seed=4)
    run(finished, epochs=4, validate=make(finished, {}), resume=Resume(tmp_path, "x"))
    for a, b in zip(finished.get_weights(), kept[2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_patience_ends_a_run_that_does_not_get_better():
    model = network()
    scores = iter([0.5, 0.4, 0.4, 0.4])
    schedule = Schedule(10, learning_rate=1e-3, patience=3)
    assert len(run(model, schedule=schedule, validate=lambda _: (next(scores), 0.0))) == 4


def test_pretrained_variables_move_less():
    for share in (0.0, 0.1):
        model = network()
        before = [w.copy() for w in model.get_weights()]
        slow = frozenset(v.path for v in model.get_layer("old").trainable_variables)
        schedule = Schedule(3, learning_rate=1e-3, backbone_rate=share, weight_decay=0.0)
        run(model, schedule=schedule, slow=slow)
        old, _, new, _ = (np.abs(a - b).max() for a, b in zip(model.get_weights()[:4], before[:4], strict=True))
        assert new > 1e-3
        assert old == 0.0 if share == 0.0 else 0.0 < old < 0.5 * new


def test_a_loss_that_is_no_number_is_said():
    class Broken(Vectors):
        def epoch(self, epoch):
            for x, labels in super().epoch(epoch):
                yield np.full_like(x, np.nan), labels

    with pytest.raises(ItemrecError, match="a loss that is a number") as caught:
        train(network(), Broken(), build_losses("supcon"), Schedule(2, learning_rate=1e-3), products=PRODUCTS)
    assert "--learning-rate" in caught.value.hint


def test_a_collapse_ends_the_run():
    x = keras.Input((WIDTH,))
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(8, kernel_initializer=keras.initializers.RandomNormal(stddev=1e-4))
    model = keras.Model(x, keras.layers.Identity(name="embeddings")(dense(x)))
    # Nothing moves: the loss sits at its margin with all distances at 0.
    with pytest.raises(CollapseError):
        run(model, epochs=30, loss="triplet-batch-hard", schedule=Schedule(30, learning_rate=1e-9))


@pytest.mark.parametrize("loss", ["arcface", "triplet-semi-hard", "proxy-anchor", "supcon"])
def test_losses_on_either_head_learn_and_are_logged(loss):
    model = network()
    logs = run(model, epochs=20, loss=loss)
    gap = [log.anchor_negative - log.anchor_positive for log in logs]
    assert gap[-1] > gap[0]
    assert all(log.active_triplets is not None and log.learning_rate is not None for log in logs)


def test_checkpoints_are_for_the_training_that_wrote_them(tmp_path):
    write_checkpoint(tmp_path, "one", Checkpoint(3, {"network0": np.ones(2)}, {"logs": []}))
    found = read_checkpoint(tmp_path, "one")
    assert found is not None
    assert found.epoch == 3
    with pytest.raises(UsageError, match="one of another"):
        read_checkpoint(tmp_path, "two")
    assert read_checkpoint(tmp_path / "none", "one") is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing", b"\x00" * 300])
def test_a_damaged_checkpoint_is_said(tmp_path, damage):
    (tmp_path / "checkpoint.npz").write_bytes(damage)
    with pytest.raises(ItemrecError, match="checkpoint") as caught:
        read_checkpoint(tmp_path, "one")
    assert "--resume" in caught.value.hint


def test_the_optimizer_knows_its_slow_variables():
    model = network()
    optimizer = LayerwiseAdamW(0.1, slow={model.get_layer("old").kernel.path}, slowdown=0.0, weight_decay=0.0)
    optimizer.build(model.trainable_variables)
    before = [np.array(v) for v in model.trainable_variables]
    optimizer.apply([keras.ops.ones_like(v) for v in model.trainable_variables], model.trainable_variables)
    moved = [not np.array_equal(a, np.array(v)) for a, v in zip(before, model.trainable_variables, strict=True)]
    assert moved == [False, True, True, True]
