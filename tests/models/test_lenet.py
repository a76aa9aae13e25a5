"""LeNet-5: the layers of the 1998 paper, count by count."""

import pytest
import torch
from torch import nn

from casebook.models import create_model
from casebook.models.lenet import C3_CONNECTIONS, GLYPHS, PartialConv, ScaledTanh, SubSampling

# LeCun et al. 1998, section II-B: trainable weights and connections of each layer, 60,000 and 340,908 in all.
LAYERS = {
    "C1": (156, 122_304),
    "S2": (12, 5_880),
    "C3": (1_516, 151_600),
    "S4": (32, 2_000),
    "C5": (48_120, 48_120),
    "F6": (10_164, 10_164),
    "output": (0, 840),
}


def test_weights_and_connections_of_every_layer():
    network = create_model("lenet5_1998")
    found, handles = {}, []

    def record(name):
        def hook(module, inputs, output):
            positions = output[0, 0].numel() if output.ndim == 4 else 1
            weights = sum(weight.numel() for weight in module.parameters())
            # A sub-sampling unit adds four inputs and a bias; a distance has one connection per feature.
            connections = {"S": 5 * output.numel(), "o": getattr(module, "codes", output).numel()}
            found[name] = (weights, connections.get(name[0], weights * positions))

        return hook

    layers = (
        *(network.stem[0], network.stem[2], network.stages[0][0], network.stages[0][2], network.stages[1][0]),
        *(network.head.pool[1], network.head.classifier),
    )
    for name, layer in zip(LAYERS, layers, strict=True):
        handles.append(layer.register_forward_hook(record(name)))
    network(torch.zeros(1, 1, 32, 32))
    assert found == LAYERS
    assert sum(weights for weights, _ in found.values()) == 60_000
    assert sum(connections for _, connections in found.values()) == 340_908


def test_table_1_has_the_papers_structure():
    maps = [inputs for group in C3_CONNECTIONS for inputs in group]
    assert [len(inputs) for inputs in maps] == [3] * 6 + [4] * 9 + [6]
    assert len(set(maps)) == 16
    assert [sum(i in inputs for inputs in maps) for i in range(6)] == [10] * 6  # each input map feeds ten
    circular = [tuple(sorted((i + j) % 6 for j in range(3))) for i in range(6)]
    assert list(C3_CONNECTIONS[0]) == circular


def test_a_partial_convolution_sees_its_inputs_only():
    conv = PartialConv()
    x = torch.randn(1, 6, 5, 5)
    before = conv(x).flatten()
    assert before.shape == (16,)
    maps = [inputs for group in C3_CONNECTIONS for inputs in group]
    for i in range(6):
        changed = x.clone()
        changed[:, i] += 1
        moved = (conv(changed).flatten() != before).tolist()
        assert moved == [i in inputs for inputs in maps]


def test_sub_sampling_adds_four_pixels():
    layer = SubSampling(2)
    with torch.no_grad():
        layer.coefficient.copy_(torch.tensor([2.0, -1.0])[:, None, None])
        layer.bias.copy_(torch.tensor([0.5, 0.0])[:, None, None])
    out = layer(torch.tensor([1.0, 2, 3, 4]).reshape(1, 1, 2, 2).expand(1, 2, 2, 2))
    assert out.flatten().tolist() == [20.5, -10.0]


def test_the_activation_keeps_plus_and_minus_one():
    out = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(out, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-4, rtol=0)


def test_the_glyphs_are_different_bitmaps_of_7_by_12():
    assert all(len(glyph.split()) == 12 and {*map(len, glyph.split())} == {7} for glyph in GLYPHS)
    assert {*"".join(GLYPHS)} == {"#", ".", " "}
    codes = create_model("lenet5_1998").head.classifier.codes
    assert codes.shape == (10, 84)
    distances = (codes[:, None] != codes).sum(dim=2) + 84 * torch.eye(10, dtype=torch.int64)
    assert distances.min() >= 4


@pytest.mark.parametrize("num_classes", [3, 10, 26])
def test_a_code_is_its_own_class(num_classes):
    network = create_model("lenet5_1998", num_classes=num_classes)
    rbf = network.head.classifier
    logits = rbf(rbf.codes)
    assert torch.equal(logits.argmax(dim=1), torch.arange(num_classes))
    assert torch.equal(logits.diagonal(), torch.zeros(num_classes))
    assert {*rbf.codes.flatten().tolist()} == {-1.0, 1.0}
    again = create_model("lenet5_1998", num_classes=num_classes).head.classifier
    assert torch.equal(rbf.codes, again.codes)
    recorded = [departure.here for departure in network.departures if departure.what == "output codes"]
    assert len(recorded) == (num_classes != 10)


def test_the_initial_weights_are_the_papers():
    network = create_model("lenet5_1998")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 2.4 / module.weight[0].numel()
            assert bound / 2 < module.weight.abs().max() <= bound
            assert module.bias.abs().max() <= bound


def test_the_modern_network_has_none_of_the_old_parts():
    network = create_model("lenet5")
    assert not [m for m in network.modules() if isinstance(m, PartialConv | SubSampling | ScaledTanh)]
    assert sum(isinstance(m, nn.AvgPool2d) for m in network.modules()) == 2
    assert network.stages[0][0].weight.shape == (16, 6, 5, 5)
    assert isinstance(network.head.classifier, nn.Linear)
