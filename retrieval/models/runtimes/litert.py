"""Networks in LiteRT (``.tflite``) with its XNNPACK kernels.

LiteRT runs one picture per call here. A batch gains at most a few per cent on networks that
take a millisecond or more (`benchmarks/encoder.py`), while every change of batch size makes
the runtime plan its memory and repack weights anew. One by one, nothing is ever resized, and
a picture's vector does not depend on what it was batched with.

An interpreter belongs to one thread; `invoke` releases the GIL, so interpreters in different
threads run at once. Each holds its own repacked copy of the weights.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import EncoderError
from retrieval.models.runtimes.base import Tensor
from retrieval.system.stderr import held_back

_BANNERS = (b"INFO: ", b"I0000 ", b"WARNING: All log messages before absl::InitializeLog()")
_FLOATS = ("float32", "float16")
_QUANTIZED = ("uint8", "int8", "int16")

_NOT_HERE = "There is no LiteRT for Macs with an Intel chip: use an .onnx model (docs/guides/models.md)."

_greeted = threading.Event()


class LiteRtNetwork:
    """A ``.tflite`` file open for one thread."""

    chunk = 1

    def __init__(self, file: Path, *, threads: int = 1) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            # Here, because every query passes this file.
            from platform import machine

            from retrieval.system.installation import install_hint, missing
            from retrieval.system.text import printable

            raise EncoderError(
                missing("LiteRT (ai-edge-litert)", printable(file), error),
                hint=_NOT_HERE if sys.platform == "darwin" and machine() == "x86_64" else install_hint(),
            ) from error
        try:
            with _without_banners():
                self._interpreter: Any = Interpreter(model_path=str(file), num_threads=threads)
            self._inputs = self._interpreter.get_input_details()
            self._outputs = self._interpreter.get_output_details()
        except (ValueError, RuntimeError, TypeError, LookupError, OSError, MemoryError) as error:
            raise _refused(file, error) from error
        self._file = file
        # What the interpreter is sized for, and whether its memory is planned for that.
        self._sized: tuple[int, ...] | None = None
        if self._inputs:
            self._sized = tuple(int(side) for side in self._inputs[0]["shape"])
        self._ready = False

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Its inputs, in the file's order."""
        return tuple(_tensor(details) for details in self._inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Its outputs, in the file's order."""
        return tuple(_tensor(details) for details in self._outputs)

    def run(self, x: NDArray[np.float32], output: int) -> NDArray[np.float32]:
        """One output for one input batch; see `retrieval.models.runtimes.base.Network.run`."""
        entry, out = self._inputs[0], self._outputs[output]
        try:
            if x.shape != self._sized:
                self._ready = False
                self._interpreter.resize_tensor_input(entry["index"], x.shape)
                self._sized = x.shape
            if not self._ready:
                with _without_banners():
                    self._interpreter.allocate_tensors()
                _greeted.set()
                self._ready = True
            self._interpreter.set_tensor(entry["index"], _to_stored(x, entry))
            self._interpreter.invoke()
            return _to_float(self._interpreter.get_tensor(out["index"]), out)
        except (ValueError, RuntimeError, TypeError, LookupError, MemoryError) as error:
            self._sized, self._ready = None, False
            raise _refused(self._file, error) from error


def _tensor(details: dict[str, Any]) -> Tensor:
    signature = details["shape_signature"]
    sizes = signature if len(signature) == len(details["shape"]) else details["shape"]
    return Tensor(
        name=str(details["name"]),
        shape=tuple(None if size < 0 else int(size) for size in sizes),
        dtype=np.dtype(details["dtype"]).name,
    )


def _to_stored(x: NDArray[np.float32], details: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(details["dtype"])
    if dtype.name in _FLOATS:
        return x.astype(dtype, copy=False)
    if dtype.name not in _QUANTIZED:
        raise ValueError(f"an input of {dtype.name} is neither float nor quantized")
    scale, zero = details["quantization"]
    if scale == 0.0:
        raise ValueError(f"the {dtype.name} input has no quantization parameters")
    limits = np.iinfo(dtype)
    quantized: NDArray[Any] = np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(dtype)
    return quantized


def _to_float(y: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    if y.dtype.name in _FLOATS:
        return y.astype(np.float32, copy=False)
    if y.dtype.name not in _QUANTIZED:
        raise ValueError(f"an output of {y.dtype.name} is neither float nor quantized")
    scale, zero = details["quantization"]
    if scale == 0.0:
        raise ValueError(f"the {y.dtype.name} output has no quantization parameters")
    restored: NDArray[np.float32] = (y.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return restored


def _refused(file: Path, error: Exception) -> EncoderError:
    text = " ".join(str(error).split()) or type(error).__name__
    hint = ""
    if "Flex" in text or "Select TensorFlow op" in text:
        text = "operations of TensorFlow itself (Flex), which the light runtime does not have"
    if "Flex" in text or "custom op" in text:
        hint = "Convert the model with built-in operations only."
    return EncoderError(f"LiteRT cannot run {file}: {text[:400]}", hint=hint)


@contextmanager
def _without_banners() -> Iterator[None]:
    """Keep the runtime's greetings off stderr; anything else that it writes comes through.

    It greets once in a process, by the first allocation that works; from then on nothing is redirected.
    """
    if _greeted.is_set():
        yield
        return
    with held_back(drop=_BANNERS):
        yield
