"""The tiny networks of the tests: committed `.tflite` files, and `.onnx` ones made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import Bundle, write_bundle

needs_onnxruntime = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs the extra onnx")

NETWORKS = Path(__file__).parent.parent / "fixtures" / "networks"
SIDE, DIMENSION = 16, 8
PREPROCESSING = Preprocessing(SIDE, SIDE)


def tflite(name: str) -> Path:
    return NETWORKS / f"{name}.tflite"


def bundle_of(file: Path, path: Path, **changes: Any) -> Bundle:
    values: dict[str, Any] = {
        "name": "tiny",
        "encoder": file,
        "runtime": "onnx" if file.suffix == ".onnx" else "litert",
        "preprocessing": PREPROCESSING,
        "dimension": DIMENSION,
    }
    return write_bundle(path, **(values | changes))


def pictures(count: int, side: int = SIDE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def onnx_model(
    path: Path,
    *,
    shape: tuple[Any, ...] = ("n", 3, SIDE, SIDE),
    nodes: Callable[[Any], list[Any]] | None = None,
    output: tuple[Any, ...] = ("n", DIMENSION),
    weights: dict[str, np.ndarray] | None = None,
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] = ("y",),
    external: str | None = None,
    domain: str = "",
) -> Path:
    """Write a small ONNX model: by default a linear map of the flattened picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    if weights is None:
        generator = np.random.default_rng(5)
        weights = {"w": generator.normal(size=(3 * SIDE * SIDE, DIMENSION)).astype(np.float32)}
    initializers = [numpy_helper.from_array(value, key) for key, value in weights.items()]
    if external is not None:
        for tensor in initializers:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=external)
    made = (
        nodes(helper)
        if nodes
        else [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    )
    graph = helper.make_graph(
        made,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, output) for name in outputs],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path
