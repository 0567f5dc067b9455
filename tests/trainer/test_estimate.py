"""How long a training is said to take: what it does, times what that takes here."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from trainer import estimate
from trainer.estimate import Amounts, seconds_to_train
from trainer.loop.loop import Schedule
from trainer.networks.assemble import Network
from trainer.presets import Plan
from trainer.sources import Costs

FREE = Costs(0.0, 0.0, 0.0, 0.0)
STEPS, EPOCHS, PART, WHOLE = 10, 4, 0.2, 0.01
FIXED = estimate._SECONDS_ONCE + estimate._SECONDS_EACH
LEARN = STEPS * EPOCHS * (estimate._STEP * PART + estimate._SECONDS_A_STEP)
PASS = 100 * WHOLE


@pytest.fixture(autouse=True)
def pace(monkeypatch):
    monkeypatch.setattr(estimate, "_forward_seconds", lambda parts, size: (PART, WHOLE))


def seconds(validation=0, *, done=0, costs=FREE, networks=1):
    """For 100 pictures."""
    batches = SimpleNamespace(size=64, steps=lambda epoch: STEPS)
    source = SimpleNamespace(batches=batches, costs=lambda: costs)
    plan = Plan(Network(), Schedule(EPOCHS, 1e-3))
    return seconds_to_train(source, None, plan, Amounts(100, validation, networks, done))


def test_steps_go_forward_and_backward_and_all_pictures_are_read_out():
    assert seconds() == pytest.approx(FIXED + LEARN + PASS)


def test_batches_that_are_drawn_from_pictures_take_their_time_too():
    assert seconds(costs=replace(FREE, draw=0.5)) == pytest.approx(seconds() + STEPS * EPOCHS * 0.5)


def test_views_are_computed_first():
    assert seconds(costs=replace(FREE, fill=70.0)) == pytest.approx(seconds() + 70.0)


def test_a_resumed_training_has_less_to_learn():
    assert seconds(done=EPOCHS // 2) == pytest.approx(seconds() - LEARN / 2)
    assert seconds(done=EPOCHS, networks=2) == pytest.approx(seconds(networks=2) - LEARN)


def test_every_network_learns_and_reads_out():
    once = estimate._SECONDS_ONCE
    assert seconds(networks=2.8) - once == pytest.approx(2.8 * (seconds() - once))


def test_val_is_looked_at_validated_on_and_calibrated_against_train():
    costs = replace(FREE, look=0.05, read=0.002)
    assert seconds(20, costs=costs) == pytest.approx(
        seconds() + EPOCHS * 20 * WHOLE + 20 * (2 * 0.05 + WHOLE) + 100 * 0.002
    )
