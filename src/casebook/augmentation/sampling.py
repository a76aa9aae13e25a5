"""Sampling: (policy, seed, epoch, pictures) -> the parameters of each picture's augmentation, as a plain record array.

A picture's parameters depend only on (seed, epoch, its index), not on its batch or on the worker that reads it. Each
law has its own random numbers, so adding or removing one changes no other. Parameters are complete: they can be
printed, stored, edited and applied again without the policy.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..preprocessing import Resize
from .colour import IMAGENET_COMPONENTS, Components
from .policy import MOST_PICKS, Pair, Policy
from .spaces import add_picks

CONTROL = 8  # control points of a warp along each axis
REFERENCE_SIDE = 224  # the input that a policy's `sides` are meant for
NOISE_TABLE = 1 << 20  # normal numbers that noise is taken from, beginning anywhere

# What happens to one picture, and the value that changes nothing. A window is in pixels of the picture that is read;
# holes and pasted boxes are in pixels of the result, as left, top, width, height.
FIELDS: dict[str, tuple[Any, Any]] = {
    "window": ((np.float64, 4), 0.0),  # left, top, width, height
    "reflect": (np.bool_, False),  # outside the picture lies its mirror image; else the fill colour
    "mirror": (np.bool_, False),
    "scale": (np.float64, 1.0),
    "shear": ((np.float64, 2), 0.0),  # degrees: x moves with y, y moves with x
    "angle": (np.float64, 0.0),  # degrees, counter-clockwise
    "shift": ((np.float64, 2), 0.0),  # share of the side, right and down
    "warp": ((np.float32, (2, CONTROL, CONTROL)), 0.0),  # share of the side: right and down, by row and column
    "brightness": (np.float64, 1.0),
    "contrast": (np.float64, 1.0),
    "saturation": (np.float64, 1.0),
    "hue": (np.float64, 0.0),  # degrees
    "channels": ((np.float64, 3), 0.0),  # levels of 255
    "pca": ((np.float64, 3), 0.0),  # levels of 255 for each channel
    "equalize": (np.bool_, False),
    "autocontrast": (np.bool_, False),
    "solarize": (np.float64, 256.0),  # levels from here on are inverted
    "posterize": (np.int64, 8),  # bits kept
    "sharpness": (np.float64, 1.0),  # 0 smooths, 2 sharpens
    "blur": (np.float64, 0.0),  # deviation in pixels
    "noise": (np.float64, 0.0),  # deviation in levels
    "noise_place": (np.int64, 0),  # where in the table of normal numbers this picture begins
    "hole": ((np.int64, 4), 0),
    "mixup": (np.float64, 1.0),  # share of the picture itself, the rest is the next one of its batch
    "cutmix": ((np.int64, 4), 0),  # box that the next picture of the batch fills
}  # fmt: skip
PARAMETERS = np.dtype(
    [(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, (kind, _) in FIELDS.items()]
)

# Random numbers of each law for one picture: name -> (first, count). Only to be added to: another order is another
# stream. The first five are those of the crop and the mirror.
_COUNTS = (
    ("area", 1), ("ratio", 1), ("left", 1), ("top", 1), ("mirror", 1), ("rotate", 1), ("shear", 2), ("scale", 1),
    ("shift", 2), ("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 1), ("channels", 3), ("pca", 3),
    ("blur", 2), ("noise", 2), ("erase", 5), ("mix", 4), ("picks", 3 * MOST_PICKS), ("warp", 2 * CONTROL * CONTROL),
)  # fmt: skip
SLOTS: dict[str, tuple[int, int]] = {}
for _name, _count in _COUNTS:
    SLOTS[_name] = (sum(count for _, count in SLOTS.values()), _count)
# Laws that are uniform about the value that changes nothing: law of the policy, field, what one unit of the law is.
_SYMMETRIC = (
    ("rotate", "angle", 1.0), ("shear", "shear", 1.0), ("shift", "shift", 1.0), ("warp", "warp", 1.0),
    ("brightness", "brightness", 1.0), ("contrast", "contrast", 1.0), ("saturation", "saturation", 1.0),
    ("hue", "hue", 1.0), ("channels", "channels", 255.0),
)  # fmt: skip


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function: neighbouring integers -> unrelated ones (Steele et al., OOPSLA 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class Uniforms:
    """Numbers uniform in [0, 1) for the laws of some pictures: `Uniforms(...)("rotate")` is (N,), of "shear" (N, 2)."""

    def __init__(self, seed: int, epoch: int, indices: NDArray[np.integer]):
        self.step = np.uint64(0x9E3779B97F4A7C15)
        with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
            key = _mix(
                _mix(np.array([seed], np.uint64) * self.step + self.step) + np.uint64(epoch) * self.step + self.step
            )
            self.keys = _mix(key + np.asarray(indices).astype(np.uint64) * self.step + self.step)

    def __call__(self, law: str) -> NDArray[np.float64]:
        first, count = SLOTS[law]
        with np.errstate(over="ignore"):
            places = np.arange(first + 1, first + count + 1, dtype=np.uint64) * self.step
            bits = _mix(self.keys[:, None] + places)
        numbers = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return numbers[:, 0] if count == 1 else numbers


def identity(count: int) -> NDArray[Any]:
    """(count,) parameters that change nothing, but for the window, which must be set."""
    parameters = np.zeros(count, PARAMETERS)
    for name, (_, neutral) in FIELDS.items():
        parameters[name] = neutral
    return parameters


def sample(
    policy: Policy,
    seed: int,
    epoch: int,
    indices: NDArray[np.integer],
    sizes: NDArray[np.integer],
    size: int,
    components: Components = IMAGENET_COMPONENTS,
    resize: Resize = "shorter",
) -> NDArray[Any]:
    """(N,) PARAMETERS for the pictures `indices` (N,), whose (width, height) in pixels are `sizes` (N, 2), as they come
    to be augmented; `size` is the side of the result. `components` are the principal colours of the policy's "pca".
    `resize` is the preprocessing's: crops are cut from the square that evaluation makes of a picture.
    """
    uniforms = Uniforms(seed, epoch, indices)
    parameters = identity(len(indices))
    parameters["reflect"] = policy.border == "reflect"
    sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
    if resize == "shorter" or not policy.crops_source:
        parameters["window"] = _windows(policy, uniforms, sizes, size)
    else:
        parameters["window"] = _windows_of_squares(policy, uniforms, sizes, size, resize)
    if resize == "letterbox":
        parameters["reflect"] = False  # evaluation pads with the mean colour
    if policy.mirror:
        parameters["mirror"] = uniforms("mirror") < policy.mirror
    for law, field, spread in _SYMMETRIC:
        if width := getattr(policy, law):
            parameters[field] += spread * width * (2 * uniforms(law) - 1).reshape(parameters[field].shape)
    if policy.scale != (1.0, 1.0):
        parameters["scale"] = _log_uniform(policy.scale, uniforms("scale"))
    if policy.pca:
        from scipy.special import ndtri  # type: ignore[import-untyped]

        alphas = policy.pca * ndtri(np.maximum(uniforms("pca"), 2.0**-54))
        parameters["pca"] = 255 * alphas * components.values @ components.vectors.T
    if policy.blur_probability:
        happens, strength = uniforms("blur").T
        parameters["blur"] = np.where(happens < policy.blur_probability, _uniform(policy.blur, strength), 0.0)
    if policy.noise:
        strength, place = uniforms("noise").T
        parameters["noise"] = policy.noise * strength
        parameters["noise_place"] = (place * NOISE_TABLE).astype(np.int64)
    if policy.erase:
        happens, area, ratio, left, top = uniforms("erase").T
        holes = _boxes(_uniform(policy.erase_area, area), _log_uniform(policy.erase_ratio, ratio), left, top, size)
        parameters["hole"] = np.where((happens < policy.erase)[:, None], holes, 0)
    if policy.space:
        numbers = uniforms("picks").reshape(len(parameters), MOST_PICKS, 3)
        add_picks(parameters, numbers, policy.space, policy.picks, policy.strength)
    if policy.mixes:
        _mixing(policy, uniforms("mix"), size, parameters)
    return parameters


def _uniform(law: Pair, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return law[0] + numbers * (law[1] - law[0])


def _log_uniform(law: Pair, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(_uniform((math.log(law[0]), math.log(law[1])), numbers))


def _windows(policy: Policy, uniforms: Uniforms, sizes: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """(N, 4) left, top, width, height in whole pixels; inside the picture but for padded crops."""
    count, (width, height) = len(sizes), sizes.T
    if policy.crop == "none":
        return np.stack([np.zeros(count), np.zeros(count), width, height], 1)
    if policy.crop == "padded":
        places = 2 * policy.padding + 1
        left = np.floor(uniforms("left") * places) - policy.padding
        top = np.floor(uniforms("top") * places) - policy.padding
        return np.stack([left, top, width, height], 1)
    room = np.stack([width, height], 1)
    corner = np.zeros((count, 2))
    if policy.crop == "resized":
        ratio = _log_uniform(policy.ratio, uniforms("ratio"))
        most = np.minimum(width / height / ratio, ratio * height / width)  # the largest share with this ratio
        low, high = (np.minimum(end, most) for end in policy.area)
        area = width * height * (low + uniforms("area") * (high - low))
        box = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], 1)))
    else:
        sides = _uniform(policy.sides, uniforms("area"))
        box = np.rint(room.min(1) * REFERENCE_SIDE / sides)[:, None].repeat(2, 1)
        if policy.central:
            corner = np.floor((room - room.min(1, keepdims=True)) / 2)
            room = room.min(1, keepdims=True).repeat(2, 1)
    box = np.clip(box, 1, room)
    places = np.stack([uniforms("left"), uniforms("top")], 1)
    return np.concatenate([corner + np.floor(places * (room - box + 1)), box], 1)


def _windows_of_squares(
    policy: Policy, uniforms: Uniforms, sizes: NDArray[np.int64], size: int, resize: Resize
) -> NDArray[np.float64]:
    """(N, 4) as `_windows`: boxes of the squares into which pictures are squashed or padded, in the pictures' pixels.

    A box of a padded square contains as much of the picture as possible: the whole width where it is wider than the
    picture, the whole height where it is taller.
    """
    squares = sizes.max(1, keepdims=True).repeat(2, 1)
    windows = _windows(policy, uniforms, squares, size)
    corner, box = windows[:, :2], windows[:, 2:]
    if resize == "squash":
        factor = sizes / squares
        low = np.floor(corner * factor)
        high = np.minimum(np.maximum(np.ceil((corner + box) * factor), low + 1), sizes)
        return np.concatenate([low, high - low], 1)
    places = np.stack([uniforms("left"), uniforms("top")], 1)
    room = sizes - box  # negative where the box is larger than the picture
    return np.concatenate([np.minimum(room, 0) + np.floor(places * (np.abs(room) + 1)), box], 1)


def _boxes(
    area: NDArray[np.float64],
    ratio: NDArray[np.float64],
    left: NDArray[np.float64],
    top: NDArray[np.float64],
    size: int,
) -> NDArray[np.int64]:
    """(N, 4) boxes of these shares of a size x size picture, wholly inside it; `left` and `top` in [0, 1)."""
    width = np.clip(np.rint(size * np.sqrt(area * ratio)), 0, size)
    height = np.clip(np.rint(size * np.sqrt(area / ratio)), 0, size)
    corner = np.floor(left * (size - width + 1)), np.floor(top * (size - height + 1))
    return np.stack([*corner, width, height], 1).astype(np.int64)


def _mixing(policy: Policy, numbers: NDArray[np.float64], size: int, parameters: NDArray[Any]) -> None:
    """Sets "mixup" or "cutmix" of the pictures to which one of them happens."""
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    happens, share, left, top = numbers.T
    chosen = happens < policy.mix_probability
    cut = chosen & (happens < policy.mix_probability * (0.5 if policy.mixup else 1.0)) & bool(policy.cutmix)
    blend = chosen & ~cut & bool(policy.mixup)
    if policy.mixup:
        own = betaincinv(policy.mixup, policy.mixup, share[blend])
        parameters["mixup"][blend] = np.maximum(own, 1 - own)  # else a picture may come as its neighbour's twin
    if policy.cutmix:
        side = np.rint(size * np.sqrt(1 - betaincinv(policy.cutmix, policy.cutmix, share)))
        middle = np.stack([left, top], 1) * size
        low = np.clip(np.rint(middle - side[:, None] / 2), 0, size)
        high = np.clip(np.rint(middle + side[:, None] / 2), 0, size)
        parameters["cutmix"][cut] = np.concatenate([low, high - low], 1)[cut].astype(np.int64)


def described(parameters: Any) -> dict[str, Any]:
    """One picture's parameters as plain data: what differs from the value that changes nothing, and the window."""
    told: dict[str, Any] = {}
    for name, (_, neutral) in FIELDS.items():
        value = np.asarray(parameters[name])
        if name == "window" or (value != neutral).any():
            told[name] = value.tolist()
    if "noise" not in told:
        told.pop("noise_place", None)
    return told


# The least and the largest value of each field that a record from outside may have; a window has limits of its own.
RANGES: dict[str, tuple[float, float]] = {
    "scale": (0.01, 100), "shear": (-89, 89), "angle": (-3600, 3600), "shift": (-10, 10), "warp": (-1, 1),
    "brightness": (0, 100), "contrast": (0, 100), "saturation": (0, 100), "hue": (-3600, 3600), "channels": (-255, 255),
    "pca": (-1e4, 1e4), "solarize": (0, 256), "posterize": (0, 8), "sharpness": (-100, 100), "blur": (0, 100),
    "noise": (0, 1e4), "noise_place": (0, NOISE_TABLE - 1), "hole": (0, 1 << 16), "mixup": (0, 1),
    "cutmix": (0, 1 << 16), "window": (-(1 << 20), 1 << 20),
}  # fmt: skip


def replayed(rows: Sequence[dict[str, Any]]) -> NDArray[Any]:
    """(N,) PARAMETERS from what `described` gave, perhaps edited.

    Raises DataError naming the row and the field of what is no such record.
    """
    parameters = identity(len(rows))
    for number, told in enumerate(rows):
        if not isinstance(told, dict) or "window" not in told:
            raise DataError(f"parameters {number}: expected an object with a window and what changes, {told!r} came")
        for name, value in told.items():
            if name not in FIELDS:
                raise DataError(f"parameters {number}: unknown field {name!r}; expected {', '.join(FIELDS)}")
            place = parameters[name][number : number + 1]
            try:
                values = np.asarray(value, bool if place.dtype == bool else np.float64)
            except (TypeError, ValueError):
                values = np.array(np.nan)
            low, high = RANGES.get(name, (0, 1))
            fits = values.shape == place.shape[1:] and np.isfinite(values).all()
            if not fits or values.min() < low or values.max() > high:
                shape = f"{place.shape[1:]} numbers" if place.ndim > 1 else "a number"
                raise DataError(f"parameters {number}: {name} is {value!r}, expected {shape} from {low:g} to {high:g}")
            place[0] = values
        if parameters["window"][number, 2:].min() < 1:
            raise DataError(f"parameters {number}: the window {told['window']!r} has a side below 1 pixel")
    return parameters
