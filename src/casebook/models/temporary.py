"""Changes to a network that last as long as a block: the same outputs with less memory or in less time.

Nothing else may use the network meanwhile.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .layers import Add, ConvNorm


@contextlib.contextmanager
def overwriting_activations(network: nn.Module) -> Iterator[None]:
    """Inside, ReLUs and additions overwrite their (first) input where nothing else reads it: same numbers, less memory.

    A block with `owns_activation_input` promises that only its `activation`, a ReLU or ReLU6, reads that input and that
    the backward pass does not need it. Every `Add` may overwrite. On exit the setting is undone, because backward hooks
    need the inputs.
    """
    modules = list(network.modules())
    overwriting: list[nn.Module] = [m.activation for m in modules if getattr(m, "owns_activation_input", False)]  # type: ignore[misc]
    overwriting += [m for m in modules if isinstance(m, Add)]
    clamping = [m for m in overwriting if type(m) is nn.ReLU6]
    for module in overwriting:
        module.inplace = True  # type: ignore[assignment]
    for module in clamping:
        module.forward = OverwritingReLU6.apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in overwriting:
            module.inplace = False  # type: ignore[assignment]
        for module in clamping:
            del module.forward


@contextlib.contextmanager
def folding_norms(network: nn.Module) -> Iterator[None]:
    """Inside, the batch norm of each `ConvNorm` is part of its convolution: the same outputs but for rounding, sooner.

    The network must be in evaluation mode, where a norm scales and shifts each channel by numbers that are fixed.
    """
    whole = [(block, block.conv, block.norm) for block in network.modules() if isinstance(block, ConvNorm)]
    try:
        for block, conv, norm in whole:
            block.conv = fuse_conv_bn_eval(conv, norm)
            block.register_module("norm", nn.Identity())
        yield
    finally:
        for block, conv, norm in whole:
            block.conv, block.norm = conv, norm


class OverwritingReLU6(torch.autograd.Function):
    """A ReLU6 in place that keeps only its result for the backward pass, which tells as well where the input was cut.

    torch's own copies the input first: a third of what a MobileNet v2 holds between the passes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        result = functional.relu6(x, inplace=True)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], result, 0.0, 6.0)
