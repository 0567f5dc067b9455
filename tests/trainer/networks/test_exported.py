"""A training may begin at the weights of a model that was exported."""

import numpy as np
import pytest

from retrieval.errors import UsageError
from retrieval.models.bundle import read_bundle
from retrieval.models.installed import starter_path
from tests.lazily import lazily

keras = lazily("keras")
efficientnet_lite = lazily("trainer.networks.efficientnet_lite")
backbone, model_named = lazily("trainer.networks.pretrained", "backbone", "model_named")


@pytest.fixture(scope="module")
def encoder():
    return read_bundle(starter_path()).encoder_file


@pytest.fixture(scope="module")
def begun():
    return backbone("EfficientNetLite0", size=64, weights="starter")


def test_it_computes_what_the_model_computes(begun, encoder):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(encoder),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    pictures = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [1, 64, 64, 3])
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pictures)
    interpreter.invoke()
    [last] = [t for t in interpreter.get_tensor_details() if "head_relu" in t["name"] and len(t["shape"]) == 4]
    expected = interpreter.get_tensor(last["index"])
    received = keras.ops.convert_to_numpy(begun.model(pictures))
    assert expected.max() > 1
    np.testing.assert_allclose(received, expected, atol=1e-3)


def test_what_was_frozen_is_as_it_was_and_what_learned_is_not(begun):
    before = efficientnet_lite.build("EfficientNetLite0", size=64)
    efficientnet_lite.load_imagenet(before)

    def moved(layer):
        kernel = before.get_layer(layer).get_weights()[0]
        return np.abs(begun.model.get_layer(layer).get_weights()[0] - kernel).max() / np.abs(kernel).max()

    assert moved("block3_depthwise_conv") < 1e-3
    assert moved("block12_expand_conv") > 1e-2


def test_another_network_is_refused(tiny_bundle):
    with pytest.raises(UsageError, match="layers of EfficientNetLite0 to begin with"):
        backbone("EfficientNetLite0", size=64, weights=str(tiny_bundle.path))
    with pytest.raises(UsageError, match="weights file of MobileNetV2, received a model"):
        backbone("MobileNetV2", size=96, weights=str(tiny_bundle.path))


def test_a_model_is_told_from_a_file_of_weights(tiny_bundle, tmp_path):
    assert model_named("starter").path == starter_path()
    assert model_named(str(tiny_bundle.path)) == tiny_bundle
    assert model_named(str(tmp_path)) is None
    assert model_named("imagenet") is None
