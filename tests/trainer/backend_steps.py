"""Run under a KERAS_BACKEND: every loss on fixed inputs, and training steps with each; prints one JSON document."""

import json

import keras
import numpy as np

from tests.trainer.datasets import short_cnn
from trainer.loop.loop import Schedule, compiled
from trainer.losses import DEFAULT_LOSS, LOSSES, build_losses, pair_metrics

PRODUCTS, VIEWS, STEPS = 6, 4, 3
LABELS = np.repeat(np.arange(PRODUCTS), VIEWS)


def fixed_inputs():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(len(LABELS), 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = rng.uniform(-1, 1, (len(LABELS), PRODUCTS))
    return {"embeddings": embeddings.astype("float32"), "cosines": cosines.astype("float32")}


def equal_choices():
    """Pictures of a product coincide and products are equally far: whichever triplets are drawn, one loss."""
    return {"embeddings": 0.2 * np.eye(PRODUCTS, dtype="float32")[LABELS]}


def rows(name):
    inputs = equal_choices() if name == "triplet-random" else fixed_inputs()
    return {
        head: keras.ops.convert_to_numpy(whole(loss)(LABELS, keras.ops.convert_to_tensor(inputs[head]))).tolist()
        for head, loss in build_losses(name).losses.items()
    }


def whole(function):
    """Compiled in one piece where each operation would be compiled alone: by JAX."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def statistics():
    metrics = pair_metrics()
    for metric in metrics:
        metric.update_state(LABELS, keras.ops.convert_to_tensor(fixed_inputs()["embeddings"]))
    return {metric.name: float(metric.result()) for metric in metrics}


def dense():
    """A small head: (n, 12) -> unit embeddings (n, 8)."""
    source = keras.Input((12,))
    hidden = keras.layers.Dense(16, activation="tanh")(source)
    return keras.Model(source, keras.layers.UnitNormalization(name="embeddings")(keras.layers.Dense(8)(hidden)))


def set_weights(model):
    """The same weights on every backend, whose generators of chance differ; unit columns for products."""
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        values = rng.normal(size=weight.shape) / np.sqrt(weight.shape[0])
        if "cosines" in weight.path:
            values /= np.linalg.norm(values, axis=0, keepdims=True)
        weight.assign(values.astype("float32"))


def steps(name, encoder):
    """Steps of a network with a loss: what they cost, and how far each weight moved. The rate begins at 0."""
    schedule = Schedule(epochs=1, learning_rate=1e-2, warmup=0.0)
    model = compiled(encoder, build_losses(name), schedule, PRODUCTS, total=STEPS)
    set_weights(model)
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    x = np.random.default_rng(1).normal(size=(len(LABELS), *encoder.input_shape[1:])).astype("float32")
    targets = dict.fromkeys(model.output_names, LABELS)
    logs = [model.train_on_batch(x, targets, return_dict=True) for _ in range(STEPS)]
    after = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    moved = [float(np.abs(a - b).max()) for a, b in zip(after, before, strict=True)]
    return {"losses": [float(log["loss"]) for log in logs], "moved": moved, "op_by_op": not model.jit_compile}


def document():
    """All of it, on the backend of this process."""
    keras.utils.set_random_seed(0)
    return {
        "backend": keras.backend.backend(),
        "rows": {name: rows(name) for name in LOSSES},
        "statistics": statistics(),
        "steps": {name: steps(name, dense()) for name in LOSSES}
        | {"short_cnn": steps(DEFAULT_LOSS, short_cnn(size=16, dimension=8, width=2, dropout=0.0))},
    }


if __name__ == "__main__":
    print(json.dumps(document()))
