"""Settings -> a convolution of small integers, with the products of each output, for the drawings of `sliding`."""

import dataclasses
from typing import Any, NamedTuple

from ..cost.formulas import Cost, conv2d, output_size
from ..errors import ModelError, did_you_mean

# The settings that each kind of convolution starts from: those of the case studies' examples.
KINDS: dict[str, dict[str, Any]] = {
    "normal": {"size": 6, "channels": 3, "filters": 1, "kernel_size": 3},
    "depthwise": {"size": 6, "channels": 3, "filters": 3, "kernel_size": 3},
    "pointwise": {"size": 4, "channels": 3, "filters": 5, "kernel_size": 1},
    "1x1": {"size": 6, "channels": 1, "filters": 1, "kernel_size": 1},
}
# What can be read at a glance.
MOST = {"size": 12, "channels": 5, "filters": 5, "kernel_size": 5, "zeros": 3}
# The input and the weight of the case studies' example of a 1x1 filter.
EXAMPLE = ((1, 2, 3, 6, 5, 8), (3, 5, 5, 1, 3, 4), (2, 1, 3, 4, 9, 3), (4, 7, 8, 5, 7, 9), (1, 5, 3, 7, 4, 8),
           (5, 4, 9, 8, 3, 5))  # fmt: skip
EXAMPLE_WEIGHT = 2

Grid = list[list[int]]


@dataclasses.dataclass(frozen=True)
class Sliding:
    """A convolution to draw. A "depthwise" one has a filter for each channel; a "pointwise" one is 1x1.

    `size` is the side of the input, `padding` "valid", "same" or the zeros on each side; `seed` draws the numbers.

    Raises ModelError for settings that do not go together, or give more numbers than one can read.
    """

    kind: str
    size: int
    channels: int
    filters: int
    kernel_size: int
    stride: int = 1
    padding: str | int = "valid"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.padding, int) and self.padding not in ("valid", "same"):
            raise ModelError(f"padding is {self.padding!r}, expected valid, same or a number")
        for name, most in MOST.items():
            least = 0 if name == "zeros" else 1
            if not least <= getattr(self, name) <= most:
                raise ModelError(f"{name} is {getattr(self, name)}, expected {least} to {most}: more cannot be read")
        if self.kind in ("pointwise", "1x1") and self.kernel_size != 1:
            raise ModelError(f"a {self.kind} convolution has a kernel of 1x1, got {self.kernel_size}; leave it out")
        if self.kind == "depthwise" and self.filters != self.channels:
            raise ModelError(
                f"{self.filters} filters for {self.channels} channels; a depthwise convolution has one each"
            )
        if self.padding == "same" and self.kernel_size % 2 == 0:
            raise ModelError(
                f"kernel_size is {self.kernel_size}; 'same' is drawn for odd ones, with equal zeros around"
            )
        _ = self.positions  # raises where the window does not fit

    @property
    def zeros(self) -> int:
        """Zeros on each side of the input."""
        if isinstance(self.padding, int):
            return self.padding
        return (self.kernel_size - 1) // 2 if self.padding == "same" else 0

    @property
    def positions(self) -> int:
        """The side of the output."""
        return output_size(self.size, self.kernel_size, stride=self.stride, padding=self.zeros)

    @property
    def num_steps(self) -> int:
        """The positions of the window."""
        return self.positions**2

    @property
    def depthwise(self) -> bool:
        return self.kind == "depthwise"

    @property
    def cost(self) -> Cost:
        groups = self.channels if self.depthwise else 1
        return conv2d(self.channels, self.filters, self.kernel_size, self.positions, groups=groups, bias=False)

    @property
    def title(self) -> str:
        """Such as "Normal 3x3 convolution, valid padding, stride 1"."""
        padding = f"padding {self.padding}" if isinstance(self.padding, int) else f"{self.padding} padding"
        kernel = "" if self.kind == "1x1" else f" {self.kernel_size}x{self.kernel_size}"
        return f"{self.kind.capitalize()}{kernel} convolution, {padding}, stride {self.stride}"


def sliding(kind: str = "normal", **settings: Any) -> Sliding:
    """A convolution of a kind of `KINDS`, with the settings of its example where none are given."""
    if kind not in KINDS:
        raise ModelError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS) or ';'} expected {', '.join(KINDS)}")
    known = [field.name for field in dataclasses.fields(Sliding)]
    for setting in settings:
        if setting not in known:
            raise ModelError(f"sliding has no setting {setting!r}{did_you_mean(setting, known) or ';'} it takes "
                             f"{', '.join(known)}")  # fmt: skip
    chosen = KINDS[kind] | settings
    if kind == "depthwise" and "filters" not in settings:
        chosen["filters"] = chosen["channels"]
    return Sliding(kind, **chosen)


class Numbers(NamedTuple):
    """`inputs` has a grid for each channel, with the zeros of the padding; `weights` one for each filter and each
    channel that it sees; `outputs` one for each filter."""

    inputs: list[Grid]
    weights: list[list[Grid]]
    outputs: list[Grid]


def numbers(spec: Sliding) -> Numbers:
    """The numbers of the drawing, the same for the same seed: inputs 0 to 9, weights -1 to 2, and their convolution."""
    draw = _Draw(spec.seed)
    example = spec == sliding("1x1", stride=spec.stride, padding=spec.padding)
    inputs = [
        _padded([list(row) for row in EXAMPLE] if example else _grid(draw, spec.size, 0, 9), spec.zeros)
        for _ in range(spec.channels)
    ]
    seen = 1 if spec.depthwise else spec.channels
    weights = [
        [[[EXAMPLE_WEIGHT]] if example else _grid(draw, spec.kernel_size, -1, 2) for _ in range(seen)]
        for _ in range(spec.filters)
    ]
    found, places = Numbers(inputs, weights, []), range(spec.positions)
    outputs = [
        [[sum(a * w for a, w in products(spec, found, number, (i, j))) for j in places] for i in places]
        for number in range(spec.filters)
    ]
    return found._replace(outputs=outputs)


def products(spec: Sliding, found: Numbers, number: int, place: tuple[int, int]) -> list[tuple[int, int]]:
    """The (input, weight) pairs of filter `number` at one place of the output, by channel, row and column."""
    channels = [number] if spec.depthwise else range(spec.channels)
    top, left = place[0] * spec.stride, place[1] * spec.stride
    return [
        (found.inputs[channel][top + i][left + j], found.weights[number][slot][i][j])
        for slot, channel in enumerate(channels)
        for i in range(spec.kernel_size)
        for j in range(spec.kernel_size)
    ]


def arithmetic(spec: Sliding, found: Numbers, place: tuple[int, int]) -> list[str]:
    """The sums of one place of the output, a line for each channel or each filter."""
    lines = []
    for number in range(spec.filters):
        pairs = products(spec, found, number, place)
        area, total = spec.kernel_size**2, sum(a * w for a, w in pairs)
        parts = [pairs[start : start + area] for start in range(0, len(pairs), area)]
        sums = [sum(a * w for a, w in part) for part in parts]
        if area == 1 or len(parts) == 1:
            what = "channel" if spec.depthwise else "filter"
            name = f"{what} {number + 1}: " if spec.filters > 1 else ""
            lines.append(f"{name}{_sum_of(pairs)} = {total}")
            continue
        if spec.filters == 1:
            lines += [
                f"channel {channel}: {_sum_of(part)} = {value}"
                for channel, (part, value) in enumerate(zip(parts, sums, strict=True), 1)
            ]
        name = f"filter {number + 1}, all channels" if spec.filters > 1 else "all channels"
        lines.append(f"{name}: {' + '.join(map(_signed, sums))} = {total}")
    return lines


def _sum_of(pairs: list[tuple[int, int]]) -> str:
    return " + ".join(f"{a}x{_signed(w)}" for a, w in pairs)


def _signed(value: int) -> str:
    return f"({value})" if value < 0 else f"{value}"


def _padded(grid: Grid, zeros: int) -> Grid:
    side = [0] * zeros
    rim = [[0] * (len(grid[0]) + 2 * zeros) for _ in range(zeros)]
    return [*rim, *([*side, *row, *side] for row in grid), *(list(row) for row in rim)]


class _Draw:
    """A linear congruential generator: numbers that no version of Python changes."""

    def __init__(self, seed: int):
        self.state = (seed * 2_654_435_761 + 12_345) % 2**32

    def between(self, low: int, high: int) -> int:
        self.state = (self.state * 1_664_525 + 1_013_904_223) % 2**32
        return low + (self.state >> 16) % (high - low + 1)


def _grid(draw: _Draw, side: int, low: int, high: int) -> Grid:
    return [[draw.between(low, high) for _ in range(side)] for _ in range(side)]
