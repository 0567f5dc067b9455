"""The preprocessing of an imported model: published recipes, and single choices on top of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from retrieval.errors import UsageError
from retrieval.images.preprocessing import Fit, Layout, Preprocessing, Resample
from retrieval.models.runtimes.base import Tensor

Triple = tuple[float, float, float]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # torchvision, timm and DINOv2: shorter side to 256, center 224, ImageNet statistics.
        "imagenet": {
            "fit": "crop",
            "crop_fraction": 224 / 256,
            "resample": "bicubic",
            "mean": _IMAGENET_MEAN,
            "std": _IMAGENET_STD,
        },
        # OpenAI CLIP and its descendants: shorter side to the input, center crop.
        "clip": {"fit": "crop", "resample": "bicubic", "mean": _CLIP_MEAN, "std": _CLIP_STD},
        # SigLIP and SigLIP 2: stretched to the input, [-1, 1].
        "siglip": {"fit": "squash", "resample": "bicubic", "mean": _HALF, "std": _HALF},
        "zero-one": {"scale": 1.0 / 255.0},
        # Keras "tf" mode: MobileNet v1 and v2, Inception, Xception.
        "minus-one-one": {"scale": 1.0 / 127.5, "mean": (1.0, 1.0, 1.0)},
        # The network normalizes by itself: EfficientNet and MobileNetV3 of Keras, quantized files.
        "none": {"scale": 1.0},
    }
)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user says about a model's input; None leaves it to the preset, the file or the default.

    Attributes:
        preset: a name in `PRESETS`.
        size: height and width in pixels.
        fit: see `retrieval.images.preprocessing.Preprocessing`, as all that follow.
        crop_fraction: for ``crop``.
        resample: the interpolation.
        scale: multiplies 0..255.
        mean: subtracted after scaling.
        std: divides after subtracting.
        layout: where the channels are.
    """

    preset: str | None = None
    size: tuple[int, int] | None = None
    fit: Fit | None = None
    crop_fraction: float | None = None
    resample: Resample | None = None
    scale: float | None = None
    mean: Triple | None = None
    std: Triple | None = None
    layout: Layout | None = None

    def over(self, others: Choices) -> Choices:
        """These, and the others' where these leave something open. A preset replaces the others' recipe as a whole."""
        shape = ("size", "layout")
        taken = shape if self.preset is not None else tuple(field.name for field in fields(self))
        return replace(self, **{name: getattr(others, name) for name in taken if getattr(self, name) is None})

    def preprocessing(self, tensor: Tensor) -> Preprocessing:
        """The preprocessing for a network's input tensor.

        Args:
            tensor: rank 4; its fixed sizes decide, and contradicting choices are refused.

        Raises:
            UsageError: the choices contradict each other or the file, or leave something open.
        """
        layout, height, width = self._geometry(tensor)
        values: dict[str, Any] = {}
        if self.preset is not None:
            if self.preset not in PRESETS:
                raise UsageError(f"expected a preset of {', '.join(PRESETS)}, received {self.preset!r}")
            values |= PRESETS[self.preset]
        values |= {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("preset", "size", "layout") and getattr(self, field.name) is not None
        }
        try:
            return Preprocessing(height=height, width=width, layout=layout, **values)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{error}", hint="Correct the preprocessing options.") from error

    def _geometry(self, tensor: Tensor) -> tuple[Layout, int, int]:
        shape = tensor.shape
        ends = (shape[1], shape[3]) if len(shape) == 4 else ()
        if not ends or not {3, None} & set(ends):
            raise UsageError(
                f"expected an image input with 3 channels, (n, height, width, 3) or (n, 3, height, width), "
                f"received {tensor}",
                hint="Export the image encoder alone, for RGB pictures.",
            )
        if self.layout is None and (ends[0] == ends[1] or 3 not in ends):
            raise UsageError(
                f"expected an input whose shape tells where the channels are, received {tensor}",
                hint="Say --layout NCHW, as models from PyTorch have it, or --layout NHWC.",
            )
        layout: Layout = self.layout or ("NHWC" if shape[3] == 3 else "NCHW")
        channels, rows, columns = (shape[3], *shape[1:3]) if layout == "NHWC" else (shape[1], *shape[2:])
        if channels not in (3, None):
            raise UsageError(
                f"expected 3 channels where the layout {layout} has them, received {tensor}",
                hint="Leave --layout out, or choose the other one.",
            )
        sides = []
        for given, fixed, side in zip(self.size or (None, None), (rows, columns), ("height", "width"), strict=True):
            if given is not None and fixed is not None and given != fixed:
                raise UsageError(
                    f"expected the {side} that the network has, {fixed}, received {given}",
                    hint="Leave --size out: the file says it.",
                )
            if given is None and fixed is None:
                raise UsageError(
                    f"expected an input size, which the file leaves open, received none for {tensor}",
                    hint="Say --size, such as --size 224; a multiple of the patch size for a transformer.",
                )
            sides.append(int(given or fixed or 0))
        return layout, sides[0], sides[1]
