"""From a folder of pictures to a bundle, on small drawn datasets: whole, resumed, refused."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.errors import CatalogError, UsageError
from tests.lazily import lazily
from tests.trainer.conftest import tiny_networks
from tests.trainer.datasets import short_cnn, write_dataset
from trainer.card import card
from trainer.progress import Silent
from trainer.quiet import import_keras

keras = lazily("keras")
Schedule = lazily("trainer.loop.loop", "Schedule")
NetworkSpec = lazily("trainer.networks.assemble", "NetworkSpec")
embed, run_litert = lazily("trainer.networks.export", "embed", "run_litert")
presets = lazily("trainer.presets")
Plan, preset = lazily("trainer.presets", "Plan", "preset")
RunPaths, forget_checkpoints, learn = lazily("trainer.learn", "RunPaths", "forget_checkpoints", "learn")


def small():
    return Plan(
        NetworkSpec(size=64, freeze="16", dimension=16),
        Schedule(epochs=3, learning_rate=3e-3, backbone_rate=0.5),
        products=4,
        views=3,
        cached_augmentations=2,
    )


class Watcher(Silent):
    """Remembers what a training says; may end it."""

    def __init__(self, die_in=None):
        self.stages, self.notes, self.epochs, self.seconds = [], [], [], []
        self.die_in = die_in

    def stage(self, name, total=None, unit="images", *, done=0):
        self.stages.append(name)

    def epoch(self, log):
        if log.epoch == self.die_in:
            raise KeyboardInterrupt
        self.epochs.append(log)

    def estimate(self, seconds):
        self.seconds.append(seconds)

    def note(self, text):
        self.notes.append(text)


class Second(Watcher):
    """Ends a training in an epoch of its second network."""

    def epoch(self, log):
        if len(self.epochs) < 3:
            self.epochs.append(log)
        else:
            super().epoch(log)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def plan_of(weights, **changes):
    network = {key: changes.pop(key) for key in list(changes) if hasattr(small().network, key)}
    return replace(small(), network=replace(small().network, weights=weights, **network), **changes)


def places(dataset, tmp_path, catalog=None):
    return RunPaths(dataset, catalog, tmp_path / "run", tmp_path / "cache")


def begin(where, plan):
    """The first epoch of a training: all that whoever asks what is left of an earlier one has to wait for."""
    with pytest.raises(KeyboardInterrupt):
        learn(where, plan, Watcher(die_in=1))


@dataclass(frozen=True)
class Whole:
    """A training that nothing stopped: where it ran, what it said, what came of it."""

    place: Path
    watcher: Watcher
    trained: Any

    def vectors(self, other=None):
        """Of its first pictures, by the Keras model that was exported; or by that of another training."""
        pixels = self.trained.pictures.pixels(self.trained.preprocessing, range(8))
        return embed((other or self.trained).keras, pixels, self.trained.preprocessing)


def whole_training(dataset, place, **changes):
    watcher = Watcher()
    with tiny_networks():
        trained = learn(places(dataset, place), plan_of("some.weights.h5", **changes), watcher)
    return Whole(place, watcher, trained)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    return whole_training(dataset, tmp_path_factory.mktemp("whole"))


def test_a_training_learns_exports_and_records(whole):
    watcher, trained = whole.watcher, whole.trained
    assert [log.epoch for log in watcher.epochs] == [1, 2, 3]
    assert watcher.epochs[-1].val_at_far is not None
    assert watcher.epochs[-1].loss < watcher.epochs[0].loss
    assert watcher.seconds[0] > 0
    assert trained.dimension == 16
    assert trained.export.max_difference <= 1e-4
    assert trained.record["pictures"] == 48
    assert trained.record["validation"] == 32
    pixels = trained.pictures.pixels(trained.preprocessing)
    vectors = run_litert(trained.export.model, trained.preprocessing.tensor(pixels))
    kept = np.stack([trained.embeddings[content] for content in trained.pictures.hashes])
    np.testing.assert_allclose(kept, vectors, atol=2e-3)  # they were kept as float16
    distances = 2 - 2 * vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    labels = trained.pictures.labels
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.6  # by chance one in eight
    assert (whole.place / "run" / "log.jsonl").read_text().count("\n") == 3


@pytest.mark.usefixtures("unexported")
def test_a_second_training_looks_at_nothing_again_and_gives_the_same(dataset, whole, weights, tmp_path):
    assert any(stage.startswith("Caching") for stage in whole.watcher.stages)
    watcher = Watcher()
    again = replace(places(dataset, whole.place), run=tmp_path / "run")
    second = learn(again, plan_of(weights), watcher)
    assert not any(stage.startswith("Caching") for stage in watcher.stages)
    np.testing.assert_allclose(whole.vectors(), whole.vectors(second), atol=1e-6)


@pytest.mark.usefixtures("unexported")
def test_a_training_that_was_stopped_resumes_to_the_same_model(dataset, whole, weights, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        learn(places(dataset, tmp_path / "b"), plan_of(weights), Watcher(die_in=2))
    watcher = Watcher()
    resumed = learn(places(dataset, tmp_path / "b"), plan_of(weights), watcher, resume=True)
    assert [log.epoch for log in watcher.epochs] == [2, 3]
    assert "after epoch 1" in " ".join(watcher.notes)
    np.testing.assert_allclose(whole.vectors(), whole.vectors(resumed), atol=1e-5)
    with pytest.raises(UsageError, match="one of another"):
        learn(places(dataset, tmp_path / "b"), plan_of(weights, seed=5), Watcher(), resume=True)


@pytest.fixture(scope="module")
def both(dataset, tmp_path_factory):
    return whole_training(dataset, tmp_path_factory.mktemp("both"), ensemble=2)


@pytest.mark.usefixtures("unexported")
def test_an_ensemble_is_served_as_one_and_resumes_where_one_of_them_was_stopped(dataset, both, weights, tmp_path):
    plan, whole = plan_of(weights, ensemble=2), both.trained
    assert whole.dimension == 16 + (16 - round(16 * 2 / 3))
    pixels = whole.pictures.pixels(whole.preprocessing)
    served = run_litert(whole.export.model, whole.preprocessing.tensor(pixels))
    with pytest.raises(KeyboardInterrupt):
        learn(places(dataset, tmp_path / "b"), plan, Second(die_in=2))
    watcher = Watcher()
    resumed = learn(places(dataset, tmp_path / "b"), plan, watcher, resume=True)
    assert [log.epoch for log in watcher.epochs] == [2, 3]  # of the second; the first is done
    np.testing.assert_allclose(embed(resumed.keras, pixels, resumed.preprocessing), served, atol=1e-4)
    np.testing.assert_allclose(both.vectors(), both.vectors(resumed), atol=1e-5)
    assert watcher.seconds[0] > 0
    logs = [(both.place / "run" / place / "log.jsonl").read_text() for place in (".", "member-2")]
    assert [log.count("\n") for log in logs] == [3, 3]
    assert logs[0] != logs[1]
    text = card("m", whole.record | {"preset": "fast", "int8": False}, None, ())
    assert f"{whole.dimension} numbers out" in text
    assert "6 of 6 epochs of an ensemble of 2 networks" in text
    with pytest.raises(UsageError, match="one of another"):
        learn(places(dataset, both.place), plan_of(weights), Watcher(), resume=True)
    assert (both.place / "run" / "member-2" / "checkpoint.npz").is_file()  # it was not this training's to forget
    forget_checkpoints(both.place / "run")
    assert not list(both.place.rglob("checkpoint.npz"))
    begin(places(dataset, both.place), plan_of(weights))
    assert not (both.place / "run" / "member-2").exists()  # there is one network now


@pytest.mark.usefixtures("unexported")
def test_a_val_of_single_photos_is_said_once_and_validates_nothing(weights, tmp_path):
    folder = write_dataset(tmp_path / "data", splits={"train": 6, "val": 1})
    watcher = Watcher()
    learn(places(folder, tmp_path), plan_of(weights, ensemble=2), watcher)
    assert sum("nothing is validated" in note for note in watcher.notes) == 1
    assert {log.val_at_far for log in watcher.epochs} == {None}


@pytest.mark.parametrize("freeze", ["all", "none"])
def test_heads_alone_and_whole_networks_are_trained(dataset, weights, tmp_path, freeze):
    trained = learn(places(dataset, tmp_path), plan_of(weights, freeze=freeze), Watcher())
    assert trained.export.max_difference <= 1e-4


@pytest.mark.usefixtures("unexported")
def test_the_small_network_learns_from_nothing(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.networks.assemble.small_cnn", short_cnn)
    small = replace(
        plan_of("none", backbone="small-cnn", freeze="none", features=0.0),
        schedule=Schedule(6, learning_rate=3e-3),
    )
    watcher = Watcher()
    learn(places(dataset, tmp_path), small, watcher)
    assert watcher.epochs[-1].loss < watcher.epochs[0].loss


def test_the_experiments_head_learns_without_unit_length_and_is_served_with_it(dataset, weights, tmp_path):
    experiment = replace(
        preset("experiment"),
        network=NetworkSpec(
            size=64,
            weights=weights,
            freeze="all",
            dimension=8,
            head="experiment",
            unit=False,
            features=0.0,
            dropout=0.2,
        ),
        schedule=Schedule(2, learning_rate=1e-3),
    )
    trained = learn(places(dataset, tmp_path), experiment, Watcher())
    pixels = trained.preprocessing.tensor(trained.pictures.pixels(trained.preprocessing, range(4)))
    np.testing.assert_allclose(np.linalg.norm(run_litert(trained.export.model, pixels), axis=1), 1.0, atol=1e-5)


@pytest.mark.usefixtures("unexported")
def test_a_catalog_alone_is_trained_on_and_what_to_expect_is_said(weights, tmp_path):
    folder = write_dataset(tmp_path / "data", splits={"": 1})
    watcher = Watcher()
    trained = learn(places(folder, tmp_path), plan_of(weights), watcher)
    assert trained.record["products"] == 8
    assert "single picture" in " ".join(watcher.notes)
    assert "nothing is left to validate on" in " ".join(watcher.notes)


@pytest.mark.usefixtures("unexported")
def test_catalog_pictures_join_and_bring_products_of_their_own(dataset, weights, tmp_path):
    catalog = write_dataset(tmp_path / "catalog", products=10, splits={"": 1})
    trained = learn(places(dataset, tmp_path, catalog), plan_of(weights), Watcher())
    assert trained.record["products"] == 10
    assert trained.record["pictures"] == 58


@pytest.mark.usefixtures("unexported")
def test_broken_pictures_are_left_out_by_name(weights, tmp_path):
    folder = write_dataset(tmp_path / "data")
    (folder / "train" / "p00" / "broken.jpg").write_bytes(b"no picture")
    watcher = Watcher()
    trained = learn(places(folder, tmp_path), plan_of(weights), watcher)
    assert [refusal.path for refusal in trained.refused] == ["p00/broken.jpg"]
    assert "p00/broken.jpg" in " ".join(watcher.notes)


def test_what_is_no_dataset_is_refused(weights, tmp_path):
    with pytest.raises(UsageError, match="received nothing"):
        learn(places(tmp_path / "none", tmp_path), plan_of(weights), Watcher())
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(CatalogError, match=r"product"):
        learn(places(tmp_path / "empty", tmp_path), plan_of(weights), Watcher())
    one = write_dataset(tmp_path / "one", products=1)
    with pytest.raises(UsageError, match="at least 2 products"):
        learn(places(one, tmp_path), plan_of(weights), Watcher())


@pytest.mark.parametrize("name", ["head", "fast", "best", "experiment"])
def test_a_preset_takes_another_backbone(name):
    own = preset(name)
    assert preset(name, own.network.backbone) == own
    for given, backbone in (("mobilenet-v2", "MobileNetV2"), ("resnet50v2", "ResNet50V2")):
        assert preset(name, given).network.backbone == backbone
    usual = preset(name, "MobileNetV2")
    assert replace(preset(name, "ResNet50V2"), network=usual.network) == usual


def test_a_backbone_brings_the_schedule_that_was_measured_with_it():
    assert preset("fast", "MobileNetV2").schedule.epochs > preset("fast").schedule.epochs
    assert preset("best", "MobileNetV2").network.freeze == "8"
    assert preset("best", "EfficientNetLite2").network.ensemble == 2
    with pytest.raises(UsageError, match="received 'mobilnet'"):
        preset("fast", "mobilnet")


def test_the_backend_does_not_warn_of_networks_traced_anew():
    import_keras()
    if keras.backend.backend() == "tensorflow":
        assert not logging.getLogger("tensorflow").isEnabledFor(logging.WARNING)


def test_presets_are_there_by_name():
    assert {"head", "fast", "best", "experiment"} == set(presets.PRESETS)
    with pytest.raises(UsageError, match="received 'slow'"):
        preset("slow")
