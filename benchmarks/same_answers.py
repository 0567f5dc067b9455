"""Two installations of itemrec, an earlier commit's and this one's say, on the same photos: are the answers the same?

Each indexes, queries, evaluates, audits and prepares GROCERY (``catalog/``, ``photos/train/``, ``photos/val/``) in a
folder of its own. Exit codes and JSON documents are compared leaf by leaf, prepared pictures by their hashes, and
the index that OLD wrote is opened by NEW and asked. Times and dates do not count; sentences that are worded
otherwise are listed apart.

    python benchmarks/same_answers.py OLD/.venv/bin/itemrec NEW/.venv/bin/itemrec GROCERY
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOLATILE = {
    *("seconds", "timings_ms", "created", "bytes", "embed_ms", "open_ms", "free_bytes", "index_bytes"),
    *("platform", "detail", "path", "location"),
}
Leaves = dict[str, Any]


def steps(grocery: Path) -> dict[str, list[str]]:
    """What a shop does, by the name that its results are kept under."""
    photos = str(grocery / "photos" / "val")
    dataset = ["--data", "data", "--split", "val"]
    return {
        "index catalog": ["index", "catalog", "--index", "studio"],
        "index catalog again": ["index", "catalog", "--index", "studio"],
        "query": ["query", photos, "--index", "studio"],
        "query, wide": ["query", photos, "--index", "studio", "--threshold", "1.2", "--top", "7"],
        "query, filtered": ["query", photos, "--index", "studio", "--threshold", "1", "--where", "category=Milk"],
        "index photos": ["index", str(grocery / "photos" / "train"), "--index", "photos"],
        "query photos": ["query", photos, "--index", "photos"],
        "evaluate train": ["evaluate", *dataset, "--gallery", "train", "--index", "none"],
        "evaluate index": ["evaluate", *dataset, "--gallery", "index", "--index", "studio"],
        "audit": ["audit", "catalog"],
        "no such photo": ["query", "nowhere.jpg", "--index", "studio"],
        "no picture": ["query", "catalog/products.csv", "--index", "studio"],
        "dry run": ["index", "catalog", "--index", "studio", "--dry-run"],
        "doctor": ["doctor", "--index", "studio"],
        "generations": ["generations", "--index", "studio"],
        "prepare": ["prepare", photos, "prepared"],
        "models": ["models", "list"],
        "model": ["models", "show", "starter"],
    }


def results(itemrec: str, folder: Path, grocery: Path) -> dict[str, tuple[int, Leaves]]:
    """Exit code and the leaves of the document of every step."""
    (folder / "data").mkdir(parents=True)
    for name, target in (("train", "photos/train"), ("val", "photos/val"), ("catalog", "catalog")):
        (folder / "data" / name).symlink_to(grocery / target)
    (folder / "catalog").symlink_to(grocery / "catalog")
    return {name: ask(itemrec, words, folder) for name, words in steps(grocery).items()}


def ask(itemrec: str, words: list[str], folder: Path) -> tuple[int, Leaves]:
    """Exit code and leaves of one command."""
    environment = os.environ | {"ITEMREC_HOME": str(folder / "home")}
    done = subprocess.run(
        [itemrec, *words, "--json"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, dict(leaves("", json.loads(done.stdout), str(folder)))


def leaves(place: str, value: Any, folder: str) -> Iterator[tuple[str, Any]]:
    """Every value of a document with where it stands."""
    if isinstance(value, dict):
        for key in value:
            if key not in VOLATILE:
                yield from leaves(f"{place}.{key}", value[key], folder)
    elif isinstance(value, list):
        yield f"{place}.length", len(value)
        for number, item in enumerate(value):
            yield from leaves(f"{place}[{number}]", item, folder)
    else:
        yield place, value.replace(folder, "") if isinstance(value, str) else value


def sentence(value: Any) -> bool:
    """Whether a value is words for people."""
    return isinstance(value, str) and value.count(" ") >= 3


def compared(name: str, old: tuple[int, Leaves], new: tuple[int, Leaves]) -> bool:
    """Print what differs; True when nothing but the wording does."""
    places = sorted(set(old[1]) | set(new[1]))
    different = [p for p in places if old[1].get(p) != new[1].get(p)]
    worded = [p for p in different if sentence(old[1].get(p)) and sentence(new[1].get(p))]
    rest = [p for p in different if p not in worded]
    same = old[0] == new[0] and not rest
    print(
        f"{'same' if same else 'DIFFERENT':9}  {name}: exit {old[0]} and {new[0]}, {len(places):,} values"
        + (f", {len(worded)} sentences worded otherwise" if worded else "")
    )
    for place in rest[:10]:
        print(f"    {place}: {old[1].get(place)!r} and {new[1].get(place)!r}")
    return same


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every picture that was prepared."""
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*.jpg")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="the itemrec script of one installation")
    parser.add_argument("new", help="and of the other")
    parser.add_argument("grocery", type=Path)
    options = parser.parse_args()
    grocery = options.grocery.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folders = Path(temporary, "old"), Path(temporary, "new")
        both = [
            results(script, folder, grocery) for script, folder in zip((options.old, options.new), folders, strict=True)
        ]
        fine = [compared(name, both[0][name], both[1][name]) for name in both[0]]
        pictures = [hashes(folder / "prepared") for folder in folders]
        fine.append(pictures[0] == pictures[1])
        print(f"{'same' if fine[-1] else 'DIFFERENT':9}  {len(pictures[0]):,} prepared pictures, byte for byte")
        query = steps(grocery)["query photos"]
        fine.append(compared("OLD's index, asked by NEW", both[0]["query photos"], ask(options.new, query, folders[0])))
    raise SystemExit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
