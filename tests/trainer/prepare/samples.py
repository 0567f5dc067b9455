"""Pictures to prepare: records for the pure parts, files for the rest."""

from __future__ import annotations

import hashlib
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retrieval.images.perceptual_hash import hamming
from trainer.prepare import Options, PrepareReport, prepare
from trainer.prepare.types import Converted, Picture


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def record(
    product: str,
    name: str,
    *,
    content: str = "",
    made: str = "",
    hashed: int | None = None,
    size: tuple[int, int] = (100, 100),
    split: str | None = None,
    folder: str = "",
    taken: int | None = None,
) -> Picture:
    """A picture that was never a file; its content is its name, unless given."""
    content = content or f"{product}/{name}"
    made = made or content
    hashed = int(sha(made)[:16], 16) | 1 if hashed is None else hashed
    return Picture(
        product,
        f"{folder}{product}/{name}",
        name,
        split,
        sha(content),
        1000,
        Converted(sha("made " + made), size, 900, hashed, size),
        taken,
    )


def clustered(seed: int, products: int, pictures: int, *, splits: tuple[str | None, ...] = (None,)) -> list[Picture]:
    """Records with many duplicates: contents and hashes are drawn from a few, with some bits turned."""
    rng = random.Random(seed)
    centers = [rng.getrandbits(64) | 1 for _ in range(max(2, pictures // 3))] + [0]
    found = []
    for number in range(pictures):
        content = str(rng.randrange(pictures) if rng.random() < 0.3 else f"own {number}")
        center = random.Random(f"{seed} {content}").choice(centers)
        flips = random.Random(f"{seed} {content} bits").sample(range(1, 64), random.Random(content).randrange(5))
        hashed = center
        for bit in flips if center else ():
            hashed ^= 1 << bit
        product = f"p{rng.randrange(products)}"
        side = 100 + rng.randrange(3)
        found.append(
            record(
                product,
                f"{number}.jpg",
                content=content,
                hashed=hashed,
                size=(side, side),
                split=rng.choice(splits),
            )
        )
    return found


def near(one: Picture, other: Picture, bits: int = 6) -> bool:
    """What "repeats" means, without the machinery: equal, or of structure and near."""
    a, b = one.made, other.made
    return a.sha256 == b.sha256 or bool(
        a.perceptual_hash and b.perceptual_hash and hamming(a.perceptual_hash, b.perceptual_hash) <= bits
    )


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A smooth random scene: what photos look like to a perceptual hash."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)


def encoded(im: Image.Image, format_: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    im.save(file, format_, **options)
    return file.getvalue()


def write(root: Path, path: str, data: bytes) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def write_raw(root: Path, products: int = 4, views: int = 10) -> Path:
    """``root/p0/0.jpg`` and so on, every picture another scene."""
    for product in range(products):
        for view in range(views):
            write(root, f"p{product}/{view}.jpg", encoded(photo(1000 * product + view), quality=90))
    return root


def run(raw: Path, out: Path, *, dry_run: bool = False, **options: Any) -> PrepareReport:
    return prepare(raw, out, Options(**options), dry_run=dry_run, threads=2)


def files(folder: Path) -> dict[str, bytes]:
    """Every file that is not hidden, by its path."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    }


def pictures(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in files(folder).items() if path.endswith(".jpg")}


def manifest(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return content


def splits(out: Path) -> dict[str, str]:
    """The split of each source."""
    return {image["source"]: image["split"] for image in manifest(out)["images"]}
