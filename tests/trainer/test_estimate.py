"""How long a training is said to take: what it does, times what that takes here."""

from types import SimpleNamespace

import pytest

from tests.lazily import lazily

estimate = lazily("trainer.estimate")
Amounts, seconds_to_train = lazily("trainer.estimate", "Amounts", "seconds_to_train")
Schedule = lazily("trainer.loop.loop", "Schedule")
NetworkSpec = lazily("trainer.networks.assemble", "NetworkSpec")
Plan = lazily("trainer.presets", "Plan")
Costs = lazily("trainer.sources", "Costs")

STEPS, EPOCHS, PART, WHOLE = 10, 4, 0.2, 0.01
PASS = 100 * WHOLE


@pytest.fixture(autouse=True)
def pace(monkeypatch):
    monkeypatch.setattr("trainer.estimate._forward_seconds", lambda parts, size: (PART, WHOLE))


def fixed():
    return estimate._SECONDS_ONCE + estimate._SECONDS_EACH


def learning():
    return STEPS * EPOCHS * (estimate._STEP * PART + estimate._SECONDS_A_STEP)


def free(**costs):
    return Costs(**({"draw": 0.0, "fill": 0.0, "look": 0.0, "read": 0.0} | costs))


def seconds(validation=0, *, done=0, costs=None, networks=1):
    """For 100 pictures."""
    batches = SimpleNamespace(size=64, steps=lambda epoch: STEPS)
    source = SimpleNamespace(batches=batches, costs=lambda: costs or free())
    plan = Plan(NetworkSpec(), Schedule(EPOCHS, 1e-3))
    return seconds_to_train(source, None, plan, Amounts(100, validation, networks, done))


def test_steps_go_forward_and_backward_and_all_pictures_are_read_out():
    assert seconds() == pytest.approx(fixed() + learning() + PASS)


def test_batches_that_are_drawn_from_pictures_take_their_time_too():
    assert seconds(costs=free(draw=0.5)) == pytest.approx(seconds() + STEPS * EPOCHS * 0.5)


def test_views_are_computed_first():
    assert seconds(costs=free(fill=70.0)) == pytest.approx(seconds() + 70.0)


def test_a_resumed_training_has_less_to_learn():
    assert seconds(done=EPOCHS // 2) == pytest.approx(seconds() - learning() / 2)
    assert seconds(done=EPOCHS, networks=2) == pytest.approx(seconds(networks=2) - learning())


def test_every_network_learns_and_reads_out():
    once = estimate._SECONDS_ONCE
    assert seconds(networks=2.8) - once == pytest.approx(2.8 * (seconds() - once))


def test_val_is_looked_at_validated_on_and_calibrated_against_train():
    costs = free(look=0.05, read=0.002)
    assert seconds(20, costs=costs) == pytest.approx(
        seconds() + EPOCHS * 20 * WHOLE + 20 * (2 * 0.05 + WHOLE) + 100 * 0.002
    )
