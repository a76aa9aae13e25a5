"""A network, or a chain of layers in writing -> the feature maps that a drawing of volumes shows."""

from math import prod

from ..cost.parameters import LayerSpec, read_layers
from ..cost.worked import explain
from ..errors import ModelError
from .facts import fact_of
from .fold import Structure
from .graph import Graph, Node
from .pieces import Drawn
from .strip import sums
from .volume import Map, volumes
from .words import words

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


def draw_volumes(structure: Structure, stage: str | None = None) -> Drawn:
    """The drawing of a network without branches, with the sums of its weights and multiply-adds.

    Raises ModelError for a network that branches, and for a single stage.
    """
    if stage is not None:
        raise ModelError("volumes are drawn of a whole network; leave the stage out")
    graph = structure.graph
    maps, known = network_maps(graph), {}
    for place, one in enumerate(maps):
        if one.key is not None:
            fact = fact_of([graph.nodes[one.key]], stage_of(graph.nodes[one.key].name))
            known[fact.key] = fact
            maps[place] = one._replace(sentence=fact.sentence)
    return Drawn(((graph.network, volumes(graph.network, maps, [sums(structure)])),), known)


def stage_of(name: str) -> str:
    """ "stage 1" for "stages.0.conv", else the outermost module."""
    outermost, _, inner = name.partition(".")
    number = inner.partition(".")[0]
    return f"stage {int(number) + 1}" if outermost == "stages" and number.isdecimal() else outermost


def network_maps(graph: Graph) -> list[Map]:
    """The maps of a network without branches: each convolution, pooling and fully connected layer makes one.

    Raises ModelError, which names the place, for a network that branches.
    """
    maps = [Map(graph.input_shape)]
    for node in graph.nodes[1:]:
        if node.inputs != (node.number - 1,):
            raise ModelError(
                f"{graph.network} branches before {node.name or node.type}, and volumes are drawn of chains alone; "
                "draw it with the style strip or block"
            )
        maps += [one._replace(key=node.number) for one in _made_by(node)]
    return checked(maps, graph.network)


def _made_by(node: Node) -> list[Map]:
    """The map that a call makes; none for those that keep height, width and channels as they are."""
    cost, before, after = node.cost, node.in_shape, node.shape
    if node.kind in ("norm", "activation", "dropout") or (
        after == before and not (cost.parameters or cost.kernel_size)
    ):
        return []
    counts = _counts(after[0], cost.parameters)
    if node.kind == "linear":
        return [Map(after, "dense", None, ("dense",), counts[1:])]
    if node.kind == "move":
        return [Map(after, "data", None, (words(node.type),))]
    depthwise = cost.groups == before[0] > 1
    kind = "pool" if node.kind == "pool" else "depthwise" if depthwise else "conv"
    name = "depthwise" if depthwise else POOLS.get(node.type) or words(node.type)
    if cost.kernel_size is None or cost.stride is None:
        return [Map(after, kind, None, tuple(name.split(" ", 1)), counts)]
    keeps = any(cost.padding or ()) and cost.stride[0] == 1 and after[1:] == before[1:]
    padding = "same" if keeps else max(cost.padding or (0,))
    lines = window_words(name, cost.kernel_size, cost.stride[0], padding)
    groups = (f"{cost.groups} groups",) if (cost.groups or 1) > 1 and not depthwise else ()
    return [Map(after, kind, cost.kernel_size, (*lines, *groups), counts)]


POOLS = {
    "MaxPool2d": "max pool", "AvgPool2d": "average pool", "AdaptiveAvgPool2d": "global average pool",
    "AdaptiveMaxPool2d": "global max pool", "mean": "global average pool",
}  # fmt: skip
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
