"""A backbone in two parts: the frozen stem runs once over every view, the layers above it again in every step."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.runtimes.open import open_network
from retrieval.system.threads import default_threads, ordered_map, per_thread

Tensor = Any
Array = NDArray[Any]

_WIDE = 2.0
"""Within a stage, points wider than this many times the narrowest are expansions: costly to keep."""


def freeze_point(model: Any, freeze: str) -> Tensor | None:
    """Up to where a backbone is frozen.

    Args:
        model: from pictures (n, size, size, 3) to feature maps.
        freeze: ``none`` for no stem; ``all`` for nothing above it; a stride such as ``16``: the last narrow point at
            which a side is the input's divided by it; or the name of a layer.

    Returns:
        The tensor, or None for no stem.

    Raises:
        UsageError: the network cannot be divided there.
    """
    if freeze == "none":
        return None
    return model.output if freeze == "all" else _named(model, freeze)


def taps(model: Any, at: Tensor | None, *, coarsest_from: int) -> list[Tensor]:
    """Which feature maps are pooled: the widest of each coarse stride above the frozen layers, and the last.

    Args:
        model: from pictures to feature maps.
        at: where the frozen layers end; None where nothing is frozen.
        coarsest_from: strides from here on.
    """
    size = model.inputs[0].shape[1]
    points = list(freeze_points(model).values())
    if at is not None and at is not model.output:
        points = points[next(i for i, tensor in enumerate(points) if tensor is at) + 1 :]
    widest: dict[int, Tensor] = {}
    for tensor in points:
        stride = _stride(size, tensor) if len(tensor.shape) == 4 else 0
        if stride >= coarsest_from and (stride not in widest or tensor.shape[-1] >= widest[stride].shape[-1]):
            widest[stride] = tensor
    last = max(widest, default=0)
    return [tensor for stride, tensor in sorted(widest.items()) if stride != last] + [model.output]


def freeze_points(model: Any) -> dict[str, Tensor]:
    """The layers through which everything flows, in order: name and output. Only there can the network be divided."""
    # Keras has no public view of a functional model's graph; its nodes by depth are what it runs by.
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    last_use = {id(tensor): step for step, node in enumerate(nodes) for tensor in node.input_tensors}
    points: dict[str, Tensor] = {}
    alive: set[int] = set()
    for step, node in enumerate(nodes):
        new = {id(tensor) for tensor in node.outputs}
        alive = {tensor for tensor in alive | new if last_use.get(tensor, -1) > step}
        if len(alive) == 1 and alive == new:
            points[node.operation.name] = node.outputs[0]
    return points


def _named(model: Any, freeze: str) -> Tensor:
    points = freeze_points(model)
    if not freeze.isdigit():
        if freeze in points:
            return points[freeze]
        some = list(points)[1 : -1 : max(1, len(points) // 12)]
        raise UsageError(
            f"expected a layer of {model.name} that everything flows through, received {freeze!r}",
            hint=f"For example a stride: --freeze 16. Layers: {', '.join(some)}",
        )
    size = model.inputs[0].shape[1]
    strides = {name: _stride(size, t) for name, t in points.items() if len(t.shape) == 4}
    there = [(name, points[name]) for name, stride in strides.items() if stride == int(freeze)]
    if not there:
        sides = sorted(set(strides.values()))
        raise UsageError(
            f"expected a stride that {model.name} has at {size} pixels, received {freeze}",
            hint=f"It has {', '.join(map(str, sides))}.",
        )
    narrowest = min(t.shape[-1] for _, t in there)
    return [t for _, t in there if t.shape[-1] <= _WIDE * narrowest][-1]


def _stride(size: int, tensor: Tensor) -> int:
    """To the nearest power of 2: networks without padding lose some pixels at every border."""
    return int(2 ** round(math.log2(size / tensor.shape[1])))


class Runner:
    """Runs a stem over single pictures, in as many threads as there are cores.

    On the TensorFlow backend as a LiteRT model: on CPUs it computes three times as many pictures a second as
    the same graph in TensorFlow (`benchmarks/stem.py`). On other backends by Keras itself, which is fastest on the
    accelerators that those are chosen for; the threads prepare its pictures.

    Attributes:
        shape: of one picture's output, without the batch.
        key: hex SHA-256 of what changes its output: weights, layers, input and preprocessing.
    """

    def __init__(self, stem: Any, preprocessing: Preprocessing) -> None:
        self.shape: tuple[int, ...] = tuple(int(side) for side in stem.output.shape[1:])
        self.key = _key(stem, preprocessing)
        self._stem, self._preprocessing = stem, preprocessing

    @cached_property
    def _model(self) -> bytes | None:
        """The stem in LiteRT; None on other backends. Made when a picture needs it: most are in the cache already."""
        if keras.backend.backend() != "tensorflow":
            return None
        from trainer.networks.export import convert_litert

        return convert_litert(self._stem, "float32")

    def run(self, jobs: Iterable[Callable[[], NDArray[np.uint8]]]) -> Iterator[NDArray[np.float32]]:
        """The stem's output for each job's pictures, in order.

        Args:
            jobs: each makes pictures, uint8, shape (m, height, width, 3), in a thread of ours.

        Yields:
            float32, shape (m, *shape).
        """

        def prepared(job: Callable[[], NDArray[np.uint8]]) -> NDArray[np.float32]:
            return self._preprocessing.tensor(job())

        if self._model is None:
            for tensor in ordered_map(prepared, jobs, default_threads(), ahead=4):
                yield np.asarray(self._stem.predict_on_batch(tensor), np.float32)
            return
        with tempfile.TemporaryDirectory(prefix="itemrec-stem-") as folder:
            file = Path(folder) / "stem.tflite"
            file.write_bytes(self._model)
            network = per_thread(lambda: open_network(file, "litert"))

            def work(job: Callable[[], NDArray[np.uint8]]) -> NDArray[np.float32]:
                tensor = prepared(job)
                return np.concatenate([network().run(tensor[i : i + 1], 0) for i in range(len(tensor))])

            yield from ordered_map(work, jobs, default_threads(), ahead=4)


def _key(stem: Any, preprocessing: Preprocessing) -> str:
    # By what the layers are, not by their names: Keras counts those on through a process.
    layers = [type(layer).__name__ for layer in stem.layers]
    digest = hashlib.sha256(repr((preprocessing, layers, stem.input_shape, stem.output_shape)).encode())
    for weight in stem.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
