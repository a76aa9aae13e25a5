"""The parameters of worked computations: their meaning and bounds, and how to read them from text."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ModelError
from .steps import Padding, Sides, shape

Shape = tuple[int, ...]  # height, width, channels; or one number of features


class Parameter(NamedTuple):
    meaning: str
    least: float = 1
    most: float = 1_000_000


class LayerSpec(NamedTuple):
    """One layer of a chain, such as "conv11-96/4"."""

    name: str
    kind: str
    kernel_size: Sides | None  # None: the whole map
    filters: int  # 0: as many as input channels
    stride: int
    padding: Padding
    groups: int  # 0: one for each channel
    ceil_mode: bool


class Windows(tuple[tuple[int, int], ...]):
    """(kernel size, stride) of each layer from the input on, such as "7/2,3/2,3"."""


class Chain(tuple[LayerSpec, ...]):
    """A chain of layers, such as "conv5-6,pool2,fc10"."""


class Counts(tuple[int, ...]):
    """Numbers such as "3,4,6,3"."""


PARAMETERS = {
    "size": Parameter("Input side, or HEIGHTxWIDTH."),
    "map_size": Parameter("A larger input of the same layer: side, or HEIGHTxWIDTH."),
    "in_channels": Parameter("Input channels."),
    "channels": Parameter("Channels in and out."),
    "filters": Parameter("Filters, which are the output channels."),
    "kernel_size": Parameter("Side of a filter or window, or HEIGHTxWIDTH."),
    "window": Parameter("Side of each small window."),
    "stride": Parameter("Pixels from one window to the next."),
    "padding": Parameter("Zeros on each side, or same: the output has ceil(size / stride).", 0),
    "dilation": Parameter("Distance between the taps of a window."),
    "ceil_mode": Parameter("Let a last window overlap the edge."),
    "groups": Parameter("Groups of channels; each filter sees one group."),
    "no_bias": Parameter("Leave the bias out."),
    "inputs": Parameter("Input features, or HEIGHTxWIDTHxCHANNELS."),
    "outputs": Parameter("Output features."),
    "positions": Parameter("Positions at which the layer is applied with the same weights."),
    "units": Parameter("Outputs of the fully connected layer."),
    "multiplier": Parameter("Depthwise filters for each input channel."),
    "reduce": Parameter("1x1 filters of the bottleneck."),
    "width": Parameter("Channels inside the bottleneck."),
    "expanded": Parameter("Channels inside the block."),
    "conv1": Parameter("1x1 filters."),
    "reduce3": Parameter("1x1 filters before the 3x3."),
    "conv3": Parameter("3x3 filters."),
    "reduce5": Parameter("1x1 filters before the 5x5."),
    "conv5": Parameter("5x5 filters."),
    "pool_projection": Parameter("1x1 filters behind the pooling."),
    "depth": Parameter("Chain on top of each other."),
    "input": Parameter("Input, HEIGHTxWIDTHxCHANNELS."),
    "layers": Parameter(
        "conv11-96/4 (kernel, filters, /stride, +padding or +same, :groups), dw3/2+1 (depthwise), pool3/2 (^ rounds "
        "up), gap (global pooling), fc4096; 3*conv3-64+1 stands for three of them; separated by commas."
    ),
    "windows": Parameter("KERNEL or KERNEL/STRIDE of each layer from the input on, separated by commas."),
    "blocks": Parameter("Blocks of each stage, separated by commas."),
    "layers_per_block": Parameter("Weight layers of a block, along its longest path."),
    "other_layers": Parameter("Weight layers outside the blocks.", 0),
    "scales": Parameter("Sizes to which a picture is scaled."),
    "squares": Parameter("Squares taken from each size, such as left, middle and right."),
    "crops": Parameter("Crops of each square: five are the corners and the centre."),
    "no_mirror": Parameter("Leave the mirror images out."),
    "alpha": Parameter("Depth grows by it for each step of phi.", 0.01, 100),
    "beta": Parameter("Width grows by it for each step of phi.", 0.01, 100),
    "gamma": Parameter("Resolution grows by it for each step of phi.", 0.01, 100),
    "phi": Parameter("The compound coefficient: how many steps larger.", -20, 20),
    "resolution": Parameter("Input side of the network that is scaled."),
}


def written(value: Any) -> Any:
    """A parameter's value as a user writes it: 28 for (28, 28), "3,4,6,3" for counts."""
    if isinstance(value, Chain):
        return ",".join(layer.name for layer in value)
    if isinstance(value, Windows):
        return ",".join(f"{kernel}/{stride}" if stride > 1 else f"{kernel}" for kernel, stride in value)
    if isinstance(value, Counts):
        return ",".join(map(str, value))
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 and len(value) == 2 else shape(*value)
    return value


def _bounded(name: str, value: float) -> Any:
    parameter = PARAMETERS[name]
    if not parameter.least <= value <= parameter.most:
        raise ModelError(f"{name} is {value:,}, expected {parameter.least:,} to {parameter.most:,}")
    return value


def _integer(name: str, value: Any, expected: str = "a whole number", given: Any = None) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ModelError(f"{name} is {str(value if given is None else given)[:60]!r}, expected {expected}")
    return _bounded(name, int(text))


def _number(name: str, value: Any) -> float:
    try:
        return _bounded(name, float(value))
    except (TypeError, ValueError):
        raise ModelError(f"{name} is {str(value)[:40]!r}, expected a number") from None


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ModelError(f"{name} is {value!r}, expected true or false")
    return value


def _padding(name: str, value: Any) -> Padding:
    return "same" if value == "same" else _integer(name, value, "a number or 'same'")


def _several(name: str, value: Any, separator: str, expected: str, most: int = 1000) -> tuple[int, ...]:
    parts = value if isinstance(value, tuple | list) else str(value).split(separator)
    if len(parts) > most:
        raise ModelError(f"{name} has {len(parts)} numbers, expected {expected}")
    return tuple(_integer(name, str(part).strip(), expected, value) for part in parts)


def _sides(name: str, value: Any) -> Sides:
    sides = _several(name, value, "x", "one side or HEIGHTxWIDTH such as 28x28", 2)
    return sides[0], sides[-1]


def _shape(name: str, value: Any) -> Shape:
    return _several(name, value, "x", "HEIGHTxWIDTHxCHANNELS such as 6x6x256", 3)


def _counts(name: str, value: Any) -> Counts:
    return Counts(_several(name, value, ",", "numbers such as 3,4,6,3, at most 1000 of them"))


def _windows(name: str, value: Any) -> Windows:
    expected = "KERNEL or KERNEL/STRIDE of each layer such as 7/2,3/2,3, at most 1000 of them"
    parts = value if isinstance(value, tuple | list) else str(value).split(",")
    if len(parts) > 1000:
        raise ModelError(f"{name} has {len(parts)} layers, expected {expected}")
    windows = []
    for part in parts:
        pair = part if isinstance(part, tuple | list) else str(part).split("/")
        kernel, stride = pair if len(pair) == 2 else (pair[0], 1 if len(pair) == 1 else "")
        windows.append(tuple(_integer(name, str(number).strip(), expected, value) for number in (kernel, stride)))
    return Windows(windows)


LAYER = re.compile(
    r"(?:(?P<times>\d{1,4})\*)?(?P<kind>conv|dw|pool|gap|fc)(?P<number>\d{1,7}(?:x\d{1,7})?)?(?:-(?P<filters>\d{1,7}))?"
    r"(?:/(?P<stride>\d{1,7}))?(?:\+(?P<padding>\d{1,7}|same))?(?::(?P<groups>\d{1,7}))?(?P<ceil>\^)?"
)
# The required and the optional fields of each kind of layer.
LAYER_FIELDS = {
    "conv": ({"number", "filters"}, {"stride", "padding", "groups"}),
    "dw": ({"number"}, {"stride", "padding"}),
    "pool": ({"number"}, {"stride", "padding", "ceil"}),
    "gap": (set(), set()),
    "fc": ({"number"}, set()),
}


def read_layers(name: str, value: Any) -> Chain:
    layers: list[LayerSpec] = []
    for word in re.split(r"[,\s]+", str(value).strip(", ")):
        found = LAYER.fullmatch(word)
        fields = {key: text for key, text in found.groupdict().items() if text} if found else {}
        needed, allowed = LAYER_FIELDS[fields.get("kind", "gap")]
        if not found or not needed <= fields.keys() <= needed | allowed | {"kind", "times"}:
            raise ModelError(
                f"{name} has {word[:40]!r}, expected conv11-96/4, conv3-64+1, dw3/2+1, pool3/2, gap or fc4096, "
                "separated by commas"
            )
        kind, number, padding = fields["kind"], fields.get("number", "1"), fields.get("padding", "0")
        layer = LayerSpec(
            name=word.partition("*")[2] or word,
            kind=kind,
            kernel_size=_sides(name, number) if kind in ("conv", "dw", "pool") else None,
            filters=_integer(name, number if kind == "fc" else fields["filters"]) if kind in ("conv", "fc") else 0,
            stride=_integer(name, fields.get("stride", 1)),
            padding=padding if padding == "same" else int(padding),
            groups=0 if kind == "dw" else _integer(name, fields.get("groups", 1)),
            ceil_mode="ceil" in fields,
        )
        layers += [layer] * _integer(name, fields.get("times", 1))
        if len(layers) > 1000:
            raise ModelError(f"{name} has more than 1000 layers")
    return Chain(layers)


def read(name: str, annotation: Any, value: Any) -> Any:
    """A parameter's value from a number or text. Raises ModelError that says what was expected."""
    return READERS[annotation](name, value)


READERS: dict[Any, Callable[[str, Any], Any]] = {
    int: _integer,
    float: _number,
    bool: _flag,
    Padding: _padding,
    Sides: _sides,
    Shape: _shape,
    Counts: _counts,
    Windows: _windows,
    Chain: read_layers,
}
