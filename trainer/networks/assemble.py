"""The network in training, and the encoder that it becomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.images.preprocessing import Preprocessing
from trainer.networks import stem as stems
from trainer.networks.pretrained import SMALL_CNN, Backbone, backbone, canonical
from trainer.networks.projections import fine_directions, principal_directions, projection, unit_rows, whitening
from trainer.networks.small_cnn import small_cnn

Tensor = Any
Array = NDArray[Any]

_COARSE = 16
"""Maps of this stride and more are pooled: finer ones say little about a whole picture."""

_PRINCIPAL_WEIGHT = 2.0

_HIDDEN = 512
"""Units between pooling and embedding in the experiment's head."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Which network is trained.

    Attributes:
        backbone: a name that `trainer.networks.pretrained.canonical` takes.
        size: input height and width, pixels.
        weights: as `trainer.networks.pretrained.backbone` takes them.
        freeze: up to where the backbone is frozen, see `trainer.networks.stem.freeze_point`.
        feature_crop: side of the random square crop of the cached feature map that a training step sees, relative to
            the map's, in (0, 1]. Another view at each step, for less work; serving sees the whole map.
        dimension: length of the embedding; each network of an ensemble after the first adds its head branch.
        head: ``linear`` for one dense layer; ``experiment`` for dropout and two, as the first experiment had.
        unit: whether embeddings have unit length while they are learned; served ones always have.
        features: the share of the embedding, in [0, 1), that is the feature branch: the trained backbone's features,
            projected to tell products apart. The rest is the head branch. What the head forgets, since no product in
            training needed it, is still in the feature branch.
        dropout: share of the pooled features that is dropped in training.
        ensemble: how many networks above one stem are trained one after the other and served together: their heads
            err on different photos.
        principal: length of a further branch, for products that come after training: the trained features along the
            directions in which they are largest, whatever tells the trained products apart. It weighs twice as much as
            the others, and beside it the feature branch has the directions behind the largest, whitened. 0 for none.
    """

    backbone: str = "EfficientNetLite0"
    size: int = 224
    weights: str = "imagenet"
    freeze: str = "16"
    feature_crop: float = 1.0
    dimension: int = 384
    head: Literal["linear", "experiment"] = "linear"
    unit: bool = True
    features: float = 2 / 3
    dropout: float = 0.0
    ensemble: int = 1
    principal: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network taken apart for training.

    Attributes:
        preprocessing: what pictures go through.
        stem: the frozen layers, pictures (n, size, size, 3) -> feature maps, which are cached; None where nothing is
            frozen.
        pooled: the stem's output (or pictures) -> pooled features (n, c).
        model: the same input -> embeddings of the head branch (n, d).
        shape: of the input for one picture in a training step; smaller than the stem's output by the feature crop.
        slow: paths of the pretrained variables.
        pretrained: whether its weights come from elsewhere.
        dimension: of the embedding that will be served, without the principal branch.
        principal: of that branch.
    """

    preprocessing: Preprocessing
    stem: Any
    pooled: Any
    model: Any
    shape: tuple[int, ...]
    slow: frozenset[str]
    pretrained: bool
    dimension: int
    principal: int = 0


def assemble(wanted: NetworkSpec) -> Network:
    """Build a network, load its weights and take it apart.

    Raises:
        UsageError: no such backbone, size, weights or layer to freeze up to.
    """
    name = canonical(wanted.backbone)
    if name == SMALL_CNN:
        return _small(wanted)
    base = backbone(name, size=wanted.size, weights=wanted.weights)
    if not base.pretrained and wanted.freeze != "none":
        raise UsageError(
            f"expected weights for the frozen layers of {name}, received --weights none",
            hint="Give --weights imagenet or a file, or train all of it: --freeze none",
        )
    return _assembled(base, wanted)


def start_head(network: Network, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Let a linear head begin as the whitening of the frozen features, instead of at random.

    Args:
        network: with a linear head.
        features: pooled features of the training pictures, shape (n, c).

    Returns:
        What that head makes of them: unit embeddings, shape (n, d).
    """
    head = network.model.get_layer("head")
    mean, matrix = whitening(features, head.units)
    projected = (features - mean) @ matrix
    scale = float(np.linalg.norm(projected, axis=1).mean())
    kernel = np.zeros((features.shape[1], head.units), np.float32)
    kernel[:, : matrix.shape[1]] = matrix / max(scale, 1e-12)
    head.set_weights([kernel])
    return unit_rows(features @ kernel)


def embedding_above(
    networks: Sequence[Network], seen: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None
) -> Any:
    """What is served above the pooled features: those of each network (n, c) -> unit embeddings (n, d),
    head branches and feature branch side by side.

    Args:
        networks: trained, above the same stem.
        seen: what decides the projection of the feature branch: `projections.joint` pooled features of the training
            pictures, shape (n, c), and the product of each, shape (n,). None for the head branches alone.
    """
    pooled = [keras.Input(network.pooled.output.shape[1:], name=f"pooled_{i}") for i, network in enumerate(networks)]
    # A head that learned without unit length is served with it; where it has it already this changes nothing.
    heads = [
        layers.UnitNormalization()(keras.Model(network.pooled.output, network.model.output)(features))
        for network, features in zip(networks, pooled, strict=True)
    ]
    embeddings = _together(heads)  # (n, d)
    if seen is not None:
        principal = networks[0].principal
        width = networks[0].dimension - embeddings.shape[-1]
        mean, matrix = fine_directions(seen[0], width, behind=principal // 2) if principal else projection(*seen, width)
        unit = [layers.UnitNormalization()(features) for features in pooled]
        project = layers.Dense(matrix.shape[1], name="projection")
        features = layers.Concatenate()(unit) if len(unit) > 1 else unit[0]
        projected = project(features)
        project.set_weights([matrix, -mean @ matrix])
        branches = [embeddings, layers.UnitNormalization()(projected)]
        if principal:
            directions = layers.Dense(principal, use_bias=False, name="principal")
            largest = directions(features)
            directions.set_weights([principal_directions(seen[0], principal)])
            branches.append(layers.Rescaling(_PRINCIPAL_WEIGHT)(layers.UnitNormalization()(largest)))
        embeddings = _together(branches)
    return keras.Model(pooled, embeddings, name="readout")


def encoder(networks: Sequence[Network], above: Any) -> Any:
    """The network that will be served: pictures (n, size, size, 3) -> unit embeddings (n, d).

    Args:
        networks: trained, above the same stem.
        above: their `embedding_above`.
    """
    first = networks[0]
    pictures = keras.Input((first.preprocessing.height, first.preprocessing.width, 3), name="pictures")
    low = first.stem(pictures) if first.stem is not None else pictures
    return keras.Model(pictures, above([network.pooled(low) for network in networks]), name="encoder")


def _together(vectors: Sequence[Tensor]) -> Tensor:
    """Unit vectors side by side, as one of unit length."""
    return vectors[0] if len(vectors) == 1 else layers.UnitNormalization()(layers.Concatenate()(vectors))


def in_batches(model: Any, batches: Iterable[Array]) -> NDArray[np.float32]:
    """A model's output for batches of input, as one array."""
    rows = [keras.ops.convert_to_numpy(model.predict_on_batch(np.asarray(batch, np.float32))) for batch in batches]
    return np.concatenate(rows).astype(np.float32, copy=False)


def _assembled(base: Backbone, wanted: NetworkSpec) -> Network:
    model = base.model
    at = stems.freeze_point(model, wanted.freeze)
    pooled = [layers.GlobalAveragePooling2D()(tensor) for tensor in stems.taps(model, at, coarsest_from=_COARSE)]
    features = pooled[0] if len(pooled) == 1 else layers.Concatenate()(pooled)  # (n, c)
    if at is None:
        stem, low = None, model.inputs[0]
    else:
        low = features if wanted.freeze == "all" else at
        stem = keras.Model(model.inputs, low, name="stem")
    trunk = keras.Model(low, features, name="trunk") if low is not features else None
    whole = tuple(low.shape[1:])
    shape = _seen(whole, wanted.feature_crop) if stem is not None else whole
    source = keras.Input(whole, name="features")
    if shape != whole:
        # Steps see less than serving does: the trained layers have to take maps of any size.
        source = keras.Input((None, None, whole[-1]), name="features")
        trunk = keras.models.clone_model(trunk, source, clone_function=lambda layer: layer)
    frozen_norms = base.pretrained
    for layer in model.layers:
        if frozen_norms and isinstance(layer, layers.BatchNormalization):
            layer.trainable = False  # statistics of small batches of few products would spoil it
    trunk_out = trunk(source) if trunk is not None else source
    pooled_model = keras.Model(source, trunk_out)
    head = keras.Model(source, _head(trunk_out, wanted), name="network")
    slow = (
        frozenset(v.path for v in trunk.trainable_variables) if trunk is not None and base.pretrained else frozenset()
    )
    return Network(
        base.preprocessing, stem, pooled_model, head, shape, slow, base.pretrained, _served(wanted), wanted.principal
    )


def _seen(shape: tuple[int, ...], crop: float) -> tuple[int, ...]:
    """What a step sees of a stem's output for one picture: of maps (h, w, c) a square; a vector (c,) whole."""
    *sides, channels = shape
    return (*(max(1, round(crop * side)) for side in sides), channels)


def _head(pooled: Tensor, wanted: NetworkSpec) -> Tensor:
    x = layers.Dropout(wanted.dropout)(pooled) if wanted.dropout else pooled
    width = _head_width(wanted)
    if wanted.head == "experiment":
        x = layers.Dense(_HIDDEN, activation="relu")(x)
        x = layers.Dense(width, name="head")(x)
    else:
        x = layers.Dense(width, use_bias=False, name="head")(x)
    # Keras finds the losses of an output by the name of its layer.
    return (layers.UnitNormalization if wanted.unit else layers.Identity)(name="embeddings")(x)


def _head_width(wanted: NetworkSpec) -> int:
    return wanted.dimension - round(wanted.features * wanted.dimension)


def _served(wanted: NetworkSpec) -> int:
    return wanted.dimension + (wanted.ensemble - 1) * _head_width(wanted)


def _small(wanted: NetworkSpec) -> Network:
    if wanted.weights not in ("none", "imagenet"):
        raise UsageError(
            f"expected {SMALL_CNN} to learn from nothing, received --weights {wanted.weights}",
            hint="Leave --weights out, or name another backbone.",
        )
    preprocessing = Preprocessing(wanted.size, wanted.size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    model = small_cnn(size=wanted.size, dimension=_head_width(wanted), dropout=wanted.dropout or 0.1)
    pooled = keras.Model(model.inputs, model.get_layer("statistics").output)
    shape = tuple(model.input_shape[1:])
    return Network(preprocessing, None, pooled, model, shape, frozenset(), False, _served(wanted))
