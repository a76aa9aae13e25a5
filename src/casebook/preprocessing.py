"""Preprocessing: one decoded picture -> the array that a network was trained on.

There is one frozen record and one implementation. Training, evaluation, prediction and explanation all call it, so the
same picture always gives the same numbers. It needs Pillow and NumPy, and torch only for tensors.
"""

import dataclasses
import functools
import math
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import ModelError

if TYPE_CHECKING:  # torch is imported inside the functions that need it, so that a bundle runs without it
    import torch
    from torch import Tensor

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
CHANNELS = {"RGB": 3, "L": 1}
MAX_RESIZED = 8192  # pixels of the shorter side


class DecodeOptions(TypedDict):
    """How a network wants a picture's file decoded: keyword arguments of `open_picture` and `Source.open`."""

    mode: Literal["RGB", "L"]
    min_side: int | None
    value_range: tuple[float, float] | None


Resize = Literal["shorter", "squash", "letterbox"]
RESIZES = ("shorter", "squash", "letterbox")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input.

    `resize` says how a picture of any shape becomes a square. "shorter" resizes the shorter side to
    `size / crop_fraction` and cuts out the central square, as the ImageNet literature does; the ends of a wide or tall
    picture are lost. "squash" resizes the whole picture to the square, which changes its proportions. "letterbox"
    resizes the longer side to `size` and pads the shorter one with the mean colour.

    `mean` and `std` are on the scale 0 to 1, one value for each channel of `mode` ("RGB" or "L").

    `value_range` applies to pictures of more than 8 bits: its ends become 0 and 255, and values beyond are clipped.
    None scales each picture by the full range of its file's type.
    """

    size: int = 224
    resize: Resize = "shorter"
    crop_fraction: float = 0.875
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    mode: Literal["RGB", "L"] = "RGB"
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(m) for m in self.mean))
        object.__setattr__(self, "std", tuple(float(s) for s in self.std))
        if self.value_range is not None:
            object.__setattr__(self, "value_range", tuple(float(value) for value in self.value_range))
        if self.mode not in CHANNELS:
            raise ModelError(f"preprocessing: mode is {self.mode!r}, expected one of {', '.join(CHANNELS)}")
        if self.interpolation not in RESAMPLING:
            raise ModelError(
                f"preprocessing: interpolation is {self.interpolation!r}, expected one of {', '.join(RESAMPLING)}"
            )
        if self.resize not in RESIZES:
            raise ModelError(f"preprocessing: resize is {self.resize!r}, expected one of {', '.join(RESIZES)}")
        if not (isinstance(self.size, Integral) and 1 <= self.size <= 4096):
            raise ModelError(f"preprocessing: size is {self.size}, expected 1 to 4096 pixels")
        if not 0 < self.crop_fraction <= 1:
            raise ModelError(f"preprocessing: crop_fraction is {self.crop_fraction}, expected above 0, at most 1")
        if self.size > MAX_RESIZED * self.crop_fraction:
            raise ModelError(
                f"preprocessing: crop_fraction is {self.crop_fraction}, which resizes pictures to more than "
                f"{MAX_RESIZED} pixels for a size of {self.size}"
            )
        if not len(self.mean) == len(self.std) == self.channels:
            raise ModelError(
                f"preprocessing: {len(self.mean)} means and {len(self.std)} deviations for the "
                f"{self.channels} channels of mode {self.mode!r}"
            )
        if min(self.std) <= 0:
            raise ModelError(f"preprocessing: std is {self.std}, expected values above 0")
        ends = self.value_range
        if ends is not None and not (len(ends) == 2 and ends[0] < ends[1] and all(map(math.isfinite, ends))):
            raise ModelError(f"preprocessing: value_range is {ends}, expected two rising values, such as (0, 4095)")

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for L."""
        return CHANNELS[self.mode]

    @property
    def resize_side(self) -> int:
        """The shorter side in pixels after resizing and padding, before the crop."""
        return round(self.size / self.crop_fraction) if self.resize == "shorter" else self.size

    @property
    def decode_side(self) -> int:
        """The shorter side in pixels to which a decoder may reduce a picture without a visible loss."""
        return 2 * self.resize_side

    @property
    def decode_options(self) -> DecodeOptions:
        """The keyword arguments for `open_picture` and `Source.open`."""
        return {"mode": self.mode, "min_side": self.decode_side, "value_range": self.value_range}

    @property
    def mean_colour(self) -> tuple[int, ...]:
        """The mean on the scale 0 to 255, rounded: what a letterbox pads with."""
        return tuple(round(mean * 255) for mean in self.mean)

    def resized_size(self, picture_size: tuple[int, int], side: int) -> tuple[int, int]:
        """(width, height) to which a picture is resized and padded so that its shorter side has `side` pixels."""
        if self.resize != "shorter":
            return side, side
        width, height = picture_size
        short = min(width, height)
        # The longer side is truncated, not rounded, as in torchvision, so that published accuracies hold.
        return side * width // short, side * height // short

    def resized(self, picture: Image.Image, side: int) -> Image.Image:
        """The picture in `mode`, resized and padded to `resized_size`."""
        picture = picture if picture.mode == self.mode else picture.convert(self.mode)
        target = inner = self.resized_size(picture.size, side)
        if self.resize == "letterbox":
            longer = max(picture.size)
            inner = max(1, round(side * picture.width / longer)), max(1, round(side * picture.height / longer))
        if picture.size != inner:
            picture = picture.resize(inner, RESAMPLING[self.interpolation])
        if inner != target:
            colour = self.mean_colour
            canvas = Image.new(self.mode, target, colour if self.channels > 1 else colour[0])
            canvas.paste(picture, ((side - inner[0]) // 2, (side - inner[1]) // 2))
            picture = canvas
        return picture

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """(size, size, channels) uint8 from an upright picture of any size in mode RGB or L."""
        picture = self.resized(picture, self.resize_side)
        width, height = picture.size
        if picture.size != (self.size, self.size):
            left = round((width - self.size) / 2.0)
            top = round((height - self.size) / 2.0)
            picture = picture.crop((left, top, left + self.size, top + self.size))
        return np.asarray(picture, dtype=np.uint8).reshape(self.size, self.size, self.channels)

    @property
    def offset_and_scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(channels,) float32 each: a uint8 value v is normalised to (v - offset) / scale.

        These are two separately rounded operations, so NumPy, torch on a CPU and torch on a GPU agree to the bit.
        """
        return (
            (np.array(self.mean, np.float64) * 255).astype(np.float32),
            (np.array(self.std, np.float64) * 255).astype(np.float32),
        )

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(..., channels) uint8 -> the same shape in float32, normalised."""
        offset, scale = self.offset_and_scale
        return (pixels.astype(np.float32) - offset) / scale

    def normalise_tensor(self, pixels: "Tensor") -> "Tensor":
        """(B, H, W, channels) uint8 -> (B, channels, H, W) float32 on the same device, normalised.

        Gives the same bits as `normalise`. The result is a channels-last view; call `.contiguous()` for the other
        layout.
        """
        # Subtracting whole rows is eight times as fast on a CPU as subtracting three numbers at a time.
        offset, scale = _offset_and_scale_rows(self, pixels.shape[2], pixels.device)
        rows = pixels.flatten(2).float().sub_(offset).div_(scale)
        return rows.view(pixels.shape).permute(0, 3, 1, 2)

    def __call__(self, picture: Image.Image) -> NDArray[np.float32]:
        """(channels, size, size) float32, normalised."""
        return np.ascontiguousarray(self.normalise(self.pixels(picture)).transpose(2, 0, 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; tuples become lists."""
        record = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Preprocessing":
        """The preprocessing from plain data. Raises ModelError for an unknown key or a value out of range."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(record) - known):
            raise ModelError(f"preprocessing: unknown keys {', '.join(unknown)}; expected {', '.join(sorted(known))}")
        if record.get("resize") == "exact":  # what earlier versions called it
            record = record | {"resize": "squash"}
        try:
            return cls(**record)
        except (TypeError, ValueError) as error:
            raise ModelError(f"preprocessing: {error}") from error


@functools.lru_cache(maxsize=64)
def _offset_and_scale_rows(
    preprocessing: Preprocessing, width: int, device: "torch.device"
) -> tuple["Tensor", "Tensor"]:
    """(width * channels,) float32 each: `offset_and_scale`, repeated for every pixel of a row."""
    import torch

    with torch.inference_mode(False):  # the tensors outlive this call and may take part in training later
        offset, scale = (torch.from_numpy(values).to(device) for values in preprocessing.offset_and_scale)
        return offset.repeat(width), scale.repeat(width)
