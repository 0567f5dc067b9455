"""Small datasets of drawn pictures on disk, a backbone that converts in a second, and random weights."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def striped(colors, rng, size=48):
    """A picture of a product: two colors in stripes, shifted and lit by chance."""
    stripe = ((np.arange(size) + rng.integers(0, 8)) // 4) % 2
    row = colors[stripe] * rng.uniform(0.8, 1.1)
    picture = np.clip(np.broadcast_to(row[None], (size, size, 3)) + rng.normal(0, 3, (size, size, 3)), 0, 255)
    return Image.fromarray(picture.astype(np.uint8))


def write_dataset(folder: Path, *, products=8, splits=None, seed=0) -> Path:
    """``folder/<split>/<product>/<n>.png``; 6 pictures a product to train on and 4 to validate on by default."""
    rng = np.random.default_rng(seed)
    for product in range(products):
        colors = rng.integers(20, 235, (2, 3))
        for split, count in (splits or {"train": 6, "val": 4}).items():
            place = folder / split / f"p{product:02}"
            place.mkdir(parents=True)
            for n in range(count):
                striped(colors, rng).save(place / f"{n}.png")
    return folder


def write_weights(file: Path) -> Path:
    """Random weights of MobileNetV2 without its top, as a file that `--weights` takes."""
    file.write_bytes(_weights())
    return file


@functools.cache
def _weights(size=64) -> bytes:
    import keras

    keras.utils.set_random_seed(3)
    model = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(size, size, 3))
    # Statistics of real batches: without them activations die out on their way through fifty random layers.
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    pictures = np.random.default_rng(0).uniform(-1, 1, (16, size // 8, size // 8, 3)).astype(np.float32)
    model(pictures.repeat(8, axis=1).repeat(8, axis=2), training=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.weights.h5"
        model.save_weights(file)
        return file.read_bytes()


def tiny_backbone(name, *, size, weights):
    """Stands in for `pretrained.backbone`: five convolutions, strides 2 to 32, weights of a fixed seed."""
    import keras

    from retrieval.images.preprocessing import Preprocessing
    from trainer.networks.pretrained import Backbone

    keras.utils.set_random_seed(7)
    x = pictures = keras.Input((size, size, 3))
    for step, channels in enumerate((8, 12, 16, 16, 24)):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", name=f"conv{step}", activation="relu")(x)
    preprocessing = Preprocessing(size, size, scale=1 / 127.5, mean=(1.0, 1.0, 1.0))
    return Backbone(name, keras.Model(pictures, x), preprocessing, weights != "none")


def short_cnn(*, size, dimension=128, width=32, dropout=0.1):
    """`small_cnn` with one of each of its parts: a third of the layers to trace, to compile and to convert."""
    from keras import Input, Model, layers

    from trainer.networks.small_cnn import _color_words, _conv, _residual, _statistics

    pictures = Input((size, size, 3), name="pictures")
    x = _residual(_conv(pictures, width, stride=4), width)
    statistics = layers.Concatenate()([_color_words(pictures, width), _statistics(x)])
    statistics = layers.BatchNormalization()(statistics)
    statistics = layers.Dropout(dropout, name="statistics")(statistics)
    embeddings = layers.Dense(dimension, use_bias=False)(statistics)
    return Model(pictures, layers.UnitNormalization(name="embeddings")(embeddings), name="short_cnn")


def forward(model, tensor):
    """What a Keras model makes of a batch, layer by layer: for once, tracing takes longer than computing."""
    import keras

    return keras.ops.convert_to_numpy(model(tensor, training=False))
