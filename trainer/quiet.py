"""TensorFlow's chatter, which it writes to the process's stderr from C++, held back."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back whatever is written to file descriptor 2 meanwhile; Python's own errors still travel as exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def import_keras() -> None:
    """Import Keras and its backend without their greetings.

    Raises:
        ItemrecError: they are not installed.
    """
    from retrieval.errors import ItemrecError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet():
            import keras

            keras.backend.backend()
    except ImportError as error:
        raise ItemrecError(
            f"expected Keras and its backend, which training needs, received: {error}",
            hint="Install them: pip install 'itemrec[train]'",
        ) from error
