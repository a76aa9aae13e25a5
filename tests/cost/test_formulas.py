"""The closed formulas against what torch builds, computes and refuses."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from casebook.cost.formulas import Cost, conv2d, depthwise_separable, linear, output_size, receptive_field, total
from casebook.cost.steps import window_places
from casebook.errors import ModelError

SIDES = st.integers(1, 12)


def torchs(module: nn.Module, *shape: int) -> tuple[int, int, torch.Size]:
    """(parameters, multiplications, output shape) of a module on the meta device."""
    with FlopCounterMode(display=False) as counter:
        output = module(torch.empty(1, *shape, device="meta"))
    return sum(w.numel() for w in module.parameters()), counter.get_total_flops() // 2, output.shape


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(SIDES, SIDES), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), stride=st.integers(1, 4),
    padding=st.integers(0, 3), dilation=st.integers(1, 3), groups=st.integers(1, 3), channels=st.integers(1, 3),
    filters=st.integers(1, 3), bias=st.booleans(),
)  # fmt: skip
def test_conv2d_and_output_size(size, kernel, stride, padding, dilation, groups, channels, filters, bias):
    channels, filters = channels * groups, filters * groups
    with torch.device("meta"):
        module = nn.Conv2d(channels, filters, kernel, stride, padding, dilation, groups, bias)
    try:
        sides = [
            output_size(s, k, stride=stride, padding=padding, dilation=dilation)
            for s, k in zip(size, kernel, strict=True)
        ]
    except ModelError:
        with pytest.raises(RuntimeError, match="greater than actual input size"):
            torchs(module, channels, *size)
        return
    cost = conv2d(channels, filters, kernel, (sides[0], sides[1]), groups=groups, bias=bias)
    parameters, multiplications, shape = torchs(module, channels, *size)
    assert shape == (1, filters, *sides)
    assert (cost.parameters, cost.multiplications) == (parameters, multiplications)
    assert cost.multiply_adds == cost.multiplications
    assert cost.multiplications - cost.additions == (0 if bias else sides[0] * sides[1] * filters)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_output_size_of_pooling(ceil_mode: bool):
    dropped = 0  # windows of ceil mode that would see nothing but padding
    for size, kernel, stride, dilation in product(range(1, 9), range(1, 5), range(1, 5), (1, 2)):
        for padding in range(kernel // 2 + 1):  # torch allows no more
            pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
            try:
                side, arithmetic = window_places(size, kernel, stride, padding, dilation, ceil_mode)
            except ModelError:
                continue  # torch lets a window hang over both edges in ceil mode; we do not
            assert pool(torch.empty(1, 1, size, size, device="meta")).shape[2] == side
            assert eval(arithmetic.replace(" x ", " * "), {"floor": math.floor, "ceil": math.ceil}) == side
            dropped += arithmetic.endswith("+ 1 - 1")
    assert (dropped > 0) == ceil_mode


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool):
    with torch.device("meta"):
        module = nn.Linear(7, 5, bias=bias)
    cost = linear(7, 5, bias=bias)
    assert (cost.parameters, cost.multiplications) == torchs(module, 7)[:2]
    assert cost.additions == 5 * 6 + (5 if bias else 0)
    three = linear(7, 5, bias=bias, positions=3)
    assert three == (cost.parameters, 3 * cost.multiplications, 3 * cost.additions)


def test_depthwise_separable():
    with torch.device("meta"):
        deep, point = nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 6, 1)
    costs = depthwise_separable(4, 6, 3, 5, multiplier=2)
    for cost, module, channels, side in zip(costs, (deep, point), (4, 8), (7, 5), strict=True):
        assert (cost.parameters, cost.multiplications) == torchs(module, channels, side, side)[:2]


def test_a_dot_product_by_hand():
    """Two outputs, each of (1, 2, 3) . w + b: three products, two additions between them and one for the bias."""
    assert linear(3, 2) == Cost(parameters=8, multiplications=6, additions=6)
    assert linear(3, 2, bias=False) == Cost(parameters=6, multiplications=6, additions=4)


def test_total():
    assert total([Cost(1, 2, 3), Cost(10, 20, 30)]) == Cost(11, 22, 33)
    assert total([]) == Cost(0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(layers=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=4))
def test_receptive_field_is_where_the_gradient_reaches(layers: list[tuple[int, int]]):
    size, jump = receptive_field(layers)
    network = nn.Sequential(*[nn.Conv1d(1, 1, kernel, stride, bias=False) for kernel, stride in layers])
    for weight in network.parameters():
        nn.init.ones_(weight)
    picture = torch.zeros(1, 1, size + jump, requires_grad=True)
    outputs = network(picture)[0, 0]
    assert len(outputs) == 2
    firsts = []
    for output in outputs:
        (gradient,) = torch.autograd.grad(output, picture, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        firsts.append(int(seen[0]))
        # A stride above the window leaves pixels unseen, so the reach is from the first to the last one seen.
        assert int(seen[-1] - seen[0]) + 1 == size
    assert firsts == [0, jump]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: output_size(3, 5), "a window of 5 does not fit: size 3 with padding 0 on both sides is 3"),
        (lambda: output_size(4, 3, dilation=2), r"window of 3 \(reach 5 at dilation 2\) does not fit"),
        (lambda: output_size(4, 3, stride=0), "stride is 0, expected at least 1"),
        (lambda: output_size(4, 3, padding=-1), "padding is -1, expected 0 or more"),
        (lambda: conv2d(4, 6, 3, 5, groups=4), "4 groups do not divide 4 input and 6 output channels"),
        (lambda: conv2d(4, 6, (3, 0), 5), "kernel_size is 0, expected at least 1"),
        (lambda: linear(0, 6), "in_features is 0"),
        (lambda: depthwise_separable(3, 6, 3, 5, multiplier=0), "multiplier is 0"),
        (lambda: receptive_field([(3, 0)]), "stride is 0"),
    ],
)
def test_what_is_impossible_is_reported_with_its_numbers(call, message: str):
    with pytest.raises(ModelError, match=message):
        call()
