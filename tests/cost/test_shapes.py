"""Our rules for what an operator gives are torch's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from casebook.cost.shapes import COMPARISONS, ELEMENTWISE, LIKE_FIRST, RULES, predicted
from casebook.errors import ModelError


class Compare(TorchDispatchMode):
    """Lets torch answer, and compares with what we predict."""

    def __init__(self) -> None:
        super().__init__()
        self.ruled: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        operator = func.__name__.partition(".")[0]
        ours, theirs = predicted(operator, args, kwargs or {}), func(*args, **kwargs or {})
        if ours is not None:
            self.ruled.add(operator)
            pairs = [(ours, theirs)] if isinstance(theirs, Tensor) else list(zip(ours, theirs, strict=True))
            if operator == "native_batch_norm" and not args[5]:
                pairs = pairs[:1]  # its statistics have another shape on each device
            for mine, real in pairs:
                assert (mine.shape, mine.dtype) == (real.shape, real.dtype), operator
                assert mine.is_meta
        return theirs


def new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


X, SMALL, ROW = new(2, 6, 9, 7), new(2, 6, 1, 1), new(4, 5)
CASES: dict[str, Callable[[], Any]] = {
    "add": lambda: (X + X, X + 1, X + SMALL, torch.add(X, X, alpha=2)),
    "add_": lambda: X.clone().add_(1),
    "relu_": lambda: X.clone().relu_(),
    "ge": lambda: X >= 0.5,
    "_softmax": lambda: X.softmax(1),
    "empty_like": lambda: functional.dropout(X, 0.5),
    "convolution": lambda: (
        functional.conv2d(X, new(4, 6, 3, 3)),
        functional.conv2d(X, new(4, 3, 3, 1), new(4), stride=(2, 1), padding=(1, 0), dilation=(2, 1), groups=2),
        functional.conv1d(X[:, :, 0], new(4, 6, 3), padding=1),
        functional.conv3d(X[:, None], new(4, 1, 3, 3, 3)),
    ),
    "native_batch_norm": lambda: (
        functional.batch_norm(X, new(6), new(6), new(6), new(6), training=True),
        functional.batch_norm(X, new(6), new(6)),
    ),
    "max_pool2d_with_indices": lambda: (
        functional.max_pool2d(X, 3, 2, 1),
        functional.max_pool2d(X, (2, 3), ceil_mode=True),
        functional.max_pool2d(X, 2, 2, dilation=2),
    ),
    "avg_pool2d": lambda: (functional.avg_pool2d(X, 2), functional.avg_pool2d(X, 3, 2, 1, True, False)),
    "avg_pool3d": lambda: functional.local_response_norm(X, 5),
    "_adaptive_avg_pool2d": lambda: functional.adaptive_avg_pool2d(X, (3, 2)),
    "mean": lambda: (X.mean((2, 3)), X.mean((2, 3), keepdim=True), X.mean(-1)),
    "sum": lambda: X.sum(1),
    "amax": lambda: X.amax((1, 2)),
    "mm": lambda: ROW @ new(5, 3),
    "addmm": lambda: functional.linear(ROW, new(3, 5), new(3)),
    "bmm": lambda: torch.bmm(new(2, 4, 5), new(2, 5, 3)),
    "cat": lambda: (torch.cat([X, X], 1), torch.cat([X, new(2, 6, 9, 2)], -1)),
    "stack": lambda: (torch.stack([X, X]), torch.stack([X, X], -1)),
    "index": lambda: (X[:, new(3, dtype=torch.int64)], X[new(3, dtype=torch.int64)]),
    "clone": lambda: X.permute(0, 2, 3, 1).contiguous(),
}


@pytest.mark.parametrize("operator", CASES)
def test_a_rule_says_what_torch_says(operator: str) -> None:
    with torch.no_grad(), Compare() as compare:
        CASES[operator]()
    assert operator in compare.ruled


@pytest.mark.parametrize("operator", sorted(ELEMENTWISE | COMPARISONS))
def test_elementwise(operator: str) -> None:
    function = getattr(torch, operator, None) or getattr(functional, operator)
    second = operator in COMPARISONS | {"add", "div", "mul", "pow", "rsub", "sub"}
    with Compare() as compare:
        function(*(X, SMALL) if second else (X,))
    assert operator in compare.ruled


def test_every_rule_is_tried() -> None:
    assert set(RULES) | LIKE_FIRST <= set(CASES)


@pytest.mark.parametrize(
    ("operator", "args"),
    [
        ("add", (X, new(2, 6, 9, 3))),
        ("add", (X, new(1, dtype=torch.float64))),
        ("add", (new(2, dtype=torch.int64), 1)),
        ("convolution", (X, new(4, 5, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
        ("convolution", (X, new(6, 4, 3, 3), None, [1, 1], [0, 0], [1, 1], True, [0, 0], 1)),
        ("max_pool2d_with_indices", (X, [2, 2], [2, 2], [2, 2])),
        ("mm", (ROW, ROW)),
        ("addmm", (new(4), ROW, new(5, 3))),
        ("cat", ([X, new(2, 6, 9)], 1)),
        ("cat", ([X, new(2, 6, 8, 7)], 1)),
        ("stack", ([X, ROW],)),
        ("index", (X, [new(3, dtype=torch.int64), new(3, dtype=torch.int64)])),
        ("mean", (X,)),
        ("sum", (new(2, 2, dtype=torch.int64), [0])),
        ("fft", (X,)),
    ],
)
def test_torch_answers_what_no_rule_fits(operator: str, args: tuple) -> None:
    assert predicted(operator, args, {}) is None


def test_another_type_is_for_torch() -> None:
    assert predicted("clone", (X,), {"memory_format": torch.contiguous_format}) is not None
    assert predicted("empty_like", (X,), {"dtype": torch.float64}) is None


def test_a_window_that_does_not_fit() -> None:
    with pytest.raises(ModelError, match="a window of 8 does not fit"):
        predicted("convolution", (X, new(4, 6, 8, 8), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1), {})
