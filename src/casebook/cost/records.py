"""The records that counting a network gives. No torch."""

from typing import Any, Literal, NamedTuple

Order = Literal["CHW", "HWC"]

CONVENTIONS = {
    "multiply_adds": "a multiplication and the addition that follows it, in convolutions and matrix products only, so "
    "their number is that of the multiplications; biases, normalisation, activations, pooling and the sums of "
    "residual branches do not count",
    "additions": "those of the same layers: n - 1 for a sum of n products, plus one for a bias",
    "flops": "would be multiplications plus additions, about twice the multiply-adds; many papers call multiply-adds "
    "FLOPs",
    "operations": "for one picture; zeros from padding are multiplied like pixels",
    "parameters": "weights and biases; a weight that layers share counts once; running statistics and other buffers do "
    "not count",
    "activations": "the output of each layer, for the whole batch, unless the layer returns its input; tensors that "
    "functions make between layers appear only in the peak",
    "receptive_field": "side of the input region that one output depends on: the largest over parallel branches, not "
    "clipped at the border of the input; the whole input after global pooling or a linear layer",
    "inference": "weights, buffers and the peak of the activations: the largest sum of activations alive at the same "
    "time, each from its creation to its last use; convolutions need workspaces as well, and Python may keep a tensor "
    "longer",
    "training": "an estimate: weights, gradients, the optimiser's state, and what the forward pass keeps for the "
    "backward pass; gradients of activations and workspaces come on top",
}


class ModuleOutput(NamedTuple):
    """What a module returns for one picture; `receptive_field` is None where an operator's is unknown."""

    type: str
    shape: tuple[int, ...]
    receptive_field: tuple[int, int] | None
    whole_input: bool


class LayerCost(NamedTuple):
    """One call of a module without submodules, or the sum over a larger module, a stage or a network.

    `padding` is (top, bottom, left, right). Multiplications and additions are None where the layer computes something
    but nothing that is counted.
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
    """An operator that no count includes: which type of module calls it, how often, and how many numbers it gives."""

    module_type: str
    operator: str
    calls: int
    results: int


class MemoryEstimate(NamedTuple):
    """Bytes at the batch size. `saved_activation_bytes`: what the forward pass keeps for the backward pass."""

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
        """Weights, buffers and the peak of the activations: what every command calls inference memory."""
        return self.weight_bytes + self.buffer_bytes + self.peak_activation_bytes

    @property
    def training_bytes(self) -> int:
        kept = self.gradient_bytes + self.optimiser_bytes + self.saved_activation_bytes
        return self.weight_bytes + self.buffer_bytes + kept

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"inference_bytes": self.inference_bytes, "training_bytes": self.training_bytes}


def ordered(shape: tuple[int, ...], order: Order) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if order == "HWC" and len(shape) == 3 else shape
