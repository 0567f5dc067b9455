"""How long a training is said to take: what it does, times what that takes here."""

from types import SimpleNamespace

import pytest

from trainer import duration
from trainer.duration import Amounts, seconds_to_train
from trainer.loop import Schedule
from trainer.network import Network
from trainer.presets import Plan
from trainer.sources import Costs

FREE = Costs(0.0, 0.0, 0.0)
STEPS, EPOCHS, PART, WHOLE = 10, 4, 0.2, 0.01
FIXED = duration._SECONDS_ONCE + duration._SECONDS_EACH


@pytest.fixture(autouse=True)
def pace(monkeypatch):
    monkeypatch.setattr(duration, "_forward_seconds", lambda parts, size: (PART, WHOLE))


def seconds(amounts, *, costs=FREE, pretrained=False, **network):
    batches = SimpleNamespace(size=64, steps=lambda epoch: STEPS)
    source = SimpleNamespace(batches=batches, costs=lambda: costs)
    plan = Plan(Network(**({"features": 0.0, "members": 1} | network)), Schedule(EPOCHS, 1e-3))
    return seconds_to_train(source, SimpleNamespace(pretrained=pretrained), plan, amounts)


def test_steps_go_forward_and_backward():
    assert seconds(Amounts(100, 0)) == pytest.approx(FIXED + STEPS * EPOCHS * 3 * PART)


def test_batches_that_are_drawn_from_pictures_take_their_time_too():
    drawn = seconds(Amounts(100, 0), costs=Costs(0.0, 0.0, 0.5))
    assert drawn == pytest.approx(seconds(Amounts(100, 0)) + STEPS * EPOCHS * 0.5)


def test_views_are_computed_first():
    assert seconds(Amounts(100, 0), costs=Costs(70.0, 0.0, 0.0)) == pytest.approx(seconds(Amounts(100, 0)) + 70.0)


def test_a_resumed_training_has_less_to_do():
    whole, half = seconds(Amounts(100, 0)), seconds(Amounts(100, 0, done=EPOCHS // 2))
    assert half == pytest.approx(FIXED + (whole - FIXED) / 2)


def test_every_network_learns_and_passes_over_all_pictures():
    one = seconds(Amounts(100, 0), features=0.5, pretrained=True)
    assert one == pytest.approx(seconds(Amounts(100, 0)) + 2 * 100 * WHOLE)
    three = seconds(Amounts(100, 0), features=0.5, pretrained=True, members=3)
    assert three - duration._SECONDS_ONCE == pytest.approx(3 * (one - duration._SECONDS_ONCE))


def test_val_is_validated_on_each_epoch_and_calibrated_against_train():
    look = 0.05
    with_val = seconds(Amounts(100, 20), costs=Costs(0.0, look, 0.0))
    learned = seconds(Amounts(100, 0))
    assert with_val == pytest.approx(learned + EPOCHS * 20 * WHOLE + (20 + 100 + 20) * look + 120 * WHOLE)
