"""A training without some products: which they are, what it makes of them, and that it changes nothing else."""

import numpy as np
import pytest

from tests.lazily import lazily
from tests.trainer.datasets import write_dataset
from tests.trainer.test_learn import Watcher, begin, places
from tests.trainer.test_learn import plan_of as plan_of_few
from trainer.data.dataset import read_pictures
from trainer.held_out import choose_held_out

forget_checkpoints, learn = lazily("trainer.learn", "forget_checkpoints", "learn")

pytestmark = pytest.mark.usefixtures("unexported")


def plan_of(weights, **changes):
    """Two steps an epoch."""
    return plan_of_few(weights, products=12, **changes)


NAMES = [f"p{i:02}" for i in range(24)]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("many"), products=24, splits={"train": 4, "val": 3})


def test_products_are_held_out_by_chance_and_always_the_same():
    (found,) = choose_held_out(NAMES, 0.5, 1, seed=0)
    assert (found,) == choose_held_out(NAMES[::-1], 0.5, 1, seed=0)
    assert found == tuple(sorted(found))
    assert len(set(found)) == 12
    assert set(found) < set(NAMES)
    assert (found,) != choose_held_out(NAMES, 0.5, 1, seed=1)
    assert len(choose_held_out(NAMES, 0.1, 1, seed=0)[0]) == 10  # an interval needs ten
    assert choose_held_out(NAMES[:19], 0.5, 1, seed=0) == ()


def test_no_product_is_held_out_twice():
    found = choose_held_out(NAMES, 0.1, 5, seed=0)
    assert [len(names) for names in found] == [10, 10]
    assert not set(found[0]) & set(found[1])
    assert found[:1] == choose_held_out(NAMES, 0.1, 1, seed=0)


def test_pictures_without_products_number_the_rest_anew(many):
    pictures = read_pictures(many / "train")
    rest = pictures.without({"p00", "p05", "elsewhere"})
    assert rest.products == tuple(name for name in NAMES if name not in ("p00", "p05"))
    kept = [i for i, label in enumerate(pictures.labels) if pictures.products[label] in rest.products]
    assert rest.files == tuple(pictures.files[i] for i in kept)
    assert [rest.products[i] for i in rest.labels] == [pictures.products[pictures.labels[i]] for i in kept]
    assert len(pictures.without(NAMES)) == 0


def test_held_out_products_are_embedded_by_a_network_that_did_not_see_them(many, weights, tmp_path):
    alone = learn(places(many, tmp_path / "a"), plan_of(weights), Watcher())
    watcher = Watcher()
    both = learn(places(many, tmp_path / "b"), plan_of(weights, hold_out=0.45), watcher)
    assert alone.held_out == ()
    (held_out,) = both.held_out
    assert held_out.products == set(choose_held_out(NAMES, 0.45, 1, seed=0)[0])
    assert both.record["strangers"] == 11
    assert "Training once more, without 11 products" in watcher.stages
    assert watcher.seconds[0] > 0
    assert len(both.record["epochs"]) == 3  # of what is served
    for name, vector in alone.embeddings.items():
        np.testing.assert_allclose(both.embeddings[name], vector, atol=1e-5)
    photos = read_pictures(many / "val")
    assert set(held_out.embeddings) == {*both.pictures.hashes, *photos.hashes}
    vectors = np.stack([held_out.embeddings[name] for name in both.pictures.hashes])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.abs(vectors - np.stack([both.embeddings[name] for name in both.pictures.hashes])).max() > 0.05
    folder = tmp_path / "b" / "run" / "strangers"
    assert (folder / "log.jsonl").read_text().count("\n") == 3
    forget_checkpoints(tmp_path / "b" / "run")
    assert not (folder / "checkpoint.npz").exists()
    begin(places(many, tmp_path / "b"), plan_of(weights))
    assert not folder.exists()


class Fourth(Watcher):
    """Ends a training in the second epoch of its fourth network."""

    def epoch(self, log):
        if len(self.epochs) == 10:
            raise KeyboardInterrupt
        self.epochs.append(log)


def test_as_many_networks_hold_products_out_as_are_served_and_resume_to_the_same(many, weights, tmp_path):
    plan = plan_of(weights, hold_out=0.5, ensemble=2)
    watcher = Watcher()
    whole = learn(places(many, tmp_path / "a"), plan, watcher)
    assert [stage for stage in watcher.stages if stage.startswith("Training")] == [
        "Training 1 of 2",
        "Training 2 of 2",
        "Training 1 of 2 once more, without 12 products",
        "Training 2 of 2 once more, without 12 products",
    ]
    assert {len(vector) for vector in whole.held_out[0].embeddings.values()} == {whole.dimension}
    with pytest.raises(KeyboardInterrupt):
        learn(places(many, tmp_path / "b"), plan, Fourth())
    watcher = Watcher()
    resumed = learn(places(many, tmp_path / "b"), plan, watcher, resume=True)
    assert [log.epoch for log in watcher.epochs] == [2, 3]
    for name, vector in whole.held_out[0].embeddings.items():
        np.testing.assert_allclose(resumed.held_out[0].embeddings[name], vector, atol=1e-5)
    run = tmp_path / "b" / "run"
    logs = [(folder / "log.jsonl").read_text() for folder in (run / "strangers", run / "strangers" / "member-2")]
    assert [log.count("\n") for log in logs] == [3, 3]
    assert logs[0] != logs[1]
    forget_checkpoints(run)
    assert not list(run.rglob("checkpoint.npz"))
    begin(places(many, tmp_path / "b"), plan_of(weights, hold_out=0.5))
    assert [folder.name for folder in run.rglob("*") if folder.is_dir()] == ["strangers"]


def test_few_products_and_no_val_leave_nobody_out(weights, tmp_path):
    few = write_dataset(tmp_path / "few", products=8)
    watcher = Watcher()
    assert learn(places(few, tmp_path / "a"), plan_of(weights, hold_out=0.2), watcher).held_out == ()
    assert any("fewer than 20 products" in note for note in watcher.notes)
    no_val = write_dataset(tmp_path / "no-val", products=24, splits={"train": 2})
    assert learn(places(no_val, tmp_path / "b"), plan_of(weights, hold_out=0.2), Watcher()).held_out == ()


def test_products_can_be_held_out_twice_for_fewer_epochs(many, weights, tmp_path):
    watcher = Watcher()
    plan = plan_of(weights, hold_out=0.4, hold_out_times=2, hold_out_epochs=0.4)
    found = learn(places(many, tmp_path / "a"), plan, watcher)
    assert [len(one.products) for one in found.held_out] == [10, 10]
    assert found.record["strangers"] == 20
    assert [log.epoch for log in watcher.epochs] == [1, 2, 3, 1, 1]
    run = tmp_path / "a" / "run" / "strangers"
    assert (run / "log.jsonl").exists()
    assert (run / "member-2" / "log.jsonl").exists()
