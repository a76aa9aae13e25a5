"""Augmentation spaces: lists of operations from which a policy picks with equal probability, each at some strength.

An operation sets one field of the parameters, so picked operations are composed with all others and sampled once.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS = 31  # strengths to draw from if the policy sets none; the first has no effect


class Operation(NamedTuple):
    """The parameter field that it sets, and the field's value for a strength in [0, 1] and a sign."""

    field: str
    value: Callable[[float, float], Any]


@dataclasses.dataclass(frozen=True)
class Space:
    """The largest strengths of the fourteen operations. At strength 0 none has an effect."""

    shear_slope: float
    shift: float  # fraction of the side
    angle_degrees: float
    colour: float  # factor 1 ± x of brightness, contrast, saturation and sharpness
    posterize_bits: int  # left at the largest strength

    def operations(self) -> tuple[Operation, ...]:
        def degrees(slope: float) -> float:
            return math.degrees(math.atan(slope))

        def factor(strength: float, sign: float) -> float:
            return 1 + sign * self.colour * strength

        return (
            Operation("angle", lambda strength, sign: 0.0),  # the identity
            Operation("shear", lambda strength, sign: (sign * degrees(self.shear_slope * strength), 0.0)),
            Operation("shear", lambda strength, sign: (0.0, sign * degrees(self.shear_slope * strength))),
            Operation("shift", lambda strength, sign: (sign * self.shift * strength, 0.0)),
            Operation("shift", lambda strength, sign: (0.0, sign * self.shift * strength)),
            Operation("angle", lambda strength, sign: sign * self.angle_degrees * strength),
            Operation("brightness", factor),
            Operation("saturation", factor),
            Operation("contrast", factor),
            Operation("sharpness", factor),
            Operation("posterize", lambda strength, sign: 8 - round((8 - self.posterize_bits) * strength)),
            Operation("solarize", lambda strength, sign: 256 * (1 - strength)),
            Operation("autocontrast", lambda strength, sign: True),
            Operation("equalize", lambda strength, sign: True),
        )


SPACES = {
    # Müller and Hutter, ICCV 2021, Table 1, the wide space; its shift of 32 pixels is taken of an input of 224.
    "trivial": Space(shear_slope=0.99, shift=32 / 224, angle_degrees=135, colour=0.99, posterize_bits=2),
    # The ranges of AutoAugment (Cubuk et al., CVPR 2019), which RandAugment uses too; a shift of 150 of 331 pixels.
    "randaugment": Space(shear_slope=0.3, shift=150 / 331, angle_degrees=30, colour=0.9, posterize_bits=4),
}


def _slopes_added(first: Any, second: Any) -> Any:
    return np.degrees(np.arctan(np.tan(np.radians(first)) + np.tan(np.radians(second))))


# How a second value of a field is combined with the first.
TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    "shear": _slopes_added, "shift": np.add, "angle": np.add, "brightness": np.multiply, "saturation": np.multiply,
    "contrast": np.multiply, "sharpness": np.multiply, "posterize": np.minimum, "solarize": np.minimum,
    "autocontrast": np.logical_or, "equalize": np.logical_or,
}  # fmt: skip


def add_picks(
    parameters: NDArray[Any], numbers: NDArray[np.float64], space: str, picks: int, strength: float | None
) -> None:
    """Applies `picks` operations to each of (N,) PARAMETERS.

    `numbers` (N, MOST_PICKS, 3), uniform in [0, 1), choose the operation, its strength and its sign.
    """
    operations = SPACES[space].operations()
    for row, some in enumerate(numbers[:, :picks]):
        for which, strong, signed in some:
            operation = operations[int(which * len(operations))]
            strength_ = int(strong * STEPS) / (STEPS - 1) if strength is None else strength
            value = operation.value(strength_, 1.0 if signed < 0.5 else -1.0)
            field = parameters[operation.field]
            field[row] = TOGETHER[operation.field](field[row], value)
