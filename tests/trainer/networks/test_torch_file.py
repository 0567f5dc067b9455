"""Tensors from files of PyTorch: the same numbers, and nothing but numbers."""

import collections
import io
import pickle

import numpy as np
import pytest

from tests.lazily import lazily
from trainer.networks.torch_file import NotTensorsError, read_tensors

efficientnet_lite = lazily("trainer.networks.efficientnet_lite")


def saved(torch, state) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def test_tensors_are_what_torch_reads():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    whole = torch.randn(5, 4, 3)
    state = collections.OrderedDict(
        plain=torch.randn(7),
        transposed=whole.permute(2, 0, 1),
        part=whole[1:3],
        count=torch.tensor(12),
        many=torch.arange(6).reshape(2, 3),
        none=torch.empty(0, 3),
    )
    received = read_tensors(saved(torch, state))
    assert list(received) == list(state)
    for name, tensor in state.items():
        assert received[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(received[name], tensor.numpy())


class Harmful:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_file_that_calls_something_is_refused_and_calls_nothing(place, capsys):
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, collections.OrderedDict()]
    parts[place] = Harmful()
    with pytest.raises(NotTensorsError, match=r"print, which is no part of a tensor"):
        read_tensors(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    assert capsys.readouterr().out == ""


def test_a_file_that_is_cut_short_or_is_something_else_is_refused():
    content = efficientnet_lite._weights_file("EfficientNetLite0").read_bytes()
    for end in (0, 10, 60, len(content) // 2, len(content) - 1):
        with pytest.raises(NotTensorsError):
            read_tensors(content[:end])
    for other in (b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n", pickle.dumps({"a": 1})):
        with pytest.raises(NotTensorsError):
            read_tensors(other)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((4, 4), (4, 1), 0), ((2,), (-1,), 5), ((2,), (1,), 9), ((10**12,), (0,), 0)]
)
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(shape, strides, offset):
    from trainer.networks.torch_file import _Storage, _Tensor

    storage = _Storage(np.dtype("<f4"), 10)
    storage.numbers = np.zeros(10, np.float32)
    with pytest.raises(NotTensorsError, match="within its numbers"):
        _Tensor(storage, offset, shape, strides).array()
