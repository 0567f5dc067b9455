"""From a checked header to pixels: the plugins of Pillow and pi_heif, imported when they are needed."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from retrieval.errors import ItemrecError
from retrieval.images.formats.base import Header, unsupported
from retrieval.images.formats.color_profile import notice
from retrieval.images.formats.tiff import silence_libtiff

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageCms import ImageCmsTransform


WHITE = (255, 255, 255)
_INVERT = [255 - value for value in range(256)]


def require_decoder(format_: str) -> None:
    """Make sure that what decodes a format is installed.

    Raises:
        ItemrecError: it is not; says how to install it.
    """
    if format_ == "HEIF" and find_spec("pi_heif") is None:
        raise _no_heif(None)


def _no_heif(error: ImportError | None) -> ItemrecError:
    from retrieval.system.installation import install_hint, missing

    return ItemrecError(missing("pi-heif", "a HEIC picture", error), hint=install_hint())


def open_header(header: Header) -> Image.Image:
    """Open with exactly this format's plugin: Pillow's registry and global pixel cap stay out of it."""
    file = io.BytesIO(header.data)
    if header.format == "HEIF":
        try:
            from pi_heif import open_heif
        except ImportError as error:
            raise _no_heif(error) from error
        im: Image.Image = open_heif(file, convert_hdr_to_8bit=True).to_pillow()
        return im
    return _plugin_class(header.format)(file)


@cache
def _plugin_class(format_: str) -> Callable[[io.BytesIO], Image.Image]:
    if format_ == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        class Jpeg(JpegImageFile):
            def _read_dpi_from_exif(self) -> None:
                """Parses all of EXIF for a resolution that nobody asks for, and warns about what is broken in it."""

        return Jpeg
    if format_ == "TIFF":
        from PIL.ImageFile import ImageFile
        from PIL.TiffImagePlugin import TiffImageFile

        class Tiff(TiffImageFile):
            def load_prepare(self) -> None:
                """Without the check against Pillow's process-wide cap, which warns below ours."""
                ImageFile.load_prepare(self)

        silence_libtiff()
        return Tiff
    names = {"PNG": "Png", "WEBP": "WebP", "GIF": "Gif", "BMP": "Bmp", "AVIF": "Avif"}
    module = import_module(f"PIL.{names[format_]}ImagePlugin")
    plugin: Callable[[io.BytesIO], Image.Image] = getattr(module, f"{names[format_]}ImageFile")
    return plugin


def flatten(im: Image.Image, depth: int = 0, *, inks: bool = False) -> Image.Image:
    """To RGB or 8-bit gray: what is transparent over white, what is deep scaled and not clipped.

    Args:
        im: decoded; may be written to.
        depth: see `Header`.
        inks: leave CMYK as it is, for `to_srgb`.
    """
    from PIL import Image

    key = im.info.get("transparency")
    if im.mode.startswith("I;16"):
        deep = np.asarray(im)
        if isinstance(key, int):
            deep = np.where(deep == key, 0xFFFF, deep)
        # The high byte, as Pillow's own readers of 16-bit color take it.
        return Image.fromarray((deep >> 8).astype(np.uint8))
    if depth == 16 and isinstance(key, tuple):
        # Pillow keeps the key at 16 bits although it reads the pixels at 8.
        im.info["transparency"] = tuple(v >> 8 for v in key)
    if im.mode in ("RGBA", "LA", "PA", "RGBa", "La") or key is not None:
        if im.mode == "La":
            im = im.convert("LA")  # the only mode that Pillow converts it to
        clear = im if im.mode == "RGBA" else im.convert("RGBA")
        # In place: a second canvas of the full size would double the memory.
        clear.paste((*WHITE, 255), mask=clear.getchannel("A").point(_INVERT))
        return clear.convert("RGB")
    if im.mode in ("RGB", "L") or (inks and im.mode == "CMYK"):
        return im
    if im.mode in ("1", "P", "CMYK", "RGBX", "YCbCr"):
        return im.convert("L" if im.mode == "1" else "RGB")
    raise unsupported(f"pixels of mode {im.mode}")


_SPACES = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK"}


def is_profile_of(profile: bytes, mode: str) -> bool:
    """Whether a profile describes pixels of that mode at all: a gray picture may carry one for color."""
    return profile[16:20] == _SPACES.get(mode)


def to_srgb(im: Image.Image, profile: bytes) -> Image.Image:
    """A flat picture in sRGB; as it is where its profile is for other pixels, or damaged.

    Args:
        im: RGB, gray or CMYK.
        profile: of `Header`; empty for sRGB.
    """
    if not is_profile_of(profile, im.mode):
        return im
    transform = _transform(profile, im.mode)
    if transform is None:
        notice("damaged")
        return im
    made = transform.apply(im)
    made.info.pop("icc_profile", None)  # writers of files would embed it
    return made


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """Relative colorimetric: what both profiles can show stays exactly that, white included."""
    try:
        from PIL import ImageCms

        return ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImportError, OSError, ValueError, TypeError):  # built without littlecms, or it finds a flaw
        return None


def is_convertible(profile: bytes) -> bool:
    """Whether a profile can be used for the pixels that it describes; what a child process found need not be sent."""
    modes = {space: mode for mode, space in _SPACES.items()}
    return profile[16:20] in modes and _transform(profile, modes[profile[16:20]]) is not None


def upright(im: Image.Image, orientation: int) -> Image.Image:
    """Turn and flip as an EXIF orientation, 1 to 8, says."""
    if orientation == 1:
        return im
    from PIL.Image import Transpose

    return im.transpose(
        {
            2: Transpose.FLIP_LEFT_RIGHT,
            3: Transpose.ROTATE_180,
            4: Transpose.FLIP_TOP_BOTTOM,
            5: Transpose.TRANSPOSE,
            6: Transpose.ROTATE_270,
            7: Transpose.TRANSVERSE,
            8: Transpose.ROTATE_90,
        }[orientation]
    )
