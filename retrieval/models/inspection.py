"""What a model file is: opened, tried on drawn pictures, described or refused."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import squared_l2
from retrieval.errors import EncoderError, UsageError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import Pool, Readout
from retrieval.models.encoder import NetworkEncoder, pooled
from retrieval.models.input_presets import Choices
from retrieval.models.runtimes.base import Network, Runtime, Tensor
from retrieval.models.runtimes.open import open_network

MAX_MODEL_BYTES: Final = 2 << 30
"""Both formats end at 2 GiB; larger ONNX models keep weights beside the file, which is refused."""

_FLOATS = ("float32", "float16")
_QUANTIZED = ("uint8", "int8", "int16")
_SAME_VECTOR = 1e-4
_DIFFERENT_PICTURES = 1e-6


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a network turned out to be.

    Attributes:
        runtime: which runtime runs it.
        preprocessing: complete, with the size and layout of its input.
        readout: which output, how pooled, and whether it takes one picture at a time.
        dimension: length d of its vectors.
        input: its image input.
        output: the output that is read.
    """

    runtime: Runtime
    preprocessing: Preprocessing
    readout: Readout
    dimension: int
    input: Tensor
    output: Tensor


def sniff_runtime(file: Path) -> Runtime:
    """Which runtime a model file is for.

    Raises:
        UsageError: there is no such file, it is too large, or it is neither format.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"expected a model file, received {file}, which is not a file")
        with file.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise UsageError(
            f"expected a model file, received {file}: {error.strerror or error}", hint="Check the path."
        ) from error
    if status.st_size > MAX_MODEL_BYTES:
        raise UsageError(
            f"expected a model of at most {MAX_MODEL_BYTES >> 30} GiB, received {file} of {status.st_size:,} bytes"
        )
    if head[4:8] == b"TFL3":
        return "litert"
    if file.suffix.lower() == ".onnx" and status.st_size:
        return "onnx"
    raise UsageError(
        f"expected a .tflite or .onnx model, received {file}, which is neither",
        hint="Convert it first: docs/guides/models.md shows how.",
    )


def inspect_model(
    file: Path,
    runtime: Runtime,
    *,
    choices: Choices | None = None,
    output: int | str | None = None,
    pool: Pool | None = None,
) -> Inspection:
    """Open a network and try it: shapes, finite unit vectors, determinism, batches, distinct answers.

    Raises:
        UsageError: the choices do not fit the file.
        EncoderError: the runtime refuses it, or its vectors are unusable.
    """
    network = open_network(file, runtime)
    entry = _image_input(network)
    preprocessing = (choices or Choices()).preprocessing(entry)
    index = _choose_output(network.outputs, output)
    pictures = probe_pictures(preprocessing.height, preprocessing.width)
    raw = network.run(preprocessing.tensor(pictures[:1]), index)
    if raw.ndim < 2 or raw.shape[0] != 1 or raw.size == 0:
        raise EncoderError(
            f"expected an output for one picture from the network, received an array of shape {raw.shape}",
            hint="Export the network again, with a fixed input size of one picture.",
        )
    readout = Readout(index, _choose_pool(raw, network.outputs[index], pool))
    rows = pooled(raw, readout.pool, preprocessing)
    if rows.shape[0] != 1 or rows.shape[1] < 2:
        raise EncoderError(
            f"expected one vector of at least 2 values for one picture, received an array of shape {rows.shape}",
            hint="Choose another --output or --pool.",
        )
    encoder = NetworkEncoder(
        network,
        preprocessing=preprocessing,
        dimension=rows.shape[1],
        readout=changed(readout, one_by_one=True),
    )
    vectors = encoder.encode(pictures)
    if not np.array_equal(vectors, encoder.encode(pictures)):
        raise EncoderError(
            "expected the same vectors for the same pictures, received different ones in a second run",
            hint="Export the network for inference: without dropout or random augmentation.",
        )
    _require_distinct(vectors)
    if network.chunk > 1:
        readout = changed(readout, one_by_one=not _batches_agree(network, preprocessing, readout, vectors))
    else:
        readout = changed(readout, one_by_one=entry.shape[0] is not None)
    return Inspection(runtime, preprocessing, readout, rows.shape[1], entry, network.outputs[index])


def probe_pictures(height: int, width: int) -> NDArray[np.uint8]:
    """Four pictures that any image encoder tells apart, shape (4, height, width, 3)."""
    # No part is black: of nothing but zeros a network without biases makes a vector without direction.
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    gradient = np.stack([x, y, 1 - x], axis=-1)
    cells = ((np.floor(x * 8) + np.floor(y * 8)) % 2)[..., None] * np.array([1.0, 0.2, 0.1])
    disc = (np.hypot(x - 0.5, y - 0.5) < 0.3)[..., None] * np.array([0.1, 0.9, 0.3])
    noise = np.random.default_rng(0).random((height, width, 3))
    pictures: NDArray[np.uint8] = np.rint(25 + 205 * np.stack([gradient, cells, disc, noise])).astype(np.uint8)
    return pictures


def _image_input(network: Network) -> Tensor:
    if len(network.inputs) != 1:
        listed = "; ".join(map(str, network.inputs)) or "none"
        raise UsageError(
            f"expected a network with one input, the picture, received {len(network.inputs)}: {listed}",
            hint="Export the image encoder alone (of a text-and-image model: its vision part).",
        )
    [entry] = network.inputs
    if entry.dtype not in _FLOATS + _QUANTIZED:
        raise UsageError(
            f"expected an input of floats (or quantized 8 or 16 bit integers), received {entry}",
            hint="Export the network with a float32 image input.",
        )
    return entry


def _choose_output(outputs: Sequence[Tensor], wanted: int | str | None) -> int:
    listed = "; ".join(f"{i}: {tensor}" for i, tensor in enumerate(outputs))
    if wanted is None:
        if len(outputs) == 1:
            return 0
        raise UsageError(
            f"expected to know which of {len(outputs)} outputs is the embedding, received no choice of {listed}",
            hint="Say --output NAME or --output NUMBER.",
        )
    for index, tensor in enumerate(outputs):
        if wanted in (index, tensor.name):
            return index
    raise UsageError(f"expected an output of {listed}, received {wanted!r}", hint="Say one of these as --output.")


def _choose_pool(raw: NDArray[np.float32], tensor: Tensor, wanted: Pool | None) -> Pool:
    if wanted is not None:
        return wanted
    if raw.size == max(raw.shape[1:]):
        return "none"
    kind = "tokens" if raw.ndim == 3 else "a map"
    raise UsageError(
        f"expected an output of one vector for each picture, received {kind}: {tensor}, shape {raw.shape}",
        hint="Say how to pool: --pool cls or --pool mean for tokens, --pool mean or --pool flatten for a map.",
    )


def _require_distinct(vectors: NDArray[np.float32]) -> None:
    distances = squared_l2(vectors, vectors)[np.triu_indices(len(vectors), 1)]
    if float(distances.min()) < _DIFFERENT_PICTURES:
        raise EncoderError(
            "expected different vectors for different pictures, received the same one "
            f"(squared L2 {float(distances.min()):.1e})",
            hint="The scale of the input is probably wrong (see --preset), or this output is no embedding.",
        )


def _batches_agree(
    network: Network, preprocessing: Preprocessing, readout: Readout, single: NDArray[np.float32]
) -> bool:
    together = NetworkEncoder(network, preprocessing=preprocessing, dimension=single.shape[1], readout=readout)
    try:
        batch = together.encode(probe_pictures(preprocessing.height, preprocessing.width))
    except EncoderError:  # a network for exactly one picture at a time
        return False
    return bool(np.abs(batch - single).max() <= _SAME_VECTOR)
