"""Records one run of a network on the meta device: every layer, every operator, every tensor."""

import dataclasses
from collections.abc import Container, Iterable, Iterator
from itertools import accumulate
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import ModelError
from . import formulas
from .formulas import Cost
from .receptive import ReceptiveField, after, pair, widest
from .records import LayerCost, ModuleOutput, NotCounted
from .shapes import predicted

# Operators without arithmetic: they create, move, select or copy numbers.
MOVES = frozenset(
    """_reshape_alias _to_copy _unsafe_view alias arange as_strided cat clone constant_pad_nd copy copy_ detach empty
    empty_like expand flip full full_like gather index index_select lift_fresh lift_fresh_copy new_empty new_full
    new_ones new_zeros ones ones_like permute pixel_shuffle pixel_unshuffle reflection_pad2d repeat replication_pad2d
    roll scalar_tensor select slice split split_with_sizes squeeze stack t transpose unbind unsqueeze
    upsample_nearest2d view zeros zeros_like""".split()  # noqa: SIM905 - a list of words reads better
)
PRODUCTS = frozenset(("addmm", "baddbmm", "bmm", "convolution", "mm"))
NOTHING = Cost(0, 0, 0)


@dataclasses.dataclass(slots=True)
class Allocation:
    """Memory that a tensor and its views share, from the step that creates it to the last one that uses it."""

    size_bytes: int
    field: ReceptiveField | None
    made: int
    used: int


@dataclasses.dataclass(slots=True)
class Frame:
    """A module that is running."""

    name: str
    module: nn.Module
    cost: Cost = NOTHING  # of its matrix products and convolutions
    has_more: bool = False  # whether it also computes something that is not counted
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # added by an operator: top, bottom, left, right


class Watcher(Protocol):
    """Follows the tensors of a trace: the calls of modules and, inside them, the operators."""

    def entered(self, name: str, module: nn.Module) -> None: ...

    def ran(self, name: str, operator: str, sources: list[Tensor], results: list[Tensor]) -> None:
        """An operator ran inside the module `name`. The tensors stay alive until the trace ends."""

    def left(self, module: nn.Module, results: list[Tensor], layer: LayerCost | None) -> Tensor | None:
        """A module returned; `layer` is its cost if it counts as a layer. A tensor replaces what it returned."""


class Trace(TorchDispatchMode):
    """What `network`, on the meta device, does with a batch of `images`. Modules in `known` do not count as layers.

    `layers`, `outputs` and `not_counted` are for one picture, bytes included; memory is for the batch.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's own wrapper would load its compiler

    def __init__(self, network: nn.Module, images: Tensor, known: Container[str] = (), watcher: Watcher | None = None):
        super().__init__()
        self.network, self.images, self.batch_size = network, images, images.shape[0]
        self.watcher = watcher
        self.layers: list[LayerCost] = []
        self.outputs: dict[str, ModuleOutput] = {}
        self.not_counted: dict[tuple[str, str], NotCounted] = {}
        self._names = {module: name for name, module in network.named_modules() if name not in known}
        self.weights = {_storage(weight) for weight in (*network.parameters(), *network.buffers())}
        self._frames = [Frame("", network)]
        self._steps: list[str] = []  # the module that calls each operator
        self._allocations: dict[int, Allocation] = {}  # by storage
        self._fields: dict[int, ReceptiveField] = {}  # by tensor
        self._kept: list[Tensor] = []  # keeps tensors alive, so that their ids stay unique
        self._charged = {_storage(images)}  # weights and allocations that some layer already counts
        self._make(images, ReceptiveField())

    def run(self) -> None:
        """Raises ModelError if a window does not fit; exceptions of the network pass through."""
        entering = register_module_forward_pre_hook(self._enter_module)  # global hooks, so that no module changes
        leaving = register_module_forward_hook(self._leave_module)  # type: ignore[arg-type]
        try:
            with self:
                self._use(_tensors(self.network(self.images)))  # the output lives to the end
        finally:
            entering.remove()
            leaving.remove()
            self._kept.clear()  # autograd's graph may hold references to them

    def peak(self) -> tuple[int, str]:
        """The largest number of bytes alive at the same time, and the module that is running then."""
        change = [0] * (len(self._steps) + 2)
        for block in self._allocations.values():
            change[block.made] += block.size_bytes
            change[block.used + 1] -= block.size_bytes
        alive = list(accumulate(change))
        most = max(alive)
        return most, ["", *self._steps, ""][alive.index(most)]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        operator, kwargs, frame = func.__name__.partition(".")[0], kwargs or {}, self._frames[-1]
        try:
            answer = predicted(operator, args, kwargs)
        except ModelError as error:
            raise ModelError(f"{frame.name}: {error}") from error
        if answer is None:
            answer = func(*args, **kwargs)
        sources, results = list(_tensors(args)), list(_tensors(answer))
        self._steps.append(frame.name)
        self._use(sources)
        if results and _storage(results[0]) not in self.weights:
            field = self._field(operator, args, sources, results[0])
            for tensor in results:
                self._make(tensor, field)
            self._count(frame, operator, args, results[0])
            if self.watcher:
                self.watcher.ran(frame.name, operator, sources, results)
        return answer

    def _make(self, tensor: Tensor, field: ReceptiveField | None) -> None:
        self._kept.append(tensor)
        if field is not None:
            self._fields[id(tensor)] = field
        storage, step = tensor.untyped_storage(), len(self._steps)
        if storage._cdata not in self._allocations:
            self._allocations[storage._cdata] = Allocation(storage.nbytes(), field, step, step)

    def _use(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            if block := self._allocations.get(_storage(tensor)):
                block.used = len(self._steps)

    def _seen(self, tensor: Tensor) -> ReceptiveField | None:
        block = self._allocations.get(_storage(tensor))  # autograd may give a view another id
        return self._fields.get(id(tensor)) or (block.field if block else None)

    def _field(self, operator: str, args: tuple, sources: list[Tensor], result: Tensor) -> ReceptiveField | None:
        fields = [field for tensor in sources if (field := self._seen(tensor))]
        return after(operator, args, widest(fields), result, self.batch_size) if fields else None

    def _count(self, frame: Frame, operator: str, args: tuple, result: Tensor) -> None:
        if operator == "constant_pad_nd" and len(args[1]) == 4:
            left, right, top, bottom = args[1]
            frame.padding = (top, bottom, left, right)
        elif operator in PRODUCTS:
            cost = _product(operator, args, result)
            frame.cost = formulas.total((frame.cost, Cost(0, *(number // self.batch_size for number in cost[1:]))))
        elif operator not in MOVES:
            frame.has_more = True
            name = operator.strip("_").removeprefix("native_").removesuffix("_with_indices")
            key = type(frame.module).__name__, name
            entry = self.not_counted.get(key, NotCounted(*key, 0, 0))
            results = entry.results + result.numel() // self.batch_size
            self.not_counted[key] = entry._replace(calls=entry.calls + 1, results=results)

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        if module in self._names:
            self._frames.append(Frame(self._names[module], module))
            if self.watcher:
                self.watcher.entered(self._names[module], module)

    def _leave_module(self, module: nn.Module, args: Any, answer: Any) -> Tensor | None:
        """Records a layer: a module without submodules, or one with weights or multiplications of its own."""
        if module not in self._names:
            return None
        frame, results = self._frames.pop(), list(_tensors(answer))
        field = (self._seen(results[0]) if results else None) or ReceptiveField(known=False)
        height, width = self.images.shape[2:]
        output = ModuleOutput(
            type=type(module).__name__,
            shape=tuple(results[0].shape[1:]) if results else (),
            receptive_field=(height, width) if field.whole else field.size if field.known else None,
            whole_input=field.whole,
        )
        self.outputs[frame.name] = output
        weights, layer = list(module.parameters(recurse=False)), None
        if weights or frame.cost.multiplications or next(module.children(), None) is None:
            cost = _from_settings(module, results[0], self.batch_size) if results else None
            cost = cost or frame.cost
            counted = cost.multiplications or not frame.has_more
            layer = LayerCost(
                name=frame.name or output.type,
                type=output.type,
                stage="",
                output_shape=output.shape,
                **_window(module, frame.padding),
                parameters=sum(weight.numel() for weight in weights if self._charge(id(weight))),
                multiplications=cost.multiplications if counted else None,
                additions=cost.additions if counted else None,
                activation_bytes=sum(t.nbytes for t in results if self._charge(_storage(t))) // self.batch_size,
                receptive_field=output.receptive_field,
                whole_input=output.whole_input,
            )
            self.layers.append(layer)
        return self.watcher.left(module, results, layer) if self.watcher else None

    def idle_layer(self, name: str, module: nn.Module) -> LayerCost:
        """A layer for weights that no run of their module counted, such as weights used by functions."""
        weights = sum(weight.numel() for weight in module.parameters(recurse=False) if self._charge(id(weight)))
        return LayerCost(name, type(module).__name__, "", (), None, None, None, None, weights, 0, 0, 0, None, False)

    def _charge(self, identity: int) -> bool:
        """Whether no layer has counted it yet."""
        new = identity not in self._charged
        self._charged.add(identity)
        return new


def saved_bytes(trace: Trace) -> int:
    """Runs the trace; returns the bytes that the forward pass keeps for the backward pass, without weights."""
    kept = {}

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in trace.weights:
            kept[storage._cdata] = storage  # kept alive, so that its id stays unique

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda _: trace.images):
        trace.run()
    return sum(storage.nbytes() for storage in kept.values())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in an argument or a return value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _from_settings(module: nn.Module, result: Tensor, batch_size: int) -> Cost | None:
    """The cost of a convolution or linear layer by closed formula; None for other modules."""
    if isinstance(module, nn.Conv2d) and result.ndim == 4:
        sides, bias = (result.shape[2], result.shape[3]), module.bias is not None
        channels, kernel = (module.in_channels, module.out_channels), pair(module.kernel_size)
        return formulas.conv2d(*channels, kernel, sides, groups=module.groups, bias=bias)
    if isinstance(module, nn.Linear):
        positions = result.numel() // module.out_features // batch_size
        bias = module.bias is not None
        return formulas.linear(module.in_features, module.out_features, bias=bias, positions=positions)
    return None


def _product(operator: str, args: tuple, result: Tensor) -> Cost:
    """The cost of a convolution or matrix product by its operands, for modules without a closed formula."""
    outputs = result.numel()
    if operator == "convolution":
        products, bias = prod(args[1].shape[1:]), args[2] is not None
        if args[6]:  # transposed: each input contributes to many outputs
            multiplications = args[0].numel() * products
            return Cost(0, multiplications, multiplications - outputs * (1 - bias))
    else:
        bias = operator in ("addmm", "baddbmm")
        products = args[1 if bias else 0].shape[-1]
    return Cost(0, outputs * products, outputs * (products - 1 + bias))


def _window(module: nn.Module, padded: tuple[int, int, int, int]) -> dict[str, Any]:
    """Kernel, stride, padding and groups of a layer, if it has them; `padded`: added by a padding operator."""
    kernel: Any = getattr(module, "kernel_size", None)
    if not isinstance(kernel, int) and not (isinstance(kernel, tuple) and len(kernel) == 2):
        return dict.fromkeys(("kernel_size", "stride", "padding", "groups"))
    given: Any = getattr(module, "padding", 0)
    if isinstance(given, str):  # of nn.Conv2d: "valid", or "same" with the odd one below and to the right
        total = [d * (k - 1) * (given == "same") for k, d in zip(pair(kernel), pair(module.dilation), strict=True)]
        padding = tuple(side for n in total for side in (n // 2, n - n // 2))
    else:
        vertical, horizontal = pair(given)
        sides = (vertical, vertical, horizontal, horizontal)
        padding = tuple(a + b for a, b in zip(sides, padded, strict=True))
    stride = getattr(module, "stride", None)
    groups = getattr(module, "groups", None)
    return {"kernel_size": pair(kernel), "stride": pair(stride or kernel), "padding": padding, "groups": groups}
