"""Make the HEIC and AVIF files of this folder.

pillow-heif writes HEIC and is no dependency of the project:

    python -m pip install pillow-heif
    python tests/data/make.py
"""

import io
import lzma
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

HERE = Path(__file__).parent
HUGE = (12_000, 11_000)


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Four quadrants: red, green / blue, yellow. The same as in tests/pictures.py."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = (220, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 220)
    pixels[height // 2 :, width // 2 :] = (230, 220, 30)
    return Image.fromarray(pixels)


def heic(image: pillow_heif.HeifFile, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def main() -> None:
    upright = scene()
    (HERE / "upright.heic").write_bytes(heic(pillow_heif.from_pillow(upright), quality=70))
    turned = scene()
    exif = Image.Exif()
    exif[0x0112] = 6
    (HERE / "turned.heic").write_bytes(heic(pillow_heif.from_pillow(turned), quality=70, exif=exif.tobytes()))
    clear = scene().convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 48, 32))
    (HERE / "transparent.heic").write_bytes(heic(pillow_heif.from_pillow(clear), quality=70))
    deep = np.asarray(scene()).astype(np.uint16) * 257
    file = pillow_heif.from_bytes(mode="RGB;16", size=(96, 64), data=deep.tobytes())
    (HERE / "10bit.heic").write_bytes(heic(file, quality=70))
    huge = Image.new("L", HUGE)
    (HERE / "132mp.heic.xz").write_bytes(lzma.compress(heic(pillow_heif.from_pillow(huge), quality=1)))
    coded = io.BytesIO()
    huge.save(coded, "AVIF", quality=1, speed=10, subsampling="4:0:0")
    (HERE / "132mp.avif.xz").write_bytes(lzma.compress(coded.getvalue()))


if __name__ == "__main__":
    main()
