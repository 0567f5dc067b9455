"""Plans on disk: bundles and checkpoints that were written before their fields were renamed stay readable."""

import hashlib
import json
from dataclasses import replace

import pytest

from tests.lazily import lazily

presets = lazily("trainer.presets")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("head", "c472dc87410f62b7"),
        ("fast", "9c02cc5355c45653"),
        ("best", "b3652177fb00b08a"),
        ("experiment", "110eeaf71b57a00d"),
    ],
)
def test_a_plan_is_stored_as_it_always_was(name, digest):
    held_out = 0.2 if name == "best" else 0.0
    recipe = presets.PRESETS[name]
    network = replace(recipe.network, weights="imagenet")  # where all began
    plan = replace(recipe, network=network, hold_out=held_out, hold_out_times=1, hold_out_epochs=1.0)
    text = json.dumps(presets.stored(plan), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_stored_keys_are_those_of_older_bundles():
    best = presets.stored(presets.PRESETS["best"])
    assert (best["strangers"], best["kept_views"]) == (0.2, 12)
    assert all(plan.hold_out == 0.2 and plan.hold_out_times == 2 for plan in presets.PRESETS.values())
    assert presets.PRESETS["fast"].of_held_out.schedule.epochs == 4
    assert (best["network"]["cut"], best["network"]["window"], best["network"]["members"]) == ("16", 0.8, 2)
