"""A trained Keras encoder as a LiteRT model, refused unless it computes what Keras computes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import is_unit
from retrieval.errors import EncoderError
from retrieval.images.preprocessing import Preprocessing
from retrieval.system.installation import install_hint
from trainer.quiet import quiet

Weights = Literal["float32", "float16"]

TOLERANCE: dict[Weights, float] = {"float32": 1e-4, "float16": 2e-2}
"""Largest difference of a coordinate of a unit embedding that an export may make."""


@dataclass(frozen=True, slots=True)
class Export:
    """An exported encoder.

    Attributes:
        model: the bytes of the ``.tflite`` file; its batch dimension can be resized.
        weights: how its weights are stored; it computes in float32 either way.
        max_difference: measured against Keras: largest absolute difference of a coordinate.
        min_cosine: measured against Keras: smallest cosine between the two embeddings of a picture.
        pictures: how many pictures that was measured on.
    """

    model: bytes
    weights: Weights
    max_difference: float
    min_cosine: float
    pictures: int


def export_litert(
    encoder: Any,
    preprocessing: Preprocessing,
    probes: NDArray[np.uint8],
    *,
    weights: Weights = "float32",
) -> Export:
    """Convert and compare.

    Args:
        encoder: Keras model from (n, height, width, 3) to unit embeddings (n, d).
        preprocessing: what its inputs go through; NHWC.
        probes: prepared pictures to compare on, real ones, uint8, shape (n, height, width, 3).
        weights: ``float16`` halves the file and rounds the weights.

    Raises:
        EncoderError: the conversion failed, or the two models disagree by more than `TOLERANCE`.
    """
    model = convert_litert(encoder, weights)
    with _full_precision():
        expected = embed(encoder, probes, preprocessing)
    received = run_litert(model, preprocessing.tensor(probes))
    difference = float(np.abs(expected - received).max())
    if not is_unit(received) or difference > TOLERANCE[weights]:
        raise EncoderError(
            f"expected the exported model to agree with Keras within {TOLERANCE[weights]:g} "
            f"({weights} weights), received a difference of {difference:.2e}",
            hint="export with float32 weights, or report this network as one that does not convert",
        )
    cosines = np.sum(expected * received, axis=1)
    return Export(model, weights, difference, float(cosines.min()), len(probes))


def embed(encoder: Any, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Embeddings of prepared pictures by the Keras model: uint8 (n, h, w, 3) -> float32 (n, d)."""
    import keras

    rows = [
        keras.ops.convert_to_numpy(encoder(preprocessing.tensor(pixels[i : i + 64]), training=False))
        for i in range(0, len(pixels), 64)
    ]
    return np.concatenate(rows).astype(np.float32, copy=False)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keras computes in float32 meanwhile: accelerators round the factors of products to 10 bits unless told not to,
    which is further off than an export may be."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
    elif backend == "torch":
        import torch

        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    else:
        from tensorflow.config import experimental

        rounded = experimental.tensor_float_32_execution_enabled()
        experimental.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            experimental.enable_tensor_float_32_execution(rounded)


def quantize_int8(encoder: Any, preprocessing: Preprocessing, pictures: NDArray[np.uint8]) -> bytes:
    """A LiteRT model that computes in 8-bit integers; its input and output stay float32.

    Args:
        encoder: Keras model from (n, height, width, 3) to unit embeddings (n, d).
        preprocessing: what its inputs go through; NHWC.
        pictures: a hundred or more typical ones, uint8, shape (n, height, width, 3): the ranges of all values are
            taken from them.

    Raises:
        EncoderError: the conversion failed. How far it moves embeddings is for the caller to measure.
    """
    return convert_litert(encoder, "int8", preprocessing.tensor(pictures))


def run_litert(model: bytes, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a LiteRT model on one batch: (n, height, width, 3) -> (n, d)."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet():  # it greets from C++
        interpreter = Interpreter(model_content=model, num_threads=1)
        source = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(source, list(tensor.shape))
        interpreter.allocate_tensors()
    interpreter.set_tensor(source, tensor)
    interpreter.invoke()
    output: NDArray[np.float32] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return np.array(output)


def convert_litert(
    encoder: Any, weights: Weights | Literal["int8"], typical: NDArray[np.float32] | None = None
) -> bytes:
    """The bytes of a LiteRT model of a Keras network, unchecked; raises EncoderError where it does not convert."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return _convert_elsewhere(encoder, weights, typical)
    import tensorflow as tf

    # By way of a SavedModel: a concrete function of a Keras 3 model converts to one without its weights.
    with tempfile.TemporaryDirectory(prefix="itemrec-export-") as folder, quiet():
        try:
            encoder.export(folder, format="tf_saved_model", verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            if weights == "float16":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            if weights == "int8" and typical is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: ([picture[None]] for picture in typical)
            return bytes(converter.convert())
        except Exception as error:  # the converter raises bare Exception subclasses
            raise EncoderError(
                f"expected a network that converts to LiteRT, received: {error}",
                hint="use operations that TensorFlow Lite has",
            ) from error


def _convert_elsewhere(encoder: Any, weights: Weights | Literal["int8"], typical: NDArray[np.float32] | None) -> bytes:
    """Only TensorFlow converts, and a process has one backend: a child with that one does it."""
    with tempfile.TemporaryDirectory(prefix="itemrec-export-") as name:
        folder = Path(name)
        (folder / "network.json").write_text(encoder.to_json())
        encoder.save_weights(folder / "network.weights.h5")
        if typical is not None:
            np.save(folder / "typical.npy", typical)
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-m", "trainer.networks.export", name, weights]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if child.returncode != 0:
            last = (child.stderr.strip().splitlines() or ["no reason"])[-1]
            raise EncoderError(
                f"expected a network that TensorFlow converts to LiteRT, received: {last}",
                hint=f"TensorFlow has to be installed for it. {install_hint('train')}",
            )
        return (folder / "network.tflite").read_bytes()


def _convert_here(folder: Path, weights: Weights | Literal["int8"]) -> None:
    import keras

    encoder = keras.models.model_from_json((folder / "network.json").read_text())
    encoder.load_weights(folder / "network.weights.h5")
    typical = folder / "typical.npy"
    model = convert_litert(encoder, weights, np.load(typical) if typical.exists() else None)
    (folder / "network.tflite").write_bytes(model)


if __name__ == "__main__":
    _convert_here(Path(sys.argv[1]), sys.argv[2])  # type: ignore[arg-type]
