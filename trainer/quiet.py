"""TensorFlow's chatter, which it writes to the process's stderr from C++, held back."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager

from retrieval.system.stderr import held_back

_PACKAGES = {"keras": "Keras", "tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def quiet() -> AbstractContextManager[None]:
    """Drop whatever is written to stderr meanwhile; Python's own errors still travel as exceptions."""
    return held_back(drop=(b"",))


def import_keras() -> None:
    """Import Keras and its backend without their greetings.

    Raises:
        ItemrecError: they are not installed.
    """
    from retrieval.errors import ItemrecError
    from retrieval.system.installation import install_hint, missing

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # On by itself only where the CPU has instructions for neural networks; without them it still takes a quarter off a
    # training step (`benchmarks/step.py`).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        with quiet():
            import keras

            if keras.backend.backend() == "tensorflow":
                # That networks of other shapes are traced anew is no news to who trains several, and nothing to mend.
                logging.getLogger("tensorflow").setLevel(logging.ERROR)
    except ImportError as error:
        raise ItemrecError(
            missing(_PACKAGES.get(error.name or "", error.name or "Keras"), "training", error),
            hint=install_hint("train"),
        ) from error
