"""Charts are well-formed SVG with round axes and say their values."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.reports.charts import (
    Axis,
    Line,
    Phase,
    line_chart,
    nice_ticks,
    percent_text,
    place_ticks,
    reliability_chart,
)

SPACE = "\u00a0"


@given(st.floats(-1e6, 1e6), st.just(0.0) | st.floats(1e-6, 1e6))
def test_ticks_enclose_the_values(low: float, width: float) -> None:
    high = low + width * max(1, abs(low))
    ticks = nice_ticks(low, high)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert 2 <= len(ticks) <= 6
    assert ticks[0] - slack <= low <= high <= ticks[-1] + slack
    assert np.diff(ticks) == pytest.approx(ticks[1] - ticks[0], rel=1e-3)


def test_ticks_are_round() -> None:
    assert nice_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert nice_ticks(0, 2.31) == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5])
    assert nice_ticks(0.91, 0.987) == pytest.approx([0.9, 0.92, 0.94, 0.96, 0.98, 1.0])


def test_places() -> None:
    assert place_ticks(1) == [0]
    assert place_ticks(5) == [0, 1, 2, 3, 4]
    assert place_ticks(30) == [0, 4, 9, 14, 19, 24, 29]
    assert place_ticks(200) == [0, 49, 99, 149, 199]


def test_percentages_are_never_rounded_to_certainty() -> None:
    assert percent_text(1.0) == f"100.0{SPACE}%"
    assert percent_text(0.99996) == f"> 99.9{SPACE}%"
    assert percent_text(0.99996, 2) == f"> 99.99{SPACE}%"
    assert percent_text(0.9994) == f"99.9{SPACE}%"
    assert percent_text(0.0) == f"0.0{SPACE}%"
    assert percent_text(1e-9) == f"< 0.1{SPACE}%"


def test_a_line_chart_tells_its_values() -> None:
    lines = [
        Line("training", "training", [2.0, 1.0, None, 0.25]),
        Line("validation", "validation", [2.5, float("nan"), 0.75, 0.5]),
    ]
    places = [f"epoch {number}" for number in range(1, 5)]
    chart = line_chart("Loss & more", lines, places, Axis("a < b"), [Phase(0, "<new head>"), Phase(2, "fine-tuning")])
    root = ElementTree.fromstring(chart)
    assert root.get("aria-label") == "Loss & more"
    columns = [
        ["".join(text.itertext()) for text in group.iter("text")]
        for group in root.iter("g")
        if group.get("class") == "at"
    ]
    assert columns == [
        ["2", "2.5", "epoch 1"],
        ["1", "–", "epoch 2"],
        ["–", "0.75", "epoch 3"],
        ["0.25", "0.5", "epoch 4"],
    ]
    paths = {path.get("class"): path.get("d") or "" for path in root.iter("path")}
    assert paths["line training"].count("M") == 2  # the gap
    texts = ["".join(text.itertext()) for text in root.iter("text")]
    assert {"<new head>", "a < b", "epoch", "training", "validation"} <= set(texts)  # titles of axes, and the legend


def ticks(chart: str) -> list[float]:
    """The labels of the y axis in %."""
    texts = [text.text or "" for text in ElementTree.fromstring(chart).iter("text") if text.get("text-anchor") == "end"]
    return [float(text.removesuffix(f"{SPACE}%")) for text in texts if text.endswith("%")]


def accuracy_chart(values: list[float], num_pictures: int, marked: int | None = None) -> str:
    lines, places = [Line("validation", "validation", values)], [f"epoch {i + 1}" for i in range(len(values))]
    return line_chart("Accuracy", lines, places, Axis("accuracy", True, num_pictures), marked=marked)


@pytest.mark.parametrize(
    ("values", "num_pictures", "low", "high"),
    [
        ([0.95, 1.0, 0.95], 20, 50, 100),  # ten pictures of twenty
        ([0.5, 0.55], 20, 20, 80),
        ([0.98, 0.981], 100_000, 97, 99.5),  # two points around the curve
        ([0.0, 0.05], 20, 0, 50),
        ([0.1, 0.9], 20, 0, 100),  # the curve itself needs more
        ([1.0, 1.0], 3, 0, 100),
    ],
)
def test_the_axis_of_an_accuracy_spans_ten_pictures(
    values: list[float], num_pictures: int, low: float, high: float
) -> None:
    found = ticks(accuracy_chart(values, num_pictures))
    assert (min(found), max(found)) == (pytest.approx(low), pytest.approx(high))


def test_one_picture_is_drawn_to_the_scale_of_the_axis() -> None:
    root = ElementTree.fromstring(accuracy_chart([0.95, 1.0], 20))
    (bracket,) = [path.get("d") or "" for path in root.iter("path") if path.get("class") == "span"]
    top, bottom = float(bracket.split("h")[0].split()[1]), float(bracket.split("V")[1].split("m")[0])
    first, second = re.findall(r"[ML][0-9.]+ ([0-9.]+)", next(
        path.get("d") or "" for path in root.iter("path") if path.get("class") == "line validation"
    ))  # fmt: skip
    assert bottom - top == pytest.approx(float(first) - float(second), abs=0.15)  # 95 % to 100 % is one of twenty
    assert "one picture" not in accuracy_chart([0.5, 0.9], 1000)  # too small to see


def test_the_weights_that_were_kept_are_marked() -> None:
    root = ElementTree.fromstring(accuracy_chart([0.8, 0.9, 0.85], 1000, marked=1))
    rings = [circle for circle in root.iter("circle") if circle.get("class") == "ring"]
    assert len(rings) == 2  # on the curve and in the legend
    line = next(path.get("d") or "" for path in root.iter("path") if path.get("class") == "line validation")
    assert f"L{rings[0].get('cx')} {rings[0].get('cy')}" in line


@pytest.mark.parametrize("values", [[], [None, None], [float("inf")], ["2"]])
def test_nothing_to_draw_is_no_chart(values: list) -> None:
    assert line_chart("Loss", [Line("training", "training", values)], ["epoch 1"] * len(values), Axis("loss")) == ""


@pytest.mark.parametrize("num", [1, 2, 1000])
def test_any_number_of_epochs(num: int) -> None:
    chart = line_chart("Loss", [Line("training", "training", [1.0] * num)], ["epoch"] * num, Axis("loss"))
    root = ElementTree.fromstring(chart)
    assert len(chart) < 200_000
    assert 1 <= sum(group.get("class") == "at" for group in root.iter("g")) <= 240
    for element in root.iter():
        for key in ("x", "y", "cx", "cy", "width", "height"):
            assert -1 <= float(element.get(key, "0")) <= 361


def test_the_reliability_chart_is_well_formed() -> None:
    bins = [
        {"low": 0.0, "high": 1 / 15, "n": 1, "confidence": 0.05, "accuracy": 0.0, "accuracy_interval": [0, 0.8]},
        {"low": 14 / 15, "high": 1.0, "n": 9000, "confidence": 1.0, "accuracy": 1.0, "accuracy_interval": [0.9, 1]},
    ]
    root = ElementTree.fromstring(reliability_chart(bins))
    texts = ["".join(text.itertext()) for text in root.iter("text")]
    assert f"100.0{SPACE}% right of 9,000" in texts
    assert {"probability of the predicted class", "share that is right", "calibrated"} <= set(texts)
    assert f"confidence 5.0{SPACE}%" in texts
