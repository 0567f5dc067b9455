"""Backbones by name, and what is said when their weights are not to be had."""

import numpy as np
import pytest

from retrieval.errors import UsageError
from tests.lazily import lazily
from tests.trainer.datasets import forward, write_weights

keras = lazily("keras")
pretrained = lazily("trainer.networks.pretrained")
backbone, backbone_names, canonical, made_for = lazily(
    "trainer.networks.pretrained", "backbone", "backbone_names", "canonical", "made_for"
)
presets = lazily("trainer.presets")


@pytest.mark.parametrize(
    ("given", "name"),
    [("mobilenet-v2", "MobileNetV2"), ("InceptionV3", "InceptionV3"), ("SMALL_CNN", "small-cnn")],
)
def test_names_are_forgiving(given, name):
    assert canonical(given) == name


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="received 'mobilnetv2'") as caught:
        canonical("mobilnetv2")
    assert "MobileNetV2" in caught.value.hint


def test_every_application_of_keras_has_a_scaling():
    classes = {n for n, v in vars(keras.applications).items() if n[:1].isupper() and callable(v)}
    assert classes <= set(backbone_names())


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("MobileNetV2", "mobilenet_v2"),
        ("MobileNetV3Small", "mobilenet_v3"),
        ("DenseNet121", "densenet"),
        ("EfficientNetV2B0", "efficientnet_v2"),
    ],
)
def test_preprocessing_is_what_keras_does(name, module):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    built = backbone(name, size=64, weights="none")
    expected = getattr(keras.applications, module).preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(built.preprocessing.tensor(pixels), expected, atol=1e-5)


def test_networks_that_learned_on_bgr_are_turned_around(monkeypatch):
    keras.utils.set_random_seed(1)
    straight = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    monkeypatch.setattr(keras.applications, "VGG16", lambda **_: straight)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    expected = forward(straight, keras.applications.vgg16.preprocess_input(pixels.astype(np.float32)))
    built = backbone("vgg16", size=32, weights="none")
    received = forward(built.model, built.preprocessing.tensor(pixels))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-3)


def test_without_network_and_cache_the_ways_out_are_named(monkeypatch):
    def fetch(*, weights, **options):
        if weights == "imagenet":
            raise Exception("URL fetch failure on https://…: Name or service not known")
        return keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Conv2D(4, 3)])

    monkeypatch.setattr(keras.applications, "MobileNetV2", fetch)
    with pytest.raises(UsageError, match="Name or service not known") as caught:
        backbone("mobilenetv2", size=64, weights="imagenet")
    assert "--weights PATH" in caught.value.hint
    assert "small-cnn" in caught.value.hint


def test_a_file_of_another_network_is_refused(tmp_path):
    file = write_weights(tmp_path / "net.weights.h5")
    assert backbone("mobilenetv2", size=64, weights=str(file)).pretrained
    with pytest.raises(UsageError, match="do not fit"):
        backbone("mobilenet", size=64, weights=str(file))


@pytest.mark.parametrize(("name", "says"), [("none.weights.h5", "received nothing"), ("model.keras", "ends in")])
def test_what_is_no_weights_file_is_refused(tmp_path, name, says):
    if "keras" in name:
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UsageError, match=says):
        backbone("mobilenetv2", size=64, weights=str(tmp_path / name))


def test_a_weights_file_tells_which_backbone_it_was_made_for(tmp_path):
    lite = tmp_path / "lite.weights.h5"
    backbone("EfficientNetLite0", size=64, weights="none").model.save_weights(lite)
    assert made_for(write_weights(tmp_path / "net.weights.h5"), presets.MEASURED_ON) == "MobileNetV2"
    assert made_for(lite, presets.MEASURED_ON) == "EfficientNetLite0"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(tmp_path / "other.weights.h5")
    for name in ("other.weights.h5", "none.weights.h5"):
        assert made_for(tmp_path / name, presets.MEASURED_ON) is None
    lite.write_bytes(lite.read_bytes()[:1000])
    assert made_for(lite, presets.MEASURED_ON) is None


def test_damaged_weights_are_refused(tmp_path):
    file = tmp_path / "x.weights.h5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UsageError, match="do not fit"):
        backbone("mobilenetv2", size=64, weights=str(file))


def test_a_size_below_the_networks_least_is_refused():
    with pytest.raises(UsageError, match="32 pixels"):
        backbone("InceptionV3", size=32, weights="none")


def test_scalings_cover_names_by_their_longest_family():
    assert pretrained._scaling("MobileNetV3Large") == "inside"
    assert pretrained._scaling("ResNet50V2") == "minus-one-one"
    assert pretrained._scaling("ResNet50") == "caffe"
