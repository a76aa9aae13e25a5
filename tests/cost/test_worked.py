"""The worked computations: the arithmetic that is printed is true, for the lecture's sizes and for any others."""

import json
import math
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casebook.cost.parameters import PARAMETERS, Chain, Counts, Shape, Windows
from casebook.cost.steps import Padding, Sides, WorkedComputation
from casebook.cost.worked import COMPUTATIONS, explain
from casebook.errors import ModelError

SMALL = st.integers(1, 9)
SIDE = st.integers(1, 40)
VALUES: dict[Any, st.SearchStrategy] = {
    int: SMALL,
    float: st.floats(0.5, 3).map(lambda value: round(value, 2)),
    bool: st.booleans(),
    Padding: st.one_of(st.integers(0, 3), st.just("same")),
    Sides: st.one_of(SIDE, st.tuples(SIDE, SIDE), st.builds("{}x{}".format, SIDE, SIDE)),
    Shape: st.builds("{}x{}x{}".format, SIDE, SIDE, SMALL),
    Counts: st.lists(SMALL, min_size=1, max_size=5).map(lambda counts: ",".join(map(str, counts))),
    Windows: st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=5),
    Chain: st.lists(
        st.sampled_from(["conv3-8+1", "2*conv1-5", "conv3x1-6/2+same", "dw3+1", "pool2/2^", "gap", "fc7", "conv1-4"]),
        min_size=1,
        max_size=5,
    ).map(",".join),
}


def value_of(arithmetic: str) -> Fraction | float:
    """What the printed arithmetic comes to, by Python's own: exact, except for decimal numbers."""
    expression = arithmetic.replace(",", "").replace(" x ", " * ").replace("^", "**")
    assert re.fullmatch(r"(floor|ceil|[\d.()+*/ -])+", expression), arithmetic
    exact = re.sub(r"(?<![\d.])(\d+)(?![\d.])", r"Fraction(\1)", expression)
    return eval(exact, {"Fraction": Fraction, "floor": math.floor, "ceil": math.ceil})


def check(explanation: WorkedComputation) -> None:
    for step in explanation.steps:
        value = value_of(step.arithmetic)
        assert value == (pytest.approx(step.value) if isinstance(step.value, float) else step.value), step
    document = json.loads(json.dumps(explanation.to_dict()))
    again = explain(document["computation"], **document["inputs"])
    assert again == explanation, "the inputs that are printed ask for the same again"
    assert explanation.conclusion in explanation.text()
    for step in explanation.steps:
        assert step.arithmetic in explanation.text()
        assert f"`{step.arithmetic}`" in explanation.markdown()


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_the_lectures_example(name: str) -> None:
    check(explain(name))


@pytest.mark.parametrize("name", COMPUTATIONS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_sizes(name: str, data: st.DataObject) -> None:
    given = {
        parameter: data.draw(VALUES[known.annotation], label=parameter)
        for parameter, known in COMPUTATIONS[name].parameters.items()
    }
    if isinstance(given.get("groups"), int):
        given |= {"in_channels": 3 * given["groups"], "filters": 2 * given["groups"]}
    try:
        explanation = explain(name, **given)
    except ModelError as error:
        if "does not fit" not in str(error):
            raise
        return
    check(explanation)


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_every_parameter_is_explained(name: str) -> None:
    for parameter in COMPUTATIONS[name].parameters:
        assert PARAMETERS[parameter].meaning.endswith(".")


def test_no_explanation_is_left_over() -> None:
    used = {parameter for computation in COMPUTATIONS.values() for parameter in computation.parameters}
    assert used == set(PARAMETERS)


def test_numbers_and_text_ask_for_the_same() -> None:
    asked = [explain("conv", size=value, kernel_size=3) for value in (28, "28", "28x28", (28, 28), [28, 28])]
    assert all(explanation == asked[0] for explanation in asked)
    assert explain("conv", size="28x14", kernel_size="1x7").results["output"] == "28x14x32"


def test_the_ratio_of_separable_is_its_formula_for_all_sizes() -> None:
    for filters, kernel, multiplier in ((512, 3, 1), (10, "5x3", 1), (64, 7, 8)):
        found = explain("separable", size=20, filters=filters, kernel_size=kernel, multiplier=multiplier).results
        assert found["ratio"] == pytest.approx(found["ratio_by_formula"], rel=1e-15)


def test_a_bottleneck_that_is_too_wide_saves_nothing() -> None:
    limit = int(explain("bottleneck").results["break_even"])
    assert float(explain("bottleneck", reduce=limit).results["times_fewer"]) >= 1
    assert float(explain("bottleneck", reduce=limit + 1).results["times_fewer"]) < 1


def test_a_chain_says_where_it_breaks() -> None:
    with pytest.raises(ModelError, match=r"conv2, conv5-8: a window of 5 does not fit: size 3"):
        explain("chain", input="7x7x3", layers="conv5-4,conv5-8")


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("separabel", {}, "did you mean 'separable'"),
        ("conv", {"kernal_size": 3}, "did you mean 'kernel_size'"),
        ("conv", {"kernel_size": "3x"}, "kernel_size is '3x', expected one side or HEIGHTxWIDTH"),
        ("conv", {"size": (1, 2, 3)}, "size has 3 numbers"),
        ("conv", {"stride": 0}, "stride is 0, expected 1 to 1,000,000"),
        ("conv", {"stride": True}, "stride is 'True', expected a whole number"),
        ("conv", {"filters": 10**15}, "filters is 1,000,000,000,000,000, expected 1 to 1,000,000"),
        ("conv", {"padding": "valid"}, "padding is 'valid', expected a number or 'same'"),
        ("conv", {"padding": -1}, "padding is -1, expected 0 to"),
        ("conv", {"groups": 5}, "5 groups do not divide 192 input and 32 output channels"),
        ("conv", {"no_bias": 1}, "no_bias is 1, expected true or false"),
        ("compound", {"phi": math.nan}, "phi is nan, expected -20 to 20"),
        ("compound", {"alpha": "x"}, "alpha is 'x', expected a number"),
        ("chain", {"layers": "conv3"}, "layers has 'conv3', expected conv11-96/4"),
        ("chain", {"layers": "pool3-4"}, "layers has 'pool3-4'"),
        ("chain", {"layers": ""}, "layers has ''"),
        ("chain", {"layers": "1001*fc3"}, "more than 1000 layers"),
        ("chain", {"input": 9216}, "input is 9216, expected HEIGHTxWIDTHxCHANNELS"),
        ("receptive-field", {"windows": "3/"}, "windows is '3/', expected KERNEL or KERNEL/STRIDE"),
        ("depth", {"blocks": "3,,4"}, "blocks is '3,,4', expected numbers such as 3,4,6,3"),
    ],
)
def test_what_is_impossible_is_reported(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        explain(name, **given)
