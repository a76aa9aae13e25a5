"""Predicts the output shapes of common operators on the meta device.

torch itself would call its Python kernels, the first of which loads its compiler and sympy; that takes longer than all
counting. torch still answers for operators without a rule here, and for arguments that a rule does not cover.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .formulas import output_size

# Elementwise on inputs that are broadcast to one shape.
ELEMENTWISE = frozenset(
    """abs add div elu exp gelu hardsigmoid hardswish hardtanh leaky_relu log log2 mul neg pow reciprocal relu rsqrt
    rsub sigmoid silu sqrt sub tanh""".split()  # noqa: SIM905 - a list of words reads better
)
COMPARISONS = frozenset(("eq", "ge", "gt", "le", "lt", "ne"))
LIKE_FIRST = frozenset(("_softmax", "clone", "empty_like"))


def predicted(operator: str, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The operator's output for these arguments, on the meta device; None if torch has to compute it."""
    if operator.endswith("_") and operator[:-1] in ELEMENTWISE:
        return args[0]
    if any(value not in (None, False) and key not in ("alpha", "memory_format") for key, value in kwargs.items()):
        return None
    if operator in ELEMENTWISE:
        return _spread(args)
    if operator in COMPARISONS:
        answer = _spread(args)
        return None if answer is None else _new(answer, answer.shape, torch.bool)
    if operator in LIKE_FIRST:
        return _new(args[0], args[0].shape)
    rule = RULES.get(operator)
    return rule(*args) if rule else None


def _new(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype or like.dtype, device="meta")


def _spread(args: tuple) -> Tensor | None:
    tensors = [value for value in args if isinstance(value, Tensor)]
    first = tensors[0]
    if any(t.dtype != first.dtype for t in tensors) or not first.is_floating_point():
        return None
    if all(t.shape == first.shape for t in tensors):
        return _new(first, first.shape)
    num_axes, shape = max(t.ndim for t in tensors), []
    for axis in range(-num_axes, 0):
        sides = {t.shape[axis] for t in tensors if t.ndim >= -axis} - {1}
        if len(sides) > 1:
            return None
        shape.append(sides.pop() if sides else 1)
    return _new(first, shape)


def _convolution(x: Tensor, weight: Tensor, _: Any, *settings: Any) -> Tensor | None:
    stride, padding, dilation, transposed, _, groups = settings
    if transposed or x.dtype != weight.dtype or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        return None
    windows = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    sides = [output_size(n, k, stride=s, padding=p, dilation=d) for n, k, s, p, d in windows]
    return _new(x, (x.shape[0], weight.shape[0], *sides))


def _batch_norm(x: Tensor, *settings: Any) -> tuple[Tensor, Tensor, Tensor]:
    training = settings[4]
    channels = (x.shape[1] if training else 0,)
    return _new(x, x.shape), _new(x, channels, torch.float32), _new(x, channels, torch.float32)


def _pool(
    x: Tensor, kernel_size: list, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil_mode: bool = False
) -> Tensor | None:
    n = len(kernel_size)
    stride, padding, dilation = (list(v) * (n // len(v)) for v in (stride or kernel_size, padding, dilation))
    if any(2 * p > k for p, k in zip(padding, kernel_size, strict=True)):
        return None
    windows = zip(x.shape[-n:], kernel_size, stride, padding, dilation, strict=True)
    sides = [output_size(s, k, stride=t, padding=p, dilation=d, ceil_mode=ceil_mode) for s, k, t, p, d in windows]
    return _new(x, (*x.shape[:-n], *sides))


def _max_pool(x: Tensor, *settings: Any) -> tuple[Tensor, Tensor] | None:
    y = _pool(x, *settings)
    return None if y is None else (y, _new(y, y.shape, torch.int64))


def _avg_pool(
    x: Tensor, kernel_size: list, stride: Any = (), padding: Any = (0,), ceil_mode: bool = False, *_: Any
) -> Tensor | None:
    return _pool(x, kernel_size, stride, padding, (1,), ceil_mode)


def _reduced(x: Tensor, dims: list[int] | None = None, keepdim: bool = False) -> Tensor | None:
    if not dims or not x.is_floating_point():
        return None
    gone = {dim % x.ndim for dim in dims}
    sides = [1 if dim in gone else side for dim, side in enumerate(x.shape) if keepdim or dim not in gone]
    return _new(x, sides)


def _product(a: Tensor, b: Tensor) -> Tensor | None:
    if a.dtype != b.dtype or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        return None
    return _new(a, (*a.shape[:-1], b.shape[-1]))


def _sum_and_product(bias: Tensor, a: Tensor, b: Tensor) -> Tensor | None:
    y = _product(a, b)
    return y if y is not None and bias.dtype == a.dtype and bias.shape == y.shape[-1:] else None


def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor | None:
    first, dim = tensors[0], dim % tensors[0].ndim
    shapes = [list(t.shape) for t in tensors]
    total = sum(shape.pop(dim) if dim < len(shape) else 0 for shape in shapes)
    if any(shape != shapes[0] for shape in shapes) or any(t.dtype != first.dtype for t in tensors):
        return None
    return _new(first, (*shapes[0][:dim], total, *shapes[0][dim:]))


def _stack(tensors: list[Tensor], dim: int = 0) -> Tensor | None:
    first, shape = tensors[0], list(tensors[0].shape)
    if any(t.shape != first.shape or t.dtype != first.dtype for t in tensors):
        return None
    shape.insert(dim % (first.ndim + 1), len(tensors))
    return _new(first, shape)


def _index(x: Tensor, indices: list[Tensor | None]) -> Tensor | None:
    given = [dim for dim, index in enumerate(indices) if index is not None]
    index = indices[given[0]]
    if len(given) > 1 or index is None or index.ndim != 1 or index.dtype != torch.int64:
        return None
    return _new(x, (*x.shape[: given[0]], len(index), *x.shape[given[0] + 1 :]))


RULES: dict[str, Callable[..., Any]] = {
    "_adaptive_avg_pool2d": lambda x, sides: _new(x, (*x.shape[:-2], *sides)),
    "addmm": _sum_and_product,
    "amax": _reduced,
    "avg_pool2d": _avg_pool,
    "avg_pool3d": _avg_pool,
    "bmm": _product,
    "cat": _cat,
    "convolution": _convolution,
    "index": _index,
    "max_pool2d_with_indices": _max_pool,
    "mean": _reduced,
    "mm": _product,
    "native_batch_norm": _batch_norm,
    "stack": _stack,
    "sum": _reduced,
}
