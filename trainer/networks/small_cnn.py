"""Networks from normalized pictures to unit embeddings."""

from __future__ import annotations

from typing import Any

from keras import Input, Model, layers, ops

Tensor = Any


def small_cnn(*, size: int, dimension: int = 128, width: int = 32, dropout: float = 0.1) -> Any:
    """A small residual network for training from scratch on a CPU.

    Regular 3x3 convolutions throughout: on CPUs they train faster than depthwise ones of
    the same accuracy. Each stage is read out twice, as the mean and the standard deviation
    of its maps: the early ones keep texture, which a deep average washes out. A side branch
    of 1x1 convolutions on the shrunken picture, averaged, is a color histogram whose bins
    are learned.

    Args:
        size: input height and width, pixels; a multiple of 16. The weights fit any size.
        dimension: length of the embedding.
        width: channels of the first stage; later ones have 2, 4 and 6 times as many.
        dropout: share of the pooled statistics that is dropped in training.

    Initial weights follow `keras.utils.set_random_seed`.

    Returns:
        A Keras model from float32 (n, size, size, 3) to unit vectors (n, dimension).
    """
    pictures = Input((size, size, 3), name="pictures")
    pooled = [_color_words(pictures, width)]  # (n, 2 * width)
    x = _conv(pictures, width // 2, stride=2)  # (n, size/2, size/2, width/2)
    x = _conv(x, width, stride=2)  # (n, size/4, size/4, width)
    for stage, channels in enumerate((width, 2 * width, 4 * width, 6 * width)):
        if stage > 0:
            x = _conv(x, channels, stride=2)
        x = _residual(x, channels)  # (n, size/4/2^stage, same, channels)
        pooled.append(_statistics(x))
    statistics = layers.Concatenate()(pooled)  # (n, 28 * width)
    statistics = layers.BatchNormalization()(statistics)
    statistics = layers.Dropout(dropout, name="statistics")(statistics)
    embeddings = layers.Dense(dimension, use_bias=False)(statistics)  # (n, dimension)
    return Model(pictures, layers.UnitNormalization(name="embeddings")(embeddings), name="small_cnn")


def _conv(x: Tensor, channels: int, *, stride: int = 1, activate: bool = True) -> Tensor:
    x = layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if activate else x


def _residual(x: Tensor, channels: int) -> Tensor:
    y = _conv(x, channels)
    y = _conv(y, channels, activate=False)
    return layers.ReLU()(layers.Add()([x, y]))


def _color_words(pictures: Tensor, width: int) -> Tensor:
    """How much of the picture each learned color covers: (n, size, size, 3) -> (n, 2 * width)."""
    x = layers.AveragePooling2D(4)(pictures)  # (n, size/4, size/4, 3)
    x = layers.Conv2D(width, 1, activation="relu")(x)
    x = layers.Conv2D(2 * width, 1, activation="relu")(x)
    return layers.GlobalAveragePooling2D()(x)


def _statistics(x: Tensor) -> Tensor:
    """Mean and standard deviation of each map: (n, h, w, c) -> (n, 2c)."""
    mean = ops.mean(x, axis=(1, 2))
    variance = ops.maximum(ops.mean(ops.square(x), axis=(1, 2)) - ops.square(mean), 0.0)
    return layers.Concatenate()([mean, ops.sqrt(variance + 1e-5)])
