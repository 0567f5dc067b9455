"""What a photo costs through `itemrec serve`, beside a process of `itemrec query` each.

    python benchmarks/serve.py GROCERY [--requests 400] [--clients 4]

GROCERY holds ``catalog/`` and ``photos/val/``. An index of the catalog is made, then the same photos are asked with a
process each and over HTTP: CPU seconds a photo of both (the service's own, from /proc), latencies at one and at several
clients beside the time that the network took, and what the service's memory grew by.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path
from queue import Queue

import httpx
import numpy as np

ITEMREC = Path(sys.executable).parent / "itemrec"
TICKS = os.sysconf("SC_CLK_TCK")
PROCESSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grocery", type=Path)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    photos = sorted((options.grocery / "photos" / "val").glob("*/*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        index = f"{folder}/index"
        run("index", options.grocery / "catalog", "--index", index, "--quiet")
        each = processes(photos[:PROCESSES], index)
        service = subprocess.Popen(
            [ITEMREC, "serve", "--index", index, "--port", "0"], stderr=subprocess.PIPE, text=True
        )
        try:
            assert service.stderr is not None
            address = service.stderr.readline().split(" at ")[1].strip()
            ask(address, photos[:50], 1)
            before = cpu(service.pid)
            alone, embed = ask(address, list(islice(cycle(photos), options.requests)), 1)
            one = (cpu(service.pid) - before) / options.requests
            memory = resident(service.pid)
            before = cpu(service.pid)
            many, _ = ask(address, list(islice(cycle(photos), options.requests)), options.clients)
            several = (cpu(service.pid) - before) / options.requests
            grown = resident(service.pid) - memory
        finally:
            service.terminate()
            service.wait()
    print(f"{'':28}{'CPU ms a photo':>15}{'p50 ms':>9}{'p95 ms':>9}")
    print(f"{'a process of query each':28}{1e3 * each:15.1f}")
    print(f"{'serve, 1 client':28}{1e3 * one:15.1f}{percentile(alone, 50):9.1f}{percentile(alone, 95):9.1f}")
    name = f"serve, {options.clients} clients"
    print(f"{name:28}{1e3 * several:15.1f}{percentile(many, 50):9.1f}{percentile(many, 95):9.1f}")
    print(f"\na process each / serve, CPU: {each / one:.1f}")
    print(f"network alone, p50 as the service measured it: {percentile(embed, 50):.1f} ms")
    print(f"memory: {memory / 2**20:.0f} MiB, grown by {grown / 2**20:.1f} MiB over {options.requests:,} requests more")


def run(*words: object) -> None:
    subprocess.run([ITEMREC, *map(str, words)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processes(photos: list[Path], index: str) -> float:
    """CPU seconds a photo with a process each."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for photo in photos:
        run("query", photo, "--index", index, "--json")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(photos)


def ask(address: str, photos: list[Path], clients: int) -> tuple[list[float], list[float]]:
    """Seconds a request, and of its network, for photos that some clients ask at once."""
    waiting: Queue[Path] = Queue()
    for photo in photos:
        waiting.put(photo)
    taken: list[float] = []
    embed: list[float] = []

    def client() -> None:
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as http:
            while not waiting.empty():
                data = waiting.get().read_bytes()
                start = time.perf_counter()
                answered = http.post("v1/recognize", content=data, headers={"content-type": "image/jpeg"})
                taken.append(time.perf_counter() - start)
                answered.raise_for_status()
                embed.append(answered.json()["results"][0]["timings_ms"]["embed"] / 1e3)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, embed


def percentile(seconds: list[float], share: float) -> float:
    return float(1e3 * np.percentile(seconds, share))


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
