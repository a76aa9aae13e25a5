"""The records that counting a network gives. No torch."""

import dataclasses
from typing import Any, Literal, NamedTuple

from ..errors import ModelError

Order = Literal["CHW", "HWC"]

CONVENTIONS = {
    "multiply_adds": "a multiplication with the addition that follows it, in convolutions and products of matrices "
    "alone; equal to the multiplications. Biases, normalisation, activations, pooling and sums of branches are not "
    "in it",
    "additions": "those of the same layers: n - 1 for a sum of n products, and one for a bias",
    "flops": "would be multiplications plus additions, about twice the multiply-adds; many papers write FLOPs for "
    "multiply-adds",
    "operations": "for one picture; zeros that padding supplies are multiplied like pixels",
    "parameters": "weights, each once where layers share it; running statistics and other buffers are not among them",
    "activations": "the output of each layer, for the whole batch, where it is not its input again; what functions "
    "make between layers shows in the peak alone",
    "receptive_field": "side of the input region that one output can see, the largest over parallel branches and not "
    "cut off at the border of the input; the whole input after global pooling or a linear layer",
    "inference": "weights, buffers and the largest sum of activations alive at once, each from its making to its last "
    "use; workspaces of convolutions come on top, and Python may hold a tensor for longer",
    "training": "an estimate: weights, gradients, state of the optimiser, and what the forward pass keeps for the "
    "backward pass; gradients of activations and workspaces come on top",
}


class Output(NamedTuple):
    """What a module gave for one picture; `receptive_field` is None where an operator's is not known."""

    type: str
    shape: tuple[int, ...]
    receptive_field: tuple[int, int] | None
    whole_input: bool


class Layer(NamedTuple):
    """One run of a module without parts, or the sum over a larger module, a stage or a network.

    `padding` is (top, bottom, left, right). Multiplications and additions are None where there is arithmetic that is
    not counted and none that is.
    """

    name: str
    type: str
    stage: str
    output_shape: tuple[int, ...]
    kernel_size: tuple[int, int] | None
    stride: tuple[int, int] | None
    padding: tuple[int, int, int, int] | None
    groups: int | None
    parameters: int
    multiplications: int | None
    additions: int | None
    activation_bytes: int
    receptive_field: tuple[int, int] | None
    whole_input: bool
    training_only: bool = False

    @property
    def multiply_adds(self) -> int | None:
        return self.multiplications

    def to_dict(self, order: Order = "CHW") -> dict[str, Any]:
        record = self._asdict() | {"output_shape": ordered(self.output_shape, order)}
        record = {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}
        place = list(record).index("activation_bytes")
        items = list(record.items())
        return dict([*items[:place], ("multiply_adds", self.multiply_adds), *items[place:]])


class NotCounted(NamedTuple):
    """Arithmetic that no figure holds: an operator, the modules it runs in, how often, and how many numbers it gave."""

    module_type: str
    operator: str
    calls: int
    results: int


class Memory(NamedTuple):
    """Bytes, at the batch size. `saved_activation_bytes` is what the backward pass needs of the forward pass."""

    batch_size: int
    optimiser: str
    weight_bytes: int
    buffer_bytes: int
    peak_activation_bytes: int
    peak_module: str
    gradient_bytes: int
    optimiser_bytes: int
    saved_activation_bytes: int

    @property
    def inference_bytes(self) -> int:
        return self.weight_bytes + self.buffer_bytes + self.peak_activation_bytes

    @property
    def training_bytes(self) -> int:
        kept = self.gradient_bytes + self.optimiser_bytes + self.saved_activation_bytes
        return self.weight_bytes + self.buffer_bytes + kept

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"inference_bytes": self.inference_bytes, "training_bytes": self.training_bytes}


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a network costs at one input size.

    `layers` are in the order of execution, those of auxiliary heads, which only training runs, last; `outputs` is
    what each module gave, by dotted name. `traced_multiply_adds` is what torch's own counter says, where asked.
    """

    network: str
    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    not_counted: tuple[NotCounted, ...]
    memory: Memory
    outputs: dict[str, Output]
    traced_multiply_adds: int | None = None

    @property
    def total(self) -> Layer:
        """The whole network as inference runs it: without auxiliary heads."""
        layers = [layer for layer in self.layers if not layer.training_only]
        return _sum("total", layers, self.outputs[""])

    @property
    def stages(self) -> tuple[Layer, ...]:
        """Stem, each stage, head, and auxiliary heads where there are any; for other networks, its parts."""
        groups: dict[str, list[Layer]] = {}
        for layer in self.layers:
            groups.setdefault(layer.stage, []).append(layer)
        return tuple(
            _sum(stage, inside, self.outputs.get(_module(inside[0], depth=1))) for stage, inside in groups.items()
        )

    @property
    def agrees(self) -> bool | None:
        """Whether torch's own counter says the same."""
        return None if self.traced_multiply_adds is None else self.traced_multiply_adds == self.total.multiply_adds

    def __str__(self) -> str:
        from .render import text

        return text(self)

    def at_depth(self, depth: int) -> "Summary":
        """The same with larger modules as layers, what is inside them summed: at depth 1 stem, each stage and head."""
        if depth < 1:
            raise ModelError(f"depth is {depth}, expected at least 1")
        groups: dict[tuple[str, str], list[Layer]] = {}
        for layer in self.layers:
            groups.setdefault((layer.stage, _module(layer, depth)), []).append(layer)
        layers = [
            inside[0] if [layer.name for layer in inside] == [name] else _sum(name, inside, self.outputs.get(name))
            for (_, name), inside in groups.items()
        ]
        return dataclasses.replace(self, layers=tuple(layers))

    def to_dict(self, order: Order = "CHW") -> dict[str, Any]:
        """As JSON-able data; shapes as channels, height, width or, with "HWC", as height, width, channels."""
        sums = ("parameters", "multiplications", "additions", "multiply_adds", "activation_bytes")
        seen = ("output_shape", "receptive_field", "whole_input")
        traced = {"multiply_adds": self.traced_multiply_adds, "agrees": self.agrees}
        total, stages = self.total.to_dict(order), [stage.to_dict(order) for stage in self.stages]
        return {
            "network": self.network,
            "shape_order": order,
            "input_shape": list(ordered(self.input_shape, order)),
            "total": {key: total[key] for key in sums},
            "stages": [{key: stage[key] for key in ("name", "training_only", *seen, *sums)} for stage in stages],
            "layers": [layer.to_dict(order) for layer in self.layers],
            "memory": self.memory.to_dict(),
            "not_counted": [entry._asdict() for entry in self.not_counted],
            "traced": traced if self.agrees is not None else None,
            "conventions": CONVENTIONS,
        }


def ordered(shape: tuple[int, ...], order: Order) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if order == "HWC" and len(shape) == 3 else shape


def _module(layer: Layer, depth: int) -> str:
    """The module that many levels down which the layer is in; "stages.0" is one level, as "stem" is."""
    return ".".join(layer.name.split(".")[: depth + layer.stage.startswith("stage ")])


def _sum(name: str, layers: list[Layer], output: Output | None = None) -> Layer:
    """The layers as one, which gives `output`, or what the last of them gives."""
    counted = [layer for layer in layers if layer.multiplications is not None]
    summed = layers[-1]._replace(
        name=name, type="", kernel_size=None, stride=None, padding=None, groups=None,
        parameters=sum(layer.parameters for layer in layers),
        multiplications=sum(layer.multiplications or 0 for layer in counted) if counted else None,
        additions=sum(layer.additions or 0 for layer in counted) if counted else None,
        activation_bytes=sum(layer.activation_bytes for layer in layers),
    )  # fmt: skip
    if output is None:
        return summed
    return summed._replace(
        type=output.type,
        output_shape=output.shape,
        receptive_field=output.receptive_field,
        whole_input=output.whole_input,
    )
