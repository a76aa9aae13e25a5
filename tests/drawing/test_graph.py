"""The graph of a network: its nodes, its edges, and the numbers that it shares with `casebook.count`."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from casebook.cost.count import count
from casebook.drawing.graph import Graph, Node, trace_graph
from casebook.errors import ModelError
from casebook.models import create_model, list_models

from ..models.golden import GOLDEN
from .blocks import traced

HANDFUL = ("lenet5_1998", "vgg16", "googlenet", "resnet34", "densenet121", "fractalnet20", "nasnet_mobile", "xception")


class Gated(nn.Module):
    """A module as users write them: functions, weights of its own, a dropout beside a shortcut, a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.drop = nn.Dropout(0.3)
        self.same = nn.Identity()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.conv(x))
        z = self.drop(y) + self.same(y) + y[:, :, :, :]
        z = z * self.scale
        return functional.adaptive_avg_pool2d(z, 1).flatten(1)


def named(graph: Graph, *types: str) -> list[Node]:
    return [node for node in graph.nodes if node.type in types]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in HANDFUL)) for name in list_models()]
)
def test_counts_are_those_of_the_catalogue(name: str) -> None:
    graph = traced(name)
    golden = GOLDEN[name]
    assert sum(node.cost.parameters for node in graph.nodes) == golden.parameters
    assert sum(node.cost.multiply_adds or 0 for node in graph.nodes) == golden.multiply_adds
    assert all(source < node.number for node in graph.nodes for source in node.inputs)
    read = {source for node in graph.nodes for source in node.inputs}
    assert [node.number for node in graph.nodes if node.number not in read] == list(graph.outputs)


def test_a_residual_block_has_two_edges_into_its_sum() -> None:
    graph = trace_graph("resnet18")
    first = named(graph, "Add")[0]
    norm, shortcut = (graph.nodes[i] for i in first.inputs)
    assert (norm.type, norm.name) == ("BatchNorm2d", "stages.0.0.branch.1.norm")
    assert shortcut.type == "MaxPool2d"  # the identity is no node
    conv = graph.nodes[1]
    assert (conv.kind, conv.in_shape, conv.shape, conv.bias) == ("conv", (3, 224, 224), (64, 112, 112), False)
    assert conv.cost.kernel_size == (7, 7)


def test_a_module_of_the_users() -> None:
    graph = trace_graph(Gated(), 8)
    assert [(node.kind, node.type, node.inputs) for node in graph.nodes] == [
        ("input", "input", ()),
        ("conv", "Conv2d", (0,)),
        ("activation", "relu", (1,)),
        ("dropout", "Dropout", (2,)),
        ("add", "add", (3, 2, 2)),  # the dropout's own path, the identity, and the whole slice, in one sum
        ("mul", "mul", (4,)),
        ("pool", "mean", (5,)),
    ]
    assert graph.network == "Gated"
    assert graph.nodes[3].rate == 0.3
    assert graph.nodes[5].cost.parameters == 4  # the module's own weight, at the operator that reads it
    total = count(Gated(), 8).total
    assert sum(node.cost.parameters for node in graph.nodes) == total.parameters
    assert sum(node.cost.multiply_adds or 0 for node in graph.nodes) == total.multiply_adds


def test_a_mean_of_paths_is_one_node() -> None:
    joins = named(trace_graph("fractalnet40"), "mean")
    assert {len(node.inputs) for node in joins} == {2, 3, 4}
    assert not named(trace_graph("fractalnet40"), "add", "div")


def test_a_network_is_not_changed_and_brings_its_input_size() -> None:
    network = create_model("lenet5").train()
    before = network.state_dict()
    graph = trace_graph(network)
    assert (graph.network, graph.input_shape) == ("lenet5", (1, 32, 32))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_auxiliary_heads_are_outputs_of_their_own() -> None:
    graph = trace_graph("googlenet", auxiliary_heads=2)
    assert len(graph.outputs) == 3
    assert {node.name.split(".")[1] for node in graph.nodes if node.training_only} == {"inception4a", "inception4d"}
    assert graph.nodes[graph.outputs[0]].name == "head.classifier"


def test_what_cannot_run_is_said() -> None:
    with pytest.raises(ModelError, match="does not run on the meta device"):
        trace_graph(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 7)), 8)
    with pytest.raises(ModelError, match="unknown network 'resnet35'; did you mean"):
        trace_graph("resnet35")
