"""A network, or a chain of layers in writing -> the feature maps that a drawing of volumes shows."""

from math import prod

from ..cost.parameters import LayerSpec, read_layers
from ..cost.worked import explain
from ..errors import ModelError
from .volume import Map

MOST_MAPS = 60  # an hour's lecture; more fit on no page


def chain_maps(input: str, layers: str) -> list[Map]:
    """The maps of a chain such as "28x28x192" and "conv1-16,conv5-32+same", in the notation of `explain-cost chain`.

    Raises ModelError for text that is no input or chain, and for a layer that does not fit.
    """
    specs = read_layers("layers", layers)
    worked = explain("chain", input=input, layers=layers)
    height, width, channels = (int(side) for side in str(worked.inputs["input"]).split("x"))
    maps = [Map((channels, height, width))]
    for spec, record in zip(specs, worked.layers, strict=True):
        rows, columns, channels = (int(side) for side in str(record["output"]).split("x"))
        if spec.kind == "fc":
            maps += flattened(maps[-1])
        shape = (channels,) if spec.kind == "fc" else (channels, rows, columns)
        kernel = spec.kernel_size or ((height, width) if spec.kind == "gap" else None)
        maps.append(Map(shape, KINDS[spec.kind], kernel, _words(spec), _counts(channels, int(record["parameters"]))))
        height, width = rows, columns
    return checked(maps, "the chain")


KINDS = {"conv": "conv", "dw": "depthwise", "pool": "pool", "gap": "pool", "fc": "dense"}
NAMES = {"conv": "conv", "dw": "depthwise", "pool": "pool", "gap": "global pool", "fc": "dense"}


def flattened(before: Map) -> list[Map]:
    """The vector of a map's numbers, as a step of its own, where the map is not one already."""
    if len(before.shape) == 1:
        return []
    return [Map((prod(before.shape),), "data", None, ("flatten",))]


def window_words(name: str, kernel: tuple[int, int], stride: int, padding: str | int) -> tuple[str, ...]:
    """The lines above an arrow: "conv 5x5", "stride 2", "padding 2"."""
    lines = [f"{name} {kernel[0]}x{kernel[1]}"]
    lines += [f"stride {stride}"] if stride > 1 else []
    lines += ["same padding"] if padding == "same" else [f"padding {padding}"] if padding else []
    return tuple(lines)


def checked(maps: list[Map], what: str) -> list[Map]:
    """The maps themselves. Raises ModelError for more than fit on a page."""
    if len(maps) > MOST_MAPS:
        raise ModelError(f"{what} has {len(maps)} feature maps, at most {MOST_MAPS} are drawn as volumes; try strip")
    return maps


def _words(spec: LayerSpec) -> tuple[str, ...]:
    if spec.kernel_size is None:
        return (NAMES[spec.kind],)
    words = window_words(NAMES[spec.kind], spec.kernel_size, spec.stride, spec.padding)
    return (*words, f"{spec.groups} groups") if spec.groups > 1 else words


def _counts(channels: int, parameters: int) -> tuple[str, ...]:
    return (f"{channels:,} filters", f"{parameters:,} weights") if parameters else ()
