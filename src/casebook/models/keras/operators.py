"""Keras layers for PyTorch's operators: one function for each kind, gathered in `OPERATORS`.

PyTorch has the channels in axis 1, Keras in the last axis. So axis 1 of a tensor with three or more axes moves to the
end. Constants keep PyTorch's order until an operator uses them.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from ...errors import ModelError

# Operators whose output is never negative, and those whose output is not negative if no input is.
NONNEGATIVE = {"relu", "relu6", "sigmoid", "hardsigmoid", "square"}
KEEP_NONNEGATIVE = {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "cat", "add", "dropout"}
LOWEST = float(np.finfo(np.float32).min)  # stands for minus infinity, which the JSON of a .keras file cannot store


class Call:
    """One operator of an exported graph, with its module and arguments; it creates layers named after the module."""

    def __init__(self, translation: Any, node: fx.Node):
        self.translation, self.node, self.keras = translation, node, translation.keras
        self.operator = str(node.target).removeprefix("aten.").split(".")[0]
        stack = list(node.meta.get("nn_module_stack", {}).values())
        self.path = re.sub(r"@\d+", "", stack[-1][0]) if stack else ""  # @1: the module's second call
        self.module: nn.Module = translation.modules[self.path]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output, in PyTorch's order."""
        return tuple(self.node.meta["val"].shape)

    @property
    def input_is_nonnegative(self) -> bool:
        return self.node.args[0] in self.translation.nonnegative

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments with the schema's names, but "input" for "self"; values replace nodes."""
        values, found = self.translation.values, {}
        for i, argument in enumerate(self.node.target._schema.arguments):  # type: ignore[union-attr]
            given = self.node.kwargs.get(argument.name, argument.default_value)
            given = self.node.args[i] if i < len(self.node.args) else given
            found[argument.name.replace("self", "input")] = map_arg(given, values.__getitem__)
        return found

    def layer(self, kind: str, suffix: str = "", **settings: Any) -> Any:
        """A layer named after the module; `suffix` distinguishes further layers of the same module."""
        if not suffix and any(True for _ in self.module.children()):
            suffix = self.operator
        base = "_".join(filter(None, [self.path.replace(".", "_"), suffix])) or "network"
        names, name, number = self.translation.names, base, 0
        while name in names:
            number += 1
            name = f"{base}_{number}"
        names.add(name)
        if kind.endswith(("2D", "3D", "Flatten")):
            settings["data_format"] = "channels_last"
        return getattr(self.keras.layers, kind)(name=name, dtype="float32", **settings)

    def weighted(self, kind: str, x: Any, key: Tensor, weights: Sequence[Any], **settings: Any) -> Any:
        """The output of a layer with these weights. A layer whose main weight, `key`, is the same is reused."""
        layers = self.translation.layers
        if id(key) in layers:
            return layers[id(key)](x)
        layer = layers[id(key)] = self.layer(kind, **settings)
        y = layer(x)
        layer.set_weights([array(weight) for weight in weights if weight is not None])
        return y

    def error(self, what: str) -> ModelError:
        where = f"{self.path} ({type(self.module).__name__})" if self.path else type(self.module).__name__
        return ModelError(f"the operator {self.node.target} in {where} {what}")


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def axis_of(dim: int, rank: int) -> int:
    """The Keras axis for a PyTorch axis, which may count from the end."""
    dim %= rank
    return dim if rank < 3 or dim == 0 else (rank - 1 if dim == 1 else dim - 1)


def reshape(call: Call, input: Any, **_: Any) -> Any:
    """Any change of shape that keeps the batch axis: flatten, view, squeeze, unsqueeze."""
    x, shape = input, call.shape
    if shape[0] != call.translation.batch:
        raise call.error(f"gives the shape {shape}, expected the batch to stay the first axis")
    if len(x.shape) > 2 and not is_order_free(x.shape[1:]):
        x = call.layer("Permute", "channels_first", dims=(len(x.shape) - 1, *range(1, len(x.shape) - 1)))(x)
    if len(shape) == 2:
        return call.layer("Flatten")(x)
    if is_order_free((*shape[2:], shape[1])):
        return call.layer("Reshape", "reshape", target_shape=(*shape[2:], shape[1]))(x)
    x = call.layer("Reshape", "reshape", target_shape=shape[1:])(x)
    return call.layer("Permute", "channels_last", dims=(*range(2, len(shape)), 1))(x)


def is_order_free(shape: Sequence[int]) -> bool:
    """Whether channels first and channels last give the same order of values."""
    return shape[-1] == 1 or math.prod(shape[:-1]) == 1


def padded(call: Call, x: Any, sides: Mapping[int, tuple[int, int]], value: float = 0.0) -> Any:
    """`sides` is (before, after) for each of Keras's axes; a negative width crops."""
    if any(min(widths) < 0 for widths in sides.values()):
        kept = [slice(None)] * len(x.shape)
        for axis, (before, after) in sides.items():
            kept[axis] = slice(max(-before, 0), x.shape[axis] + min(after, 0)) if axis else slice(None)
        x, sides = x[tuple(kept)], {axis: (max(a, 0), max(b, 0)) for axis, (a, b) in sides.items()}
    if not any(map(any, sides.values())):
        return x
    widths = [sides.get(axis, (0, 0)) for axis in range(len(x.shape))]
    if value == 0 and len(x.shape) in (4, 5) and not any(widths[0] + widths[-1]):
        return call.layer(f"ZeroPadding{len(x.shape) - 2}D", "pad", padding=tuple(widths[1:-1]))(x)
    return call.keras.ops.pad(x, widths, mode="constant", constant_values=max(value, LOWEST))


def pad(call: Call, input: Any, pad: Sequence[int], value: float | None, mode: str = "constant") -> Any:
    if mode != "constant":
        raise call.error(f"pads by '{mode}', expected 'constant'")
    rank, value = len(input.shape), float(value or 0)
    if value == -math.inf and call.input_is_nonnegative:
        readers = (Call(call.translation, node).operator for node in call.node.users)
        value = 0.0 if all(operator == "max_pool2d" for operator in readers) else value
    sides = {axis_of(rank - 1 - i, rank): (pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)}
    return padded(call, input, sides, value)


def conv2d(
    call: Call,
    input: Any,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> Any:
    x, kernel = input, (weight.shape[2], weight.shape[3])
    if isinstance(padding, str):
        padding = [d * (k - 1) // 2 if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    stride, dilation, padding = pair(stride), pair(dilation), pair(padding)
    if max(stride) > 1 and max(dilation) > 1:
        raise call.error(f"has the stride {stride} and the dilation {dilation}, of which Keras allows one above 1")
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    same = keeps_size(reach, stride, padding)
    if not same:
        x = padded(call, x, {1 + i: (p, p) for i, p in enumerate(padding)})
    settings: dict[str, Any] = dict(
        kernel_size=kernel,
        strides=stride,
        padding="same" if same else "valid",
        dilation_rate=dilation,
        use_bias=bias is not None,
    )
    if 1 < groups == x.shape[-1]:
        multiplier = weight.shape[0] // groups
        depthwise = weight.reshape(groups, multiplier, *kernel).permute(2, 3, 0, 1)
        return call.weighted("DepthwiseConv2D", x, weight, [depthwise, bias], depth_multiplier=multiplier, **settings)
    settings |= dict(filters=weight.shape[0], groups=groups)
    return call.weighted("Conv2D", x, weight, [weight.permute(2, 3, 1, 0), bias], **settings)


def linear(call: Call, input: Any, weight: Tensor, bias: Tensor | None) -> Any:
    if len(input.shape) != 2:
        raise call.error(f"is given {len(input.shape)} axes, expected (batch, features)")
    settings = dict(units=weight.shape[0], use_bias=bias is not None)
    return call.weighted("Dense", input, weight, [weight.T, bias], **settings)


def batch_norm(
    call: Call,
    input: Any,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
    **_: Any,
) -> Any:
    """Keras's momentum is the weight of the old statistics, PyTorch's that of the new ones."""
    settings = dict(axis=-1, epsilon=eps, momentum=1 - momentum, scale=weight is not None, center=bias is not None)
    weights = [weight, bias, running_mean, running_var]
    return call.weighted("BatchNormalization", input, running_mean, weights, **settings)


def pair(given: Sequence[int] | int) -> tuple[int, int]:
    sides = [given] if isinstance(given, int) else list(given)
    return (sides[0], sides[-1])


def window_sides(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> tuple[int, int]:
    """The padding (before, after) that puts unpadded windows where PyTorch's pooling has them.

    With `ceil_mode` a last window may look beyond the end, but has to begin inside the input or its left padding.
    """
    if not ceil_mode:
        return padding, padding
    outputs = -(-(size + 2 * padding - kernel) // stride) + 1
    if (outputs - 1) * stride >= size + padding:
        outputs -= 1
    return padding, max((outputs - 1) * stride + kernel - size - padding, 0)


def max_pool2d(
    call: Call,
    input: Any,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Any:
    x, kernel, stride, padding = input, pair(kernel_size), pair(stride or kernel_size), pair(padding)
    if pair(dilation) != (1, 1):
        raise call.error(f"has the dilation {dilation}, expected 1")
    if keeps_size(kernel, stride, padding):
        return call.layer("MaxPooling2D", pool_size=kernel, strides=1, padding="same")(x)
    sides = {
        axis: window_sides(x.shape[axis], *window, ceil_mode)
        for axis, window in enumerate(zip(kernel, stride, padding, strict=True), start=1)
    }
    x = padded(call, x, sides, value=0.0 if call.input_is_nonnegative else LOWEST)
    return call.layer("MaxPooling2D", pool_size=kernel, strides=stride)(x)


def keeps_size(kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> bool:
    return stride == (1, 1) and all(2 * p == k - 1 for p, k in zip(padding, kernel, strict=True))


def avg_pool2d(
    call: Call,
    input: Any,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """Keras counts padded zeros in averages; a factor for each position corrects that."""
    x, kernel, stride, padding = input, pair(kernel_size), pair(stride or kernel_size), pair(padding)
    if not count_include_pad and not divisor_override and keeps_size(kernel, stride, padding):
        return call.layer("AveragePooling2D", pool_size=kernel, strides=1, padding="same")(x)
    sides, counts = {}, []
    for axis, window in enumerate(zip(kernel, stride, padding, strict=True), start=1):
        sides[axis] = window_sides(x.shape[axis], *window, ceil_mode)
        counts.append(counted(x.shape[axis], *window, sides[axis], count_include_pad))
    divisors = np.outer(*counts)
    if divisor_override:
        divisors = np.full_like(divisors, divisor_override)
    y = call.layer("AveragePooling2D", pool_size=kernel, strides=stride)(padded(call, x, sides))
    factors = (math.prod(kernel) / divisors).astype(np.float32)
    return y if (factors == 1).all() else call.keras.ops.multiply(y, factors[None, :, :, None])


def counted(size: int, kernel: int, stride: int, padding: int, sides: tuple[int, int], include_pad: bool) -> np.ndarray:
    """The number of positions that each window along one axis counts."""
    starts = np.arange(0, size + sum(sides) - kernel + 1, stride) - sides[0]
    low, high = (-padding, size + padding) if include_pad else (0, size)
    return np.minimum(starts + kernel, high) - np.maximum(starts, low)


def avg_pool3d(
    call: Call,
    input: Any,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    divisor_override: int | None,
    **_: Any,
) -> Any:
    """The sum over neighbouring channels in a local response normalisation, where channels form a third axis."""
    if any(padding) or ceil_mode or divisor_override:
        raise call.error("pads, rounds up or uses another divisor, which Keras cannot do")
    settings = dict(pool_size=tuple(kernel_size), strides=tuple(stride or kernel_size))
    return call.layer("AveragePooling3D", "mean", **settings)(input)


def adaptive_avg_pool2d(call: Call, input: Any, output_size: Sequence[int]) -> Any:
    sides, grid = tuple(input.shape[1:3]), tuple(output_size)
    if grid == sides:
        return input
    if grid == (1, 1):
        return call.layer("GlobalAveragePooling2D", keepdims=True)(input)
    if any(side % cells for side, cells in zip(sides, grid, strict=True)):
        raise call.error(
            f"pools {sides[0]}x{sides[1]} to {grid[0]}x{grid[1]}, expected a multiple; give to_keras an input_size "
            "that leads to one, such as the card's"
        )
    window = tuple(side // cells for side, cells in zip(sides, grid, strict=True))
    return call.layer("AveragePooling2D", pool_size=window, strides=window)(input)


def reduced(operation: str, call: Call, input: Any, dim: Sequence[int] | None, keepdim: bool, **_: Any) -> Any:
    rank = len(input.shape)
    axes = sorted(axis_of(d, rank) for d in (dim if dim else range(rank)))
    if operation == "mean" and rank == 4 and axes == [1, 2]:
        return call.layer("GlobalAveragePooling2D", keepdims=keepdim)(input)
    y = getattr(call.keras.ops, operation)(input, axis=axes, keepdims=True)
    return y if keepdim else reshape(call, y)


def arithmetic(layer: str, operation: str, call: Call, input: Any, other: Any, alpha: float = 1) -> Any:
    """Combines two tensors with a layer; a number or a constant of the network in the simplest way."""
    if isinstance(other, Tensor) and other.ndim == 0:
        other = other.item()
    if isinstance(input, int | float | Tensor):
        if operation not in ("add", "multiply") or isinstance(other, Tensor):
            raise call.error("has a constant before the tensor, expected it after")
        input, other = other, input
    if isinstance(other, int | float):
        scale, offset = {
            "add": (1, alpha * other),
            "subtract": (1, -alpha * other),
            "multiply": (other, 0),
            "divide": (1 / other, 0),
        }[operation]
        return call.layer("Rescaling", operation, scale=float(scale), offset=float(offset))(input)
    if alpha != 1:
        raise call.error(f"has the factor {alpha}, expected 1")
    rank = len(input.shape)
    if isinstance(other, Tensor):
        if operation == "multiply" and rank == 4 and isinstance(other, nn.Parameter) and is_per_channel(other):
            return scale_and_shift(call, input, other)
        constant = array(other).reshape((1,) * (rank - other.ndim) + tuple(other.shape))
        return getattr(call.keras.ops, operation)(input, np.moveaxis(constant, 1, -1) if rank > 2 else constant)
    if len(other.shape) != rank:
        raise call.error(f"has tensors of {rank} and {len(other.shape)} axes, expected equally many")
    if not layer:
        return getattr(call.keras.ops, operation)(input, other)
    return call.layer(layer, operation)([input, other])


def is_per_channel(weight: Tensor) -> bool:
    return weight.ndim >= 3 and weight.numel() == weight.shape[-3]


def scale_and_shift(call: Call, x: Any, scale: Tensor) -> Any:
    """A trained factor per channel, and a trained summand if one follows, as one depthwise convolution."""
    values, readers, bias = call.translation.values, list(call.node.users), None
    if len(readers) == 1 and Call(call.translation, readers[0]).operator == "add":
        summand = values.get(readers[0].args[1])  # pyright: ignore[reportArgumentType, reportCallIssue]
        bias = summand.flatten() if isinstance(summand, nn.Parameter) and is_per_channel(summand) else None
    weights = [scale.reshape(1, 1, -1, 1), bias]
    y = call.weighted("DepthwiseConv2D", x, scale, weights, kernel_size=1, use_bias=bias is not None)
    if bias is not None:
        values[readers[0]] = y
    return y


def power(call: Call, input: Any, exponent: float) -> Any:
    return call.keras.ops.power(input, float(exponent))


def cat(call: Call, tensors: Sequence[Any], dim: int) -> Any:
    if len(tensors) == 1:
        return tensors[0]
    return call.layer("Concatenate", axis=axis_of(dim, len(tensors[0].shape)))(list(tensors))


def slice_(call: Call, input: Any, dim: int, start: int | None, end: int | None, step: int) -> Any:
    axis, kept = axis_of(dim, len(input.shape)), [slice(None)] * len(input.shape)
    size = call.node.args[0].meta["val"].shape[dim]  # type: ignore[union-attr]
    first, last, step = slice(start, end, step).indices(size)
    if (first, last, step) == (0, size, 1):
        return input
    if axis == 0:
        raise call.error("takes some pictures of a batch, expected all")
    kept[axis] = slice(first, last, step)
    return input[tuple(kept)]


def index(call: Call, input: Any, indices: Sequence[Tensor | None]) -> Any:
    given = [(dim, places) for dim, places in enumerate(indices) if places is not None]
    if len(given) != 1 or given[0][1].ndim != 1:
        raise call.error("has several or nested indices, expected one list of places along one axis")
    dim, places = given[0]
    return call.keras.ops.take(input, places.cpu().numpy(), axis=axis_of(dim, len(input.shape)))


def hardtanh(call: Call, input: Any, min_val: float, max_val: float) -> Any:
    if min_val == 0:
        return call.layer("ReLU", max_value=float(max_val))(input)
    return call.keras.ops.clip(input, min_val, max_val)


def dropout(call: Call, input: Any, p: float, **_: Any) -> Any:
    return call.layer("Dropout", rate=p)(input)


def activation(name: str, call: Call, input: Any) -> Any:
    return call.layer("Activation", activation=name)(input)


def unchanged(call: Call, input: Any, **_: Any) -> Any:
    return input


OPERATORS: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "add": partial(arithmetic, "Add", "add"),
    "avg_pool2d": avg_pool2d,
    "avg_pool3d": avg_pool3d,
    "batch_norm": batch_norm,
    "cat": cat,
    "clone": unchanged,
    "constant_pad_nd": pad,
    "contiguous": unchanged,
    "conv2d": conv2d,
    "detach": unchanged,
    "div": partial(arithmetic, "", "divide"),
    "dropout": dropout,
    "flatten": reshape,
    "hardsigmoid": partial(activation, "hard_sigmoid"),
    "hardswish": partial(activation, "hard_silu"),
    "hardtanh": hardtanh,
    "index": index,
    "linear": linear,
    "max_pool2d": max_pool2d,
    "mean": partial(reduced, "mean"),
    "mul": partial(arithmetic, "Multiply", "multiply"),
    "neg": lambda call, input: call.layer("Rescaling", "negative", scale=-1.0)(input),
    "pad": pad,
    "pow": power,
    "relu": lambda call, input: call.layer("ReLU")(input),
    "relu6": lambda call, input: call.layer("ReLU", max_value=6.0)(input),
    "reshape": reshape,
    "sigmoid": partial(activation, "sigmoid"),
    "silu": partial(activation, "silu"),
    "slice": slice_,
    "square": lambda call, input: call.keras.ops.square(input),
    "squeeze": reshape,
    "sub": partial(arithmetic, "Subtract", "subtract"),
    "sum": partial(reduced, "sum"),
    "tanh": partial(activation, "tanh"),
    "unsqueeze": reshape,
    "view": reshape,
}
