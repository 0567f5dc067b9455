"""Export Keras's MobileNetV2 (ImageNet, without its classifier) as a `.tflite` image encoder.

`--weights imagenet` lets Keras download its own; a file is one that `keras.applications.MobileNetV2`
without its classifier can load. No weights come with itemrec. The encoder takes float32
(n, 224, 224, 3) in [-1, 1] and gives (n, 1280):

    python benchmarks/mobilenet_tflite.py --weights imagenet --out mobilenetv2.tflite
    itemrec models import mobilenetv2.tflite --name mobilenetv2 --preset minus-one-one
"""

from __future__ import annotations

import argparse
from pathlib import Path


def export(weights: str, size: int) -> bytes:
    import keras
    import tensorflow as tf

    model = keras.applications.MobileNetV2(
        input_shape=(size, size, 3),
        include_top=False,
        weights="imagenet" if weights == "imagenet" else None,
        pooling="avg",
    )
    if weights != "imagenet":
        model.load_weights(weights)
    # From the model, not from a traced function of it: that one would leave the weights behind.
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    content: bytes = converter.convert()
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="imagenet, or a file of Keras weights without the classifier")
    parser.add_argument("--out", type=Path, required=True, help="where to write the .tflite")
    parser.add_argument("--size", type=int, default=224, help="input side in pixels")
    args = parser.parse_args()
    content = export(args.weights, args.size)
    args.out.write_bytes(content)
    print(f"{args.out}: {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
