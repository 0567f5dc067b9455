"""Networks in ONNX Runtime (``.onnx``), installed with the extra ``onnx``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import EncoderError
from retrieval.models.runtimes.base import Tensor
from retrieval.system.installation import install_hint, missing
from retrieval.system.text import printable

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_FLOATS = ("float16", "float32", "float64")
_ONLY_ERRORS = 3


class OrtNetwork:
    """An ``.onnx`` file open for one thread."""

    chunk = 8

    def __init__(self, file: Path, *, threads: int = 1) -> None:
        # Since 1.29 the packaged runtime reports to its maker from the moment it is imported, and writes an
        # identifier into the home directory. A user who wants that sets the variables to 0.
        for variable in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
            os.environ.setdefault(variable, "1")
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as state
        except ImportError as error:
            raise EncoderError(
                missing("ONNX Runtime", printable(file), error),
                hint=install_hint("onnx"),
            ) from error
        self._errors: tuple[type[Exception], ...] = (
            ValueError,
            RuntimeError,
            TypeError,
            MemoryError,
            *(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ONLY_ERRORS
        self._file = file
        try:
            # From a path, so that a reference to data outside the file resolves beside it, where
            # the runtime checks it, and not in whatever directory the process runs.
            # Without fallback: it would try the same once more, and print about it to stdout.
            self._session: Any = onnxruntime.InferenceSession(
                str(file), sess_options=options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self._inputs = tuple(_tensor(entry) for entry in self._session.get_inputs())
            self._outputs = tuple(_tensor(entry) for entry in self._session.get_outputs())
        except self._errors as error:
            raise self._refused(error) from error

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Its inputs, in the file's order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Its outputs, in the file's order."""
        return self._outputs

    def run(self, x: NDArray[np.float32], output: int) -> NDArray[np.float32]:
        """One output for one input batch; see `retrieval.models.runtimes.base.Network.run`."""
        entry, out = self._inputs[0], self._outputs[output]
        if entry.dtype not in _FLOATS or out.dtype not in _FLOATS:
            raise EncoderError(
                f"expected float tensors in {self._file}, received the input {entry} and the output {out}",
                hint="Export the network with float inputs and outputs.",
            )
        try:
            [y] = self._session.run([out.name], {entry.name: x.astype(entry.dtype, copy=False)})
        except self._errors as error:
            raise self._refused(error) from error
        result: NDArray[np.float32] = np.asarray(y).astype(np.float32, copy=False)
        return result

    def _refused(self, error: Exception) -> EncoderError:
        text = " ".join(str(error).split()) or type(error).__name__
        hint = ""
        if "xternal data" in text:
            hint = "Put its weights into the file: onnx.save_model(onnx.load('model.onnx'), 'one-file.onnx')"
        return EncoderError(f"ONNX Runtime cannot run {self._file}: {text[:400]}", hint=hint)


def _tensor(entry: Any) -> Tensor:
    return Tensor(
        name=str(entry.name),
        shape=tuple(size if isinstance(size, int) and size >= 0 else None for size in entry.shape),
        dtype=_DTYPES.get(entry.type, str(entry.type)),
    )
