"""The costs of single layers by closed formula, in integers, without torch.

Multiplications and additions are counted separately and exactly: an output that sums n products takes n
multiplications and n - 1 additions, and one more addition for its bias. Zeros from padding are multiplied like pixels.
"""

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from ..errors import ModelError

Size = int | tuple[int, int]  # (height, width), or one number for both


class Cost(NamedTuple):
    """The parameters of a layer, and its operations for one picture."""

    parameters: int
    multiplications: int
    additions: int

    @property
    def multiply_adds(self) -> int:
        """The cost that most papers quote: each multiplication with the addition that follows it."""
        return self.multiplications


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of several layers."""
    costs = list(costs)
    return Cost(
        sum(cost.parameters for cost in costs),
        sum(cost.multiplications for cost in costs),
        sum(cost.additions for cost in costs),
    )


def output_size(
    size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """The number of window positions along one side: floor((size + 2 padding - reach) / stride) + 1.

    The reach of a dilated window is dilation (kernel_size - 1) + 1. With `ceil_mode` a last window may overlap the
    far edge, if it starts inside the picture or the padding before it.

    Raises:
        ModelError: if the window is larger than the padded side, or a number is out of range.
    """
    _check(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    if padding < 0:
        raise ModelError(f"padding is {padding}, expected 0 or more")
    reach = dilation * (kernel_size - 1) + 1
    room = size + 2 * padding - reach
    if room < 0:
        dilated = f" (reach {reach} at dilation {dilation})" if dilation > 1 else ""
        raise ModelError(
            f"a window of {kernel_size}{dilated} does not fit: size {size} with padding {padding} on both sides is "
            f"{size + 2 * padding}; give a larger size, more padding or a smaller window"
        )
    places = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (places - 1) * stride >= size + padding:
        places -= 1  # that window would see nothing but padding
    return places


def conv2d(
    in_channels: int, out_channels: int, kernel_size: Size, output_size: Size, *, groups: int = 1, bias: bool = True
) -> Cost:
    """A convolution; `output_size` is that of its result, so stride and padding do not matter here.

    Raises:
        ModelError: if a number is below 1, or `groups` does not divide both numbers of channels.
    """
    _check(in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise ModelError(
            f"{groups} groups do not divide {in_channels} input and {out_channels} output channels; "
            "expected a divisor of both"
        )
    products = _area("kernel_size", kernel_size) * in_channels // groups
    outputs = _area("output_size", output_size) * out_channels
    return Cost(
        parameters=out_channels * (products + bias),
        multiplications=outputs * products,
        additions=outputs * (products - 1 + bias),
    )


def linear(in_features: int, out_features: int, *, bias: bool = True, positions: int = 1) -> Cost:
    """A fully connected layer, applied at `positions` positions with the same weights.

    Raises:
        ModelError: if a number is below 1.
    """
    _check(in_features=in_features, out_features=out_features, positions=positions)
    return conv2d(in_features, out_features, 1, (positions, 1), bias=bias)


def depthwise_separable(
    in_channels: int, out_channels: int, kernel_size: Size, output_size: Size, *, multiplier: int = 1, bias: bool = True
) -> tuple[Cost, Cost]:
    """The two steps that replace a convolution: `multiplier` filters for each channel, then a 1x1 across channels.

    Raises:
        ModelError: if a number is below 1.
    """
    _check(in_channels=in_channels, multiplier=multiplier)
    wide = in_channels * multiplier
    depthwise = conv2d(in_channels, wide, kernel_size, output_size, groups=in_channels, bias=bias)
    return depthwise, conv2d(wide, out_channels, 1, output_size, bias=bias)


def receptive_field(layers: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The side of an output's receptive field, and the distance between those of neighbours, in pixels.

    `layers` are (kernel size, stride) from the input on; for a dilated layer give its reach as the kernel size.

    Raises:
        ModelError: if a number is below 1.
    """
    size = jump = 1
    for kernel_size, stride in layers:
        _check(kernel_size=kernel_size, stride=stride)
        size += (kernel_size - 1) * jump
        jump *= stride
    return size, jump


def _area(name: str, size: Size) -> int:
    sides = (size, size) if isinstance(size, int) else size
    for side in sides:
        _check(**{name: side})
    return prod(sides)


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ModelError(f"{name} is {number}, expected at least 1")
