"""A network -> the graph of its calls, from the same trace that counts it.

A node is one call of a leaf module (a convolution, a norm, a pooling), or of an operator that runs between modules (a
sum, a concatenation, a product). Calls that do nothing to the numbers, such as an identity or a view, are no nodes.
"""

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..cost.count import prepare
from ..cost.records import LayerCost
from ..cost.trace import PRODUCTS, Trace
from ..models.layers import Network
from .words import MOVING, kind_of_module, kind_of_operator


class Node(NamedTuple):
    """One call. `name` is that of the module, or of the module around an operator; `inputs` are indices of nodes."""

    number: int
    name: str
    kind: str
    """One of "input conv linear norm activation pool dropout add mean cat mul move other"."""
    type: str
    """The class of the module, or the operator."""
    inputs: tuple[int, ...]
    in_shape: tuple[int, ...]
    """Of the first input, for one picture."""
    cost: LayerCost
    bias: bool = False
    dilation: int = 1
    rate: float = 0.0
    """Of a dropout."""
    training_only: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cost.output_shape

    @property
    def is_operator(self) -> bool:
        return self.type.islower()


@dataclasses.dataclass(frozen=True)
class Graph:
    """The calls of a network in the order of execution; the first is its input. `outputs` are indices of nodes.

    `types` are the classes of all modules by dotted name, and `children` the names of the modules inside each.
    """

    network: str
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    types: dict[str, str]
    staged: bool
    """Whether the network has Casebook's stem, stages and head."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.nodes[0].shape


def trace_graph(
    network: str | nn.Module,
    input_size: int | tuple[int, int] | None = None,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    **options: Any,
) -> Graph:
    """The graph of a network, by name or as a module. Arguments and errors are those of `casebook.count`.

    A network of Casebook's with auxiliary heads is drawn with them, although only training runs them.
    """
    label = network if isinstance(network, str) else getattr(network, "name", "") or type(network).__name__
    card = getattr(network, "card", None)
    if input_size is None and card is not None:
        input_size = card.input_size
    ready = prepare(network, input_size, in_channels=in_channels, num_classes=num_classes, **options)
    module = ready.module.eval()
    staged = isinstance(module, Network)
    module.training = staged and len(module.auxiliary) > 0  # of the outermost module alone
    images = torch.empty(1, *ready.shape, dtype=ready.dtype, device="meta")
    builder = GraphBuilder(images)
    trace = Trace(module, images, watcher=builder)
    try:
        with torch.no_grad():
            trace.run()
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        raise ready.refused(error) from error
    types = {name: type(part).__name__ for name, part in module.named_modules()}
    nodes, outputs = tidy(builder.nodes, builder.outputs)
    return Graph(label, nodes, outputs, types, staged)


class GraphBuilder:
    """Watches a trace and collects its nodes."""

    def __init__(self, images: Tensor):
        shape = tuple(images.shape[1:])
        self.nodes = [Node(0, "", "input", "input", (), shape, _free("input", "input", shape))]
        self.outputs: tuple[int, ...] = ()
        self._made = {id(images): 0}  # which node made a tensor, by id and, for views, by storage
        self._stored = {images.untyped_storage()._cdata: 0}
        self._weighted: set[int] = set()  # operators that read a weight
        self._leaf: int | None = None  # the leaf module that runs
        self._open: list[tuple[str, nn.Module, int]] = []  # the modules that run, with the number of nodes at the start

    def entered(self, name: str, module: nn.Module) -> None:
        self._open.append((name, module, len(self.nodes)))
        if self._leaf is None and _is_leaf(module):
            self._leaf = len(self._open)
            self._leaf_inputs: dict[int, None] = {}
            self._leaf_shape: tuple[int, ...] = ()

    def ran(self, name: str, operator: str, sources: list[Tensor], results: list[Tensor]) -> None:
        makers = {maker: None for tensor in sources if (maker := self._maker(tensor)) is not None}
        if self._leaf is not None:
            new = len(self.nodes)
            if not self._leaf_inputs and makers:
                self._leaf_shape = tuple(next(t for t in sources if self._maker(t) is not None).shape[1:])
            self._leaf_inputs |= {maker: None for maker in makers if maker != new}
            self._give(results, new)
            return
        if not makers:
            return  # made of weights alone
        operator = operator.strip("_").removeprefix("native_").removesuffix("_with_indices")
        if operator in MOVING and len(makers) == 1:
            self._give(results, next(iter(makers)))
            return
        shape = tuple(results[0].shape[1:])
        order = [maker for tensor in sources if (maker := self._maker(tensor)) is not None]
        self._append(name, kind_of_operator(operator), operator, order, self.nodes[order[0]].shape,
                     _free(name, operator, shape))  # fmt: skip
        if len(order) < len(sources):
            self._weighted.add(len(self.nodes) - 1)
        self._give(results, len(self.nodes) - 1)

    def left(self, module: nn.Module, results: list[Tensor], layer: LayerCost | None) -> Tensor | None:
        depth, (name, _, first) = len(self._open), self._open.pop()
        replacement = None
        if self._leaf == depth:
            self._leaf = None
            replacement = self._leave_leaf(name, module, results, layer)
        elif self._leaf is None and layer is not None and len(self.nodes) > first:
            self._charge(name, first, layer)
        if not self._open:
            makers = [self._maker(tensor) for tensor in results]
            self.outputs = tuple(maker for maker in makers if maker is not None)
        return replacement

    def _leave_leaf(
        self, name: str, module: nn.Module, results: list[Tensor], layer: LayerCost | None
    ) -> Tensor | None:
        made = len(self.nodes)
        if not results or layer is None:
            return None
        untouched = self._maker(results[0]) != made  # no operator made the result
        if untouched and not (isinstance(module, nn.Dropout) and module.p):
            return None
        inputs = [self._maker(results[0]) or 0] if untouched else list(self._leaf_inputs)
        shape = tuple(results[0].shape[1:]) if untouched else self._leaf_shape
        node = self._append(name, kind_of_module(module), type(module).__name__, inputs, shape, layer)
        dilation: Any = getattr(module, "dilation", 1)
        self.nodes[-1] = node._replace(
            bias=getattr(module, "bias", None) is not None,
            dilation=dilation if isinstance(dilation, int) else max(dilation, default=1),
            rate=float(getattr(module, "p", 0.0)) if node.kind == "dropout" else 0.0,
        )
        if untouched:  # in inference a dropout gives its input; a tensor of its own keeps later readers apart
            results = [results[0].clone()]
        self._give(results, made)
        return results[0] if untouched else None

    def _append(
        self, name: str, kind: str, type_: str, inputs: list[int], in_shape: tuple[int, ...], cost: LayerCost
    ) -> Node:
        late = name.split(".")[0] == "auxiliary"
        node = Node(len(self.nodes), name, kind, type_, tuple(inputs), in_shape, cost, training_only=late)
        self.nodes.append(node)
        return node

    def _charge(self, name: str, first: int, layer: LayerCost) -> None:
        """Gives the cost of a module with weights or products of its own to its first operator that reads a weight,
        or else multiplies."""
        own = [node for node in self.nodes[first:] if node.name == name and node.is_operator] or self.nodes[first:]
        by_rank = sorted(own, key=lambda node: (node.number not in self._weighted, node.type not in PRODUCTS))
        node = by_rank[0]
        self.nodes[node.number] = node._replace(
            cost=node.cost._replace(
                parameters=node.cost.parameters + layer.parameters,
                multiplications=(node.cost.multiplications or 0) + (layer.multiplications or 0),
                additions=(node.cost.additions or 0) + (layer.additions or 0),
            )
        )

    def _maker(self, tensor: Tensor) -> int | None:
        maker = self._made.get(id(tensor))
        return self._stored.get(tensor.untyped_storage()._cdata) if maker is None else maker

    def _give(self, tensors: list[Tensor], maker: int) -> None:
        for tensor in tensors:
            self._made[id(tensor)] = maker
            self._stored[tensor.untyped_storage()._cdata] = maker


def tidy(nodes: list[Node], outputs: tuple[int, ...]) -> tuple[tuple[Node, ...], tuple[int, ...]]:
    """Joins a + b + c into one sum, and a sum divided by a number into a mean; drops what no output needs."""
    readers: dict[int, list[int]] = {node.number: [] for node in nodes}
    for node in nodes:
        for source in node.inputs:
            readers[source].append(node.number)
    kept = list(nodes)
    gone: dict[int, int] = {}  # node -> the node that stands for it
    for node in nodes:
        node = kept[node.number]
        if node.kind == "add":
            inputs: list[int] = []
            for source in node.inputs:
                inner = kept[source]
                alone = readers[source] == [node.number] and inner.name == node.name and source not in outputs
                inputs += inner.inputs if inner.kind == "add" and alone else [source]
                if inner.kind == "add" and alone:
                    gone[source] = node.number
            kept[node.number] = node._replace(inputs=tuple(inputs))
        elif node.type == "div" and len(node.inputs) == 1:
            inner = kept[node.inputs[0]]
            if inner.kind == "add" and inner.name == node.name and readers[inner.number] == [node.number]:
                kept[node.number] = node._replace(kind="mean", type="mean", inputs=inner.inputs)
                gone[inner.number] = node.number
    needed, waiting = {0}, list(outputs)
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting += kept[index].inputs
    order = [node for node in kept if node.number in needed and node.number not in gone]
    places = {node.number: place for place, node in enumerate(order)}
    renumbered = [
        node._replace(number=places[node.number], inputs=tuple(places[source] for source in node.inputs))
        for node in order
    ]
    return tuple(renumbered), tuple(dict.fromkeys(places[index] for index in outputs))


def _is_leaf(module: nn.Module) -> bool:
    """Whether a module is drawn as one node: one without submodules, or one of torch's own that is no container."""
    if next(module.children(), None) is None:
        return True
    own = type(module).__module__.startswith("torch.nn.modules.")
    return own and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)


def _free(name: str, type_: str, shape: tuple[int, ...]) -> LayerCost:
    """The cost of an operator that counts nothing."""
    return LayerCost(name, type_, "", shape, None, None, None, None, 0, 0, 0, 0, None, False)
