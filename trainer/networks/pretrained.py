"""Backbones of `keras.applications` and EfficientNet-Lite by name: network, weights, what pictures go through."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from retrieval.errors import UsageError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import DESCRIPTION, Bundle, read_bundle
from retrieval.models.installed import STARTER, starter_path
from retrieval.system.text import printable
from trainer.networks import efficientnet_lite
from trainer.networks.exported import load_exported

SMALL_CNN = "small-cnn"

_ANY_SIZE = 96
"""Pixels: weights do not depend on it, and every network takes so many."""

_Scaling = Literal["minus-one-one", "imagenet", "caffe", "lite", "inside"]

# By family, the longest prefix decides. `inside`: the network scales by itself.
_SCALINGS: dict[str, _Scaling] = {
    "ConvNeXt": "inside",
    "DenseNet": "imagenet",
    "EfficientNet": "inside",
    "EfficientNetLite": "lite",
    "Inception": "minus-one-one",
    "MobileNet": "minus-one-one",
    "MobileNetV3": "inside",
    "NASNet": "minus-one-one",
    "ResNet": "caffe",
    "ResNet101V2": "minus-one-one",
    "ResNet152V2": "minus-one-one",
    "ResNet50V2": "minus-one-one",
    "VGG": "caffe",
    "Xception": "minus-one-one",
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network from pictures to feature maps.

    Attributes:
        name: its canonical name: one of `backbone_names`.
        model: Keras model, float32 (n, size, size, 3) -> (n, h, w, channels).
        preprocessing: what its input goes through.
        pretrained: whether its weights come from elsewhere; an untrained stem is not worth freezing.
    """

    name: str
    model: Any
    preprocessing: Preprocessing
    pretrained: bool


def backbone_names() -> list[str]:
    """Every name that `backbone` takes."""
    found = [name for name in vars(keras.applications) if name[:1].isupper() and _scaling(name) is not None]
    return [SMALL_CNN, *sorted([*found, *efficientnet_lite.NAMES])]


def canonical(name: str) -> str:
    """The exact spelling of a backbone's name; case, dashes and underscores do not matter.

    Raises:
        UsageError: there is none of that name; names the nearest.
    """
    names = {_plain(known): known for known in backbone_names()}
    found = names.get(_plain(name))
    if found is None:
        near = difflib.get_close_matches(_plain(name), names, n=3)
        raise UsageError(
            f"expected a backbone of keras.applications, EfficientNetLite or {SMALL_CNN}, received {printable(name)!r}",
            hint=f"Did you mean {', '.join(names[n] for n in near)}?"
            if near
            else f"One of: {', '.join(names.values())}",
        )
    return found


def backbone(name: str, *, size: int, weights: str) -> Backbone:
    """Build a pretrained backbone and load its weights.

    Args:
        name: as `canonical` takes it; not ``small-cnn``, which is `trainer.networks.small_cnn.small_cnn`.
        size: input height and width, pixels.
        weights: ``imagenet`` (EfficientNet-Lite has them in packages, Keras fetches the others once and keeps them),
            ``none``, the path of a ``.weights.h5`` file of the network without its top, or, for EfficientNet-Lite, of
            a model that was trained with it: a bundle's directory, or ``starter`` for the built-in one.

    Raises:
        UsageError: no such network, a size that it does not take, or weights that are not there or do not fit.
    """
    name = canonical(name)
    if name in efficientnet_lite.NAMES:
        return _lite(name, size, weights)
    build = getattr(keras.applications, name)
    try:
        model = build(include_top=False, weights=None, input_shape=(size, size, 3))
    except ValueError as error:
        raise UsageError(
            f"expected an input size that {name} takes, received {size} pixels: {error}",
            hint="Give a larger --size, or leave it out.",
        ) from error
    if weights == "imagenet":
        model = _with_imagenet(build, name, size)
    elif weights != "none":
        _load(model, name, Path(weights))
    scaling = _scaling(name)
    if scaling == "caffe":
        _take_rgb(model)
    return Backbone(name, model, _preprocessing(scaling, size), weights != "none")


def made_for(file: Path, names: Iterable[str]) -> str | None:
    """Which of some backbones a weights file was made for, by the shapes in it.

    Args:
        file: a ``.weights.h5`` file, or what is taken for one.
        names: canonical names.

    Returns:
        The first that has weights of just these shapes; None where none has, or the file cannot be read.
    """
    import h5py

    shapes: Counter[tuple[int, ...]] = Counter()

    def count(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[item.shape] += 1

    try:
        with h5py.File(file) as content:
            content.visititems(count)
    except (OSError, RuntimeError):
        return None
    for name in names:
        model = backbone(name, size=_ANY_SIZE, weights="none").model
        if shapes == Counter(tuple(weight.shape) for weight in model.weights):
            return name
    return None


def _lite(name: str, size: int, weights: str) -> Backbone:
    model = efficientnet_lite.build(name, size=size)
    if weights == "imagenet":
        efficientnet_lite.load_imagenet(model)
    elif (start := model_named(weights)) is not None:
        load_exported(model, start.encoder_file)
    elif weights != "none":
        _load(model, name, Path(weights))
    return Backbone(name, model, _preprocessing("lite", size), weights != "none")


def model_named(weights: str) -> Bundle | None:
    """The model that initial weights are of; None where they are a file's, or ImageNet's."""
    if weights == STARTER:
        return read_bundle(starter_path())
    return read_bundle(Path(weights)) if (Path(weights) / DESCRIPTION).is_file() else None


def _with_imagenet(build: Any, name: str, size: int) -> Any:
    try:
        return build(include_top=False, weights="imagenet", input_shape=(size, size, 3))
    except Exception as error:  # Keras raises a bare Exception where a download fails
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"Keras has no ImageNet weights of {name} in its cache and cannot download them: {reason}",
            hint=(
                "Ways out: run once with a network (Keras keeps them in ~/.keras/models); copy that file here "
                "and give --weights PATH.weights.h5; take one whose weights are installed: --backbone "
                "EfficientNetLite0; or train without any: --backbone small-cnn."
            ),
        ) from error


def _load(model: Any, name: str, path: Path) -> None:
    if model_named(str(path)) is not None:
        raise UsageError(
            f"expected a weights file of {name}, received a model, {printable(path.name)}",
            hint=f"Trainings of {', '.join(efficientnet_lite.NAMES)} begin at a model; leave --backbone out.",
        )
    if not path.is_file():
        raise UsageError(
            f"expected --weights imagenet, none or a weights file, received nothing at {printable(path)}",
            hint="A file ends in .weights.h5 and holds the network without its top.",
        )
    if path.suffix not in (".h5", ".hdf5"):
        raise UsageError(
            f"expected a weights file that ends in .weights.h5, received {printable(path.name)}",
            hint="Save one with model.save_weights('NAME.weights.h5'); whole models may carry code and are not read.",
        )
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise whatever they meet
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(
            f"expected weights of {name} without its top, received {printable(path.name)}, which do not fit: {reason}",
            hint="Name the backbone that the file was made for with --backbone.",
        ) from error


def _take_rgb(model: Any) -> None:
    """Turn the first convolution around: these networks were trained on BGR, and pictures come as RGB."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, *rest = layer.get_weights()  # (h, w, 3, channels)
            layer.set_weights([np.ascontiguousarray(kernel[:, :, ::-1]), *rest])
            return


def _preprocessing(scaling: _Scaling | None, size: int) -> Preprocessing:
    if scaling == "minus-one-one":
        return Preprocessing(size, size, scale=1.0 / 127.5, mean=(1.0, 1.0, 1.0))
    if scaling == "lite":
        return Preprocessing(size, size, scale=1.0 / 128, mean=(127 / 128, 127 / 128, 127 / 128))
    if scaling == "imagenet":
        return Preprocessing(size, size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    if scaling == "caffe":
        return Preprocessing(size, size, scale=1.0, mean=(123.68, 116.779, 103.939))
    return Preprocessing(size, size, scale=1.0)


def _scaling(name: str) -> _Scaling | None:
    fitting = [family for family in _SCALINGS if name.startswith(family)]
    return _SCALINGS[max(fitting, key=len)] if fitting else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
