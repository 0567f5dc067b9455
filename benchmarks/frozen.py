"""Write a backbone as it comes, frozen, as a bundle: ImageNet features of a picture, nothing learned from yours.

    python benchmarks/frozen.py --backbone EfficientNetLite0 --out lite0
    python benchmarks/projection.py GROCERY --model lite0

The weights are those of the extra ``train``, or a file; see `itemrec train --backbone`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from retrieval.models.bundle import write_bundle
from retrieval.models.inspection import probe_pictures
from trainer.quiet import import_keras


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    import_keras()
    import keras

    from trainer.networks.assemble import NetworkSpec, assemble
    from trainer.networks.export import export_litert

    network = assemble(
        NetworkSpec(backbone=given.backbone, size=given.size, weights=given.weights, freeze="all", features=0.0)
    )
    unit = keras.Model(network.stem.inputs, keras.layers.UnitNormalization()(network.stem.output))
    probes = probe_pictures(network.preprocessing.height, network.preprocessing.width)
    export = export_litert(unit, network.preprocessing, probes)
    bundle = write_bundle(
        given.out,
        name=given.out.name,
        encoder=export.model,
        runtime="litert",
        preprocessing=network.preprocessing,
        dimension=int(unit.output.shape[-1]),
        source=f"{given.backbone}, weights {given.weights}, frozen",
        replace=True,
    )
    print(f"{bundle.path}: {bundle.dimension} values, {bundle.encoder_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
