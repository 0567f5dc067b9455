"""Plans on disk: bundles and checkpoints that were written before their fields were renamed stay readable."""

import hashlib
import json

import pytest

from tests.lazily import lazily

presets = lazily("trainer.presets")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("head", "fde30b30ff96868e"),
        ("fast", "0fffec7bc7bd15ab"),
        ("best", "c7e92647e36ff3c7"),
        ("experiment", "f807679ee7ada00f"),
    ],
)
def test_a_plan_is_stored_as_it_always_was(name, digest):
    text = json.dumps(presets.stored(presets.PRESETS[name]), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_stored_keys_are_those_of_older_bundles():
    best = presets.stored(presets.PRESETS["best"])
    assert (best["strangers"], best["kept_views"]) == (0.2, 12)
    assert all(plan.hold_out == 0.2 and plan.hold_out_times == 2 for plan in presets.PRESETS.values())
    assert presets.PRESETS["fast"].of_held_out.schedule.epochs == 4
    assert (best["network"]["cut"], best["network"]["window"], best["network"]["members"]) == ("16", 0.8, 2)
