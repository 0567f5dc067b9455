"""Cold start: a new process per measurement, alternating, medians and ratios.

`itemrec query photo.jpg` on a 10,000-image index against a bare script that imports the
runtime, opens the same model and embeds the same photo; `itemrec --help` against
`python -c "import typer, rich"`.

    python benchmarks/cold.py [--images 10000] [--rounds 15] [--beside OTHER/.venv/bin/itemrec]

With ``--beside`` another installation, of an earlier commit say, answers the same questions in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from retrieval.distance import normalize
from retrieval.index.open import open_index
from retrieval.models.installed import resolve_model
from retrieval.types import IndexedImage, Point, image_id
from trainer.synthetic import draw_products, photograph

BARE = """
import sys
import numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
model, photo, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
interpreter = Interpreter(model_path=model, num_threads=2)
interpreter.allocate_tensors()
pixels = np.asarray(Image.open(photo).convert("RGB").resize((side, side)), dtype=np.float32)[None] / 255
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).shape)
"""


def build(folder: Path, images: int) -> tuple[Path, Path]:
    """An index of random unit vectors of the starter model's dimension, and a photo."""
    bundle = resolve_model(None, index_model=None)
    rng = np.random.default_rng(0)
    vectors = normalize(rng.standard_normal((images, bundle.dimension)))
    location = folder / "index"
    with open_index(str(location)).writer(bundle.identity) as build:
        points = []
        for n, vector in enumerate(vectors):
            product, image = f"product-{n // 20}", f"product-{n // 20}/{n}.jpg"
            record = IndexedImage(image_id(product, image), product, image, f"{n:064x}", {"name": product})
            points.append(Point(record, vector))
        for start in range(0, images, 1000):
            build.store.upsert(points[start : start + 1000])
        build.commit(catalog=str(folder), metadata_keys=["name"])
    photo = folder / "photo.jpg"
    photograph(draw_products(1, seed=3)[0], seed=1).save(photo, quality=90)
    return location, photo


def timed(command: list[str]) -> float:
    """Wall seconds of one process; exit codes 0 and 1 are answers."""
    # An installed package is compiled; so is a checkout after its first run, unless bytecode is forbidden.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - start
    if done.returncode > 1:
        raise SystemExit(f"{command}: {done.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--beside", metavar="ITEMREC", help="the itemrec of another installation")
    options = parser.parse_args()
    itemrec = str(Path(sys.executable).parent / "itemrec")
    bundle = resolve_model(None, index_model=None)
    with tempfile.TemporaryDirectory() as temporary:
        side = str(bundle.preprocessing.width)
        location, photo = build(Path(temporary), options.images)
        commands = {
            "bare script": [sys.executable, "-c", BARE, str(bundle.encoder_file), str(photo), side],
            "itemrec query": [itemrec, "query", str(photo), "--index", str(location)],
            "import typer, rich": [sys.executable, "-c", "import typer, rich"],
            "itemrec --help": [itemrec, "--help"],
        }
        if options.beside:
            commands["query beside"] = [options.beside, *commands["itemrec query"][1:]]
            commands["--help beside"] = [options.beside, "--help"]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for round_number in range(options.rounds + 1):
            for name, command in commands.items():
                taken = timed(command)
                if round_number:  # the first round only warms the page cache
                    seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"cold processes, median of {options.rounds}, index of {options.images:,} images")
    for name, value in medians.items():
        print(f"  {name:20} {value * 1e3:7.0f} ms")
    print(f"  query / bare script: {medians['itemrec query'] / medians['bare script']:.2f} (target <= 2)")
    print(f"  help / imports:      {medians['itemrec --help'] / medians['import typer, rich']:.2f} (target <= 2)")
    if options.beside:
        print(f"  query / query beside: {medians['itemrec query'] / medians['query beside']:.2f}")
        print(f"  help / help beside:   {medians['itemrec --help'] / medians['--help beside']:.2f}")


if __name__ == "__main__":
    main()
