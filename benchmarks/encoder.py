"""What one call should hold, what threads gain, and what a start costs.

    python benchmarks/encoder.py [--model NAME_OR_PATH] [--pictures 32] [--rounds 5]

Prints, for a bundle in LiteRT: pictures/s and CPU time (which a busy machine disturbs less) for batches
of 1 to 16, and what the first call of each costs; two encoders in two threads against one; the
normalization of pixels; verification. Then, in new processes: importing numpy, and numpy with the runtime.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from retrieval.models.bundle import Bundle, read_bundle
from retrieval.models.encoder import load_encoder
from retrieval.models.installed import resolve_model
from retrieval.models.runtimes.base import Network
from retrieval.models.runtimes.open import open_network

BATCHES = (1, 2, 4, 8, 16)


def best(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest round: the one that was disturbed least."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def batches(bundle: Bundle, x: np.ndarray, rounds: int) -> None:
    """Alternates between the batch sizes, so that whatever else the machine does meets all of them."""
    for threads in (1, 2):
        networks = {batch: open_network(bundle.encoder_file, bundle.runtime, threads=threads) for batch in BATCHES}
        first = {batch: best(partial(run, networks[batch], x[:batch], batch), 1) for batch in BATCHES}
        seconds = dict.fromkeys(BATCHES, float("inf"))
        busy = dict.fromkeys(BATCHES, float("inf"))
        for _ in range(rounds):
            for batch in BATCHES:
                before = time.process_time()
                seconds[batch] = min(seconds[batch], best(partial(run, networks[batch], x, batch), 1))
                busy[batch] = min(busy[batch], time.process_time() - before)
        for batch in BATCHES:
            print(
                f"threads {threads}, batch {batch:2}: {len(x) / seconds[batch]:7.1f} pictures/s, "
                f"{busy[batch] / len(x) * 1e3:7.3f} ms of CPU a picture, first call {first[batch] * 1e3:6.1f} ms"
            )


def run(network: Network, x: np.ndarray, batch: int) -> None:
    for start in range(0, len(x), batch):
        network.run(x[start : start + batch], 0)


def concurrency(bundle: Bundle, pixels: np.ndarray, rounds: int) -> None:
    encoders = [load_encoder(bundle) for _ in range(2)]
    for encoder in encoders:
        encoder.encode(pixels[:1])
    one = best(lambda: encoders[0].encode(pixels), rounds)

    def both() -> None:
        workers = [threading.Thread(target=encoder.encode, args=(pixels,)) for encoder in encoders]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    two = best(both, rounds)
    rates = f"one thread {len(pixels) / one:.1f} pictures/s, two {2 * len(pixels) / two:.1f}"
    print(f"{rates}: x {2 * one / two:.2f}, which the GIL would hold at 1")


def start(code: str, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="an installed model or a bundle; the starter by default")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    bundle = resolve_model(args.model)
    p = bundle.preprocessing
    pixels = np.random.default_rng(0).integers(0, 256, (args.pictures, p.height, p.width, 3), dtype=np.uint8)
    x = p.tensor(pixels)
    print(f"{bundle.name}: {p.height}x{p.width}, {bundle.dimension} values, {bundle.encoder_bytes / 1e6:.1f} MB")
    if bundle.readout.one_by_one:
        print("the network takes one picture at a time: no batches to compare")
    else:
        batches(bundle, x, args.rounds)
    concurrency(bundle, pixels, args.rounds)
    seconds = best(lambda: p.tensor(pixels), args.rounds)
    print(f"normalizing pixels: {seconds / len(pixels) * 1e3:.3f} ms/picture")
    print(f"reading and verifying the bundle: {best(lambda: read_bundle(bundle.path), args.rounds) * 1e3:.1f} ms")
    bare = start("import numpy", args.rounds)
    with_runtime = start("import numpy, ai_edge_litert.interpreter", args.rounds)
    print(f"new process: numpy {bare * 1e3:.0f} ms, with the runtime {with_runtime * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
