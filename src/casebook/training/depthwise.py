"""A faster input gradient for strided depthwise convolutions in bfloat16 on CPUs.

oneDNN has no fast kernel for it: with 96 channels of 112x112 the gradient of one layer takes as long as the forward
pass of a whole MobileNet v2. The same numbers come from spreading the gradient over the input's grid, zeros between,
and convolving that with the flipped kernel at stride 1, for which the kernel is fast.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class StridedDepthwise(torch.autograd.Function):
    """(B, C, H, W), (C, 1, K, K) -> (B, C, H', W'): a depthwise convolution with a stride and symmetric zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, 1, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        (gradient,), channels = gradients, x.shape[1]
        for_x = for_weight = None
        if ctx.needs_input_grad[0]:
            sides = (s + 2 * p - k + 1 for s, p, k in zip(x.shape[2:], ctx.padding, weight.shape[2:], strict=True))
            layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else None
            spread = torch.empty((*x.shape[:2], *sides), dtype=x.dtype, memory_format=layout or torch.contiguous_format)
            spread.zero_()
            rows, columns = (1 + step * (n - 1) for step, n in zip(ctx.stride, gradient.shape[2:], strict=True))
            spread[:, :, : rows : ctx.stride[0], : columns : ctx.stride[1]] = gradient
            around = tuple(k - 1 - p for k, p in zip(weight.shape[2:], ctx.padding, strict=True))
            for_x = functional.conv2d(spread, weight.flip(2, 3), None, 1, around, 1, channels)
        if ctx.needs_input_grad[1]:
            _, for_weight, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), channels,
                (False, True, False),
            )  # fmt: skip
        return for_x, for_weight, None, None


@contextlib.contextmanager
def spreading_gradients(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Inside, the network's strided depthwise convolutions use StridedDepthwise where that is the faster way."""
    convs = [conv for conv in network.modules() if isinstance(conv, nn.Conv2d) and _is_strided_depthwise(conv)]
    if device.type != "cpu" or dtype != torch.bfloat16:
        convs = []
    for conv in convs:
        conv._conv_forward = partial(_convolve, conv)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for conv in convs:
            del conv._conv_forward


def _is_strided_depthwise(conv: nn.Conv2d) -> bool:
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and max(conv.stride) > 1
        and conv.dilation == (1, 1)
        and conv.bias is None
        and not isinstance(conv.padding, str)
        and all(k > p for k, p in zip(conv.kernel_size, conv.padding, strict=True))
    )


def _convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: None) -> Tensor:
    return StridedDepthwise.apply(x, weight.to(x.dtype), conv.stride, conv.padding)  # pyright: ignore
