"""The weights of a backbone, taken back out of an encoder that was exported: where a training may begin.

A converter folds each normalization into the convolution before it. As normalizations keep ImageNet's statistics while
a network here is trained, they are known, and each kernel is what was folded divided by what it was folded with.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.system.text import printable
from trainer.networks.efficientnet_lite import load_imagenet
from trainer.quiet import quiet

_CONVOLUTION = re.compile(r"(?:^|/)((?:stem|head|block\d+_(?:expand|depthwise|project)))_conv(?:_\d+)?/(?:conv|depth)")
_SMALLEST_SCALE = 1e-3
"""Of a channel that its normalization all but switches off nothing can be told from half precision."""


def load_exported(model: Any, encoder: Path) -> None:
    """Give a network the weights of an exported one.

    Args:
        model: of `efficientnet_lite.build`.
        encoder: a ``.tflite`` file with the same backbone, as `itemrec train` exports it.

    Raises:
        UsageError: it holds another network, or none whose layers can be told; or ImageNet's weights of this one are
            not installed.
    """
    load_imagenet(model)
    kernels, biases = _constants(encoder)
    names = [layer.name.removesuffix("_conv") for layer in model.layers if layer.name.endswith("_conv")]
    fitting = all(
        name in kernels and kernels[name].shape == _shape(model.get_layer(f"{name}_conv")) and name in biases
        for name in names
    )
    if not fitting or len(kernels) != len(names):
        raise UsageError(
            f"expected a model with the layers of {model.name} to begin with, received {printable(str(encoder))}",
            hint="Name the backbone that it was trained with: --backbone. 8-bit models have no weights to begin with.",
        )
    for name in names:
        convolution, norm = model.get_layer(f"{name}_conv"), model.get_layer(f"{name}_norm")
        gamma, _, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        told = np.abs(scale) > _SMALLEST_SCALE
        shape = (1, 1, -1, 1) if name.endswith("depthwise") else (1, 1, 1, -1)
        divisor = np.where(told, scale, 1.0).reshape(shape)
        [before] = convolution.get_weights()
        convolution.set_weights([np.where(told.reshape(shape), kernels[name] / divisor, before)])
        norm.set_weights([gamma, biases[name] + mean * scale, mean, variance])


def _constants(encoder: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Folded kernels, in the shapes that Keras has, and biases, by the part of the network."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet():
        interpreter = Interpreter(
            model_path=str(encoder),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    kernels: dict[str, NDArray[np.float32]] = {}
    biases: dict[str, NDArray[np.float32]] = {}
    for tensor in interpreter.get_tensor_details():
        found = _CONVOLUTION.search(tensor["name"])
        if found is None or tensor["dtype"] not in (np.float16, np.float32):
            continue
        try:
            value = interpreter.get_tensor(tensor["index"]).astype(np.float32)
        except ValueError:  # of a step in between, which has no value yet
            continue
        name = found[1]
        if value.ndim == 1:
            biases.setdefault(name, value)
        elif value.ndim == 4:
            # (1, h, w, out) -> (h, w, out, 1); (out, h, w, in) -> (h, w, in, out)
            turned = value.transpose(1, 2, 3, 0)
            kernels.setdefault(name, turned)
    return kernels, biases


def _shape(convolution: Any) -> tuple[int, ...]:
    return tuple(convolution.get_weights()[0].shape)
