"""NASNets: Figure 4's cells, what a cell hands on, borders of poolings, drop-path, the auxiliary head, departures."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.layers import DropPath, SameConv2d
from casebook.models.nasnet import (
    NORMAL,
    POOLING,
    REDUCTION,
    VARIANTS,
    Cell,
    FactorizedReduction,
    ReLUConvNorm,
    SameMeanPool2d,
)
from casebook.models.temporary import overwriting_activations

from .networks import on_meta

BOTH = list(VARIANTS)


def cells(network) -> list[Cell]:
    """In the order in which they compute."""
    return [module for module in network.modules() if isinstance(module, Cell)]


@pytest.mark.parametrize(
    ("name", "stem", "stages"),
    [
        ("nasnet_mobile", (44 * 2, 28), [(264, 28), (528, 14), (1056, 7)]),
        ("nasnet_large", (168 * 2, 42), [(1008, 42), (2016, 21), (4032, 11)]),
    ],
)
def test_stages_have_the_papers_sizes(name, stem, stages):
    network = on_meta(name)
    side = 224 if name == "nasnet_mobile" else 331
    pair = network.stem(torch.empty(1, 3, side, side, device="meta"))
    assert pair[0].shape == (1, stem[0], stem[1], stem[1])
    for stage, (channels, size) in zip(network.stages, stages, strict=True):
        pair = stage(pair)
        last = pair if stage is network.stages[-1] else pair[0]
        assert last.shape == (1, channels, size, size)


@pytest.mark.parametrize(("name", "depth"), [("nasnet_mobile", 4), ("nasnet_large", 6)])
def test_normal_cells_are_repeated_between_reduction_cells(name, depth):
    strides = [2 if len(cell.output) == 4 else 1 for cell in cells(on_meta(name))]
    assert strides == [2, 2, *[1] * depth, 2, *[1] * depth, 2, *[1] * depth]


# Cells


def operations(rows) -> list[tuple[str, int, str, int]]:
    def name(operation) -> str:
        return f"separable{operation.args[0]}" if hasattr(operation, "args") else operation.__name__

    return [(name(row.left), row.left_input, name(row.right), row.right_input) for row in rows]


def test_cells_are_those_of_figure_4():
    """0 is the last cell's map, 1 the one before, 2 to 6 the sums, in the order of the authors' code."""
    assert operations(NORMAL.rows) == [
        ("separable5", 0, "separable3", 1),
        ("separable5", 1, "separable3", 1),
        ("mean", 0, "same", 1),
        ("mean", 1, "mean", 1),
        ("separable3", 0, "same", 0),
    ]
    assert operations(REDUCTION.rows) == [
        ("separable5", 0, "separable7", 1),
        ("maximum", 0, "separable7", 1),
        ("mean", 0, "separable5", 1),
        ("same", 3, "mean", 2),
        ("separable3", 2, "maximum", 0),
    ]
    assert (NORMAL.stride, NORMAL.output) == (1, (1, 2, 3, 4, 5, 6))
    read = {row.left_input for row in REDUCTION.rows} | {row.right_input for row in REDUCTION.rows}
    assert (REDUCTION.stride, REDUCTION.output) == (2, (3, 4, 5, 6))
    assert {*range(7)} - read <= {*REDUCTION.output}  # no sum is lost


def test_a_cell_adds_its_rows_and_concatenates():
    """With every operation the identity, the states are sums that can be written down."""
    cell = cells(create_model("nasnet_mobile", num_classes=2))[3]
    assert cell.output == NORMAL.output
    cell.current = cell.previous = nn.Identity()
    for row in cell.rows:
        row.left = row.right = nn.Identity()
    h, p = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), 10.0)
    out, handed_on = cell((h, p))
    assert out.flatten().tolist() == [10, 11, 20, 11, 20, 2]
    assert handed_on is h


def test_operations_stride_on_the_cells_inputs_only():
    cell = cells(on_meta("nasnet_mobile"))[0]
    strides = [
        [module.stride[0] for module in row.modules() if isinstance(module, nn.Conv2d) and module.groups > 1]
        for row in cell.rows
    ]
    assert strides == [[2, 1, 2, 1], [2, 1], [2, 1], [], [1, 1]]  # a separable convolution is applied twice


@pytest.mark.parametrize(("name", "skips"), [("nasnet_mobile", False), ("nasnet_large", True)])
def test_what_a_reduction_cell_hands_on(name, skips):
    """The large network's cell behind a reduction sees, as the one before, what the reduction itself saw as that."""
    network = on_meta(name)
    assert [cell.hands_on for cell in cells(network) if cell.output == REDUCTION.output] == [0, 0, skips, skips]
    assert all(cell.hands_on == 0 for cell in cells(network) if cell.output == NORMAL.output)


@pytest.mark.parametrize("name", BOTH)
def test_maps_of_another_size_come_through_a_factorized_reduction(name):
    network = on_meta(name)
    depth = VARIANTS[name].depth
    kinds = [type(cell.previous) for cell in cells(network)]
    stage = [ReLUConvNorm, FactorizedReduction, *[ReLUConvNorm] * (depth - 1)]
    assert kinds == [nn.Identity, FactorizedReduction, *stage[1:], *stage, *stage]


@pytest.mark.parametrize("side", [6, 7])
def test_a_factorized_reduction_sees_pixels_on_two_diagonal_grids(side):
    reduction = FactorizedReduction(1, 2).eval()
    nn.init.ones_(reduction.even.weight)
    nn.init.ones_(reduction.odd.weight)
    x = torch.rand(1, 1, side, side)
    even, odd = reduction(x)[0] * (1 + 1e-3) ** 0.5
    half = (side + 1) // 2
    expected = torch.zeros(half, half)
    expected[: side // 2, : side // 2] = x[0, 0, 1::2, 1::2]
    torch.testing.assert_close(even, x[0, 0, ::2, ::2])
    torch.testing.assert_close(odd, expected)


# Poolings


@pytest.mark.parametrize("side", [4, 5, 8, 11])
@pytest.mark.parametrize("library", POOLING)
def test_the_border_of_poolings(side, library):
    """Against windows laid by hand: TensorFlow's "SAME" begins at side % 2 pixels before the edge."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, side, side) - 3  # negative: zeros outside would win a maximum
    maximum, mean = (pool()(x)[0, 0] for pool in POOLING[library])
    outputs, before = (side + 1) // 2, side % 2
    padded = functional.pad(x, (before, 2, before, 2))[0, 0]
    inside = functional.pad(torch.ones_like(x), (before, 2, before, 2))[0, 0].bool()
    assert maximum.shape == mean.shape == (outputs, outputs)
    for i in range(outputs):
        for j in range(outputs):
            window = padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            real = window[inside[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]]
            assert maximum[i, j] == (window if library == "keras" else real).max()
            torch.testing.assert_close(mean[i, j], (real if library == "tensorflow" else window).mean())


def test_libraries_differ_in_the_border_alone():
    torch.manual_seed(0)
    networks = [create_model("nasnet_mobile", num_classes=3, pooling=library).eval() for library in POOLING]
    for network in networks[1:]:
        network.load_state_dict(networks[0].state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits = [network(x) for network in networks]
    assert not any(torch.allclose(logits[0], other, rtol=1e-3) for other in logits[1:])
    assert not torch.allclose(logits[1], logits[2], rtol=1e-3)
    assert [[d.what for d in network.departures].count("pooling") for network in networks] == [0, 1, 1]
    with pytest.raises(ModelError, match="pooling is 'caffe', expected one of tensorflow, timm, keras"):
        create_model("nasnet_mobile", pooling="caffe")


def test_means_of_rectangular_maps():
    x = torch.ones(1, 1, 6, 9)
    assert torch.equal(SameMeanPool2d()(x), torch.ones(1, 1, 3, 5))


def test_strided_convolutions_are_padded_as_tensorflow_pads():
    for cell in cells(on_meta("nasnet_mobile")):
        for module in cell.rows.modules():
            if isinstance(module, nn.Conv2d):
                assert isinstance(module, SameConv2d) == (module.stride == (2, 2))


# Training


@pytest.mark.parametrize(("options", "total"), [({}, 22), ({"small_stem": True}, 20)])
def test_drop_path_rises_with_a_cells_place(options, total):
    network = on_meta("nasnet_large", drop_path=0.3, **options)
    for number, cell in enumerate(cells(network), start=1):
        rates = [module.p for module in cell.modules() if isinstance(module, DropPath)]
        identities = 2 if cell.output == NORMAL.output else 1
        assert rates == [pytest.approx(0.3 * number / total)] * (10 - identities)
    assert len(cells(network)) == total
    assert not any(isinstance(module, DropPath) for module in on_meta("nasnet_large").modules())
    assert network.state_dict().keys() == on_meta("nasnet_large", **options).state_dict().keys()
    with pytest.raises(ModelError, match="drop_path is 1, expected at least 0 and below 1"):
        create_model("nasnet_mobile", drop_path=1)


def test_drop_path_is_a_departure_of_the_large_network():
    """The paper's rises in training; ours is the same from the start. The mobile network has none in the paper."""
    for options in ({}, {"drop_path": 0.3}):
        assert "drop-path" in [departure.what for departure in on_meta("nasnet_large", **options).departures]
    assert "drop-path" not in [departure.what for departure in on_meta("nasnet_mobile").departures]


@pytest.mark.parametrize(("name", "cell", "side"), [("nasnet_mobile", "cell7", 14), ("nasnet_large", "cell11", 21)])
def test_the_auxiliary_head_sees_the_last_cell_of_the_second_stage(name, cell, side):
    network = on_meta(name, auxiliary_heads=1)
    assert list(network.auxiliary) == [cell]
    assert cell == list(dict(network.stages[1].named_children()))[-1]
    assert network.auxiliary_weight == 0.4
    channels, small = VARIANTS[name].channels // 2, (side - 5) // 3 + 1
    x, shapes = torch.empty(1, channels, side, side, device="meta"), []
    for module in list(network.auxiliary[cell].pool)[1:]:
        x = module(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(channels, side, side), (channels, small, small), (128, small, small), (768, 1, 1), (768,)]


def test_with_an_auxiliary_head_training_gives_its_logits_too():
    torch.manual_seed(0)
    network = create_model("nasnet_mobile", num_classes=5, auxiliary_heads=1).train()
    x = torch.randn(3, 3, 35, 35)
    logits, (auxiliary,) = network(x)
    assert logits.shape == auxiliary.shape == (3, 5)
    auxiliary.square().sum().backward()
    without = {key for key, weight in network.named_parameters() if weight.grad is None}
    assert without == {key for key, _ in network.named_parameters() if key.startswith(("stages.2.", "head."))}
    assert network.eval()(x).shape == (3, 5)


def test_the_auxiliary_head_is_a_departure_until_it_is_asked_for():
    for name in BOTH:
        assert "auxiliary head" in [departure.what for departure in on_meta(name).departures]
        assert "auxiliary head" not in [d.what for d in on_meta(name, auxiliary_heads=1).departures]
    with pytest.raises(ModelError, match="auxiliary_heads is 2, expected 0 or 1"):
        create_model("nasnet_mobile", auxiliary_heads=2)


@pytest.mark.parametrize("name", BOTH)
def test_batch_norms_have_the_authors_epsilon_and_a_faster_momentum(name):
    network = on_meta(name, auxiliary_heads=1)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}
    assert "batch-norm momentum" in [departure.what for departure in network.departures]
    assert network.head.dropout.p == 0.5


def test_the_small_stem_keeps_small_pictures_large():
    network = on_meta("nasnet_mobile", small_stem=True, num_classes=10)
    x = torch.empty(1, 3, 32, 32, device="meta")
    assert network.stem(x)[0].shape == (1, 3 * 44, 32, 32)
    assert network.stages(network.stem(x)).shape == (1, 1056, 8, 8)
    assert network.stages(network.stem(x[:, :, :5, :5])).shape[2:] == (2, 2)
    assert network.departures[-1].what == "stem"
    assert len(cells(network)) == len(cells(on_meta("nasnet_mobile"))) - 2


@pytest.mark.parametrize("small_stem", [True, False])
def test_the_smallest_input_leaves_two_pixels(small_stem):
    network = on_meta("nasnet_mobile", small_stem=small_stem)
    images = torch.empty(1, 3, network.smallest_input, network.smallest_input, device="meta")
    assert network.stages(network.stem(images)).shape[2:] == (2, 2)
    assert network.stages(network.stem(images[:, :, 1:, 1:])).shape[2:] == (1, 1)


def test_overwriting_its_relus_changes_nothing():
    torch.manual_seed(0)
    network, x = create_model("nasnet_mobile", num_classes=3).train(), torch.randn(2, 3, 35, 35)
    gradients = []
    for overwrite in (False, True):
        network.zero_grad()
        torch.manual_seed(1)
        if overwrite:
            with overwriting_activations(network):
                network(x).square().sum().backward()
        else:
            network(x).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
