"""A computation step by step: the arithmetic and value of each step, as text, Markdown or plain data."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ..errors import ModelError
from .formulas import Cost, conv2d, output_size

Number = int | float | Fraction
Sides = tuple[int, int]  # height, width
Padding = int | str  # zeros on each side, or "same": as many as it takes for ceil(size / stride) outputs


class Step(NamedTuple):
    """One line: "normal convolution", "4 x 4 x 5 x (3 x 3 x 3)", 2160, "multiplications".

    The arithmetic holds: with * for " x ", ** for ^ and no commas, Python computes the value.
    """

    what: str
    arithmetic: str
    value: Number
    unit: str = ""


@dataclasses.dataclass(frozen=True)
class WorkedComputation:
    """A computation of `worked.COMPUTATIONS` for given sizes: its inputs, its steps and its results."""

    name: str
    title: str
    formula: str
    inputs: dict[str, Any]
    steps: tuple[Step, ...]
    layers: tuple[dict[str, int | str], ...]
    results: dict[str, int | float | str]
    conclusion: str

    def text(self) -> str:
        rows = [[step.what, step.arithmetic, f"= {_with_unit(step)}"] for step in self.steps]
        lines = [self.title, f"  {self.formula}", f"  with {self._inputs()}", "", *_columns(rows)]
        if self.layers:
            rows = [list(self.layers[0]), *([show(cell) for cell in layer.values()] for layer in self.layers)]
            lines += ["", *_columns([[cell.replace("_", " ") for cell in row] for row in rows])]
        return "\n".join([*lines, "", self.conclusion])

    def markdown(self) -> str:
        rows = [[step.what, f"`{step.arithmetic}`", _with_unit(step)] for step in self.steps]
        lines = [f"### {self.title}", "", f"`{self.formula}`, with {self._inputs()}.", ""]
        lines += _markdown_table([["step", "arithmetic", "value"], *rows])
        if self.layers:
            head = [name.replace("_", " ") for name in self.layers[0]]
            lines += ["", *_markdown_table([head, *([show(c) for c in layer.values()] for layer in self.layers)])]
        return "\n".join([*lines, "", self.conclusion])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data. A fraction becomes a decimal number, with the exact value beside it as text."""
        steps = []
        for what, arithmetic, value, unit in self.steps:
            record = {"what": what, "arithmetic": arithmetic, "value": value, "unit": unit}
            if isinstance(value, Fraction):
                record |= {"value": float(value), "exact": str(value)}
            steps.append(record)
        document = {"computation": self.name, "title": self.title, "formula": self.formula, "inputs": self.inputs}
        document |= {"steps": steps, "results": self.results, "conclusion": self.conclusion}
        return document | ({"layers": list(self.layers)} if self.layers else {})

    def _inputs(self) -> str:
        given = {name.replace("_", " "): value for name, value in self.inputs.items()}
        return ", ".join(
            name if value is True else f"{name} {value}" for name, value in given.items() if value is not False
        )


class Worksheet:
    """Collects the steps and results of a computation."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.layers: list[dict[str, int | str]] = []
        self.results: dict[str, int | float | str] = {}
        self.conclusion = ""

    def step(self, what: str, arithmetic: str, value: Number, unit: str = "") -> Number:
        self.steps.append(Step(what, arithmetic, value, unit))
        return value

    def finish(self, conclusion: str, **results: Number | str) -> "Worksheet":
        self.conclusion = conclusion
        for name, value in results.items():
            self.results[name] = float(value) if isinstance(value, Fraction) else value
        return self

    def output(
        self,
        what: str,
        size: Sides,
        kernel_size: Sides,
        stride: int,
        padding: Padding = 0,
        dilation: int = 1,
        ceil_mode: bool = False,
    ) -> Sides:
        """The output sides of a window: one step if height and width are alike, else two."""
        alike = size[0] == size[1] and kernel_size[0] == kernel_size[1]
        sides = []
        for name, side, kernel in zip(("height", "width"), size, kernel_size, strict=True):
            places, arithmetic = window_places(side, kernel, stride, padding, dilation, ceil_mode)
            if not alike or name == "height":
                self.step(f"{what}: {'side' if alike else name}", arithmetic, places, "pixels")
            sides.append(places)
        return sides[0], sides[1]

    def convolution(
        self, what: str, in_channels: int, filters: int, kernel_size: Sides, output: Sides, *, groups: int = 1
    ) -> Cost:
        """The multiplications of a convolution without bias, as outputs x (products of each)."""
        cost = conv2d(in_channels, filters, kernel_size, output, groups=groups, bias=False)
        products = factors(*kernel_size, in_channels // groups)
        self.step(what, f"{factors(*output, filters)} x ({products})", cost.multiplications, "multiplications")
        return cost

    def total(self, what: str, values: Sequence[int], unit: str) -> int:
        self.step(what, " + ".join(show(value) for value in values), sum(values), unit)
        return sum(values)

    def ratio(self, what: str, numerator: int, denominator: int) -> Fraction:
        ratio = Fraction(numerator, denominator)
        self.step(what, f"{numerator:,} / {denominator:,}", ratio)
        return ratio


def window_places(
    size: int, kernel_size: int, stride: int, padding: Padding, dilation: int = 1, ceil_mode: bool = False
) -> tuple[int, str]:
    """(number of positions of a window along a side, the arithmetic that gives it)."""
    if padding == "same":
        return output_size(size, 1, stride=stride), f"ceil({size:,} / {stride})"
    if isinstance(padding, str):
        raise ModelError(f"padding is {padding!r}, expected a number or 'same'")
    places = output_size(size, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    padded = f"{size:,} + 2 x {padding}" if padding else f"{size:,}"
    room = f"({padded} - {dilation} x ({kernel_size} - 1) - 1)" if dilation > 1 else f"({padded} - {kernel_size})"
    if not ceil_mode:
        return places, f"floor({room} / {stride}) + 1"
    whole = -(-(size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride) + 1
    empty = " - 1" if whole > places else ""  # the last window would cover nothing but padding
    return places, f"ceil({room} / {stride}) + 1{empty}"


def factors(*numbers: int) -> str:
    return " x ".join(f"{number:,}" for number in numbers)


def shape(*sides: int) -> str:
    """ "28x28x192"."""
    return "x".join(str(side) for side in sides)


def show(value: Number | str) -> str:
    """A number for a reader: 2,160; 14/45 = 0.3111; 1.92027."""
    if isinstance(value, str):
        return value
    if isinstance(value, Fraction):
        whole, exact = value.denominator == 1, f"{value.numerator:,}/{value.denominator:,}"
        return f"{value.numerator:,}" if whole else f"{exact} = {decimal(float(value))}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def decimal(value: float) -> str:
    """Four significant digits: 0.3111, 9.677; from a thousand on one decimal: 30,907.7."""
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _with_unit(step: Step) -> str:
    unit = step.unit[:-1] if step.value == 1 and step.unit in ("pixels", "crops", "shortcuts") else step.unit
    return f"{show(step.value)} {unit}".rstrip()


def _columns(rows: list[list[str]], widest: int = 60) -> list[str]:
    """Cells padded to columns; a cell wider than `widest`, such as a long sum, pushes the rest of its line right."""
    widths = [max((len(row[i]) for row in rows if len(row[i]) <= widest), default=0) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _markdown_table(rows: list[list[str]]) -> list[str]:
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body]]
