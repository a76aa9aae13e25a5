"""Drawing: (policy, seed, epoch, pictures) -> the parameters of each picture's augmentation, as a plain record array.

A picture's numbers depend on (seed, epoch, its index) alone, never on its batch or on the worker that reads it. Each
law has random numbers of its own, so one that is added or taken away changes no other. Parameters hold all that is
needed: they can be printed, stored, edited and applied again without the policy that they came from.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .colour import IMAGENET_COMPONENTS, Components
from .policy import Pair, Policy

CONTROL = 8  # control points of a warp along each axis
REFERENCE_SIDE = 224  # the input that a policy's `sides` are meant for
STEPS = 31  # strengths that a menu's operations have, the first of them none

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
    ("area", 1), ("ratio", 1), ("left", 1), ("top", 1), ("mirror", 1), ("angle", 1), ("shear", 2), ("scale", 1),
    ("shift", 2), ("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 1), ("channels", 3), ("pca", 3),
    ("blur", 2), ("noise", 2), ("erase", 5), ("mix", 4), ("menu", 24), ("warp", 2 * CONTROL * CONTROL),
)  # fmt: skip
SLOTS: dict[str, tuple[int, int]] = {}
for _name, _count in _COUNTS:
    SLOTS[_name] = (sum(count for _, count in SLOTS.values()), _count)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function: neighbouring integers -> unrelated ones (Steele et al., OOPSLA 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class Uniforms:
    """Numbers uniform in [0, 1) for the laws of some pictures: `Uniforms(...)("angle")` is (N,), of "shear" (N, 2)."""

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


def draw(
    policy: Policy,
    seed: int,
    epoch: int,
    indices: NDArray[np.integer],
    sizes: NDArray[np.integer],
    size: int,
    components: Components = IMAGENET_COMPONENTS,
) -> NDArray[Any]:
    """(N,) PARAMETERS for the pictures `indices` (N,), whose (width, height) in pixels are `sizes` (N, 2), as they come
    to be augmented; `size` is the side of the result. `components` are the principal colours of the policy's "pca".
    """
    uniforms = Uniforms(seed, epoch, indices)
    drawn = identity(len(indices))
    drawn["reflect"] = policy.border == "reflect"
    drawn["window"] = _windows(policy, uniforms, np.asarray(sizes, np.int64).reshape(-1, 2), size)
    if policy.mirror:
        drawn["mirror"] = uniforms("mirror") < policy.mirror
    for law, field, spread in _SYMMETRIC:
        if width := getattr(policy, law):
            drawn[field] += (
                spread * width * (2 * uniforms(law if law != "rotate" else "angle") - 1).reshape(drawn[field].shape)
            )
    if policy.scale != (1.0, 1.0):
        drawn["scale"] = _log_uniform(policy.scale, uniforms("scale"))
    if policy.pca:
        from scipy.special import ndtri  # type: ignore[import-untyped]

        alphas = policy.pca * ndtri(np.maximum(uniforms("pca"), 2.0**-54))
        drawn["pca"] = 255 * alphas * components.values @ components.vectors.T
    if policy.blur_probability:
        happens, strength = uniforms("blur").T
        drawn["blur"] = np.where(happens < policy.blur_probability, _uniform(policy.blur, strength), 0.0)
    if policy.noise:
        strength, place = uniforms("noise").T
        drawn["noise"] = policy.noise * strength
        drawn["noise_place"] = (place * NOISE_TABLE).astype(np.int64)
    if policy.erase:
        happens, area, ratio, left, top = uniforms("erase").T
        holes = _boxes(_uniform(policy.erase_area, area), _log_uniform(policy.erase_ratio, ratio), left, top, size)
        drawn["hole"] = np.where((happens < policy.erase)[:, None], holes, 0)
    if policy.menu:
        _order(policy, uniforms("menu").reshape(len(drawn), 8, 3), drawn)
    if policy.mixes:
        _mixing(policy, uniforms("mix"), size, drawn)
    return drawn


NOISE_TABLE = 1 << 20  # normal numbers that noise is taken from, beginning anywhere

# Laws that are uniform about the value that changes nothing: law of the policy, field, what one unit of the law is.
_SYMMETRIC = (
    ("rotate", "angle", 1.0), ("shear", "shear", 1.0), ("shift", "shift", 1.0), ("warp", "warp", 1.0),
    ("brightness", "brightness", 1.0), ("contrast", "contrast", 1.0), ("saturation", "saturation", 1.0),
    ("hue", "hue", 1.0), ("channels", "channels", 255.0),
)  # fmt: skip


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
        area = width * height * _uniform(policy.area, uniforms("area"))
        ratio = _log_uniform(policy.ratio, uniforms("ratio"))
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


def _mixing(policy: Policy, numbers: NDArray[np.float64], size: int, drawn: NDArray[Any]) -> None:
    """Sets "mixup" or "cutmix" of the pictures to which one of them happens."""
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    happens, share, left, top = numbers.T
    chosen = happens < policy.mix_probability
    cut = chosen & (happens < policy.mix_probability * (0.5 if policy.mixup else 1.0)) & bool(policy.cutmix)
    blend = chosen & ~cut & bool(policy.mixup)
    if policy.mixup:
        own = betaincinv(policy.mixup, policy.mixup, share[blend])
        drawn["mixup"][blend] = np.maximum(own, 1 - own)  # else a picture may come as its neighbour's twin
    if policy.cutmix:
        side = np.rint(size * np.sqrt(1 - betaincinv(policy.cutmix, policy.cutmix, share)))
        middle = np.stack([left, top], 1) * size
        low = np.clip(np.rint(middle - side[:, None] / 2), 0, size)
        high = np.clip(np.rint(middle + side[:, None] / 2), 0, size)
        drawn["cutmix"][cut] = np.concatenate([low, high - low], 1)[cut].astype(np.int64)


class Dish(NamedTuple):
    """One operation of a menu: its field, and (strength in [0, 1], sign) -> value."""

    field: str
    value: Callable[[float, float], Any]


@dataclasses.dataclass(frozen=True)
class Menu:
    """The largest strengths of the fourteen operations of a menu; the least are none."""

    shear_slope: float
    shift: float  # share of the side
    angle_degrees: float
    colour: float  # factor 1 ± x of brightness, contrast, saturation and sharpness
    posterize_bits: int  # kept at most strength

    def dishes(self) -> tuple[Dish, ...]:
        def turn(slope: float) -> float:
            return math.degrees(math.atan(slope))

        def factor(strength: float, sign: float) -> float:
            return 1 + sign * self.colour * strength

        return (
            Dish("angle", lambda strength, sign: 0.0),  # the identity
            Dish("shear", lambda strength, sign: (sign * turn(self.shear_slope * strength), 0.0)),
            Dish("shear", lambda strength, sign: (0.0, sign * turn(self.shear_slope * strength))),
            Dish("shift", lambda strength, sign: (sign * self.shift * strength, 0.0)),
            Dish("shift", lambda strength, sign: (0.0, sign * self.shift * strength)),
            Dish("angle", lambda strength, sign: sign * self.angle_degrees * strength),
            Dish("brightness", factor),
            Dish("saturation", factor),
            Dish("contrast", factor),
            Dish("sharpness", factor),
            Dish("posterize", lambda strength, sign: 8 - round((8 - self.posterize_bits) * strength)),
            Dish("solarize", lambda strength, sign: 256 * (1 - strength)),
            Dish("autocontrast", lambda strength, sign: True),
            Dish("equalize", lambda strength, sign: True),
        )


MENUS = {
    # Müller and Hutter, ICCV 2021, table 1; a shift of 32 pixels of a CIFAR picture padded to 40, here of 224.
    "trivial": Menu(shear_slope=0.99, shift=32 / 224, angle_degrees=135, colour=0.99, posterize_bits=2),
    # The ranges of Cubuk et al., CVPR 2019, table 6, which RandAugment takes over: 150 of 331 pixels.
    "randaugment": Menu(shear_slope=0.3, shift=150 / 331, angle_degrees=30, colour=0.9, posterize_bits=4),
}
# How two dishes for one field come together.
_TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    "shear": np.add, "shift": np.add, "angle": np.add, "brightness": np.multiply, "saturation": np.multiply,
    "contrast": np.multiply, "sharpness": np.multiply, "posterize": np.minimum, "solarize": np.minimum,
    "autocontrast": np.logical_or, "equalize": np.logical_or,
}  # fmt: skip


def _order(policy: Policy, numbers: NDArray[np.float64], drawn: NDArray[Any]) -> None:
    """Adds to each picture its picks from the menu; `numbers` (N, 8, 3): which, how strong and which sign."""
    dishes = MENUS[policy.menu].dishes()
    for row, picks in enumerate(numbers[:, : policy.menu_picks]):
        for which, strong, signed in picks:
            dish = dishes[int(which * len(dishes))]
            strength = policy.menu_strength
            if strength is None:
                strength = int(strong * STEPS) / (STEPS - 1)
            value = dish.value(strength, 1.0 if signed < 0.5 else -1.0)
            drawn[dish.field][row] = _TOGETHER[dish.field](drawn[dish.field][row], value)


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


def replayed(rows: list[dict[str, Any]]) -> NDArray[Any]:
    """(N,) PARAMETERS from what `described` gave."""
    parameters = identity(len(rows))
    for row, told in zip(parameters, rows, strict=True):
        for name, value in told.items():
            row[name] = value
    return parameters
