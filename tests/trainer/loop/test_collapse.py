"""The monitor on drawn logs: a collapse is told, whatever its pace; slow and small starts are left alone."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import CollapseError
from trainer.loop.collapse import CollapseMonitor


@dataclass(frozen=True)
class Log:
    epoch: int
    loss: float
    anchor_positive: float
    anchor_negative: float
    active_triplets: float
    spread: float


def logs(widths, margin=0.2, separation=1.0):
    """A hinge loss at these anchor-negative distances; positives are `separation` times as near."""
    for epoch, negative in enumerate(widths, start=1):
        positive = separation * negative
        violation = max(0.0, positive - negative + margin)
        yield Log(epoch, violation, positive, negative, 1.0 if violation > 0 else 0.05, negative / 2)


def stopped_at(widths, monitor=None, **kinds):
    monitor = monitor or CollapseMonitor()
    for log in logs(widths, **kinds):
        try:
            monitor.check(log)
        except CollapseError:
            return log.epoch
    return None


@pytest.mark.parametrize("pace", [0.9, 0.5, 0.1, 1e-4])
@pytest.mark.parametrize("start", [0.5, 2.0, 200.0])
@pytest.mark.parametrize("separation", [0.3, 1.0])
def test_a_collapse_of_any_pace_is_told(pace, start, separation):
    widths = [start * pace**epoch for epoch in range(120)]

    def first_below(bound):
        return next(i for i, width in enumerate(widths, start=1) if width <= bound)

    together = max(first_below(0.02), first_below(0.1 * start)) + 2
    sunk = first_below(0.05 * start) + 8
    told = stopped_at(widths, separation=separation)
    assert min(together, sunk) - 2 <= told <= together + 2


def test_a_collapse_onto_a_noisy_floor_is_told():
    noise = [1.0, 1.3, 0.8, 1.1, 0.9, 1.2, 0.7, 1.0]
    assert stopped_at([1.0, 0.2] + [1e-3 * n for n in noise]) <= 6


def test_constant_outputs_are_told():
    assert stopped_at([0.0] * 5) == 3


def test_a_collapse_that_was_over_before_the_first_log_is_told_later():
    assert stopped_at([5e-3] + [1e-3] * 20) == 9


def test_the_message_says_what_was_seen_and_the_cure():
    monitor = CollapseMonitor()
    *before, last = logs([1.3, 0.4, 1e-2, 3e-3, 2e-3])
    for log in before:
        monitor.check(log)
    with pytest.raises(CollapseError) as caught:
        monitor.check(last)
    assert "since epoch 3 the loss stays at 0.2 with a squared L2 of 0.002 within and 0.002 between products" in str(
        caught.value
    )
    assert "at most 1.3 before" in str(caught.value)
    for word in (
        "triplet-semi-hard",
        "supcon",
        "unit vectors",
        "batches of 16 products x 4",
        "lower the learning rate",
    ):
        assert word in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "widths",
    [
        [0.3, 0.8, 1.4, 1.8] + [1.9] * 30,  # as it should be
        [0.001 * 1.2**epoch for epoch in range(40)],  # starts almost as one and opens up
        [0.6, 0.2, 0.05, 0.015, 0.019, 0.025, 0.06, 0.3, 1.0, 1.6],  # first together, then apart
        [0.6, 0.1, 0.01] + [0.01 * 1.15**epoch for epoch in range(30)],  # the plateau at the margin, slowly left
        [0.03] * 100,  # close, but the hinge still tells it apart
        [0.001, 0.001],  # too early to say
    ],
)
def test_starts_that_only_look_like_one_are_left_alone(widths):
    assert stopped_at(widths) is None


def test_vectors_that_shrink_to_the_size_of_the_margin_are_left_alone():
    assert stopped_at([200.0, 50.0, 10.0, 2.0, 0.8] + [0.5] * 30, separation=0.1) is None


def test_distances_count_in_units_of_the_loss():
    widths = [100.0, 10.0] + [1.0] * 30
    assert stopped_at(widths, CollapseMonitor(scale=0.2), separation=0.1) is None
    assert stopped_at(widths, CollapseMonitor(scale=20.0), margin=20.0) == 5


def test_small_distances_with_settled_triplets_are_no_collapse():
    monitor = CollapseMonitor()
    for log in logs([1.0] + [0.01] * 30):
        monitor.check(replace(log, active_triplets=0.4))


def test_a_spread_that_stays_is_no_collapse():
    monitor = CollapseMonitor()
    for log in logs([1.0] + [0.001] * 30):
        monitor.check(replace(log, spread=0.5))


def test_a_resumed_run_that_is_told_its_past_stops_where_it_would_have():
    past = list(logs([1.0, 0.3, 1e-2, 1e-3, 1e-3]))
    monitor, resumed = CollapseMonitor(), CollapseMonitor()
    for log in past[:4]:
        monitor.check(log)
        resumed.check(log)
    for one in (monitor, resumed):
        with pytest.raises(CollapseError):
            one.check(past[4])


def test_a_run_that_lost_what_it_had_but_for_a_few_pictures_is_told():
    # Batch-hard on features of real photos: half-way to one point it stays, with a few pictures apart.
    widths = [25.0, 8.0, 1.9, 0.9, 0.5, 1.0, 0.4, 0.2, 0.3, 0.2, 0.1, 0.1, 0.08, 0.1, 0.08]
    assert 10 <= stopped_at(widths) <= 15


def test_a_run_that_sank_but_tells_products_apart_is_left_alone():
    monitor = CollapseMonitor()
    for log in logs([25.0, 5.0] + [0.5] * 30):
        monitor.check(replace(log, active_triplets=0.3))


@given(st.lists(st.floats(0.201, 4.0), max_size=40))
def test_distances_the_loss_can_tell_apart_never_stop_a_run(widths):
    assert stopped_at(widths) is None


def test_a_log_without_triplets_is_judged_by_its_distances():
    monitor = CollapseMonitor()
    *before, last = (replace(log, active_triplets=None) for log in logs([1.0, 1e-3, 1e-3, 1e-3]))
    for log in before:
        monitor.check(log)
    with pytest.raises(CollapseError):
        monitor.check(last)
