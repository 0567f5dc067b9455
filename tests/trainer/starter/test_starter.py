"""The built-in model is small and says what it is."""

from retrieval.models.bundle import read_bundle
from retrieval.models.installed import starter_path


def test_the_bundle_is_small_and_says_what_it_learned_from() -> None:
    bundle = read_bundle(starter_path())  # verifies sizes, hashes and fingerprint
    assert bundle.name == "starter"
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= 10_000_000
    assert bundle.calibration is not None
    assert {one.kind for one in bundle.calibration.galleries} == {"studio", "few", "mixed"}
    card = bundle.card()
    for words in ("Klasson", "MIT", "EfficientNet-Lite0", "Apache-2.0", "What it cannot do"):
        assert words in card
    assert bundle.training["share"] > 0
