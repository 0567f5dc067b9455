"""Draw docs/pictures/answer.png: demo photos and what the shipped starter answers.

python docs/pictures/make.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from retrieval.images import pictures
from retrieval.indexing.run import index
from retrieval.recognition.api import Recognizer
from retrieval.types import Recognition
from trainer.synthetic import write_demo

SIDE, GAP, TEXT = 168, 14, 40
SHOWN = 4
COLORS = {"match": "#17703a", "ambiguous": "#8a5300", "unknown": "#b3261e"}
INK, SOFT = "#16191d", "#59616b"


def answers(folder: Path) -> tuple[Path, dict[Path, str | None], dict[Path, Recognition]]:
    """The demo's catalog, its photos with their products, and what was answered to each."""
    layout = write_demo(folder)
    index(layout.catalog, folder / "index", model="starter")
    with Recognizer(folder / "index") as shop:
        found = {photo: shop.recognize(photo) for photo in layout.truth}
    return layout.catalog, layout.truth, dict(found)


def tile(file: Path) -> Image.Image:
    """A picture in a white square."""
    picture = pictures.thumbnail(file.read_bytes(), SIDE)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return square


def row(catalog: Path, photo: Path, answer: Recognition) -> Image.Image:
    """One photo, its verdict, and the pictures that voted for its best products."""
    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    canvas = Image.new("RGB", ((SIDE + GAP) * (SHOWN + 1) + 60, SIDE + TEXT), "white")
    draw = ImageDraw.Draw(canvas)
    canvas.paste(tile(photo), (0, 0))
    draw.text((0, SIDE + 4), answer.verdict, COLORS[answer.verdict], font)
    if not answer.matches:
        nothing = f"nothing in the catalog within {answer.threshold:.2f}"
        draw.text((SIDE + 60, SIDE // 2 - 8), nothing, SOFT, font)
        return canvas
    best = answer.matches[0]
    draw.text((SIDE + 18, SIDE // 2 - 12), ">", SOFT, ImageFont.load_default(24))
    shown = [(e.image, best.product_id, e.distance) for e in best.evidence[: SHOWN - 1]]
    shown += [(m.evidence[0].image, m.product_id, m.best_distance) for m in answer.matches[1:]]
    for i, (image, product, distance) in enumerate(shown[:SHOWN]):
        x = SIDE + 60 + i * (SIDE + GAP)
        canvas.paste(tile(catalog / image), (x, 0))
        winner = product == best.product_id
        draw.text((x, SIDE + 4), product[:26], INK if winner else SOFT, small)
        draw.text((x, SIDE + 20), f"distance {distance:.2f}" + ("" if winner else ", runner-up"), SOFT, small)
    return canvas


def main() -> None:
    """Two photos that are recognized, and one of an unknown product that is refused."""
    with tempfile.TemporaryDirectory() as temporary:
        catalog, truth, found = answers(Path(temporary))
        right = [p for p, t in truth.items() if t and found[p].matches and found[p].matches[0].product_id == t]
        right.sort(key=lambda p: (found[p].verdict != "match", -found[p].matches[0].score))
        unknown = [p for p, t in truth.items() if t is None and found[p].verdict == "unknown"]
        rows = [row(catalog, p, found[p]) for p in [*right[:2], *unknown[:1]]]
        sheet = Image.new("RGB", (rows[0].width, sum(r.height + GAP for r in rows)), "white")
        for i, drawn in enumerate(rows):
            sheet.paste(drawn, (0, i * (drawn.height + GAP)))
        sheet.quantize(192).save(Path(__file__).with_name("answer.png"), optimize=True)


if __name__ == "__main__":
    main()
