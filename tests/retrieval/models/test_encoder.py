from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.errors import EncoderError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import Readout
from retrieval.models.encoder import NetworkEncoder, load_encoder, pooled
from retrieval.models.projection import Projection
from retrieval.models.runtimes.base import Tensor
from retrieval.models.runtimes.open import open_network
from tests.places import ROOT
from tests.retrieval.networks import (
    DIMENSION,
    PREPROCESSING,
    bundle_of,
    needs_onnxruntime,
    onnx_model,
    pictures,
    tflite,
)

NCHW = replace(PREPROCESSING, layout="NCHW")


class Stand:
    """A network whose output the test decides."""

    inputs = (Tensor("x", (None, 16, 16, 3), "float32"),)
    outputs = (Tensor("y", (None, DIMENSION), "float32"),)

    def __init__(self, answer: Any, chunk: int = 1) -> None:
        self.answer, self.chunk, self.batches = answer, chunk, []

    def run(self, x: np.ndarray, output: int) -> np.ndarray:
        self.batches.append(len(x))
        return np.asarray(self.answer(x), dtype=np.float32)


PLAIN = Readout()


def encoder_of(answer: Any, chunk: int = 1, readout: Readout = PLAIN) -> NetworkEncoder:
    return NetworkEncoder(Stand(answer, chunk), preprocessing=PREPROCESSING, dimension=DIMENSION, readout=readout)


def reference(pixels: np.ndarray) -> np.ndarray:
    """The committed `embed` network computed by numpy, from its recipe in tests/fixtures/make_networks.py."""
    random = np.random.default_rng(7)
    kernel = random.normal(size=(3, 3, 3, 4)).astype(np.float32)
    head = random.normal(size=(4, 8)).astype(np.float32)
    x = PREPROCESSING.tensor(pixels)
    # 16 -> 4 with a 3x3 kernel and stride 4, SAME: no padding is needed.
    patches = np.stack([x[:, i : i + 3, j : j + 3, :] for i in range(0, 16, 4) for j in range(0, 16, 4)], axis=1)
    maps = np.einsum("npijc,ijco->npo", patches, kernel)
    raw = np.where(maps > 0, maps, 0.3 * maps).mean(axis=1) @ head
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["embed", "fixed"])
def test_vectors_are_the_network_s_at_unit_length(tmp_path: Path, name: str) -> None:
    encoder = load_encoder(bundle_of(tflite(name), tmp_path / "b"))
    pixels = pictures(5)
    vectors = encoder.encode(pixels)
    assert vectors.shape == (5, DIMENSION)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(vectors, reference(pixels), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1.0, atol=1e-6)
    assert (encoder.dimension, encoder.preprocessing) == (DIMENSION, PREPROCESSING)


def test_a_vector_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    encoder = load_encoder(bundle_of(tflite("embed"), tmp_path / "b"))
    pixels = pictures(9)
    together = encoder.encode(pixels)
    for i in range(9):
        assert np.array_equal(encoder.encode(pixels[i : i + 1])[0], together[i])
    assert np.array_equal(encoder.encode(pixels[::-1]), together[::-1])


def test_networks_of_any_size_and_channel_order(tmp_path: Path) -> None:
    pixels = pictures(3)
    want = reference(pixels)
    first = bundle_of(tflite("channels_first"), tmp_path / "first", preprocessing=NCHW)
    np.testing.assert_allclose(load_encoder(first).encode(pixels), want, atol=1e-5)
    free = bundle_of(tflite("any_size"), tmp_path / "any")
    np.testing.assert_allclose(load_encoder(free).encode(pixels), want, atol=1e-5)
    larger = bundle_of(tflite("any_size"), tmp_path / "larger", preprocessing=Preprocessing(32, 24))
    large = np.random.default_rng(1).integers(0, 256, (2, 32, 24, 3), dtype=np.uint8)
    assert load_encoder(larger).encode(large).shape == (2, DIMENSION)


def test_a_quantized_network(tmp_path: Path) -> None:
    raw = replace(PREPROCESSING, scale=1.0)
    quantized = load_encoder(bundle_of(tflite("uint8"), tmp_path / "q", preprocessing=raw))
    floats = load_encoder(bundle_of(tflite("fixed"), tmp_path / "f", preprocessing=raw))
    pixels = pictures(6)
    cosines = (quantized.encode(pixels) * floats.encode(pixels)).sum(axis=1)
    assert cosines.min() > 0.99


@pytest.mark.parametrize("pool", ["cls", "mean", "flatten"])
def test_tokens_are_pooled(tmp_path: Path, pool: Any) -> None:
    dimension = 64 if pool == "flatten" else 4
    bundle = bundle_of(tflite("tokens"), tmp_path / "b", readout=Readout(pool=pool), dimension=dimension)
    pixels = pictures(3)
    raw = open_network(tflite("tokens"), "litert")
    tokens = np.concatenate([raw.run(PREPROCESSING.tensor(pixels[i : i + 1]), 0) for i in range(3)])
    want = {"cls": tokens[:, 0], "mean": tokens.mean(axis=1), "flatten": tokens.reshape(3, -1)}[pool]
    want = want / np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(load_encoder(bundle).encode(pixels), want, atol=1e-6)


def test_pooling_a_map_knows_where_the_channels_are() -> None:
    y = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(pooled(y, "mean", PREPROCESSING), y.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(pooled(y, "mean", NCHW), y.mean(axis=(2, 3)), atol=1e-6)
    assert pooled(y[:, :1, :1], "none", PREPROCESSING).shape == (2, 5)
    for pool in ("none", "cls"):
        with pytest.raises(EncoderError, match="pool"):
            pooled(y, pool, PREPROCESSING)


@pytest.mark.parametrize(
    ("count", "chunk", "batches"), [(1, 8, [1]), (8, 8, [8]), (19, 8, [8, 8, 3]), (3, 1, [1, 1, 1])]
)
def test_large_batches_are_split(count: int, chunk: int, batches: list[int]) -> None:
    encoder = encoder_of(lambda x: x.reshape(len(x), -1)[:, :DIMENSION] + 1, chunk)
    pixels = pictures(count)
    want = PREPROCESSING.tensor(pixels).reshape(count, -1)[:, :DIMENSION] + 1
    np.testing.assert_allclose(encoder.encode(pixels), want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-6)
    assert encoder._network.batches == batches


def test_one_by_one_networks_get_one_picture_a_call() -> None:
    encoder = encoder_of(lambda x: np.ones((len(x), DIMENSION)), 8, Readout(one_by_one=True))
    encoder.encode(pictures(3))
    assert encoder._network.batches == [1, 1, 1]


@pytest.mark.parametrize(
    ("value", "what"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (-np.inf, "not finite"), (0.0, "norm 0")],
)
def test_a_vector_without_direction_names_its_row(value: float, what: str) -> None:
    calls = iter([1.0, 1.0, value, 1.0, value])
    encoder = encoder_of(lambda x: np.full((1, DIMENSION), next(calls)))
    with pytest.raises(EncoderError, match=f"{what} in row 2 and 1 further rows of 5"):
        encoder.encode(pictures(5))


@pytest.mark.parametrize("value", [1e-38, 1e-45, 3e38])
def test_extreme_values_keep_their_direction(value: float) -> None:
    vector = encoder_of(lambda x: np.full((1, DIMENSION), value)).encode(pictures(1))
    np.testing.assert_allclose(vector, np.full((1, DIMENSION), DIMENSION**-0.5), rtol=1e-6)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 16, 16, 3), np.uint8),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((1, 16, 17, 3), np.uint8),
        np.zeros((1, 3, 16, 16), np.uint8),
        np.zeros((1, 16, 16, 4), np.uint8),
        np.zeros((1, 16, 16, 3), np.float32),
    ],
    ids=lambda p: f"{p.dtype}{p.shape}",
)
def test_pixels_of_another_shape_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(EncoderError, match="expected uint8 pixels of shape"):
        encoder_of(lambda x: np.ones((1, DIMENSION))).encode(pixels)


@pytest.mark.parametrize("shape", [(1, 7), (2, DIMENSION), (0, DIMENSION), (DIMENSION,), ()])
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EncoderError):
        encoder_of(lambda x: np.ones(shape)).encode(pictures(1))


def test_a_bundle_that_does_not_fit_its_network(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="output 3"):
        load_encoder(bundle_of(tflite("embed"), tmp_path / "output", readout=Readout(3)))
    with pytest.raises(EncoderError, match="one input"):
        load_encoder(bundle_of(tflite("two_inputs"), tmp_path / "inputs"))
    wrong = {
        "size": {"preprocessing": Preprocessing(8, 16)},
        "layout": {"preprocessing": NCHW},
        "dim": {"dimension": 9},
    }
    for name, changes in wrong.items():
        bundle = bundle_of(tflite("fixed"), tmp_path / name, **changes)
        side = bundle.preprocessing
        with pytest.raises(EncoderError):
            load_encoder(bundle).encode(np.zeros((1, side.height, side.width, 3), np.uint8))


@pytest.mark.parametrize("name", ["flex", "custom"])
def test_operations_that_the_runtime_lacks(tmp_path: Path, name: str) -> None:
    with pytest.raises(EncoderError) as caught:
        load_encoder(bundle_of(tflite(name), tmp_path / "b")).encode(pictures(1))
    assert "built-in operations" in caught.value.hint
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("content", [b"", b"x", b"\0\0\0\0TFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 200, b"<html>" * 100])
@pytest.mark.parametrize("runtime", ["litert", "onnx"])
def test_bytes_that_are_no_network(tmp_path: Path, content: bytes, runtime: Any) -> None:
    with pytest.raises(EncoderError):
        load_encoder(bundle_of(tflite("embed"), tmp_path / "b", encoder=content, runtime=runtime))


def test_every_truncation_of_a_network_is_refused(tmp_path: Path) -> None:
    content = tflite("embed").read_bytes()
    file = tmp_path / "cut.tflite"
    for size in range(0, len(content) - 64, 61):
        file.write_bytes(content[:size])
        with pytest.raises(EncoderError):
            open_network(file, "litert").run(PREPROCESSING.tensor(pictures(1)), 0)


def test_a_network_recovers_from_a_failed_run(tmp_path: Path) -> None:
    network = open_network(tflite("embed"), "litert")
    x = PREPROCESSING.tensor(pictures(2))
    want = network.run(x[:1], 0)
    with pytest.raises(EncoderError):
        network.run(np.zeros((1, 16, 16, 5), np.float32), 0)
    assert np.array_equal(network.run(x[:1], 0), want)
    assert np.array_equal(network.run(x, 0)[:1], want)
    assert np.array_equal(network.run(x[:1], 0), want)


def test_threads_must_be_positive() -> None:
    with pytest.raises(EncoderError, match="at least 1 thread"):
        open_network(tflite("embed"), "litert", threads=0)


def test_encoders_run_in_several_threads(tmp_path: Path) -> None:
    bundle = bundle_of(tflite("embed"), tmp_path / "b")
    pixels = pictures(50)
    want = load_encoder(bundle).encode(pixels)
    got: dict[int, np.ndarray] = {}

    def work(k: int) -> None:
        got[k] = load_encoder(bundle).encode(pixels)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    for vectors in got.values():
        assert np.array_equal(vectors, want)


@needs_onnxruntime
def test_onnx_vectors_are_the_network_s(tmp_path: Path) -> None:
    bundle = bundle_of(onnx_model(tmp_path / "m.onnx"), tmp_path / "b", preprocessing=NCHW)
    pixels = pictures(19)
    weights = np.random.default_rng(5).normal(size=(3 * 16 * 16, DIMENSION)).astype(np.float32)
    want = NCHW.tensor(pixels).reshape(19, -1).astype(np.float64) @ weights
    want /= np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(load_encoder(bundle).encode(pixels), want, atol=1e-5)


@needs_onnxruntime
def test_onnx_errors_are_ours(tmp_path: Path) -> None:
    bundle = bundle_of(onnx_model(tmp_path / "m.onnx", shape=("n", 3, 8, 8)), tmp_path / "b", preprocessing=NCHW)
    with pytest.raises(EncoderError, match="ONNX Runtime") as caught:
        load_encoder(bundle).encode(pictures(1))
    assert caught.value.__cause__ is not None


def test_onnx_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(tflite("embed"), tmp_path / "b", runtime="onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EncoderError) as caught:
        load_encoder(bundle)
    assert "ONNX Runtime is not installed" in caught.value.message
    assert "pip install" in caught.value.hint
    assert "[onnx]" in caught.value.hint


def run(code: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_encoding_is_silent_and_imports_no_training_library(tmp_path: Path) -> None:
    bundle_of(tflite("embed"), tmp_path / "b")
    code = """
import sys
import numpy as np
from retrieval.models.encoder import load_encoder
from retrieval.models.installed import resolve_model
encoder = load_encoder(resolve_model(sys.argv[1]))
assert encoder.encode(np.full((2, 16, 16, 3), 9, np.uint8)).shape == (2, 8)
heavy = {"tensorflow", "keras", "torch", "jax", "onnxruntime", "PIL", "rich", "httpx"} & set(sys.modules)
assert not heavy, heavy
"""
    done = run(code, str(tmp_path / "b"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_onnxruntime
def test_onnx_runtime_reports_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    bundle_of(onnx_model(tmp_path / "m.onnx"), tmp_path / "b", preprocessing=NCHW)
    code = """
import sys
import numpy as np
from retrieval.models.encoder import load_encoder
from retrieval.models.installed import resolve_model
assert load_encoder(resolve_model(sys.argv[1])).encode(np.full((2, 16, 16, 3), 9, np.uint8)).shape == (2, 8)
"""
    home = tmp_path / "home"
    home.mkdir()
    # A bare environment: among others CI and pytest's own variables keep the runtime quiet by themselves.
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")}
    done = run(code, str(tmp_path / "b"), env=keep | {"HOME": str(home), "USERPROFILE": str(home)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [str(p) for p in home.rglob("*")] == []


def test_no_module_of_retrieval_imports_a_training_library() -> None:
    code = """
import importlib, pkgutil, sys
import retrieval
for module in pkgutil.walk_packages(retrieval.__path__, "retrieval."):
    importlib.import_module(module.name)
assert len([name for name in sys.modules if name.startswith("retrieval.")]) > 10
heavy = {"tensorflow", "keras", "torch", "jax"} & set(sys.modules)
assert not heavy, heavy
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_what_is_no_greeting_still_reaches_stderr(tmp_path: Path) -> None:
    code = """
import os, sys
from retrieval.models.runtimes import litert
with litert._without_banners():
    os.write(2, b"INFO: Created a delegate\\nERROR: something real\\n")
    print("from Python", file=sys.stderr, flush=True)
try:
    with litert._without_banners():
        os.write(2, b"before the failure\\n")
        raise RuntimeError
except RuntimeError:
    pass
print("after", file=sys.stderr)
"""
    done = run(code)
    assert done.stderr == "ERROR: something real\nfrom Python\nbefore the failure\nafter\n"


def test_encoding_works_without_a_stderr(tmp_path: Path) -> None:
    bundle_of(tflite("embed"), tmp_path / "b")
    code = """
import os, sys
os.close(2)
import numpy as np
from retrieval.models.encoder import load_encoder
from retrieval.models.installed import resolve_model
print(load_encoder(resolve_model(sys.argv[1])).encode(np.full((1, 16, 16, 3), 9, np.uint8)).shape)
"""
    done = run(code, str(tmp_path / "b"))
    assert (done.returncode, done.stdout) == (0, "(1, 8)\n")


def test_a_projection_is_applied_behind_the_network_to_the_last_bit_whatever_the_batch(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    projection = Projection(
        generator.normal(0, 0.1, DIMENSION).astype(np.float32), generator.normal(size=(DIMENSION, 5)).astype(np.float32)
    )
    plain = bundle_of(tflite("embed"), tmp_path / "plain")
    made = bundle_of(tflite("embed"), tmp_path / "made", dimension=5, projection=projection)
    photos = pictures(9)
    before, after = load_encoder(plain).encode(photos), load_encoder(made).encode(photos)
    expected = (before - projection.mean) @ projection.matrix
    np.testing.assert_allclose(after, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert after.dtype == np.float32
    np.testing.assert_array_equal(after, np.concatenate([load_encoder(made).encode(photo[None]) for photo in photos]))


def test_a_projection_onto_nothing_is_refused_in_one_line(tmp_path: Path) -> None:
    projection = Projection(np.zeros(DIMENSION, np.float32), np.zeros((DIMENSION, 2), np.float32))
    made = bundle_of(tflite("embed"), tmp_path / "made", dimension=2, projection=projection)
    with pytest.raises(EncoderError, match="norm 0"):
        load_encoder(made).encode(pictures(1))


def test_a_projection_for_another_network_is_refused(tmp_path: Path) -> None:
    projection = Projection(np.zeros(7, np.float32), np.ones((7, 2), np.float32))
    made = bundle_of(tflite("embed"), tmp_path / "made", dimension=2, projection=projection)
    with pytest.raises(EncoderError, match="vectors of 7 values"):
        load_encoder(made).encode(pictures(1))
