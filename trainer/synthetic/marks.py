"""What is printed on packages: words, logos, pictures, bar codes, patterns."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from trainer.synthetic.chance import Color, chance, hsv, mix, readable_on, scaled
from trainer.synthetic.design import Lettering
from trainer.synthetic.words import FINE_PRINT

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in parts of the face."""

PLAIN = Lettering(1.0, 0.0, 0, "title", "plain", 0)
_EM = 56
_LINE = 14


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=512)
def word_mask(text: str, style: Lettering) -> Image.Image:
    """The ink of a text, mode L, cropped, as high as the font makes it."""
    text = text.upper() if style.case == "upper" else text.lower() if style.case == "lower" else text
    if style.tracking:
        text = " ".join(text) if len(text) < 9 else text
    font = _font(_EM)
    left, top, right, bottom = (round(v) for v in font.getbbox(text, stroke_width=style.weight))
    margin = 6
    mask = Image.new("L", (max(1, right - left) + 2 * margin, max(1, bottom - top) + 2 * margin))
    ImageDraw.Draw(mask).text((margin - left, margin - top), text, fill=255, font=font, stroke_width=style.weight)
    mask = _restyled(mask, style.effect)
    if style.shear:
        extra = round(abs(style.shear) * mask.height)
        offset = -extra if style.shear > 0 else 0
        mask = mask.transform(
            (mask.width + extra, mask.height),
            Image.Transform.AFFINE,
            (1, style.shear, offset, 0, 1, 0),
            Image.Resampling.BILINEAR,
        )
    box = mask.getbbox()
    return mask.crop(box) if box else mask


def _restyled(mask: Image.Image, effect: str) -> Image.Image:
    if effect == "round":
        return mask.filter(ImageFilter.GaussianBlur(3)).point([255 if v > 90 else 0 for v in range(256)])
    if effect == "hollow":
        return ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(5)), mask)
    if effect == "stencil":
        bar = Image.new("L", mask.size, 255)
        ImageDraw.Draw(bar).rectangle([0, mask.height * 0.5, mask.width, mask.height * 0.5 + 3], fill=0)
        return ImageChops.multiply(mask, bar)
    if effect == "slab":
        pixels = np.asarray(mask)
        rows = np.flatnonzero(pixels.any(axis=1))
        if rows.size > 8:
            thick = pixels.copy()
            for row in (rows[0], rows[-1] - 4):
                band = pixels[row : row + 4].max(axis=0)
                spread = np.maximum.reduce([np.roll(band, s) for s in range(-4, 5)])
                thick[row : row + 4] = np.maximum(thick[row : row + 4], spread)
            return Image.fromarray(thick)
    if effect == "script":
        pixels = np.asarray(mask)
        shift = np.round(3 * np.sin(np.arange(mask.width) / 9.0)).astype(np.intp)
        rows = (np.arange(mask.height)[:, None] + shift[None, :]).clip(0, mask.height - 1)
        return Image.fromarray(pixels[rows, np.arange(mask.width)[None, :]])
    return mask


@lru_cache(maxsize=4)
def _page(number: int) -> Image.Image:
    """A page of small print, mode L, lines of `_LINE` pixels; faces show cut-outs of it."""
    rng = chance(number, "page")
    page = Image.new("L", (420, 420))
    pen = ImageDraw.Draw(page)
    for y in range(0, page.height, _LINE):
        line = " ".join(FINE_PRINT[int(k)] for k in rng.integers(0, len(FINE_PRINT), 16))
        pen.text((0, y), line, fill=255, font=_font(_LINE - 3))
    return page


class Sheet:
    """A face being printed; places are given in parts of its width and height."""

    def __init__(self, width: int, height: int, color: Color) -> None:
        self.image = Image.new("RGB", (width, height), color)
        self.pen = ImageDraw.Draw(self.image)
        self.width, self.height = width, height

    def pixels(self, box: Box) -> tuple[int, int, int, int]:
        """A box in whole pixels, at least one wide and high."""
        x0, y0 = round(box[0] * self.width), round(box[1] * self.height)
        return x0, y0, max(x0 + 1, round(box[2] * self.width)), max(y0 + 1, round(box[3] * self.height))

    def rectangle(self, box: Box, color: Color, radius: float = 0.0) -> None:
        """A filled rectangle; ``radius`` in parts of the shorter side."""
        x0, y0, x1, y1 = self.pixels(box)
        if radius and x1 - x0 > 4 and y1 - y0 > 4:
            self.pen.rounded_rectangle([x0, y0, x1 - 1, y1 - 1], radius * min(x1 - x0, y1 - y0), fill=color)
        else:
            self.pen.rectangle([x0, y0, x1 - 1, y1 - 1], fill=color)

    def ellipse(self, box: Box, color: Color) -> None:
        """A filled ellipse."""
        x0, y0, x1, y1 = self.pixels(box)
        self.pen.ellipse([x0, y0, x1 - 1, y1 - 1], fill=color)

    def polygon(self, points: list[tuple[float, float]], color: Color) -> None:
        """A filled polygon."""
        self.pen.polygon([(x * self.width, y * self.height) for x, y in points], fill=color)

    def paste(self, picture: Image.Image, box: Box) -> None:
        """An RGBA picture fitted into a box, centered."""
        x0, y0, x1, y1 = self.pixels(box)
        scale = min((x1 - x0) / picture.width, (y1 - y0) / picture.height)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        fitted = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5)
        self.image.paste(fitted, ((x0 + x1 - size[0]) // 2, (y0 + y1 - size[1]) // 2), fitted)

    def text(
        self, words: str, box: Box, style: Lettering, color: Color, align: str = "center", turned: bool = False
    ) -> None:
        """Words as large as fit into a box, in a style.

        Args:
            words: what to print.
            box: where.
            style: its stretch is kept unless the box is too narrow for it.
            color: of the ink; effects add a second tone.
            align: ``center`` or ``left``.
            turned: reads from bottom to top.
        """
        mask = word_mask(words, style)
        if turned:
            mask = mask.transpose(Image.Transpose.ROTATE_90)
        x0, y0, x1, y1 = self.pixels(box)
        sx, sy = (1.0, style.stretch) if turned else (style.stretch, 1.0)
        scale = min((x1 - x0) / (mask.width * sx), (y1 - y0) / (mask.height * sy))
        size = (max(1, round(mask.width * sx * scale)), max(1, round(mask.height * sy * scale)))
        if size[0] < 3 or size[1] < 3:
            return
        ink = mask.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5)
        x = x0 if align == "left" else (x0 + x1 - size[0]) // 2
        y = (y0 + y1 - size[1]) // 2
        if style.effect == "outline" and size[1] > 10:
            halo = ink.filter(ImageFilter.MaxFilter(3 if size[1] < 30 else 5))
            self.image.paste(readable_on(color, (255, 255, 255)), (x, y), halo)
        elif style.effect == "shadow" and size[1] > 10:
            self.image.paste(scaled(color, 0.4), (x + max(1, size[1] // 14), y + max(1, size[1] // 14)), ink)
        self.image.paste(color, (x, y), ink)

    def fine_print(self, rng: np.random.Generator, box: Box, color: Color, line: float) -> None:
        """Lines of small words; ``line`` is their height in parts of the face."""
        x0, y0, x1, y1 = self.pixels(box)
        page = _page(int(rng.integers(3)))
        lines = max(1.0, (box[3] - box[1]) / line)
        wide = min(page.width, max(60, round(lines * _LINE * (x1 - x0) / (y1 - y0) * 0.8)))
        high = min(page.height, round(lines * _LINE))
        left, top = int(rng.integers(page.width - wide + 1)), int(rng.integers(page.height - high + 1))
        ink = page.crop((left, top, left + wide, top + high)).resize((x1 - x0, y1 - y0), reducing_gap=1.5)
        self.image.paste(color, (x0, y0), ink)

    def bar_code(self, rng: np.random.Generator, box: Box) -> None:
        """A white patch with bars."""
        self.rectangle(box, (250, 250, 250))
        x0, y0, x1, y1 = self.pixels(box)
        x = x0 + 2
        while x < x1 - 2:
            bar, gap = (int(v) for v in rng.integers(1, 4, 2))
            self.pen.rectangle([x, y0 + 2, min(x + bar - 1, x1 - 2), y1 - 3], fill=(15, 15, 15))
            x += bar + gap

    def table(self, rng: np.random.Generator, box: Box, color: Color, rows: int = 6) -> None:
        """A nutrition table: a frame with lines of words and numbers."""
        x0, y0, x1, y1 = self.pixels(box)
        self.pen.rectangle([x0, y0, x1, y1], outline=color)
        for k in range(1, rows):
            y = round(y0 + (y1 - y0) * k / rows)
            self.pen.line([x0, y, x1, y], fill=color)
        middle = box[0] + (box[2] - box[0]) * 0.65
        height = (box[3] - box[1]) / rows
        self.fine_print(rng, (box[0] + 0.03, box[1], middle, box[3]), color, height)
        self.fine_print(rng, (middle + 0.05, box[1], box[2] - 0.03, box[3]), color, height)


def logo(kind: str, key: tuple[int, int], color: Color, ground: Color) -> Image.Image:
    """A brand's mark made of random vector shapes, RGBA, 96 pixels square."""
    rng = chance(*key, "logo")
    side = 96
    image = Image.new("RGBA", (side, side), (*color, 0))
    pen = ImageDraw.Draw(image)
    ink, paper = (*color, 255), (*ground, 255)
    c = side / 2

    def ring(radius: list[float], turn: float = 0.0) -> list[tuple[float, float]]:
        n = len(radius)
        return [
            (c + r * c * np.cos(turn + 6.2832 * k / n), c + r * c * np.sin(turn + 6.2832 * k / n))
            for k, r in enumerate(radius)
        ]

    if kind == "blob":
        pen.polygon(ring(list(rng.uniform(0.6, 0.98, int(rng.integers(7, 12))))), fill=ink)
    elif kind == "shield":
        pen.polygon([(6, 8), (90, 8), (90, 50), (48, 92), (6, 50)], fill=ink)
        pen.rectangle([20, 24, 76, 36 + int(rng.integers(0, 16))], fill=paper)
    elif kind == "ring":
        pen.ellipse([4, 4, 92, 92], fill=ink)
        inset = int(rng.integers(12, 26))
        pen.ellipse([inset, inset, 96 - inset, 96 - inset], fill=paper)
    elif kind in ("star", "burst"):
        points = int(rng.integers(5, 9)) if kind == "star" else int(rng.integers(12, 22))
        inner = rng.uniform(0.4, 0.6) if kind == "star" else 0.82
        pen.polygon(ring([0.98, inner] * points, -1.57), fill=ink)
    elif kind == "leaf":
        for k in range(int(rng.integers(2, 5))):
            x = 10 + 18 * k
            pen.chord([x, 10, x + 40, 90], 100 + 30 * k, 280 + 30 * k, fill=ink)
    elif kind == "bars":
        for k in range(4):
            pen.rectangle([8 + 22 * k, int(rng.integers(5, 60)), 22 + 22 * k, 90], fill=ink)
    elif kind == "animal":
        pen.ellipse([16, 34, 76, 70], fill=ink)
        pen.ellipse([62, 14, 92, 44], fill=ink)
        for x in rng.integers(18, 72, 4):
            pen.rectangle([x, 56, x + 7, 92], fill=ink)
        pen.polygon([(66, 18), (64, int(rng.integers(0, 10))), (74, 14)], fill=ink)
        pen.ellipse([78, 22, 83, 27], fill=paper)
    elif kind == "pill":
        pen.rounded_rectangle([2, 26, 94, 70], 22, fill=ink)
    if kind in ("blob", "ring", "shield", "pill", "burst"):
        letter = chr(65 + int(rng.integers(26)))
        mask = word_mask(letter, Lettering(1, 0, 3, "upper", "plain", 0)).resize((34, 36))
        image.paste(paper if kind != "ring" else ink, (31, 30), mask)
    return image


@lru_cache(maxsize=512)
def illustration(kind: str, color: Color, key: tuple[int, int]) -> Image.Image:
    """A flat picture of a flavor, RGBA, 128 pixels square; its pose belongs to the family ``key``."""
    rng = chance(*key, kind, "picture")
    image = Image.new("RGBA", (128, 128), (*color, 0))
    pen = ImageDraw.Draw(image)
    ink, light, dark = (*color, 255), (*mix(color, (255, 255, 255), 0.55), 255), (*scaled(color, 0.6), 255)
    green = (*hsv(0.3, 0.7, 0.55), 255)

    def disc(x: float, y: float, r: float, fill: tuple[int, ...]) -> None:
        pen.ellipse([x - r, y - r, x + r, y + r], fill=fill)

    if kind in ("cluster", "cherry", "berry"):
        count = {"cluster": 12, "cherry": 2, "berry": 4}[kind]
        for _ in range(count):
            r = {"cluster": 17, "cherry": 26, "berry": 24}[kind] * rng.uniform(0.85, 1.1)
            x, y = rng.uniform(r, 128 - r), rng.uniform(34 + r / 2, 128 - r)
            disc(x + 2, y + 3, r, dark)
            disc(x, y, r, ink)
            disc(x - r * 0.3, y - r * 0.35, r * 0.25, light)
            if kind == "cherry":
                pen.line([x, y - r, 64, 6], fill=green, width=4)
            if kind == "berry":
                pen.polygon([(x - r * 0.7, y - r), (x + r * 0.7, y - r), (x, y - r * 0.45)], fill=green)
    elif kind == "citrus":
        for x, y, r in ((44, 72, 42), (90, 84, 34)):
            disc(x, y, r, ink)
            disc(x, y, r * 0.88, light)
            for k in range(9):
                a = 40 * k + rng.uniform(0, 8)
                pen.pieslice([x - r * 0.8, y - r * 0.8, x + r * 0.8, y + r * 0.8], a, a + 33, fill=ink)
    elif kind in ("leaf", "flower", "grain"):
        petals = {"leaf": 5, "flower": 9, "grain": 14}[kind]
        for k in range(petals):
            leaf = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
            shape = ImageDraw.Draw(leaf)
            w = {"leaf": 17, "flower": 11, "grain": 7}[kind]
            reach = 4 if kind != "grain" else 10 + 6 * k
            shape.ellipse([64 - w, reach, 64 + w, reach + (58 if kind != "grain" else 34)], fill=ink if k % 2 else dark)
            turn = 360 * k / petals if kind == "flower" else (k - petals / 2) * (26 if kind == "leaf" else 9)
            image.alpha_composite(leaf.rotate(turn, center=(64, 64 if kind == "flower" else 110)))
        if kind == "flower":
            disc(64, 64, 14, light)
    elif kind == "drop":
        pen.polygon([(64, 6), (96, 70), (32, 70)], fill=ink)
        disc(64, 82, 36, ink)
        disc(52, 90, 12, light)
    elif kind == "wave":
        for k in range(4):
            xs = np.linspace(0, 128, 24)
            ys = 28 + 26 * k + 10 * np.sin(xs / 14 + rng.uniform(0, 6))
            pen.polygon([*zip(xs, ys, strict=True), (128, 128), (0, 128)], fill=(ink, light, dark, ink)[k])
    elif kind in ("bowl", "cup"):
        disc(64, 58, 52, light)
        pen.rectangle([0, 0, 128, 56], fill=(0, 0, 0, 0))
        pen.ellipse([12, 40, 116, 74], fill=dark)
        for _ in range(14):
            x, y = rng.normal(64, 24), rng.normal(54, 7)
            disc(x, y, rng.uniform(5, 10), ink if rng.random() < 0.6 else green if rng.random() < 0.4 else light)
        if kind == "cup":
            pen.arc([100, 58, 128, 92], -90, 100, fill=light, width=8)
    elif kind in ("cookie", "nut", "bean"):
        for _ in range({"cookie": 3, "nut": 6, "bean": 9}[kind]):
            rx = {"cookie": 34, "nut": 20, "bean": 18}[kind]
            ry = rx * {"cookie": 0.95, "nut": 0.8, "bean": 0.62}[kind]
            x, y = rng.uniform(rx, 128 - rx), rng.uniform(40, 128 - ry)
            pen.ellipse([x - rx, y - ry + 4, x + rx, y + ry + 4], fill=dark)
            pen.ellipse([x - rx, y - ry, x + rx, y + ry], fill=ink)
            if kind == "cookie":
                for _ in range(7):
                    disc(x + rng.uniform(-0.6, 0.6) * rx, y + rng.uniform(-0.6, 0.6) * ry, 4, dark)
            else:
                pen.arc([x - rx * 0.5, y - ry, x + rx * 0.3, y + ry], -80, 80, fill=dark, width=3)
    elif kind == "fish":
        for y in (38, 88):
            pen.ellipse([10, y - 20, 98, y + 20], fill=ink)
            pen.polygon([(90, y), (124, y - 18), (124, y + 18)], fill=dark)
            disc(26, y - 4, 4, light)
    elif kind == "bee":
        pen.polygon([(64 + 60 * np.cos(1.047 * k), 64 + 60 * np.sin(1.047 * k)) for k in range(6)], fill=ink)
        pen.ellipse([34, 46, 94, 84], fill=dark)
        for x in (50, 66, 80):
            pen.rectangle([x, 47, x + 6, 83], fill=light)
    elif kind == "star":
        pen.polygon(
            [
                (64 + r * np.cos(0.628 * k - 1.57), 64 + r * np.sin(0.628 * k - 1.57))
                for k, r in enumerate([62, 26] * 5)
            ],
            fill=ink,
        )
    else:
        disc(64, 68, 52, ink)
        disc(46, 50, 14, light)
    return image
