"""casebook explain-cost: every computation of the table is a command, with its parameters as options."""

import re

import pytest

from casebook.cost.worked import COMPUTATIONS, explain

from .conftest import Command, one_line


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_what_is_printed_is_what_the_library_gives(command: Command, name: str) -> None:
    explanation = explain(name)
    assert command("explain-cost", name).out == f"{explanation.text()}\n"
    assert command("explain-cost", name, "--markdown").out == f"{explanation.markdown()}\n"
    assert command("explain-cost", name, "--json").json == explanation.to_dict()


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_the_inputs_that_are_printed_are_the_options(command: Command, name: str) -> None:
    inputs = explain(name).inputs
    given = [f"--{key.replace('_', '-')}={value}" for key, value in inputs.items() if not isinstance(value, bool)]
    assert command("explain-cost", name, *given, "--json").json == explain(name).to_dict()
    text = command("explain-cost", name, "--help").out
    for parameter in inputs:
        assert f"--{parameter.replace('_', '-')}" in text


def test_any_sizes(command: Command) -> None:
    result = command("explain-cost", "conv", "--size", "28x14", "--kernel-size", "3", "--groups", "2", "--no-bias")
    assert re.search(r"28 x 14 x 32 x \(3 x 3 x 96\) += 10,838,016\n", result.out)
    assert "no bias\n" in result.out
    assert "no bias" not in command("explain-cost", "conv").out


def test_a_markdown_table_has_as_many_cells_in_every_row(command: Command) -> None:
    tables = [line for line in command("explain-cost", "chain", "--markdown").out.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {4, 8}


def test_what_is_impossible_is_one_line(command: Command) -> None:
    message = one_line(command("explain-cost", "conv", "--size", "3", "--kernel-size", "5", "--padding", "0"))
    assert "a window of 5 does not fit: size 3 with padding 0 on both sides is 3" in message
    assert "filters is 0, expected 1 to" in one_line(command("explain-cost", "conv", "--filters", "0"))


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["conv", "--nonsense"], ["conv", "--filters", "many"], ["conv", "--json", "--markdown"]]
)
def test_wrong_usage(command: Command, arguments: list[str]) -> None:
    one_line(command("explain-cost", *arguments), code=2)
