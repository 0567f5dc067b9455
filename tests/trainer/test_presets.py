"""Plans on disk: bundles and checkpoints that were written before their fields were renamed stay readable."""

import hashlib
import json

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
    text = json.dumps(presets.stored(presets.PRESETS[name]), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_stored_keys_are_those_of_older_bundles():
    best = presets.stored(presets.PRESETS["best"])
    assert (best["strangers"], best["kept_views"]) == (0.2, 12)
    assert (best["network"]["cut"], best["network"]["window"], best["network"]["members"]) == ("16", 0.8, 2)
