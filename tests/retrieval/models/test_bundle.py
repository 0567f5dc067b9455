from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.errors import BundleError, ModelNotFoundError, UsageError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models import bundle
from retrieval.models.bundle import (
    Calibration,
    OperatingPoint,
    Readout,
    fingerprint,
    read_bundle,
    set_calibration,
    write_bundle,
)
from retrieval.models.projection import Projection
from tests.retrieval.networks import PREPROCESSING, bundle_of, onnx_model, tflite

ENCODER = b"not run in these tests"
POINT = OperatingPoint(
    "far=0.01", 0.31, far=0.0099, val=0.62, far_ci=(0.008, 0.012), val_ci=(0.5, 0.7),
    accepted_same=62, same_pairs=100, accepted_different=99, different_pairs=10_000,
)  # fmt: skip
CALIBRATION = Calibration(0.31, "far=0.01", (POINT, OperatingPoint("experiment", 0.28)), "val photos")


def write(path: Path, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "name": "model",
        "encoder": ENCODER,
        "runtime": "litert",
        "preprocessing": PREPROCESSING,
        "dimension": 8,
        "calibration": CALIBRATION,
        "training": {"epochs": 3, "loss": [0.5, 0.25]},
        "card": "# model\n\nFür Produkte\n",
        "source": "made here",
        "license": "Apache-2.0",
    }
    return write_bundle(path, **(values | changes))


def edit(path: Path, **changes: Any) -> None:
    file = path / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = write(tmp_path / "b", readout=Readout(2, "cls", one_by_one=True))
    read = read_bundle(tmp_path / "b")
    assert read == written
    assert read.encoder_file.read_bytes() == ENCODER
    assert read.encoder_sha256 == hashlib.sha256(ENCODER).hexdigest()
    assert (read.calibration, read.training) == (CALIBRATION, {"epochs": 3, "loss": [0.5, 0.25]})
    assert (read.readout, read.source, read.license) == (Readout(2, "cls", True), "made here", "Apache-2.0")
    assert read.card() == "# model\n\nFür Produkte\n"
    assert read.identity.fingerprint == read.fingerprint
    assert (read.identity.dimension, read.identity.name) == (8, "model")
    assert read.identity.path == str(tmp_path / "b")
    assert read_bundle(tmp_path / "b" / "bundle.json") == read


def test_a_bundle_without_extras(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", calibration=None, training=None, card="")
    assert (bundle.calibration, bundle.training, bundle.card()) == (None, {}, "")
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["bundle.json", "encoder.tflite"]


def test_fingerprint_follows_what_changes_embeddings_only(tmp_path: Path) -> None:
    base = write(tmp_path / "base").fingerprint
    same = {
        "name": "other",
        "card": "",
        "calibration": None,
        "training": {},
        "created": "2020-01-01T00:00:00+00:00",
        "readout": Readout(one_by_one=True),
        "source": "",
    }
    for i, (key, value) in enumerate(same.items()):
        assert write(tmp_path / f"same{i}", **{key: value}).fingerprint == base, key
    different = {
        "encoder": ENCODER + b"!",
        "preprocessing": replace(PREPROCESSING, fit="squash"),
        "dimension": 9,
        "runtime": "onnx",
    }
    seen = {base}
    for i, (key, value) in enumerate(different.items()):
        seen.add(write(tmp_path / f"different{i}", **{key: value}).fingerprint)
    for i, readout in enumerate([Readout(1), Readout(pool="mean"), Readout(pool="cls")]):
        seen.add(write(tmp_path / f"readout{i}", readout=readout).fingerprint)
    assert len(seen) == 1 + len(different) + 3


def test_fingerprint_is_pinned() -> None:
    # An index is tied to this text: a change here orphans every index that exists.
    text = (
        '{"dimension":128,"encoder":"' + "00" * 32 + '","output":0,"pool":"none","preprocessing":'
        '{"crop_fraction":1.0,"fit":"pad","height":224,"layout":"NHWC","mean":[0.0,0.0,0.0],"resample":"bilinear",'
        '"scale":0.00392156862745098,"std":[1.0,1.0,1.0],"width":224},"runtime":"litert"}'
    )
    assert (
        fingerprint(encoder_sha256="00" * 32, runtime="litert", preprocessing=Preprocessing(224, 224), dimension=128)
        == hashlib.sha256(text.encode()).hexdigest()
    )


def test_whole_numbers_and_floats_are_the_same_preprocessing(tmp_path: Path) -> None:
    whole = Preprocessing(16, 16, scale=1, mean=(0, 0, 0), std=(1, 1, 1))
    floats = Preprocessing(16, 16, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert (
        write(tmp_path / "a", preprocessing=whole).fingerprint
        == write(tmp_path / "b", preprocessing=floats).fingerprint
    )


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    for name in ("missing", "empty", "file", "missing/deeper"):
        with pytest.raises(ModelNotFoundError):
            read_bundle(tmp_path / name)


@pytest.mark.parametrize("name", ["encoder.tflite", "CARD.md"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "append", "remove"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    write(tmp_path / "b")
    file = tmp_path / "b" / name
    content = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        changed = {"flip": bytes([content[0] ^ 1]) + content[1:], "truncate": content[:-1], "append": content + b"x"}
        file.write_bytes(changed[damage])
    with pytest.raises(BundleError, match=name):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "itemrec.bundle/2"},
        {"schema": None},
        {"dimension": 9},
        {"dimension": 0},
        {"dimension": 8.0},
        {"dimension": True},
        {"dimension": 10**400},
        {"runtime": "pickle"},
        {"fingerprint": "0" * 64},
        {"fingerprint": 7},
        {"encoder": "CARD.md"},
        {"encoder": "elsewhere"},
        {"encoder": ["encoder.tflite"]},
        {"files": {}},
        {"files": []},
        {"files": {"encoder.tflite": {}}},
        {"files": {"encoder.tflite": None}},
        {"name": None},
        {"training": [1]},
        {"readout": {"output": -1}},
        {"readout": {"pool": "max"}},
        {"readout": {"surprise": 1}},
        {"readout": []},
        {"preprocessing": {}},
        {"preprocessing": None},
        {"preprocessing": PREPROCESSING.to_json() | {"height": "16"}},
        {"preprocessing": PREPROCESSING.to_json() | {"height": 16.0}},
        {"preprocessing": PREPROCESSING.to_json() | {"fit": "stretch"}},
        {"preprocessing": PREPROCESSING.to_json() | {"std": [0, 1, 1]}},
        {"preprocessing": PREPROCESSING.to_json() | {"mean": [10**400, 0, 0]}},
        {"preprocessing": PREPROCESSING.to_json() | {"scale": 0.5}},
        {"calibration": {}},
        {"calibration": [1]},
        {"calibration": CALIBRATION.to_json() | {"threshold": 5.0}},
        {"calibration": CALIBRATION.to_json() | {"chosen": "another"}},
        {"calibration": CALIBRATION.to_json() | {"points": [{"name": "far=0.01", "threshold": "0.31"}]}},
        {"calibration": CALIBRATION.to_json() | {"points": [{"name": "far=0.01", "threshold": 0.31, "x": 1}]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_description_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write(tmp_path / "b")
    edit(tmp_path / "b", **changes)
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"schema": NaN}', "\x00", "[" * 100_000,
     '{"schema": "itemrec.bundle/1"}', " " * 5_000_000],
    ids=["empty", "null", "list", "cut", "nan", "zero", "deep", "bare", "large"],
)  # fmt: skip
def test_a_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path / "b")
    (tmp_path / "b" / "bundle.json").write_text(text)
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "b")


def test_every_truncation_of_the_description_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "b")
    file = tmp_path / "b" / "bundle.json"
    content = file.read_bytes()
    for size in range(0, len(content) - 2, 7):
        file.write_bytes(content[:size])
        with pytest.raises(BundleError):
            read_bundle(tmp_path / "b")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", ".", "", "a\\b", "c:x", "x\0y", "ä"])
def test_a_file_outside_the_bundle_is_refused(tmp_path: Path, name: str) -> None:
    bundle = write(tmp_path / "b")
    (tmp_path / "secret").write_bytes(ENCODER)
    entry = {"bytes": len(ENCODER), "sha256": bundle.encoder_sha256}
    edit(tmp_path / "b", files={name: entry}, encoder=name)
    with pytest.raises(BundleError, match="inside the bundle"):
        read_bundle(tmp_path / "b")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_that_leaves_the_bundle_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "b")
    file = tmp_path / "b" / "encoder.tflite"
    file.rename(tmp_path / "outside")
    file.symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="leaves it"):
        read_bundle(tmp_path / "b")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
@pytest.mark.parametrize("name", ["bundle.json", "encoder.tflite", "CARD.md"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_pipe_or_a_link_out_of_the_bundle_is_refused_unopened(tmp_path: Path, name: str, kind: str) -> None:
    write(tmp_path / "b", card="A card")
    file = tmp_path / "b" / name
    file.rename(tmp_path / "outside")
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="a pipe or a device" if kind == "pipe" else "a link that leaves it"):
        read_bundle(tmp_path / "b")
    if name == "bundle.json":
        with pytest.raises(BundleError):
            bundle.peek(tmp_path / "b")


def test_a_bundle_may_be_reached_through_a_link(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert read_bundle(tmp_path / "link").fingerprint == bundle.fingerprint


def test_an_onnx_bundle_holds_nothing_unnamed(tmp_path: Path) -> None:
    bundle_of(onnx_model(tmp_path / "m.onnx"), tmp_path / "b", preprocessing=Preprocessing(16, 16, layout="NCHW"))
    (tmp_path / "b" / "weights.bin").write_bytes(b"\0")
    with pytest.raises(BundleError, match=r"weights\.bin"):
        read_bundle(tmp_path / "b")


def test_a_taken_place_is_refused_unless_it_is_a_bundle_to_replace(tmp_path: Path) -> None:
    first = write(tmp_path / "b")
    with pytest.raises(UsageError, match="already holds one"):
        write(tmp_path / "b", encoder=b"second")
    assert read_bundle(tmp_path / "b") == first
    second = write(tmp_path / "b", encoder=b"second", replace=True)
    assert second.fingerprint != first.fingerprint
    assert read_bundle(tmp_path / "b") == second
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.jpg").write_bytes(b"jpeg")
    with pytest.raises(UsageError, match="something else"):
        write(tmp_path / "photos", replace=True)
    assert (tmp_path / "photos" / "precious.jpg").read_bytes() == b"jpeg"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "photos"]


@pytest.mark.parametrize("broken", ["write_synced", "move_directory", "file_sha256"])
def test_a_failed_write_leaves_the_old_bundle_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    first = write(tmp_path / "b")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bundle, broken, full)
        with pytest.raises(BundleError, match="No space left"):
            write(tmp_path / "b", encoder=b"second", replace=True)
    assert read_bundle(tmp_path / "b") == first
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_failed_rename_puts_the_old_bundle_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "b")
    rename, calls = os.rename, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(BundleError):
        write(tmp_path / "b", encoder=b"second", replace=True)
    assert len(calls) == 3
    assert read_bundle(tmp_path / "b") == first
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "ä", "x" * 65, "a b", "-x", "x.", "a\n"])
def test_an_unfit_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        write(tmp_path / "b", name=name)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("training", [{"loss": float("nan")}, {"when": object()}, {"x": {1, 2}}])
def test_what_json_cannot_hold_is_refused(tmp_path: Path, training: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        write(tmp_path / "b", training=training)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_encoder_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="missing"):
        write(tmp_path / "b", encoder=tmp_path / "missing")


def test_calibration_is_replaced_and_the_fingerprint_stays(tmp_path: Path) -> None:
    before = write(tmp_path / "b", calibration=None)
    after = set_calibration(tmp_path / "b", CALIBRATION)
    assert after == replace(before, calibration=CALIBRATION)
    assert read_bundle(tmp_path / "b") == after
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["CARD.md", "bundle.json", "encoder.tflite"]


def test_a_failed_calibration_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write(tmp_path / "b")

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(BundleError, match="Read-only"):
            set_calibration(tmp_path / "b", Calibration.given(0.5))
    assert read_bundle(tmp_path / "b") == before
    assert len(list((tmp_path / "b").iterdir())) == 3


def test_operating_points_keep_their_counts() -> None:
    read = Calibration.from_json(json.loads(json.dumps(CALIBRATION.to_json())))
    assert read == CALIBRATION
    assert read.point("far=0.01").accepted_different == 99
    with pytest.raises(KeyError):
        read.point("fpir=0.05")


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"threshold": -0.1},
        {"threshold": float("nan")},
        {"far": 1.1},
        {"val_ci": (0.6, 0.5)},
        {"val_ci": (0.6, float("nan"))},
        {"same_pairs": -1},
    ],
)
def test_an_impossible_operating_point_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        OperatingPoint(**({"name": "p", "threshold": 0.3} | values))


def test_an_impossible_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        Calibration(0.31, "far=0.01", (POINT, POINT))
    with pytest.raises(ValueError, match="chosen"):
        Calibration(0.31, "far=0.02", (POINT,))
    with pytest.raises(ValueError, match="threshold of the chosen"):
        Calibration(0.32, "far=0.01", (POINT,))


def test_a_bundle_takes_its_encoder_from_a_file(tmp_path: Path) -> None:
    bundle = bundle_of(tflite("embed"), tmp_path / "b")
    assert bundle.encoder_file.read_bytes() == tflite("embed").read_bytes()


def a_projection(features: int = 8, dimension: int = 3) -> Projection:
    generator = np.random.default_rng(3)
    mean = generator.normal(size=features).astype(np.float32)
    return Projection(mean, generator.normal(size=(features, dimension)).astype(np.float32))


def test_a_projection_is_kept_hashed_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    plain, projection = write(tmp_path / "plain"), a_projection()
    made = write(tmp_path / "b", dimension=3, projection=projection)
    assert json.loads((tmp_path / "b" / "bundle.json").read_text())["schema"] == "itemrec.bundle/2"
    assert json.loads((tmp_path / "plain" / "bundle.json").read_text())["schema"] == "itemrec.bundle/1"
    assert (made.dimension, made.features, plain.features, plain.projection()) == (3, 8, 8, None)
    read = made.projection()
    assert read is not None
    np.testing.assert_array_equal(read.matrix, projection.matrix)
    np.testing.assert_array_equal(read.mean, projection.mean)
    other = write(tmp_path / "other", dimension=3, projection=Projection(read.mean * 2, read.matrix))
    assert len({plain.fingerprint, made.fingerprint, other.fingerprint}) == 3
    assert set_calibration(made.path, CALIBRATION).fingerprint == made.fingerprint
    file = tmp_path / "b" / "projection.f32"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (None, "projection"),
        ({"file": "projection.f32"}, "features"),
        ({"file": "projection.f32", "features": 7}, "7 x 3 values"),
        ({"file": "projection.f32", "features": 0}, "1 to"),
        ({"file": "CARD.md", "features": 8}, "8 x 3 values"),
        ({"file": "../x", "features": 8}, "among the files"),
    ],
)
def test_a_projection_that_does_not_fit_is_refused(tmp_path: Path, described: Any, said: str) -> None:
    write(tmp_path / "b", dimension=3, projection=a_projection())
    edit(tmp_path / "b", projection=described)
    with pytest.raises(BundleError, match=said):
        read_bundle(tmp_path / "b")


def test_a_projection_of_another_shape_or_without_numbers_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="projection to 8 values"):
        write(tmp_path / "b", dimension=8, projection=a_projection())
    with pytest.raises(ValueError, match="finite"):
        Projection(np.full(2, np.nan, np.float32), np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="shapes"):
        Projection(np.ones(3, np.float32), np.ones((2, 2), np.float32))
