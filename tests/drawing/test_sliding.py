"""A filter that slides: the numbers are a real convolution, and each position adds its outputs."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from casebook.drawing.convolution import EXAMPLE, arithmetic, numbers, sliding
from casebook.drawing.sliding import film, frame, frames
from casebook.errors import ModelError

SETTINGS = [
    ("normal", {}),
    ("normal", {"filters": 2, "stride": 2, "padding": "same", "size": 7}),
    ("normal", {"channels": 1, "padding": 2, "kernel_size": 5, "seed": 3}),
    ("depthwise", {}),
    ("depthwise", {"channels": 2, "stride": 3, "padding": "same"}),
    ("pointwise", {}),
    ("pointwise", {"stride": 2, "seed": 9}),
    ("1x1", {}),
]


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_the_outputs_are_those_of_torch(kind: str, settings: dict) -> None:
    spec = sliding(kind, **settings)
    found = numbers(spec)
    inputs = torch.tensor(found.inputs, dtype=torch.int64)[None].double()  # with the zeros of the padding
    weights = torch.tensor(found.weights).double()
    groups = spec.channels if spec.depthwise else 1
    expected = functional.conv2d(inputs, weights, stride=spec.stride, groups=groups)[0]
    assert torch.equal(torch.tensor(found.outputs).double(), expected)


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_nothing_overlaps_at_any_step(kind: str, settings: dict) -> None:
    spec = sliding(kind, **settings)
    for step in {1, spec.positions, spec.num_steps}:
        assert frame(spec, step).collisions() == []
    assert film(spec).collisions() == []


def test_the_costs_are_those_of_the_case_studies() -> None:
    assert sliding("normal", filters=5).cost.multiplications == 2160
    assert sliding("depthwise").cost.multiplications == 432
    assert sliding("pointwise").cost.multiplications == 240
    assert "6x6x3 becomes 4x4x3: 27 weights, 432 multiplications" in frame(sliding("depthwise"), 1).svg()


def test_the_1x1_example_doubles_its_input() -> None:
    found = numbers(sliding("1x1"))
    assert found.outputs[0] == [[2 * value for value in row] for row in EXAMPLE]
    assert found.outputs[0][0] == [2, 4, 6, 12, 10, 16]


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_the_arithmetic_holds(kind: str, settings: dict) -> None:
    spec = sliding(kind, **settings)
    for line in arithmetic(spec, numbers(spec), (0, spec.positions - 1)):
        left, right = line.rpartition(": ")[2].replace("x", "*").split(" = ")
        assert eval(left) == int(right)  # our own text: digits and signs


def test_outputs_fill_up_step_by_step() -> None:
    spec = sliding()
    labels = [len(sheet.labels) for sheet in frames(spec)]
    assert len(labels) == 16
    assert [later - sooner for sooner, later in pairwise(labels)] == [1] * 15


def test_same_padding_keeps_the_size_and_shows_zeros() -> None:
    spec = sliding(channels=1, padding="same")
    assert (spec.zeros, spec.positions, spec.num_steps) == (1, 6, 36)
    assert numbers(spec).inputs[0][0] == [0] * 8


def test_other_seeds_have_other_numbers_and_the_same_seed_the_same() -> None:
    assert numbers(sliding(seed=1)) == numbers(sliding(seed=1)) != numbers(sliding(seed=2))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("pointwize", {}, "did you mean 'pointwise'"),
        ("normal", {"size": 99}, "size is 99, expected 1 to 12"),
        ("normal", {"padding": "full"}, "padding is 'full'"),
        ("pointwise", {"kernel_size": 3}, "kernel of 1x1, got 3"),
        ("depthwise", {"filters": 2}, "2 filters for 3 channels"),
        ("normal", {"kernel_size": 4, "padding": "same"}, "drawn for odd ones"),
        ("normal", {"size": 2}, "does not fit"),
        ("normal", {"stride": 0}, "stride"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kind: str, settings: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        sliding(kind, **settings)


def test_a_step_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="step is 17, expected 1 to 16"):
        frame(sliding(), 17)
