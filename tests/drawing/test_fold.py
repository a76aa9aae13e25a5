"""Series, splits and blocks; equal neighbours fold. The file blocks.txt holds every block of the catalogue."""

import pytest
import torch
from torch import Tensor, nn

from casebook.drawing.fold import Branches, Repeat, Structure, Unit, Woven, all_nodes, fold
from casebook.drawing.graph import trace_graph
from casebook.drawing.outline import element_lines, outline
from casebook.models import list_models

from . import blocks

HANDFUL = ("lenet5_1998", "vgg16", "googlenet", "plain34", "resnet34", "densenet121", "fractalnet20", "nasnet_mobile",
           "mobilenet_v2", "seresnet50")  # fmt: skip


def structure(name: str, **options: object) -> Structure:
    return fold(blocks.traced(name, **options))  # type: ignore[arg-type]


def num_blocks(found: Structure) -> tuple[int, int]:
    """(blocks in the stages, blocks that are drawn)."""
    stages = [section.elements for section in found.sections if section.name.startswith("stage")]
    return (
        sum(e.times if isinstance(e, Repeat) else 1 for elements in stages for e in elements),
        sum(map(len, stages)),
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in HANDFUL)) for name in list_models()]
)
def test_blocks_of_the_catalogue(name: str) -> None:
    """After a change on purpose, write the file again: python tests/drawing/blocks.py."""
    known, networks = blocks.read()
    found = structure(name)
    assert blocks.network_line(found, dict(known)) == networks[name]
    drawn = sorted(node.number for section in found.sections for node in all_nodes(section.elements))
    assert drawn == [node.number for node in found.graph.nodes[1:]]  # each call once


def test_equal_neighbours_fold() -> None:
    assert num_blocks(structure("resnet34")) == (16, 7)
    assert num_blocks(structure("resnet1202")) == (600, 5)
    assert num_blocks(structure("efficientnet_b0", drop_path=0.2)) == num_blocks(structure("efficientnet_b0"))


def test_growing_neighbours_fold() -> None:
    third = structure("densenet121").section("3").elements
    assert [type(element).__name__ for element in third] == ["Block", "Repeat"]
    repeat = third[1]
    assert isinstance(repeat, Repeat)
    assert (repeat.times, repeat.growth) == (24, 32)


def test_an_inception_module() -> None:
    module = structure("googlenet").section("stage 1").elements[0]
    assert "\n".join(element_lines((module,))) == (
        "|\n  conv 1x1 + ReLU -> 28x28x64\n"
        "|\n  conv 1x1 + ReLU -> 28x28x96\n  conv 3x3 + ReLU -> 28x28x128\n"
        "|\n  conv 1x1 + ReLU -> 28x28x16\n  conv 5x5 + ReLU -> 28x28x32\n"
        "|\n  max pool 3x3 -> 28x28x192\n  conv 1x1 + ReLU -> 28x28x32\n"
        "= concatenate -> 28x28x256"
    )


def test_a_cell_of_named_pairs() -> None:
    first = structure("nasnet_mobile").section("stage 1").elements[1]
    assert isinstance(first, Repeat) or hasattr(first, "elements")
    inside = first.first[0] if isinstance(first, Repeat) else first
    woven = inside.elements[0]  # type: ignore[union-attr]
    assert isinstance(woven, Woven)
    assert woven.reads == (1, 2)
    assert [len(part.inputs) for part in woven.parts] == [1, 1, 2, 1, 2, 1, 1, 6]


def test_auxiliary_heads_hang_on_their_module() -> None:
    sides = structure("googlenet", auxiliary_heads=2).sides
    assert len(sides) == 2
    assert [node.name for node in all_nodes(sides[0].elements)][-1] == "auxiliary.inception4a.classifier"


class Tangle(nn.Module):
    """Not series-parallel: the second layer is read by both sides of the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.layers[0](x), self.layers[1](x)
        c = self.layers[2](a + b)
        d = self.layers[3](torch.cat([a, c], 1)[:, :3])
        return b + d


def test_a_tangle_stays_a_weave() -> None:
    found = fold(trace_graph(Tangle(), 8))
    lines = outline(found)
    assert any(line.strip().startswith("part") for line in lines)
    assert sorted(n.number for s in found.sections for n in all_nodes(s.elements)) == list(
        range(1, len(found.graph.nodes))
    )


def test_units_of_a_plain_sequential_fold() -> None:
    network = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) for _ in range(6)), nn.Flatten())
    assert "  x 5" in outline(fold(trace_graph(network, 8)))  # the last one has the flatten
    few = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4)))
    assert all(isinstance(e, Unit) for s in fold(trace_graph(few, 8)).sections for e in s.elements)


def test_outline_of_a_small_network() -> None:
    assert outline(structure("lenet5")) == [
        "input 32x32x1",
        "stem:",
        "  conv 5x5 + ReLU -> 28x28x6",
        "  average pool 2x2/2 -> 14x14x6",
        "stage 1:",
        "  conv 5x5 + ReLU -> 10x10x16",
        "  average pool 2x2/2 -> 5x5x16",
        "stage 2:",
        "  conv 5x5 + ReLU -> 1x1x120",
        "head:",
        "  flatten + linear + ReLU -> 84",
        "  linear -> 10",
    ]


def test_branches_of_a_block_with_a_gate() -> None:
    repeat = structure("seresnet50").section("1").elements[1]
    assert isinstance(repeat, Repeat)
    residual = repeat.first[0]
    assert isinstance(residual, Branches)
    gate = residual.branches[0][-1]
    assert isinstance(gate, Branches)
    assert gate.join is not None
    assert gate.join.kind == "mul"
