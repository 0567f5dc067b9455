"""Trainings cost what is around them: most of a tiny one is converting its networks to LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from retrieval.images.preprocessing import Preprocessing
from tests.trainer.datasets import tiny_backbone

_CONVERTED: dict[tuple[str, str], bytes] = {}


@contextmanager
def step_by_step() -> Iterator[None]:
    """TensorFlow runs functions as they stand meanwhile: making a graph of one takes longer than a few steps."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextmanager
def tiny_networks() -> Iterator[None]:
    """Backbones are tiny meanwhile, each of their stems is converted once a process, and nothing is traced."""
    from trainer.networks import export, stem

    convert = export.convert_litert

    def once(encoder: Any, kind: Any, typical: Any = None) -> bytes:
        if typical is not None:
            return convert(encoder, kind, typical)
        key = stem._key(encoder, Preprocessing(1, 1)), kind  # by layers and weights
        if key not in _CONVERTED:
            _CONVERTED[key] = convert(encoder, kind)
        return _CONVERTED[key]

    with step_by_step(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.networks.assemble.backbone", tiny_backbone)
        patch.setattr("trainer.networks.export.convert_litert", once)
        yield


@pytest.fixture
def weights() -> Iterator[str]:
    """The file that a plan names, of a tiny backbone."""
    with tiny_networks():
        yield "some.weights.h5"


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning without its export: for tests of what is learned, logged, said and refused."""
    from trainer.networks.export import Export

    def nothing(encoder: Any, preprocessing: Any, probes: Any, *, weights: Any = "float32") -> Export:
        return Export(b"", weights, 0.0, 1.0, len(probes))

    monkeypatch.setattr("trainer.learn.export_litert", nothing)
