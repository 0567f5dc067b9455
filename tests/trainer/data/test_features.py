"""What is kept of pictures: by content, whatever the order, computed once."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from retrieval.errors import DiskFullError
from retrieval.images.preprocessing import Preprocessing
from tests.lazily import lazily
from tests.trainer.datasets import write_dataset
from trainer.data.augment import Views
from trainer.data.dataset import read_pictures
from trainer.progress import Silent

keras = lazily("keras")
FeatureBatches, BatchSampler = lazily("trainer.data.batches", "FeatureBatches", "BatchSampler")
FeatureStore, ViewPlan = lazily("trainer.data.features", "FeatureStore", "ViewPlan")
Runner = lazily("trainer.networks.stem", "Runner")
open_source = lazily("trainer.sources", "open_source")
preset = lazily("trainer.presets", "preset")

PREPROCESSING = Preprocessing(32, 32)


@pytest.fixture(scope="module")
def runner():
    keras.utils.set_random_seed(0)
    pictures = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(pictures)
    return Runner(keras.Model(pictures, maps), PREPROCESSING)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"), products=4, splits={"train": 5}) / "train"


def store(runner, cache, **plan):
    return FeatureStore(cache, runner, PREPROCESSING, ViewPlan(**({"count": 3, "views": Views(), "seed": 0} | plan)))


def test_nothing_is_computed_twice_and_new_pictures_alone_are(runner, folder, tmp_path):
    pictures = read_pictures(folder)
    features = store(runner, tmp_path)
    assert features.fill(pictures.only(range(15))) == 15
    assert features.fill(pictures) == 5
    assert features.fill(pictures) == 0
    assert len(list(features.folder.iterdir())) == 20


def test_view_0_is_what_serving_sees_and_the_others_do_not_depend_on_order(runner, folder, tmp_path):
    pictures = read_pictures(folder)
    one, two = store(runner, tmp_path / "a"), store(runner, tmp_path / "b")
    backward = pictures.only(range(len(pictures) - 1, -1, -1))
    one.fill(pictures)
    two.fill(backward)
    np.testing.assert_array_equal(one.identity_views(pictures), two.identity_views(backward)[::-1])
    (expected,) = runner.run([lambda: pictures.pixels(PREPROCESSING, [7])])
    np.testing.assert_array_equal(one.identity_views(pictures, [7]), expected.astype(np.float16))
    rows, views = np.arange(len(pictures)), np.full(len(pictures), 2)
    np.testing.assert_array_equal(one.views(pictures, rows, views), two.views(backward, rows[::-1], views))
    assert not np.array_equal(one.views(pictures, rows, views), one.views(pictures, rows, views + 1))


@pytest.mark.parametrize("change", [{"seed": 1}, {"count": 2}, {"views": Views(turn=1.0)}])
def test_another_plan_keeps_its_features_elsewhere(runner, tmp_path, change):
    assert store(runner, tmp_path, **change).folder != store(runner, tmp_path).folder


def test_too_little_room_is_said_before_anything_is_written(runner, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    features = store(runner, tmp_path)
    with pytest.raises(DiskFullError, match="keep the features of 20 pictures"):
        features.fill(read_pictures(folder))
    assert list(features.folder.iterdir()) == []


def test_batches_hold_views_of_their_labels_and_repeat_exactly(runner, folder, tmp_path):
    pictures = read_pictures(folder)
    kept = store(runner, tmp_path)
    kept.fill(pictures)
    batches = FeatureBatches(kept, pictures, BatchSampler(products=3, views=3, seed=5))
    assert batches.products == 4
    first, again = (list(batches.epoch(2)) for _ in "ab")
    assert len(first) == batches.steps(2) >= 2
    for (x, labels), (y, same) in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(labels, same)
        assert np.bincount(labels).max() == 3
        for features, label in zip(x, labels, strict=True):
            own = np.flatnonzero(pictures.labels == label)
            known = np.concatenate([kept.views(pictures, own, np.full(len(own), view)) for view in range(4)])
            assert (known == features.astype(np.float16)).all(axis=(1, 2, 3)).any()
    other = next(iter(batches.epoch(3)))
    assert not np.array_equal(other[0], first[0][0])


def test_a_step_may_see_a_part_of_each_pictures_maps(runner, folder, tmp_path):
    pictures = read_pictures(folder)
    kept = store(runner, tmp_path, count=0)
    kept.fill(pictures)
    batches = FeatureBatches(kept, pictures, BatchSampler(products=4, views=5), shape=(12, 12, 4))
    ((x, labels),) = batches.epoch(0)
    assert x.shape == (20, 12, 12, 4)
    np.testing.assert_array_equal(next(iter(batches.epoch(0)))[0], x)
    places = set()
    for part, label in zip(x.astype(np.float16), labels, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(
            kept.identity_views(pictures, np.flatnonzero(pictures.labels == label)), (12, 12), axis=(1, 2)
        )  # (pictures, top, left, channels, 12, 12)
        same = (windows == part.transpose(2, 0, 1)).all(axis=(3, 4, 5))
        assert same.any()
        places |= {(int(top), int(left)) for _, top, left in np.argwhere(same)}
    assert len(places) > 5


def test_some_pictures_may_have_fewer_views_and_share_them_with_other_plans(runner, folder, tmp_path):
    pictures = read_pictures(folder)
    few = frozenset(pictures.hashes[:5])
    plan = ViewPlan(count=3, views=Views(), seed=0)
    features = FeatureStore(tmp_path, runner, PREPROCESSING, plan, fewer=1, of=few)
    assert features.fill(pictures) == 20
    assert store(runner, tmp_path, count=1).missing(pictures.only(range(5))) == []
    assert store(runner, tmp_path).missing(pictures) == [0, 1, 2, 3, 4]
    rows = np.array([0, 0, 0, 7, 7])
    seen = features.views(pictures, rows, np.array([1, 2, 3, 1, 3]))
    np.testing.assert_array_equal(seen[0], seen[2])  # views count around
    np.testing.assert_array_equal(seen[1], features.identity_views(pictures, [0])[0])
    assert not np.array_equal(seen[3], seen[4])


def test_what_nobody_learned_from_is_computed_when_it_is_asked_for(folder, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    network = SimpleNamespace(stem=keras.Model(inputs, maps), preprocessing=PREPROCESSING, shape=(16, 16, 4))
    features = keras.Input((16, 16, 4))
    above = keras.Model(features, keras.layers.GlobalAveragePooling2D()(features))
    plan = replace(preset("fast"), cached_augmentations=1, augmentation=Views())
    pictures = read_pictures(folder)
    learned = pictures.only(range(15))
    repeats = np.ones(15, np.int64)
    source = open_source(network, learned, repeats, plan, tmp_path, BatchSampler(products=2, views=2, seed=0))
    source.fill(Silent())
    found = source.outputs(above, pictures)
    assert found.shape == (20, 4)
    np.testing.assert_array_equal(found[:15], source.outputs(above))
