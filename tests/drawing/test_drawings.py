"""Every network at every level: nothing overlaps, the numbers are those of the count, the bytes are the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from casebook.drawing.beside import beside
from casebook.drawing.draw import LEVELS, STYLES, Drawing, draw_network, drawing_of
from casebook.drawing.facts import facts, group_fact
from casebook.drawing.fold import Repeat, Structure, all_nodes, fold
from casebook.errors import ModelError
from casebook.models import list_models

from ..models.golden import GOLDEN
from .blocks import traced

HANDFUL = ("lenet5", "googlenet", "resnet34", "densenet121", "fractalnet40", "nasnet_mobile", "mobilenet_v2")
TALLEST = 2200  # pixels of a page; a single block may need more than a page of a printer


def structure(name: str, **options: object) -> Structure:
    return fold(traced(name, **options))  # type: ignore[arg-type]


def boxes_in(svg: str) -> list[int]:
    return [int(part.split('"')[0]) for part in svg.split('data-box="')[1:]]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in HANDFUL)) for name in list_models()]
)
def test_every_level_of_every_network(name: str) -> None:
    found = structure(name)
    for level in LEVELS:
        drawing = drawing_of(found, level)
        drawn: list[int] = []
        for title, sheet in drawing.pages:
            assert sheet.collisions() == [], (level, title)
            assert sheet.height <= TALLEST
            assert sheet.width <= 1060
            drawn += boxes_in(sheet.svg())
        assert sorted(drawn) == sorted(drawing.facts), level  # each box has its numbers, and each number its box
        if name in HANDFUL:
            assert drawing_of(found, level).svg() == drawing.svg()
        if level != "block":  # which shows each distinct block once
            shown = drawing.facts.values()
            golden = GOLDEN[name]
            assert sum(fact.total_weights for fact in shown) == golden.parameters
            assert sum(fact.total_multiply_adds for fact in shown) == golden.multiply_adds


def test_the_bytes_do_not_depend_on_the_seed_of_hashes() -> None:
    code = (
        "import hashlib; from casebook.drawing.draw import LEVELS, draw_network\n"
        "for name in ('inception_v3', 'nasnet_mobile', 'densenet_bc_100_12'):\n"
        "    for level in LEVELS:\n"
        "        pages = draw_network(name, level=level).pages\n"
        "        print(hashlib.sha256(''.join(sheet.svg() for _, sheet in pages).encode()).hexdigest())\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1
    assert len(said.pop().split()) == 9


def test_the_arithmetic_holds() -> None:
    for name in ("alexnet", "resnet34", "mobilenet_v2"):
        for fact in facts(structure(name)).values():
            for line in fact.arithmetic:
                work, _, value = line.split(": ", 1)[1].removeprefix("side: ").rpartition(" = ")
                python = work.replace(" x ", " * ").replace(",", "").replace("floor", "int")
                assert eval(python) == int(value.replace(",", "")), line
            if fact.multiply_adds:
                assert f"= {fact.multiply_adds:,}" in fact.arithmetic[-1]


def test_a_strip_in_words() -> None:
    drawing = draw_network("resnet34")
    svg = drawing.svg()
    assert "<title>resnet34 as a strip</title>" in svg
    assert "stage 3: residual block, residual block x 5, giving 14x14x256" in svg
    for text in ("7x7 conv, 64, /2", "x 5", "14x14x256", "FC 1000", "21,797,672 weights"):
        assert f">{text}<" in svg or text in svg, text
    assert svg.count('class="line dashed"') == 3  # the shortcuts that change the shape
    assert 'role="img"' in svg


def test_a_growing_block_says_by_how_much() -> None:
    assert ">x 24, +32 channels each<" in draw_network("densenet121").svg()


def test_a_residual_block_has_the_names_of_the_lectures() -> None:
    svg = draw_network("resnet34", level="block").svg()
    for text in ("a[l]", "z[l+2]", "a[l+2] = g(z[l+2] + a[l])"):
        assert f">{text}<" in svg
    assert ">z[l+3] + a[l]<" in draw_network("mobilenet_v2", level="block").svg()  # no activation behind the sum


def test_an_inception_module_side_by_side() -> None:
    sheet = draw_network("googlenet", level="block").pages[0][1]
    boxes = {place.name: place for place in sheet.boxes}
    firsts = [boxes[f"{name} ReLU"] for name in ("1x1 conv, 64", "1x1 conv, 96", "1x1 conv, 16")]
    assert len({place.top for place in firsts}) == 1
    assert boxes["concatenate, 256"].top > boxes["5x5 conv, 32 ReLU"].bottom


def test_auxiliary_heads_stand_beside_their_module() -> None:
    sheet = draw_network("googlenet", auxiliary_heads=2).pages[0][1]
    assert sheet.collisions() == []
    assert [place.name for place in sheet.boxes].count("auxiliary head 1000, training only") == 2


def test_pages_by_stage() -> None:
    drawing = draw_network("resnet34", level="layers")
    assert [name for name, _ in drawing.pages] == ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "head"]
    one = draw_network("resnet34", level="layers", stage=2)
    assert one.svg() == drawing.svg(2)


@pytest.mark.parametrize("level", LEVELS)
def test_a_module_of_the_users(level: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                            nn.Linear(8, 2))  # fmt: skip
    drawing = draw_network(network, 16, level=level)
    assert all(sheet.collisions() == [] for _, sheet in drawing.pages)
    assert "3x3 conv, 8" in drawing.svg()


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(ModelError, match="unknown level 'blok'; did you mean 'block'"):
        draw_network("lenet5", level="blok")
    with pytest.raises(ModelError, match="the style 'block' draws the level 'block', not 'strip'"):
        draw_network("lenet5", style="block", level="strip")
    with pytest.raises(ModelError, match="unknown stage '9'; lenet5 has stem, stage 1, stage 2, head"):
        draw_network("lenet5", stage=9)
    assert set(LEVELS) <= set(STYLES)


def test_volumes_are_a_style_of_whole_chains() -> None:
    drawing = draw_network("lenet5", style="volume")
    assert [name for name, _ in drawing.pages] == ["lenet5"]
    assert "5x5x16" in drawing.svg()
    with pytest.raises(ModelError, match="leave the stage out"):
        draw_network("lenet5", style="volume", stage=1)
    with pytest.raises(ModelError, match="resnet18 branches before"):
        draw_network("resnet18", style="volume")


def test_files(tmp_path: Path) -> None:
    drawing: Drawing = draw_network("lenet5", level="layers")
    written = drawing.write(tmp_path / "a.svg")
    assert [path.name for path in written] == ["a-stem.svg", "a-stage-1.svg", "a-stage-2.svg", "a-head.svg"]
    assert written[0].read_text() == drawing.svg()
    with pytest.raises(ModelError, match=r"ends in '.png', expected .svg"):
        drawing.write(tmp_path / "a.png")


def test_twins_stand_side_by_side() -> None:
    left, right = draw_network("plain20"), draw_network("resnet20")
    twins = beside(left, right)
    sheet = twins.pages[0][1]
    assert sheet.collisions() == []
    assert sheet.width == left.pages[0][1].width + right.pages[0][1].width
    assert "At the right, resnet20" in sheet.description
    with pytest.raises(ModelError, match="resnet20 has 5 pages"):
        beside(left, draw_network("resnet20", level="layers"))


class Dense(nn.Module):
    """As torchvision writes a dense block: each layer concatenates all before it."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 * (i + 1), 3, 3, padding=1) for i in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


def test_what_is_too_tall_for_a_page_is_one_box_with_its_sums() -> None:
    drawing = draw_network(Dense(40), 8, level="layers")
    (sheet,) = [sheet for _, sheet in drawing.pages]
    assert sheet.height < TALLEST
    assert "connected in too many ways for a page" in drawing.svg()
    (fact,) = drawing.facts.values()
    assert fact.weights == sum(weight.numel() for weight in Dense(40).parameters())
    assert "connected in too many ways" not in draw_network(Dense(3), 8, level="layers").svg()


def test_a_box_of_many_calls_counts_each_folded_copy_once() -> None:
    structure = fold(traced("resnet34"))
    elements = next(section.elements for section in structure.sections if section.name == "stage 3")
    assert any(isinstance(element, Repeat) for element in elements)
    nodes = list(all_nodes(elements))
    fact = group_fact(nodes, "stage 3", facts(structure))
    weights = sum(node.cost.parameters for node in nodes)
    assert (fact.weights, fact.total_weights, fact.times) == (weights, weights, 1)


class Interleaved(nn.Module):
    """A module whose calls stand on both sides of another's, and whose own are no series."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({name: nn.Conv2d(3, 3, 3, padding=1) for name in "abcd"})
        self.between = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.inner["a"](x)
        b = self.between(a)
        c = self.inner["c"](a + b)
        d = self.inner["d"](torch.relu(b + x))
        return torch.cat([self.inner["b"](c), d, a, b], 1)


@pytest.mark.parametrize("level", LEVELS)
def test_a_tangle_is_drawn_by_names(level: str) -> None:
    drawing = draw_network(Interleaved(), 8, level=level)
    assert all(sheet.collisions() == [] for _, sheet in drawing.pages)
    assert sum(fact.total_weights for fact in drawing.facts.values()) == 4 * 84 + 12
    if level != "strip":
        assert ">step 1<" in drawing.svg() or ">a<" in drawing.svg()
