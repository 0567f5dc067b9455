"""`itemrec train`: from a folder to a bundle that indexes and answers; and what it refuses, in one line."""

import json

import pytest

from cli.main import invoke
from retrieval.errors import UsageError
from retrieval.models.bundle import read_bundle
from tests.lazily import lazily
from tests.trainer.datasets import short_cnn, tiny_backbone, write_dataset, write_weights

Export = lazily("trainer.networks.export", "Export")

SMALL = ["--backbone", "small-cnn", "--size", "32", "--dimension", "16", "--epochs", "3", "--learning-rate", "0.003"]
HEAD = ["--preset", "head", "--size", "48", "--dimension", "16", "--epochs", "3"]
"""Of a tiny backbone, which takes a third of the time: for what is not about the network."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"), products=12, splits={"train": 6, "val": 8, "test": 3})


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ITEMREC_WEIGHTS", raising=False)


@pytest.fixture
def tiny(monkeypatch, small_built_in):
    monkeypatch.setattr("trainer.networks.assemble.backbone", tiny_backbone)


def train(dataset, *options):
    return invoke(["train", str(dataset), "--out", "model", *options])


def export_again(bundle, monkeypatch):
    """What is trained next becomes the encoder that is there: converting takes longer than training it."""
    export = Export((bundle / "encoder.tflite").read_bytes(), "float32", 0.0, 1.0, 32)
    monkeypatch.setattr("trainer.learn.export_litert", lambda *_, **__: export)


def test_a_bundle_is_trained_calibrated_and_used(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trainer.networks.assemble.small_cnn", short_cnn)
    assert train(dataset, *SMALL, "--json", "--int8", "--project") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "itemrec.train/1"
    assert (document["pictures"], document["products"], document["epochs"]) == (72, 12, 3)
    bundle = read_bundle(tmp_path / "model")
    assert bundle.fingerprint == document["model"]["fingerprint"]
    assert bundle.training["recipe"]["network"]["backbone"] == "small-cnn"
    assert bundle.calibration is not None
    assert document["model"]["val"]["top1"] > 0.3
    assert "How it was made" in bundle.card()
    small = read_bundle(tmp_path / "model-int8")
    assert small.encoder_bytes < 0.6 * bundle.encoder_bytes
    assert document["int8"]["val"]["top1"] > 0.2
    run = tmp_path / "model.run"
    assert {"log.jsonl", "projector_config.pbtxt"} <= {file.name for file in run.iterdir()}
    assert not (run / "checkpoint.npz").exists()
    assert invoke(["index", str(dataset / "train"), "--model", "model", "--json"]) == 0
    capsys.readouterr()
    photo = next((dataset / "test").glob("*/*.png"))
    assert invoke(["query", str(photo), "--json", "--threshold", "4"]) == 0
    answer = json.loads(capsys.readouterr().out)["results"][0]
    assert answer["matches"]


@pytest.mark.parametrize(
    ("options", "says", "hint"),
    [
        (["--preset", "slow"], "expected a preset", "fast"),
        (["--backbone", "mobilnet"], "expected a backbone", "MobileNet"),
        (["--loss", "tripletz"], "expected a known loss", "triplet-semi-hard"),
        (["--loss-option", "margin"], "--loss-option margin=NUMBER", "margin=0.2"),
        (["--loss", "supcon", "--loss-option", "sharpness=3"], "expected a parameter of supcon", "temperature"),
        (["--weights", "none-such.weights.h5"], "expected --weights", ".weights.h5"),
        (
            ["--weights", "none", "--freeze", "16", "--backbone", "MobileNetV2"],
            "weights for the frozen",
            "--freeze none",
        ),
        (["--far", "1%", "--fpir", "1%"], "received both", ""),
        (["--fpir", "12"], "a rate between 0 and 1", "1%"),
        (["--catalog", "nowhere"], "expected --catalog to be a folder", ""),
        (["--size", "48", "--freeze", "3"], "expected a stride", "16"),
        (["--freeze", "all", "--feature-crop", "0.8"], "expected --feature-crop with", "--freeze 16"),
    ],
)
def test_wrong_options_are_refused_in_one_line(dataset, tmp_path, monkeypatch, capsys, options, says, hint):
    if options[0] == "--size":
        monkeypatch.setattr("trainer.networks.assemble.backbone", tiny_backbone)
        options = [*options, "--weights", __file__]
    assert train(dataset, *options) == 2
    err = capsys.readouterr().err
    assert says in err
    assert hint in err
    assert "Traceback" not in err
    assert not (tmp_path / "model").exists()


def test_a_weights_file_decides_the_backbone_and_without_val_nothing_is_calibrated(tmp_path, monkeypatch, capsys):
    folder = write_dataset(tmp_path / "data", splits={"train": 4})
    built = []

    def build(name, *, size, weights):
        built.append(name)
        return tiny_backbone(name, size=size, weights=weights)

    monkeypatch.setattr("trainer.networks.assemble.backbone", build)
    file = write_weights(tmp_path / "net.weights.h5")
    small = ["--size", "48", "--dimension", "16", "--epochs", "1", "--weights", str(file)]
    assert train(folder, *small, "--json") == 0
    out, err = capsys.readouterr()
    assert "net.weights.h5 holds weights of MobileNetV2. Without --weights, fast trains EfficientNetLite0." in err
    assert json.loads(out)["model"]["calibration"] is None
    assert "There is no val/" in err
    export_again(tmp_path / "model", monkeypatch)
    assert train(folder, *small, "--backbone", "DenseNet121", "--replace") == 0
    assert built == ["MobileNetV2", "DenseNet121"]


def test_a_place_that_is_taken_is_refused_before_anything_is_trained(dataset, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "something").write_text("else")
    assert train(dataset, *SMALL) == 2
    assert "holds something else" in capsys.readouterr().err
    assert not (tmp_path / "model.run").exists()


@pytest.mark.usefixtures("tiny")
def test_strangers_that_no_training_saw_decide_the_threshold(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", products=24, splits={"train": 16, "val": 7, "test": 2})
    assert train(folder, *HEAD, "--hold-out", "0.45") == 0
    out, err = capsys.readouterr()
    assert "epoch 3/3" in err
    assert "without 11 products" in err
    assert "fewest errors with 20 % unknown products, chosen on val" in out
    assert "photos of held-out products, which no training saw," in out
    bundle = read_bundle(tmp_path / "model")
    assert bundle.training["strangers"] == 22
    assert bundle.calibration.chosen == "strangers=0.2"
    assert "unknown products: 352 photos of 22 products held out of trainings like it" in bundle.calibration.measured_on
    point = bundle.calibration.point("strangers=0.2")
    assert (point.strangers, point.gallery, point.probes) == (352, 24, 168)
    assert point.note == ""
    assert "22 were held out of further trainings" in bundle.card()


@pytest.mark.usefixtures("tiny")
def test_lines_tell_how_far_it_is_and_that_training_saw_the_strangers_also_with_nothing_to_resume(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", products=24, splits={"train": 4, "val": 7, "test": 2})
    assert train(folder, *HEAD, "--hold-out", "0", "--resume") == 0
    out, err = capsys.readouterr()
    assert "There is no checkpoint" in err
    assert "This will take" in err
    assert "epoch 3/3" in err
    assert "Trained " in out
    assert "VAL at FAR 1 %" in out
    assert "Next: itemrec index " in out
    assert "photos of leave-one-out unknowns, which training saw," in out
    assert "--hold-out 0.2 measures how often" in out
    bundle = read_bundle(tmp_path / "model")
    assert all(
        "products that no training saw are matched more often" in point.note for point in bundle.calibration.points
    )
    assert "A product that no training saw is matched more often" in bundle.card()
    assert invoke(["evaluate", "--data", str(folder), "--split", "test", "--gallery", "train", "--model", "model"]) == 0
    assert "model was trained on 24 products" in "".join(capsys.readouterr()).replace("\n", " ")


@pytest.mark.usefixtures("tiny")
def test_so_few_photos_bear_no_threshold_and_no_command_pretends(tmp_path, monkeypatch, capsys):
    folder = write_dataset(tmp_path / "data", products=2, splits={"train": 6, "val": 3})
    small = [*HEAD, "--epochs", "1"]
    assert train(folder, *small) == 0
    out, err = capsys.readouterr()
    assert "/ 6 " in out
    assert "of 100" not in out
    assert "Threshold" not in out
    assert "Not enough data for FAR 1 %: 9 impostor pairs, 3,000 needed (rule of 30)." in err
    assert "the model has none" in err
    assert read_bundle(tmp_path / "model").calibration is None
    export_again(tmp_path / "model", monkeypatch)
    assert train(folder, *small, "--replace", "--json") == 0
    out, _ = capsys.readouterr()
    document = json.loads(out)["model"]
    assert document["calibration"] is None
    assert document["val"]["val@far=0.01"] is None
    assert document["val_photos"]["probes"] == 6
    # A photo of a third product matches nothing, since nobody knows when it would.
    stranger = write_dataset(tmp_path / "other", products=3, splits={"test": 1}, seed=5) / "test" / "p02" / "0.png"
    assert invoke(["index", str(folder / "train"), "--model", "model", "-q"]) == 0
    capsys.readouterr()
    assert invoke(["query", str(stranger)]) == 2
    assert "--threshold" in capsys.readouterr().err
    # The rule is calibrate's own.
    choose = ["calibrate", "--data", str(folder), "--gallery", "train", "--model", "model", "--far", "1%"]
    assert invoke(choose) == 2
    assert "Not enough data for FAR 1 %: 9 impostor pairs, 3,000 needed (rule of 30)." in capsys.readouterr().err
    assert invoke([*choose, "--force"]) == 0
    assert read_bundle(tmp_path / "model").calibration.chosen == "far=0.01"


@pytest.mark.parametrize(
    ("name", "old", "value"),
    [
        ("freeze", "--cut", "8"),
        ("feature_crop", "--window", 0.75),
        ("ensemble", "--members", 2),
        ("hold_out", "--strangers", 0.25),
    ],
)
def test_former_option_names_still_work_and_are_shown_nowhere(dataset, monkeypatch, capsys, name, old, value):
    given = {}

    def stop(*_, **options):
        given.update(options)
        raise UsageError("stopped here")

    monkeypatch.setattr("trainer.train.train", stop)
    for option in (old, f"--{name.replace('_', '-')}"):
        given.clear()
        assert train(dataset, option, str(value)) == 2
        assert given[name] == value
    capsys.readouterr()
    assert train(dataset, old, str(value), f"--{name.replace('_', '-')}", str(value)) == 2
    assert "received both" in capsys.readouterr().err
    assert invoke(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"--{name.replace('_', '-')}" in shown
    assert old not in shown
