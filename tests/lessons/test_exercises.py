"""The answers of the exercises are right, for a thousand readers, by other computations than those that mark them.

Layers are built with torch on the meta device: their shapes and weights are torch's own, and multiplications are
counted as weights times places, with no formula of ours.
"""

import functools
import itertools
import tomllib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import torch
from torch import nn

from casebook.errors import DataError
from casebook.lessons import LESSONS
from casebook.lessons.exercises import SAYINGS, exercise_sections, exercises, prepared
from casebook.lessons.source import Block, Lesson, parse_lesson, read_lesson

LESSON = """# A title

The lead.

### Compute: it

```compute
question = "A {size}x{size} picture"
explain = "conv"
draw = { size = "10..20" }
asks = { parameters = "its parameters" }
```
"""


def weights(layer: nn.Module) -> int:
    return sum(weight.numel() for weight in layer.parameters())


def volume(channels: int, size: int) -> torch.Tensor:
    return torch.empty(1, channels, size, size, device="meta")


def written(x: torch.Tensor) -> str:
    return "x".join(map(str, (*x.shape[2:], x.shape[1])))


def conv(inputs: torch.Tensor, filters: int, window: int, **options: Any) -> tuple[torch.Tensor, int, int]:
    """(output, weights, multiplications) of a convolution without biases."""
    layer = nn.Conv2d(inputs.shape[1], filters, window, bias=False, device="meta", **options)
    output = layer(inputs)
    return output, weights(layer), weights(layer) * output.shape[2] * output.shape[3]


def a_conv(s: dict[str, Any]) -> dict[str, Any]:
    padding = (s["kernel_size"] - 1) // 2 if s.get("padding", "same") == "same" else s["padding"]
    output, num_weights, products = conv(
        volume(s["in_channels"], s["size"]), s["filters"], s["kernel_size"], stride=s.get("stride", 1), padding=padding
    )
    return {
        "output": written(output),
        "parameters": num_weights + (0 if s.get("no_bias") else s["filters"]),
        "multiplications": products,
    }


def a_pool(s: dict[str, Any]) -> dict[str, Any]:
    pool = nn.MaxPool2d(s["kernel_size"], s["stride"])
    return {"output": written(pool(volume(s["channels"], s["size"]))), "parameters": weights(pool)}


def a_linear(s: dict[str, Any]) -> dict[str, Any]:
    height, width, channels = map(int, s["inputs"].split("x"))
    features = torch.empty(1, channels, height, width, device="meta").flatten(1).shape[1]
    return {"parameters": weights(nn.Linear(features, s["outputs"], device="meta"))}


def a_bottleneck(s: dict[str, Any]) -> dict[str, Any]:
    x, window = volume(s["in_channels"], s["size"]), s["kernel_size"]
    direct = conv(x, s["filters"], window, padding=window // 2)[2]
    narrow, _, first = conv(x, s["reduce"], 1)
    second = conv(narrow, s["filters"], window, padding=window // 2)[2]
    return {"direct": direct, "bottleneck": first + second, "times_fewer": pytest.approx(direct / (first + second))}


def a_resnet_bottleneck(s: dict[str, Any]) -> dict[str, Any]:
    x = volume(s["channels"], s["size"])
    narrow, first, _ = conv(x, s["width"], 1)
    between, second, _ = conv(narrow, s["width"], 3, padding=1)
    third = conv(between, s["channels"], 1)[1]
    basic = 2 * conv(x, s["channels"], 3, padding=1)[1]
    return {"basic_weights": basic, "bottleneck_weights": first + second + third}


def an_inception(s: dict[str, Any]) -> dict[str, Any]:
    x = volume(s["in_channels"], s["size"])
    one, _, cost1 = conv(x, s["conv1"], 1)
    narrow3, _, cost2 = conv(x, s["reduce3"], 1)
    three, _, cost3 = conv(narrow3, s["conv3"], 3, padding=1)
    narrow5, _, cost4 = conv(x, s["reduce5"], 1)
    five, _, cost5 = conv(narrow5, s["conv5"], 5, padding=2)
    pooled, _, cost6 = conv(nn.MaxPool2d(3, 1, 1)(x), s["pool_projection"], 1)
    joined = torch.cat([one, three, five, pooled], dim=1)
    return {"output": written(joined), "reduced": cost1 + cost2 + cost3 + cost4 + cost5 + cost6}


def a_separable(s: dict[str, Any]) -> dict[str, Any]:
    x, window, padding = volume(s["in_channels"], s["size"]), s["kernel_size"], s.get("padding", 0)
    normal = conv(x, s["filters"], window, padding=padding)[2]
    deep, _, depthwise = conv(x, s["in_channels"], window, padding=padding, groups=s["in_channels"])
    pointwise = conv(deep, s["filters"], 1)[2]
    both = depthwise + pointwise
    return {
        "normal": normal, "depthwise": depthwise, "pointwise": pointwise, "separable": both,
        "ratio": pytest.approx(both / normal),
    }  # fmt: skip


def an_inverted_residual(s: dict[str, Any]) -> dict[str, Any]:
    x, wide = volume(s["in_channels"], s["size"]), s["expanded"]
    expansion, first, _ = conv(x, wide, 1)
    depthwise, second, _ = conv(expansion, wide, 3, padding=1, stride=s["stride"], groups=wide)
    projection, third, _ = conv(depthwise, s["filters"], 1)
    return {
        "depthwise_output": written(depthwise), "block_output": written(projection),
        "shortcut": "yes" if projection.shape == x.shape else "no", "weights": first + second + third,
    }  # fmt: skip


@functools.cache
def seen(windows: str) -> int:
    """Side of what an output sees: the pixels that have a gradient."""
    side = 450
    x = torch.zeros(1, 1, side, 1, requires_grad=True)
    y = x
    for window in windows.split(","):
        kernel, _, stride = window.partition("/")
        y = nn.functional.conv2d(y, torch.ones(1, 1, int(kernel), 1), stride=int(stride or 1))
    y[0, 0, 0, 0].backward()
    assert x.grad is not None
    return int((x.grad != 0).sum())


def a_field(s: dict[str, Any]) -> dict[str, Any]:
    return {"receptive_field": seen(s["windows"])}


def a_stack(s: dict[str, Any]) -> dict[str, Any]:
    channels, window = s["channels"], s["window"]
    field = seen(",".join([str(window)] * s["depth"]))
    small = nn.Conv2d(channels, channels, window, bias=False, device="meta")
    large = nn.Conv2d(channels, channels, field, bias=False, device="meta")
    return {"receptive_field": field, "stack": s["depth"] * weights(small), "single": weights(large)}


def a_depth(s: dict[str, Any]) -> dict[str, Any]:
    blocks = [block for count in s["blocks"].split(",") for block in range(int(count))]
    return {"weight_layers": sum(s["layers_per_block"] for _ in blocks) + s["other_layers"]}


def the_connections(s: dict[str, Any]) -> dict[str, Any]:
    """The input and the outputs of all layers are joined to each later one."""
    starts = range(0, s["depth"] - s["layers_per_block"] + 1, s["layers_per_block"])
    return {"dense": len(list(itertools.combinations(range(s["depth"] + 1), 2))), "residual": len(starts)}


def the_crops(s: dict[str, Any]) -> dict[str, Any]:
    sides = [range(s.get(name, 1)) for name in ("scales", "squares", "crops")]
    return {"crops": len(list(itertools.product(*sides, (False, True))))}


def a_compound(s: dict[str, Any]) -> dict[str, Any]:
    side, cost = Decimal(s["resolution"]), Decimal(1)
    for _ in range(s["phi"]):
        side, cost = side * Decimal("1.15"), cost * Decimal("1.2") * Decimal("1.1") ** 2 * Decimal("1.15") ** 2
    return {"resolution": pytest.approx(float(side)), "cost_factor": pytest.approx(float(cost))}


BY_HAND: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "conv": a_conv, "pool": a_pool, "linear": a_linear, "bottleneck": a_bottleneck, "inception": an_inception,
    "resnet-bottleneck": a_resnet_bottleneck, "separable": a_separable, "inverted-residual": an_inverted_residual,
    "receptive-field": a_field, "stack": a_stack, "depth": a_depth, "connections": the_connections,
    "crops": the_crops, "compound": a_compound,
}  # fmt: skip
COMPUTED = [
    pytest.param(name, place, tomllib.loads(text)["explain"], id=f"{name}: {title}")
    for name in LESSONS
    for place, (title, text) in enumerate(
        (title, next(block.text for block in blocks if block.kind == "compute"))
        for kind, title, blocks in exercise_sections(read_lesson(name))
        if kind == "compute"
    )
]


@pytest.mark.parametrize(("name", "place", "computation"), COMPUTED)
@pytest.mark.parametrize("num_readers", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_computed_answers_are_those_of_torch(name: str, place: int, computation: str, num_readers: int) -> None:
    lesson = computed_alone(read_lesson(name), place)
    drawn = set()
    for seed in range(num_readers):
        exercise = exercises(lesson, seed)[0]
        by_hand = BY_HAND[computation](exercise.sizes)
        expected = {key: by_hand[key] for key in exercise.asks}
        assert exercise.right == expected, (seed, exercise.sizes)
        drawn.add(tuple(exercise.sizes.items()))
    assert len(drawn) > 20  # students do have other numbers


def computed_alone(lesson: Lesson, place: int) -> Lesson:
    """The lesson with only one of its computed exercises."""
    sections = [section for section in exercise_sections(lesson) if section[0] == "compute"]
    _, title, blocks = sections[place]
    heading = Block("heading", f"Compute: {title}", 1, "3")
    return lesson._replace(blocks=(heading, *blocks))


@pytest.mark.parametrize("name", LESSONS)
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(name: str) -> None:
    lesson = read_lesson(name)
    assert exercises(lesson, 3) == exercises(lesson, 3)
    if any(exercise.kind == "compute" for exercise in exercises(lesson, 3)):
        assert len({str(exercises(lesson, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_exercises_with_names_of_their_own(name: str) -> None:
    found = exercises(read_lesson(name), 0)
    assert len(found) >= 2
    assert len({exercise.name for exercise in found}) == len(found)


DEFEND = """# A title

The lead.

### Defend: it

```defend
question = "Is it?"
claim = "deep is better than shallow"
expected = "EXPECTED"
```
"""


@pytest.mark.parametrize("expected", ["lower", "higher"])
def test_the_sentence_to_defend_follows_from_the_interval(expected: str) -> None:
    lesson = parse_lesson("x", DEFEND.replace("EXPECTED", expected))
    outcomes = []
    for seed in range(300):
        exercise = exercises(lesson, seed)[0]
        low, high = exercise.sizes["low"], exercise.sizes["high"]
        assert f"interval {low:+.2f} to {high:+.2f}" in exercise.question
        if low < 0 < high:
            outcome = "no detectable difference"
        else:
            outcome = "reproduced" if (high < 0) == (expected == "lower") else "not reproduced"
        letter = exercise.right["answer"]
        assert f"({letter}) {SAYINGS[outcome]}" in exercise.question
        outcomes.append(outcome)
    assert min(outcomes.count(outcome) for outcome in set(outcomes)) > 50
    assert set(outcomes) == set(SAYINGS) - {"equal"}


def test_questions_hold_the_drawn_numbers() -> None:
    lesson = parse_lesson("x", LESSON)
    for seed in range(20):
        size = exercises(lesson, seed)[0].sizes["size"]
        assert 10 <= size <= 20
        assert [block.text for block in prepared(lesson, seed)][1:] == [
            f"A {size}x{size} picture\n\n- `parameters`: its parameters"
        ]


@pytest.mark.parametrize(
    ("old", "new"), [("explain =", "explains ="), ("{size}", "{sise}"), ("asks =", "asks ="), ("```compute", "```toml")]
)
def test_an_incomplete_exercise_is_named(old: str, new: str) -> None:
    text = LESSON.replace(old, new).replace("parameters =", "weights =" if old == new else "parameters =")
    with pytest.raises(DataError, match=r"x\.md: the exercise compute: it is incomplete"):
        exercises(parse_lesson("x", text), 0)
