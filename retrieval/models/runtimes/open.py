"""Open a network file in the runtime that runs it; a runtime is imported when its first network is opened."""

from __future__ import annotations

from pathlib import Path

from retrieval.errors import EncoderError
from retrieval.models.runtimes.base import Network, Runtime


def open_network(file: Path, runtime: Runtime, *, threads: int = 1) -> Network:
    """Open a network file.

    Args:
        file: ``.tflite`` for litert, ``.onnx`` for onnx.
        runtime: which runtime runs it.
        threads: how many threads one call may use.

    Raises:
        EncoderError: the runtime is not installed or refuses the file.
    """
    if threads < 1:
        raise EncoderError(f"expected at least 1 thread, received {threads}")
    if runtime == "litert":
        from retrieval.models.runtimes.litert import LiteRtNetwork

        return LiteRtNetwork(file, threads=threads)
    from retrieval.models.runtimes.onnx import OrtNetwork

    return OrtNetwork(file, threads=threads)
