"""The receptive field: which part of the input an element of a tensor depends on."""

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

# Operators that keep the receptive field of an element, although the map changes size.
KEEPS_PLACES = frozenset(("constant_pad_nd", "permute", "reflection_pad2d", "replication_pad2d", "slice", "transpose"))


class ReceptiveField(NamedTuple):
    """The input region of an element: its size, and the distance between the regions of neighbours."""

    size: tuple[int, int] = (1, 1)
    jump: tuple[int, int] = (1, 1)
    whole: bool = False  # the whole input, whatever its size
    known: bool = True  # False after an operator that moves pixels in an unknown way

    def through(
        self, kernel_size: Iterable[int], stride: Iterable[int], dilation: Iterable[int] = (1, 1)
    ) -> "ReceptiveField":
        """The receptive field after a window."""
        windows = zip(self.size, self.jump, kernel_size, dilation, strict=True)
        size = [s + (k - 1) * d * j for s, j, k, d in windows]
        jump = [j * step for j, step in zip(self.jump, stride, strict=True)]
        return self._replace(size=(size[0], size[1]), jump=(jump[0], jump[1]))


def after(operator: str, args: tuple, field: ReceptiveField, result: Tensor, batch_size: int) -> ReceptiveField:
    """The receptive field of an operator's result, if its arguments together have `field`."""
    x = args[0]
    if not isinstance(x, Tensor):  # a list of tensors, concatenated
        return field
    if operator == "convolution" and x.ndim == 4 and not args[6]:
        return field.through(args[1].shape[2:], args[3], args[5])
    if operator in ("max_pool2d_with_indices", "avg_pool2d", "avg_pool3d"):
        kernel = pair(args[1])
        stride = pair(args[2]) if len(args) > 2 and args[2] else kernel
        dilation = pair(args[4]) if operator[0] == "m" and len(args) > 4 else (1, 1)
        covers = all(k >= side for k, side in zip(kernel, x.shape[-2:], strict=True))
        if covers and max(kernel) > 1:
            return field._replace(whole=True)
        return field.through(kernel, stride, dilation)
    if operator in ("_adaptive_avg_pool2d", "adaptive_max_pool2d"):
        sides = list(zip(x.shape[-2:], result.shape[-2:], strict=True))
        if all(places == 1 for _, places in sides):
            return field._replace(whole=True)
        return field.through((-(-side // places) for side, places in sides), (side // n or 1 for side, n in sides))
    if operator == "slice" and x.ndim == 4 and args[1] in (2, 3) and len(args) > 4:
        return field.through((1, 1), (args[4], 1) if args[1] == 2 else (1, args[4]))
    if operator in ("mean", "sum", "amax") and x.ndim == 4:
        return field._replace(whole=field.whole or prod(result.shape[2:]) == 1)
    if operator in ("addmm", "mm"):  # more rows than pictures: a linear layer at every place
        return field._replace(whole=field.whole or result.shape[0] == batch_size)
    if operator in ("bmm", "baddbmm"):
        return field._replace(whole=True)
    sides = [tensor.shape[2:] for tensor in args if isinstance(tensor, Tensor) and tensor.ndim == 4]
    if result.ndim == 4 and sides and result.shape[2:] not in sides and operator not in KEEPS_PLACES:
        return field._replace(known=False)
    return field


def pair(value: Any) -> tuple[int, int]:
    """A setting as (height, width), from one number or from the last two of a list."""
    sides = [value] if isinstance(value, int) else list(value)
    return sides[-2 if len(sides) > 1 else -1], sides[-1]


def widest(fields: list[ReceptiveField]) -> ReceptiveField:
    """The receptive field of several inputs together: the largest one, among those smaller than the whole input."""
    if len(fields) == 1:
        return fields[0]
    placed = [field for field in fields if not field.whole] or fields
    return ReceptiveField(
        size=(max(field.size[0] for field in placed), max(field.size[1] for field in placed)),
        jump=(max(field.jump[0] for field in placed), max(field.jump[1] for field in placed)),
        whole=any(field.whole for field in fields),
        known=all(field.known for field in fields),
    )
