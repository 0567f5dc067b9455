"""How many of 10,000 requests to `itemrec serve` are lost or mixed while the index changes under it; what memory does.

    python benchmarks/serve_switches.py [--requests 10000] [--clients 4] [--model BUNDLE] [--memory 0]

A catalog of drawn products says of each, in a column of its table, which state it is in. While clients ask the
service without pause, `itemrec index` writes the other state (a new generation), `itemrec rollback` brings the one
before back, and so on. An answer is *lost* when it is an error or none, *mixed* when its products are of two states,
*wrong* when the photo's own product does not come first. With ``--memory N`` as many requests more are asked at a
standing index, and the service's resident memory is printed ten times meanwhile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import httpx

ITEMREC = Path(sys.executable).parent / "itemrec"
ROOT = Path(__file__).resolve().parents[1]


class Asked:
    """Clients that ask without pause while the context is open, and what became of their questions.

    Attributes:
        answers: how many came.
        lost: errors, and connections that were cut.
        mixed: answers whose products are of two states of the catalog.
        wrong: answers whose first product is another one.
        states: answers by state.
        faults: what was said of the first few that were lost.
    """

    def __init__(self, address: str, photos: Mapping[Path, str], *, clients: int, most: int = sys.maxsize) -> None:
        self.answers = self.lost = self.mixed = self.wrong = 0
        self.states: Counter[str] = Counter()
        self.faults: list[str] = []
        self._address = address
        self._photos = [(path.read_bytes(), product) for path, product in photos.items()]
        self._most = most
        self._next = count()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Asked:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def going_on(self) -> bool:
        """True while a client asks."""
        return any(thread.is_alive() for thread in self._threads)

    def wait_for(self, answers: int) -> None:
        """Wait until so many more answers came."""
        wanted = self.answers + answers
        while self.answers < wanted and self.going_on:
            time.sleep(0.005)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._address, timeout=120, trust_env=False) as client:
            while not self._over.is_set() and (number := next(self._next)) < self._most:
                data, product = self._photos[number % len(self._photos)]
                try:
                    response = client.post("v1/recognize?top=5", content=data, headers={"content-type": "image/png"})
                    response.raise_for_status()
                    (result,) = response.json()["results"]
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    with self._lock:
                        self.lost += 1
                        self.faults = [*self.faults, repr(error)][:3]
                    continue
                found = [*result["matches"], *result.get("nearest", [])]
                states = {match["metadata"]["state"] for match in found}
                with self._lock:
                    self.answers += 1
                    self.mixed += len(states) != 1
                    self.wrong += not found or found[0]["product_id"] != product
                    self.states.update(states)


def photos_of(catalog: Path) -> dict[Path, str]:
    """Pictures of a catalog as photos, each with its product; writes the first state of its table."""
    write_state(catalog, "old")
    return {path: path.parent.name for path in sorted(catalog.glob("*/0.png"))}


def write_state(catalog: Path, state: str) -> None:
    """Say of every product in the catalog's table which state it is in."""
    products = sorted(path.name for path in catalog.iterdir() if path.is_dir())
    rows = [f"{product},{state}" for product in products]
    (catalog / "products.csv").write_text("\n".join(["product_id,state", *rows]) + "\n", encoding="utf-8")


def changes(catalog: Path, index: Path, *, rounds: int) -> Iterator[tuple[str, ...]]:
    """The commands that change the index, in turn: a run in each state, and back and forth between both."""
    for _ in range(rounds):
        for state in ("old", "new"):
            write_state(catalog, state)
            yield ("index", str(catalog), "--index", str(index))
        yield ("index", str(catalog), "--index", str(index), "--rebuild")
        yield ("rollback", "--index", str(index))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--products", type=int, default=60)
    parser.add_argument("--model", default="starter", help="a bundle; a small one asks the service more often")
    parser.add_argument("--memory", type=int, default=0, help="requests more, at a standing index")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.fakes import write_catalog

    with tempfile.TemporaryDirectory() as folder:
        catalog, index = write_catalog(Path(folder) / "catalog", products=options.products, views=4), Path(folder, "i")
        photos = photos_of(catalog)
        run("index", str(catalog), "--index", str(index), "--model", options.model)
        service = subprocess.Popen(
            [ITEMREC, "serve", "--index", str(index), "--port", "0"], stderr=subprocess.PIPE, text=True
        )
        try:
            assert service.stderr is not None
            address = service.stderr.readline().split(" at ")[1].strip()
            asked, switches, start = Asked(address, photos, clients=options.clients, most=options.requests), 0, 0.0
            start = time.perf_counter()
            with asked:
                for words in changes(catalog, index, rounds=sys.maxsize):
                    run(*words)
                    switches += 1
                    if not asked.going_on:
                        break
            seconds = time.perf_counter() - start
            print(f"{options.requests:,} requests by {options.clients} clients in {seconds:.0f} s,", end=" ")
            print(f"{switches} index runs, rebuilds and rollbacks meanwhile")
            print(f"  lost {asked.lost}, mixed {asked.mixed}, wrong {asked.wrong}", *asked.faults)
            print(
                "  answers by state of the catalog:", ", ".join(f"{s} {n:,}" for s, n in sorted(asked.states.items()))
            )
            for part in range(11 if options.memory else 0):
                if part:
                    with Asked(address, photos, clients=options.clients, most=options.memory // 10) as more:
                        more.wait_for(options.memory)
                print(f"  after {part * (options.memory // 10):,} requests more: {resident(service.pid):.1f} MiB")
        finally:
            service.terminate()
            service.wait()


def run(*words: str) -> None:
    subprocess.run([ITEMREC, *words, "--quiet"], check=True, stdout=subprocess.DEVNULL)


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
