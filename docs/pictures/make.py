"""Draw docs/pictures/answer.png: demo photos and what the shipped starter answers.

python docs/pictures/make.py
"""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cli.answer_table import percent
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
    """One photo, its verdict, and a picture of each product that was likeliest; dimmed where none is near enough."""
    font, small = ImageFont.load_default(15), ImageFont.load_default(13)
    canvas = Image.new("RGB", ((SIDE + GAP) * (SHOWN + 1) + 60, SIDE + TEXT), "white")
    draw = ImageDraw.Draw(canvas)
    canvas.paste(tile(photo), (0, 0))
    draw.text((0, SIDE + 4), answer.verdict, COLORS[answer.verdict], font)
    draw.text((SIDE + 18, SIDE // 2 - 12), ">", SOFT, ImageFont.load_default(24))
    shown = [*answer.matches, *answer.nearest][:SHOWN]
    for i, product in enumerate(shown):
        x = SIDE + 60 + i * (SIDE + GAP)
        picture = tile(catalog / product.evidence[0].image)
        far = product in answer.nearest
        canvas.paste(Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.55) if far else picture, (x, 0))
        name, *rest = textwrap.wrap(str(product.metadata.get("name", product.product_id)), 24)
        draw.text((x, SIDE + 4), name + ("…" if rest else ""), SOFT if far or i else INK, small)
        sure = "" if product.confidence is None else f"{percent(product.confidence)} sure"
        draw.text((x, SIDE + 21), sure, SOFT, small)
    return canvas


def main() -> None:
    """A photo that is recognized, one that is not sure, and one of an unknown product that is refused."""
    with tempfile.TemporaryDirectory() as temporary:
        catalog, truth, found = answers(Path(temporary))
        right = [p for p, t in truth.items() if t and found[p].matches and found[p].matches[0].product_id == t]
        sure = [p for p in right if found[p].verdict == "match"]
        unsure = [p for p in right if found[p].verdict == "ambiguous"]
        unknown = [p for p, t in truth.items() if t is None and found[p].verdict == "unknown"]
        rows = [row(catalog, p, found[p]) for p in [*sure[-1:], *unsure[:1], *unknown[:1]]]
        sheet = Image.new("RGB", (rows[0].width, sum(r.height + GAP for r in rows)), "white")
        for i, drawn in enumerate(rows):
            sheet.paste(drawn, (0, i * (drawn.height + GAP)))
        sheet.quantize(256).save(Path(__file__).with_name("answer.png"), optimize=True)


if __name__ == "__main__":
    main()
