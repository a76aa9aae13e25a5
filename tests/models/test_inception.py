"""Inception v2 and v3: sizes of the grids, what a branch does, and each departure."""

import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.layers import ConvNormReLU
from casebook.models.layouts import peers

from .golden import GOLDEN
from .networks import block_shapes, departures, on_meta

NAMES = ("inception_v2", "inception_v3")


def test_v2_has_the_grids_of_figure_5_and_wider_4c_and_4d():
    network = on_meta("inception_v2")
    assert block_shapes(network, 224) == [
        ("inception3a", 256, 28),
        ("inception3b", 320, 28),
        ("inception3c", 576, 14),
        ("inception4a", 576, 14),
        ("inception4b", 576, 14),
        ("inception4c", 608, 14),  # 576 in the paper, whose filters add up to 608
        ("inception4d", 608, 14),  # likewise
        ("inception4e", 1056, 7),  # 1,024 in the paper
        ("inception5a", 1024, 7),
        ("inception5b", 1024, 7),
    ]
    assert "pooling of 4c and 4d" in departures(network)


def test_v2_has_biases_and_a_whole_first_convolution():
    network = on_meta("inception_v2")
    assert all(conv.bias is not None for conv in network.modules() if isinstance(conv, nn.Conv2d))
    assert network.stem[0].conv.weight.shape == (64, 3, 7, 7)
    assert {"first convolution", "convolution bias"} <= set(departures(network))
    assert isinstance(network.head.dropout, nn.Identity)


def test_v2_averages_in_all_modules_but_the_last():
    network = on_meta("inception_v2")
    kinds = {
        key.split(".")[2]: type(module)
        for key, module in network.stages.named_modules(prefix="stages")
        if isinstance(module, nn.AvgPool2d | nn.MaxPool2d) and module.stride == 1
    }
    assert len(kinds) == 8
    assert {name for name, kind in kinds.items() if kind is nn.MaxPool2d} == {"inception5b"}


@pytest.mark.parametrize("side", [33, 34, 35, 75, 97, 224])
def test_v2_branches_fit_at_odd_sizes(side):
    assert on_meta("inception_v2")(torch.empty(1, 3, side, side, device="meta")).shape == (1, 1000)


def test_v2_pools_where_caffe_does():
    """At even sizes: windows from the first pixel on, the last one cut off by the border."""
    pool = on_meta("inception_v2").stages[1].inception3c.branch2
    x = torch.randn(1, 2, 28, 28)
    assert torch.equal(pool(x), nn.functional.max_pool2d(x, 3, stride=2, ceil_mode=True))


def test_v3_has_the_papers_grids():
    network = on_meta("inception_v3")
    assert network.stem(torch.empty(1, 3, 299, 299, device="meta")).shape[1:] == (192, 35, 35)
    assert block_shapes(network, 299) == [
        ("inception5b", 256, 35),
        ("inception5c", 288, 35),
        ("inception5d", 288, 35),
        *((f"inception6{letter}", 768, 17) for letter in "abcde"),
        ("inception7a", 1280, 8),
        ("inception7b", 2048, 8),
        ("inception7c", 2048, 8),
    ]


def test_v3_departs_in_its_stem_and_35x35_modules():
    network = on_meta("inception_v3")
    stem = [(m.out_channels, *m.kernel_size, *m.stride) for m in network.stem.modules() if isinstance(m, nn.Conv2d)]
    assert stem == [(32, 3, 3, 2, 2), (32, 3, 3, 1, 1), (64, 3, 3, 1, 1), (80, 1, 1, 1, 1), (192, 3, 3, 1, 1)]
    assert network.stages[0].inception5b.branch1[1].conv.kernel_size == (5, 5)
    assert network.head.dropout.p == 0.2
    assert {"stem", "35x35 modules", "average pooling", "auxiliary head", "dropout"} == set(departures(network))


def test_v3_counts_the_zeros_of_the_border_unless_padding_is_same():
    x = torch.ones(1, 192, 4, 4)
    for padding, corner in (("symmetric", 4 / 9), ("same", 1.0)):
        network = create_model("inception_v3", num_classes=2, padding=padding)
        averaged = network.stages[0].inception5b.branch3[0](x)
        assert averaged[0, 0, 0, 0].item() == pytest.approx(corner)
        assert averaged[0, 0, 1, 1] == 1
        assert ("average pooling" in departures(network)) == (padding == "symmetric")


def test_v3_with_its_auxiliary_head():
    network = on_meta("inception_v3", auxiliary_heads=1)
    assert sum(weight.numel() for weight in network.parameters()) == 27_161_264
    assert network.auxiliary_weight == 0.4
    assert list(network.auxiliary) == ["inception6e"]
    assert "auxiliary head" not in departures(network)
    assert network(torch.empty(2, 3, 299, 299, device="meta")).shape == (2, 1000)
    for side in (107, 299, 400):
        logits, (auxiliary,) = network.train()(torch.empty(2, 3, side, side, device="meta"))
        assert logits.shape == auxiliary.shape == (2, 1000)


def test_the_head_of_v3_starts_smaller_than_the_rest():
    torch.manual_seed(0)
    network = create_model("inception_v3", auxiliary_heads=1)
    head = network.auxiliary["inception6e"]
    assert head.pool[3].conv.weight.std().item() == pytest.approx(0.0088, rel=0.01)
    assert head.classifier.weight.std().item() == pytest.approx(0.00088, rel=0.01)
    weight = network.stages[2].inception7c.branch2[1].conv.weight
    std = (2.6 / (9 * 448)) ** 0.5
    assert weight.abs().max() <= 2 * std
    assert weight.std().item() == pytest.approx(0.88 * std, rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auxiliary_heads": 2}, "auxiliary_heads is 2, expected 0 or 1"),
        ({"padding": "valid"}, "padding is 'valid', expected 'symmetric' or 'same'"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ModelError, match=message):
        create_model("inception_v3", **options)


@pytest.mark.parametrize("name", NAMES)
def test_the_small_stem_keeps_small_pictures_large(name):
    network = on_meta(name, small_stem=True, num_classes=10)
    assert network.stem(torch.empty(1, 3, 32, 32, device="meta")).shape[2:] == (32, 32)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == ((8, 8) if name == "inception_v2" else (7, 7))
    side = network.smallest_input
    assert network(torch.empty(2, 3, side, side, device="meta")).shape == (2, 10)
    assert network.stages(network.stem(torch.empty(1, 3, side, side, device="meta"))).shape[2:] == (2, 2)
    assert network.departures[-1].why.startswith("small pictures")


@pytest.mark.parametrize(("name", "eps"), [("inception_v2", 1e-5), ("inception_v3", 1e-3)])
def test_epsilon_of_the_norms(name, eps):
    units = [module for module in on_meta(name).modules() if isinstance(module, ConvNormReLU)]
    assert {unit.norm.eps for unit in units} == {eps}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stem.0.conv.weight", "conv2d/kernel"),
        ("stem.1.norm.bias", "batch_normalization_1/beta"),
        ("stages.2.inception7c.branch3.1.conv.weight", "conv2d_93/kernel"),
        ("head.classifier.weight", "predictions/kernel"),
    ],
)
def test_some_names_in_keras(ours, theirs):
    """94 convolutions without a name of their own, numbered from 0 in the order in which they are made."""
    rename = peers("inception_v3")["keras"].rename
    assert rename(ours) == theirs
    keys = on_meta("inception_v3").state_dict().keys()
    assert ours in keys
    assert len({rename(key) for key in keys}) == len(keys)


@pytest.mark.peers
@pytest.mark.usefixtures("operators")
@pytest.mark.filterwarnings("ignore")
def test_the_auxiliary_head_of_v3_is_torchvisions(tmp_path):
    """The same weights give the same two logits in training mode, without dropout, and load without the head too."""
    models = pytest.importorskip("torchvision.models")
    from casebook.models.weights import load_into, resolve, save_weights

    torch.manual_seed(0)
    theirs = models.inception_v3(aux_logits=True, init_weights=False, num_classes=5).double()
    path, x = tmp_path / "theirs.safetensors", torch.randn(2, 3, 299, 299, dtype=torch.float64)
    save_weights(path, theirs.state_dict(), {"layout": "torchvision", "options": '{"auxiliary_heads": 1}'})
    ours = create_model("inception_v3", num_classes=5, auxiliary_heads=1).double()
    load_into(ours, resolve(path, "inception_v3"))
    for module in (*ours.modules(), *theirs.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        logits, (auxiliary,) = ours.train()(x)
        expected, their_auxiliary = theirs.train()(x)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(auxiliary, their_auxiliary, rtol=0, atol=1e-10)

    save_weights(path, theirs.state_dict(), {"layout": "torchvision"})
    without = create_model("inception_v3", weights=path)
    assert not without.auxiliary
    assert GOLDEN["inception_v3"].parameters > sum(weight.numel() for weight in without.parameters())  # 5 classes
