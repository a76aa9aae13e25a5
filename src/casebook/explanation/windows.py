"""Which pixels a unit of a layer can see: the window of its receptive field, where the picture has it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .descent import CLAMPS, GATES, ONE_SIDED, PRODUCTS, QUOTIENTS, TWO_SIDED
from .watching import as_map, evaluating, run

IDENTITIES = ONE_SIDED | GATES | TWO_SIDED | CLAMPS | {
    functional.batch_norm, functional.local_response_norm, functional.group_norm, functional.instance_norm,
    functional.layer_norm, functional.rms_norm,
}  # fmt: skip


class Window(NamedTuple):
    """Pixels of the network's input: rows top to bottom - 1, columns left to right - 1."""

    top: int
    left: int
    bottom: int
    right: int


def windows(
    network: nn.Module, image_shape: tuple[int, int, int], layer: str, positions: Sequence[tuple[int, int]]
) -> list[Window]:
    """The window of each position (row, column) of a layer's map, cut off where the (C, H, W) picture ends.

    The network runs once with all weights positive, all activations left out and means for maxima, so a pixel has a
    gradient where, and only where, there is a path to it. What a gate (squeeze-excitation) sees is left out, as in
    casebook.cost; over parallel branches it is the largest.
    """
    weight = next(network.parameters(), None)
    device = weight.device if weight is not None else torch.device("cpu")
    # Single precision underflows below some forty 3x3 convolutions, but Apple's GPUs have nothing better.
    dtype = torch.float32 if device.type == "mps" else torch.float64
    with evaluating(network):
        images = torch.zeros(1, *image_shape, dtype=dtype, device=device, requires_grad=True)
        with Reach():
            _, kept = run(network, images, [layer])
        total = as_map(kept[layer], layer, network).sum(1)[0]
        found = []
        for row, column in positions:
            (reached,) = torch.autograd.grad(total[row, column], images, retain_graph=True)
            seen = (reached[0] != 0).any(0)
            rows, columns = seen.any(1).nonzero().flatten().tolist(), seen.any(0).nonzero().flatten().tolist()
            found.append(Window(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    return found


class Reach(TorchFunctionMode):
    """Linear layers with positive weights that keep the size of numbers, and nothing else."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in IDENTITIES:
            return args[0] if args else kwargs["input"]
        if func in PRODUCTS or func in QUOTIENTS:
            return _larger(*args[:2]) if isinstance(args[1], Tensor) else args[0]
        if func in STANDINS:
            return STANDINS[func](*args, **kwargs)
        return func(*args, **kwargs)


def _larger(x: Any, y: Tensor) -> Any:
    if not isinstance(x, Tensor) or x.numel() < y.numel():
        return y
    return x if y.numel() < x.numel() else (x + y) / 2


def _conv2d(
    input: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    sides = tuple(weight.shape[2:])
    window = torch.ones(1, 1, *sides, dtype=input.dtype, device=input.device) / weight[0, 0].numel()
    seen = functional.conv2d(input.mean(1, keepdim=True), window, None, stride, padding, dilation)
    return seen.repeat(1, weight.shape[0], 1, 1)  # not expanded: what follows may work in place


def _linear(input: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    return input.mean(-1, keepdim=True).repeat(*(1,) * (input.ndim - 1), weight.shape[0])


def _max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Tensor:  # fmt: skip
    return functional.avg_pool2d(input, kernel_size, stride, padding, ceil_mode)


def _adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:
    return functional.adaptive_avg_pool2d(input, output_size)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return value.mean(-2, keepdim=True).repeat(*(1,) * (value.ndim - 2), query.shape[-2], 1)


STANDINS = {
    functional.scaled_dot_product_attention: _attention,
    torch.conv2d: _conv2d,
    functional.linear: _linear,
    functional.max_pool2d: _max_pool2d,
    functional.adaptive_max_pool2d: _adaptive_max_pool2d,
}
