from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.errors import EncoderError, ItemrecError, UsageError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models import inspection
from retrieval.models.bundle import Readout, read_bundle
from retrieval.models.encoder import load_encoder
from retrieval.models.importer import import_model
from retrieval.models.input_presets import PRESETS, Choices
from retrieval.models.inspection import inspect_model, probe_pictures, sniff_runtime
from retrieval.models.installed import find_model
from retrieval.models.runtimes.base import Tensor
from tests.places import ROOT
from tests.retrieval.networks import DIMENSION, SIDE, needs_onnxruntime, onnx_model, pictures, tflite


@pytest.fixture(autouse=True)
def itemrec_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    # Not in a child process: tests/retrieval/models/test_trial.py is about that.
    monkeypatch.setattr("retrieval.models.importer.try_model", inspect_model)
    return tmp_path / "home"


def test_an_imported_model_works_by_its_name(tmp_path: Path) -> None:
    bundle = import_model(
        tflite("embed"),
        name="mine",
        choices=Choices(preset="minus-one-one"),
        threshold=0.4,
        source="somewhere",
        license="MIT",
    )
    assert find_model("mine") == bundle == read_bundle(tmp_path / "home" / "models" / "mine")
    assert bundle.preprocessing == Preprocessing(SIDE, SIDE, scale=1 / 127.5, mean=(1.0, 1.0, 1.0))
    assert (bundle.runtime, bundle.dimension, bundle.readout) == ("litert", DIMENSION, Readout())
    assert bundle.calibration is not None
    assert (bundle.calibration.threshold, bundle.calibration.chosen) == (0.4, "given")
    assert bundle.encoder_file.read_bytes() == tflite("embed").read_bytes()
    for fact in ("embed.tflite", "somewhere", "MIT", "0.4", "not measured"):
        assert fact in bundle.card()
    assert load_encoder(bundle).encode(pictures(2)).shape == (2, DIMENSION)


def test_a_model_without_a_threshold_has_no_calibration() -> None:
    assert import_model(tflite("embed"), name="mine").calibration is None


def test_an_import_elsewhere_and_again(tmp_path: Path) -> None:
    first = import_model(tflite("embed"), name="mine", to=tmp_path / "here")
    assert first.path == tmp_path / "here"
    with pytest.raises(UsageError, match="already holds one"):
        import_model(tflite("fixed"), name="mine", to=tmp_path / "here")
    second = import_model(tflite("fixed"), name="mine", to=tmp_path / "here", replace=True)
    assert second.fingerprint != first.fingerprint
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("name", "options", "dimension", "readout", "layout"),
    [
        ("embed", {}, 8, Readout(), "NHWC"),
        ("fixed", {}, 8, Readout(one_by_one=True), "NHWC"),
        ("channels_first", {}, 8, Readout(), "NCHW"),
        ("any_size", {"choices": Choices(size=(16, 16))}, 8, Readout(), "NHWC"),
        ("tokens", {"pool": "cls"}, 4, Readout(pool="cls"), "NHWC"),
        ("tokens", {"pool": "mean"}, 4, Readout(pool="mean"), "NHWC"),
        ("tokens", {"pool": "flatten"}, 64, Readout(pool="flatten"), "NHWC"),
        ("map", {"pool": "mean"}, 4, Readout(pool="mean"), "NHWC"),
        ("two_outputs", {"output": 1}, 8, Readout(1), "NHWC"),
        ("two_outputs", {"output": "Identity_1"}, 8, Readout(1), "NHWC"),
        ("two_outputs", {"output": 0, "pool": "mean"}, 4, Readout(0, "mean"), "NHWC"),
        ("uint8", {"choices": Choices(preset="none")}, 8, Readout(one_by_one=True), "NHWC"),
    ],
)
def test_networks_that_are_image_encoders(
    name: str, options: dict[str, Any], dimension: int, readout: Readout, layout: str
) -> None:
    found = inspect_model(tflite(name), "litert", **options)
    assert (found.dimension, found.readout, found.preprocessing.layout) == (dimension, readout, layout)
    assert (found.preprocessing.height, found.preprocessing.width) == (16, 16)
    bundle = import_model(tflite(name), name="mine", **options)
    vectors = load_encoder(bundle).encode(pictures(3))
    assert vectors.shape == (3, dimension)


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("grey", {}, UsageError, "3 channels"),
        ("two_inputs", {}, UsageError, "one input"),
        ("two_outputs", {}, UsageError, r"0: Identity .* 1: Identity_1"),
        ("two_outputs", {"output": 2}, UsageError, "received 2"),
        ("two_outputs", {"output": "vector"}, UsageError, "received 'vector'"),
        ("tokens", {}, UsageError, "received tokens"),
        ("map", {}, UsageError, "received a map"),
        ("map", {"pool": "cls"}, EncoderError, "pool 'cls'"),
        ("any_size", {}, UsageError, "leaves open"),
        ("embed", {"choices": Choices(size=(32, 16))}, UsageError, "the height that the network has, 16, received 32"),
        ("embed", {"choices": Choices(size=(16, 32))}, UsageError, "the width that the network has, 16, received 32"),
        ("embed", {"choices": Choices(layout="NCHW")}, UsageError, "3 channels where the layout NCHW"),
        ("embed", {"choices": Choices(preset="imagenette")}, UsageError, "a preset of imagenet, clip"),
        ("embed", {"choices": Choices(crop_fraction=1.5)}, UsageError, "crop fraction"),
        ("embed", {"choices": Choices(std=(0.0, 1.0, 1.0))}, UsageError, "non-zero"),
        ("embed", {"choices": Choices(scale=0.0)}, EncoderError, "norm 0"),
        ("embed", {"choices": Choices(scale=0.0, mean=(1, 1, 1))}, EncoderError, "the same one"),
        ("constant", {}, EncoderError, "the same one"),
        ("zero", {}, EncoderError, "norm 0"),
        ("not_finite", {}, EncoderError, "not finite"),
        ("random", {}, EncoderError, "second run"),
        ("uint8", {}, EncoderError, "norm 0"),
        ("flex", {}, EncoderError, "Flex"),
        ("custom", {}, EncoderError, "custom op"),
        ("no_rows", {}, EncoderError, r"\(0, 8\)"),
    ],
)
def test_networks_that_are_none_are_refused_and_nothing_is_installed(
    itemrec_home: Path, name: str, options: dict[str, Any], error: type[ItemrecError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        import_model(tflite(name), name="mine", **options)
    assert "itemrec-import-" not in caught.value.message, "the private copy is nothing that a user knows"
    assert list((itemrec_home / "models").iterdir()) == []


@pytest.mark.parametrize("threshold", [-0.1, 4.1, float("nan")])
def test_an_impossible_threshold(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        import_model(tflite("embed"), name="mine", threshold=threshold)


def test_files_that_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "page.tflite").write_bytes(b"<!doctype html>")
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "folder").mkdir()
    for name in ("empty.onnx", "page.tflite", "model.h5", "folder", "missing.tflite"):
        with pytest.raises(UsageError):
            sniff_runtime(tmp_path / name)
    monkeypatch.setattr(inspection, "MAX_MODEL_BYTES", 2000)
    with pytest.raises(UsageError, match="at most"):
        sniff_runtime(tflite("embed"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UsageError, match="not a file"):
        sniff_runtime(tmp_path / "pipe.onnx")


def test_without_room_for_the_copy(monkeypatch: pytest.MonkeyPatch, itemrec_home: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for patched in ("shutil.copyfile", "tempfile.TemporaryDirectory"):
        with monkeypatch.context() as patch:
            patch.setattr(patched, lambda *_, **__: full())
            with pytest.raises(UsageError, match="No space left") as caught:
                import_model(tflite("embed"), name="mine")
        assert "TMPDIR" in caught.value.hint
    assert list((itemrec_home / "models").iterdir()) == []


def test_the_content_says_that_it_is_tflite(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(tflite("embed").read_bytes())
    assert sniff_runtime(tmp_path / "model.bin") == "litert"
    assert import_model(tmp_path / "model.bin", name="mine").dimension == DIMENSION


def test_probe_pictures_differ() -> None:
    shown = probe_pictures(24, 32)
    assert (shown.shape, shown.dtype) == ((4, 24, 32, 3), np.uint8)
    flat = shown.reshape(4, -1).astype(np.float64)
    assert min(np.abs(flat[i] - flat[j]).mean() for i in range(4) for j in range(i)) > 20
    assert np.array_equal(shown, probe_pictures(24, 32))
    assert probe_pictures(1, 1).shape == (4, 1, 1, 3)


@pytest.mark.parametrize(
    ("preset", "pixel", "value"),
    [
        ("zero-one", 255, (1.0, 1.0, 1.0)),
        ("minus-one-one", 0, (-1.0, -1.0, -1.0)),
        ("minus-one-one", 255, (1.0, 1.0, 1.0)),
        ("siglip", 0, (-1.0, -1.0, -1.0)),
        ("siglip", 255, (1.0, 1.0, 1.0)),
        ("none", 255, (255.0, 255.0, 255.0)),
        ("imagenet", 255, (2.248908, 2.428571, 2.64)),
        ("clip", 0, (-1.792263, -1.752097, -1.480218)),
    ],
)
def test_presets_give_the_published_values(preset: str, pixel: int, value: tuple[float, ...]) -> None:
    preprocessing = Choices(preset=preset).preprocessing(Tensor("x", (1, 4, 4, 3), "float32"))
    x = preprocessing.tensor(np.full((1, 4, 4, 3), pixel, np.uint8))
    np.testing.assert_allclose(x[0, 0, 0], value, atol=2e-6)


def test_every_preset_is_complete_and_choices_override_it() -> None:
    tensor = Tensor("x", (None, None, None, 3), "float32")
    for preset in PRESETS:
        made = Choices(preset=preset, size=(8, 9), fit="squash", scale=2.0, mean=(1, 2, 3)).preprocessing(tensor)
        assert (made.height, made.width, made.fit, made.scale, made.mean) == (8, 9, "squash", 2.0, (1, 2, 3))
    crop = Choices(preset="imagenet", size=(224, 224)).preprocessing(tensor)
    assert (crop.fit, crop.crop_fraction, crop.resample) == ("crop", 0.875, "bicubic")


@pytest.mark.parametrize(
    ("shape", "layout", "want"),
    [
        ((1, 3, 8, 8), None, ("NCHW", 8, 8)),
        ((1, 8, 6, 3), None, ("NHWC", 8, 6)),
        ((None, 3, None, None), None, ("NCHW", 5, 7)),
        ((None, None, None, None), "NCHW", ("NCHW", 5, 7)),
        ((1, 3, 8, 3), "NCHW", ("NCHW", 8, 3)),
        ((1, 3, 8, 3), "NHWC", ("NHWC", 3, 8)),
        ((1, 3, 8, 3), None, None),
        ((1, 4, 8, 8), None, None),
        ((1, 3, 8), None, None),
        ((), None, None),
        ((None, None, None, None), None, None),
        ((None, None, 5, 7), "NCHW", ("NCHW", 5, 7)),
        ((None, 4, None, None), "NCHW", None),
        ((None, 4, None, None), "NHWC", None),
    ],
)
def test_layout_and_size_come_from_the_shape(shape: Any, layout: Any, want: Any) -> None:
    size = (5, 7) if None in shape else None
    choices = Choices(layout=layout, size=size)
    if want is None:
        with pytest.raises(UsageError):
            choices.preprocessing(Tensor("x", shape, "float32"))
    else:
        made = choices.preprocessing(Tensor("x", shape, "float32"))
        assert (made.layout, made.height, made.width) == want


@needs_onnxruntime
class TestOnnx:
    def test_a_model_with_an_open_batch(self, tmp_path: Path) -> None:
        bundle = import_model(onnx_model(tmp_path / "m.onnx"), name="mine")
        assert (bundle.runtime, bundle.preprocessing.layout) == ("onnx", "NCHW")
        assert bundle.readout == Readout()

    def test_a_model_for_one_picture_runs_one_by_one(self, tmp_path: Path) -> None:
        file = onnx_model(tmp_path / "m.onnx", shape=(1, 3, SIDE, SIDE), output=(1, DIMENSION))
        bundle = import_model(file, name="mine")
        assert bundle.readout.one_by_one
        assert load_encoder(bundle).encode(pictures(5)).shape == (5, DIMENSION)

    def test_a_model_that_mixes_its_batch_runs_one_by_one(self, tmp_path: Path) -> None:
        def centered(helper: Any) -> list[Any]:
            # As batch normalization in training mode would: what is subtracted depends on the batch.
            return [
                helper.make_node("Flatten", ["x"], ["f"]),
                helper.make_node("MatMul", ["f", "w"], ["p"]),
                helper.make_node("ReduceMean", ["p"], ["m"], axes=[0]),
                helper.make_node("Mul", ["m", "half"], ["h"]),
                helper.make_node("Sub", ["p", "h"], ["y"]),
            ]

        weights = {
            "w": np.random.default_rng(5).normal(size=(3 * SIDE * SIDE, DIMENSION)).astype(np.float32),
            "half": np.array(0.5, np.float32),
        }
        bundle = import_model(onnx_model(tmp_path / "m.onnx", nodes=centered, weights=weights), name="mine")
        assert bundle.readout.one_by_one
        encoder, pixels = load_encoder(bundle), pictures(4)
        assert np.array_equal(encoder.encode(pixels)[:1], encoder.encode(pixels[:1]))

    def test_tokens_as_a_transformer_gives_them(self, tmp_path: Path) -> None:
        def patches(helper: Any) -> list[Any]:
            return [
                helper.make_node("Conv", ["x", "w"], ["map"], strides=[4, 4]),
                helper.make_node("Reshape", ["map", "shape"], ["flat"]),
                helper.make_node("Transpose", ["flat"], ["y"], perm=[0, 2, 1]),
            ]

        weights = {
            "w": np.random.default_rng(6).normal(size=(DIMENSION, 3, 4, 4)).astype(np.float32),
            "shape": np.array([0, DIMENSION, -1], np.int64),
        }
        file = onnx_model(
            tmp_path / "m.onnx",
            shape=("n", "c", "h", "w"),
            nodes=patches,
            weights=weights,
            output=("n", "tokens", DIMENSION),
            outputs=("y",),
        )
        with pytest.raises(UsageError, match="where the channels are"):
            import_model(file, name="mine")
        with pytest.raises(UsageError, match="input size"):
            import_model(file, name="mine", choices=Choices(layout="NCHW"))
        choices = Choices(layout="NCHW", size=(16, 16))
        with pytest.raises(UsageError, match="tokens"):
            import_model(file, name="mine", choices=choices)
        made = {
            pool: import_model(file, name=pool, choices=choices, pool=pool)  # type: ignore[arg-type]
            for pool in ("cls", "mean", "flatten")
        }
        assert [b.dimension for b in made.values()] == [DIMENSION, DIMENSION, 16 * DIMENSION]
        assert len({b.fingerprint for b in made.values()}) == 3

    def test_an_operation_from_elsewhere_is_refused(self, tmp_path: Path) -> None:
        file = onnx_model(
            tmp_path / "m.onnx", nodes=lambda h: [h.make_node("Run", ["x"], ["y"], domain="evil")], domain="evil"
        )
        with pytest.raises(EncoderError, match="ONNX Runtime"):
            import_model(file, name="mine")

    @pytest.mark.parametrize("external", ["w.bin", "../w.bin", "absolute"])
    def test_weights_outside_the_file_are_refused(self, tmp_path: Path, external: str) -> None:
        folder = tmp_path / "sub"
        folder.mkdir()
        weights = np.random.default_rng(5).normal(size=(3 * SIDE * SIDE, DIMENSION)).astype(np.float32)
        for place in (folder, tmp_path):
            weights.tofile(place / "w.bin")
        location = str(tmp_path / "w.bin") if external == "absolute" else external
        file = onnx_model(folder / "m.onnx", external=location)
        with pytest.raises(EncoderError, match="ONNX Runtime") as caught:
            import_model(file, name="mine")
        assert f"cannot run {file}:" in caught.value.message
        assert "itemrec-import-" not in caught.value.message
        assert "into the file" in caught.value.hint

    def test_random_bytes_and_truncations(self, tmp_path: Path) -> None:
        content = onnx_model(tmp_path / "m.onnx").read_bytes()
        file = tmp_path / "cut.onnx"
        for size in range(1, len(content), len(content) // 40):
            file.write_bytes(content[:size])
            with pytest.raises(ItemrecError):
                import_model(file, name="mine")

    def test_a_name_that_is_no_text(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        file = onnx_model(tmp_path / "m.onnx")
        file.write_bytes(file.read_bytes().replace(b"Flatten", b"Flatt\xc8n"))
        with pytest.raises(EncoderError, match="ONNX Runtime"):
            import_model(file, name="mine")
        assert capfd.readouterr().out == ""

    def test_several_inputs_are_refused(self, tmp_path: Path) -> None:
        file = onnx_model(tmp_path / "m.onnx", inputs=("x", "tokens"))
        with pytest.raises(UsageError, match="one input"):
            import_model(file, name="mine")


def test_onnx_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EncoderError) as caught:
        import_model(tmp_path / "m.onnx", name="mine")
    assert "ONNX Runtime is not installed" in caught.value.message
    assert "[onnx]" in caught.value.hint


@needs_onnxruntime
def test_damaged_models_are_refused_or_run_but_never_crash(tmp_path: Path) -> None:
    onnx_model(tmp_path / "m.onnx")
    (tmp_path / "m.tflite").write_bytes(tflite("embed").read_bytes())
    code = """
import sys
from pathlib import Path
import numpy as np
from retrieval.errors import ItemrecError
from retrieval.models.inspection import inspect_model
random, refused = np.random.default_rng(11), 0
for file, runtime in ((Path(sys.argv[1]), "litert"), (Path(sys.argv[2]), "onnx")):
    content = file.read_bytes()
    # Damage the structure and leave most of the weights alone, which any bytes would be.
    places = [i for i in range(len(content)) if runtime == "litert" or i < 200 or i > len(content) - 200]
    for _ in range(150):
        damaged = bytearray(content)
        for place in random.choice(places, random.integers(1, 6)):
            damaged[place] = random.integers(0, 256)
        file.write_bytes(damaged)
        try:
            inspect_model(file, runtime)
        except ItemrecError:
            refused += 1
print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.tflite"), str(tmp_path / "m.onnx")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 50 < int(done.stdout) < 300
