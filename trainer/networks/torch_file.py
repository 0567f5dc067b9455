"""Tensors from a file of `torch.save`, without PyTorch and without running what the file asks for.

Such a file is a pickle, which can name any function to be called. Here four names are known, all of them parts of a
dictionary of tensors; anything else is refused. Format: that of PyTorch before 1.6, `torch.serialization._legacy_load`.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class NotTensorsError(ValueError):
    """The file is not a dictionary of tensors in the format read here."""


class _Storage:
    """Numbers that stand further down in the file, filled in when they are reached."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self.dtype, self.size = dtype, size
        self.numbers: NDArray[Any] = np.empty(0, dtype)


class _Tensor:
    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> NDArray[Any]:
        """Copied out of the storage; raises NotTensorsError where it would reach beyond it."""
        last = self.offset + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        inside = last < self.storage.size and math.prod(self.shape) <= self.storage.size
        if not inside or min((self.offset, *self.shape, *self.strides)) < 0:
            raise NotTensorsError("a tensor does not lie within its numbers")
        steps = [stride * self.storage.dtype.itemsize for stride in self.strides]
        if 0 in self.shape:
            return np.empty(self.shape, self.storage.dtype)
        view = np.lib.stride_tricks.as_strided(self.storage.numbers[self.offset :], self.shape, steps)
        return view.copy()


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise NotTensorsError(f"it names {module}.{name}, which is no part of a tensor") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *_ = pid
        if kind != "storage":
            raise NotTensorsError(f"it refers to a {kind}")
        return self.storages.setdefault(key, _Storage(dtype, size))


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a file, by name.

    Args:
        content: of the file, as PyTorch before 1.6 wrote a state dictionary.

    Raises:
        NotTensorsError: it is anything else, is cut short, or asks for more than tensors.
    """
    file = io.BytesIO(content)
    try:
        magic, protocol, _ = (_Reader(file).load() for _ in range(3))
        if (magic, protocol) != (_MAGIC, _PROTOCOL):
            raise NotTensorsError("it does not begin as such a file does")
        reader = _Reader(file)
        tensors, keys = reader.load(), _Reader(file).load()
        for key in keys:
            storage = reader.storages[key]
            (size,) = struct.unpack("<q", file.read(8))
            numbers = file.read(size * storage.dtype.itemsize)
            if size != storage.size or len(numbers) != size * storage.dtype.itemsize:
                raise NotTensorsError("it ends within its numbers")
            storage.numbers = np.frombuffer(numbers, storage.dtype)
        return {str(name): tensor.array() for name, tensor in tensors.items()}
    except NotTensorsError:
        raise
    except Exception as error:  # a damaged pickle fails in every way
        raise NotTensorsError(f"it cannot be read: {error}") from error
