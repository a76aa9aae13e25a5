"""The 123 worked examples of the lectures, each computed by Casebook.

`worked_examples.json` holds them: where an example stands, what was `printed` there, and the `right` result. Most are
one row of `COMPUTATIONS` with the example's sizes (`run`: computation, sizes, place of the result); what concerns a
network, a picture or a metric is computed below, by the example's name. Where the lecture's print is wrong, the
example names the erratum on docs/errata.md.
"""

import functools
import json
import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from casebook.cost.count import count
from casebook.cost.formulas import conv2d, linear, total
from casebook.cost.summary import Summary
from casebook.cost.worked import explain
from casebook.evaluation.metrics import evaluate_probabilities
from casebook.models import model_card
from casebook.models.layers import ConvNorm, InvertedResidual
from casebook.models.mobilenet_v2 import inverted_residual
from casebook.preprocessing import Preprocessing

DATA = json.loads(Path(__file__).with_name("worked_examples.json").read_text(encoding="utf-8"))
EXAMPLES = {example["id"]: example for example in DATA["examples"]}
ERRATA = (Path(__file__).parents[2] / "docs" / "errata.md").read_text(encoding="utf-8")


def sizes(given: str | dict[str, Any]) -> dict[str, Any]:
    """The sizes of an example: its own, or some that several examples share, by name."""
    return DATA["shared"][given] if isinstance(given, str) else given


@functools.cache
def counted(name: str) -> Summary:
    return count(name)


def billions(name: str) -> float:
    """Multiply-adds in 10^9."""
    return int(counted(name).total.multiply_adds or 0) / 1e9


def depthwise_layers(name: str) -> int:
    return sum(layer.groups == layer.output_shape[0] > 1 for layer in counted(name).layers)


def one_by_one_on_one_channel() -> list[float]:
    """On a single channel, a 1x1 convolution multiplies by a number."""
    example = EXAMPLES["conv1x1_scalar"]["inputs"]
    layer = ConvNorm(1, 1, 1)
    nn.init.constant_(layer.get_parameter("conv.weight"), example["filter"])
    return layer[0](torch.tensor([[[example["row"]]]], dtype=torch.float32)).flatten().tolist()


def smaller_of_the_two_listings() -> bool:
    names = EXAMPLES["vgg_vs_zf"]["inputs"]
    vgg, zfnet = (int(explain("chain", **sizes(name)).results["parameters"]) for name in names)
    assert counted("zfnet").total.parameters < counted("vgg16").total.parameters, (
        "of the papers' networks, it is the other way"
    )
    return vgg < zfnet


def three_by_three_counted_twice() -> int:
    explanation = explain("inception", **sizes(EXAMPLES["cs231n_358M"]["inputs"]))
    three = next(int(step.value) for step in explanation.steps if step.what == "3x3, 192")
    return int(explanation.results["reduced"]) + three


def googlenet_row(name: str) -> list[float]:
    """[weights in K of 1024, operations in M] of a row of GoogLeNet's table, from its filters."""
    if name == "conv1":
        weights, operations, _ = conv2d(3, 64, 7, 112, bias=False)
    elif name == "conv2":
        weights, operations, _ = total([conv2d(64, 64, 1, 56, bias=False), conv2d(64, 192, 3, 56, bias=False)])
    elif name == "linear":
        weights, operations, _ = linear(1024, 1000, bias=False)
    else:
        filters = EXAMPLES[f"googlenet_row_{name}"]["inputs"]
        side = {"3": 28, "4": 14, "5": 7}[name.removeprefix("inception_(")[0]]
        found = explain(
            "inception", size=side, in_channels=filters["in"], conv1=filters["1x1"], reduce3=filters["3x3red"],
            conv3=filters["3x3"], reduce5=filters["5x5red"], conv5=filters["5x5"], pool_projection=filters["poolproj"],
        ).results  # fmt: skip
        weights, operations = int(found["weights"]), int(found["reduced"])
    return [round(weights / 1024, 1), round(operations / 1e6, 2)]


def googlenet_column(column: int) -> float:
    """The sum of what the table prints, beside which the rows' own sum is the network's."""
    rows = [name for name in EXAMPLES if name.startswith("googlenet_row_")]
    ours = sum(googlenet_row(name.removeprefix("googlenet_row_"))[column] for name in rows)
    layers = [layer for layer in counted("googlenet").layers if layer.multiplications]
    places = [math.prod(layer.output_shape[1:]) for layer in layers]
    weights = [int(layer.multiplications or 0) // n for layer, n in zip(layers, places, strict=True)]  # without biases
    exact = (sum(weights) / 1024, int(counted("googlenet").total.multiply_adds or 0) / 1e6)[column]
    assert ours == pytest.approx(exact, rel=1e-4)
    return round(sum(EXAMPLES[row]["printed"][column] for row in rows), 1)


def weights_for_a_twelfth_of_alexnet() -> Fraction:
    """The paper's sixty million over its factor of twelve; the networks themselves differ by a factor of 8.7."""
    alexnet, googlenet = counted("alexnet").total.parameters, counted("googlenet").total.parameters
    assert alexnet / googlenet == pytest.approx(8.71, abs=0.005)
    return Fraction(10 * round(alexnet / 1e7), 12)


def depthwise_layer_of_a_block() -> dict[str, list[int]]:
    height, width, channels = EXAMPLES["q16_mobilenetv2_depthwise"]["inputs"]["block_input"]
    expanded = EXAMPLES["q16_mobilenetv2_depthwise"]["inputs"]["expansion"]
    found = explain("inverted-residual", size=(height, width), in_channels=channels, expanded=expanded).results
    places = ("depthwise_input", "depthwise_output")
    return {place: [int(side) for side in str(found[place]).split("x")] for place in places}


def channels_of_any_block() -> None:
    """Which channels a figure shows cannot be known without it; how W, Y and Z of a block hang together can."""
    for channels, expansion, filters, stride in ((5, 6, 5, 1), (24, 6, 32, 2), (16, 2, 24, 1)):
        found = explain(
            "inverted-residual", size=8, in_channels=channels, expanded=expansion * channels, filters=filters,
            stride=stride,
        ).results  # fmt: skip
        block = inverted_residual(channels, filters, expansion, stride, padding="same").eval()
        output = block(torch.zeros(1, channels, 8, 8))
        assert found["block_output"] == f"{output.shape[2]}x{output.shape[3]}x{output.shape[1]}"
        assert found["depthwise_input"] == f"8x8x{expansion * channels}"
        assert (found["shortcut"] == "yes") == isinstance(block, InvertedResidual)


def top5_error_of_the_definition() -> float:
    example = EXAMPLES["top5_definition"]["inputs"]
    probabilities = np.full((len(example["labels"]), 10), 0.01)
    for row, guesses in zip(probabilities, example["top5"], strict=True):
        row[guesses] = (0.3, 0.25, 0.2, 0.15, 0.05)
    found = evaluate_probabilities(
        probabilities / probabilities.sum(1, keepdims=True), np.array(example["labels"]), [str(i) for i in range(10)]
    )
    return found["top5_error"]


def published_top5(name: str, *words: str) -> float:
    figures = [f for f in model_card(name).published if f.what == "top5_error" and all(w in f.refers_to for w in words)]
    assert len(figures) == 1, [f.refers_to for f in model_card(name).published]
    return figures[0].value


def shifted_colours() -> list[list[int]]:
    """A preprocessing whose mean is the negative shift adds it to every pixel."""
    grey = Image.new("RGB", (4, 4), (100, 100, 100))
    seen = []
    for shift in EXAMPLES["colour_shift"]["inputs"]["shifts"]:
        add = Preprocessing(size=4, resize="squash", mean=tuple(-s / 255 for s in shift), std=(1 / 255,) * 3)
        pixels = add(grey)
        assert (pixels == pixels[:, :1, :1]).all()
        seen.append([round(float(channel[0, 0]) - 100) for channel in pixels])
    return seen


COMPUTED: dict[str, Callable[[], Any]] = {
    "conv1x1_scalar": one_by_one_on_one_channel,
    "mobilenet_v1_blocks": lambda: depthwise_layers("mobilenet_v1"),
    "mobilenet_v2_blocks": lambda: depthwise_layers("mobilenet_v2"),
    "vgg_vs_zf": smaller_of_the_two_listings,
    "cs231n_358M": three_by_three_counted_twice,
    "googlenet_table_params": lambda: googlenet_column(0),
    "googlenet_table_ops": lambda: googlenet_column(1),
    "googlenet_vs_alexnet": weights_for_a_twelfth_of_alexnet,
    # Without projections a residual network costs what its plain twin does.
    "resnet18_flops": lambda: billions("plain18"),
    "resnet34_flops": lambda: billions("plain34"),
    "resnet50_flops": lambda: billions("resnet50_v1"),
    "resnet101_flops": lambda: billions("resnet101_v1"),
    "resnet152_flops": lambda: billions("resnet152_v1"),
    "q16_mobilenetv2_depthwise": depthwise_layer_of_a_block,
    "q11_mobilenetv2_wyz": channels_of_any_block,
    "top5_definition": top5_error_of_the_definition,
    "top5_AlexNet": lambda: published_top5("alexnet", "2012 validation", "one network"),
    "top5_ZFNet": lambda: published_top5("zfnet_b", "2012 test", "one network"),
    "top5_GoogLeNet": lambda: published_top5("googlenet", "7 models", "144 crops"),
    "colour_shift": shifted_colours,
} | {name: functools.partial(googlenet_row, name.removeprefix("googlenet_row_"))
     for name in EXAMPLES if name.startswith("googlenet_row_")}  # fmt: skip


def computed(example: dict[str, Any]) -> Any:
    if "run" not in example:
        return COMPUTED[example["id"]]()
    name, given, place = example["run"]
    found: Any = explain(name, **sizes(given)).to_dict()
    for key in place.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def exact(value: Any) -> Any:
    return float(Fraction(value)) if isinstance(value, str) else value


def agrees(value: Any, other: Any, tolerance: float | None) -> bool:
    """Whether a printed or right result is meant: equal, or within what the rounding of the print allows."""
    if isinstance(value, list):
        return all(agrees(v, o, tolerance) for v, o in zip(value, other, strict=True))
    if isinstance(value, dict) or tolerance is None:
        return value == other or (isinstance(value, float) and math.isclose(value, other, rel_tol=1e-12))
    return abs(value - other) <= tolerance


def test_all_are_here() -> None:
    assert len(EXAMPLES) == len(DATA["examples"]) == 123
    assert {name for name, example in EXAMPLES.items() if "run" not in example} == set(COMPUTED)
    for example in EXAMPLES.values():
        assert example["source"]
        assert example["what"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_example(name: str) -> None:
    example = EXAMPLES[name]
    value, right = computed(example), exact(example.get("right"))
    assert agrees(value, right, None), f"{example['what']}: {value}, expected {right}"


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if "printed" in example])
def test_what_is_printed_is_right_or_an_erratum(name: str) -> None:
    example = EXAMPLES[name]
    printed, right = example["printed"], exact(example["right"])
    tolerance = example.get("tolerance")
    if name.startswith("googlenet_row_"):  # printed as whole K and M; one off is no misprint
        as_printed = [abs(r - p) <= 1 for r, p in zip(right, printed, strict=True)]
        assert all(as_printed) == ("erratum" not in example)
    else:
        assert agrees(right, printed, tolerance) == ("erratum" not in example)
    if "erratum" in example:
        assert re.search(rf"^### {example['erratum']}\b", ERRATA, re.MULTILINE), "docs/errata.md lacks it"
