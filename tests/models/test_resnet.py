"""ResNets: depth by formula, sizes of Table 1, identity of zeroed branches, and each departure."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from casebook.errors import ModelError
from casebook.models import FAMILIES, create_model, list_models
from casebook.models.layers import ConvNorm
from casebook.models.residual_parts import Residual, ZeroPadShortcut

from .networks import on_meta

RESNETS = FAMILIES["resnet"] + FAMILIES["resnet_cifar"]


@pytest.mark.parametrize("name", RESNETS)
def test_a_name_states_the_number_of_layers(name):
    """Convolutions outside projections, and the linear layer: the number in the name."""
    depth = int(name.removeprefix("resnet").removeprefix("plain").removesuffix("_v1"))
    layers = [
        key
        for key, module in on_meta(name).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in key
    ]
    assert len(layers) == depth


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50_v1", "plain34"])
def test_stages_have_the_sizes_of_table_1(name):
    network = on_meta(name)
    x = network.stem(torch.empty(1, 3, 224, 224, device="meta"))
    shapes = [x.shape[2]]
    for stage in network.stages:
        x = stage(x)
        shapes.append((x.shape[1], x.shape[2]))
    wide = 4 if "50" in name else 1
    assert shapes == [56, (64 * wide, 56), (128 * wide, 28), (256 * wide, 14), (512 * wide, 7)]


@pytest.mark.parametrize("name", ["resnet20", "plain110"])
def test_cifar_stages_have_the_papers_sizes(name):
    network = on_meta(name)
    x = network.stem(torch.empty(1, 3, 32, 32, device="meta"))
    for stage, shape in zip(network.stages, [(16, 32), (32, 16), (64, 8)], strict=True):
        x = stage(x)
        assert x.shape == (1, shape[0], shape[1], shape[1])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50_v1", "resnet20"])
def test_a_zeroed_branch_is_the_identity(name):
    network = create_model(name, num_classes=3).eval()
    blocks = [module for module in network.modules() if isinstance(module, Residual)]
    same_shape = [block for block in blocks if isinstance(block.shortcut, nn.Identity)]
    assert len(same_shape) >= len(blocks) - len(network.stages)
    for block in same_shape:
        nn.init.zeros_(block.branch[-1].norm.weight)
        x = torch.rand(2, block.branch[0].conv.in_channels, 4, 4)  # not negative, as behind a ReLU
        assert torch.equal(block(x), x)
        assert not torch.equal(block(-x), -x)


@pytest.mark.parametrize(
    ("name", "options", "channels", "depths"),
    [
        ("resnet18", {"width": 0.5}, [32, 32, 64, 128, 256], [2, 2, 2, 2]),
        ("resnet18", {"width": 0.3, "small_stem": True}, [24, 24, 40, 80, 152], [2, 2, 2, 2]),
        ("resnet34", {"depth": 1.1}, [64, 64, 128, 256, 512], [4, 5, 7, 4]),
        ("resnet50", {"width": 1.5, "depth": 0.4}, [96, 384, 768, 1536, 3072], [2, 2, 3, 2]),
        ("resnet50_v1", {"width": 0.01, "shortcut": "A"}, [8, 32, 32, 32, 32], [3, 4, 6, 3]),
    ],
)
def test_width_multiplies_channels_and_depth_blocks(name, options, channels, depths):
    network = on_meta(name, **options)
    x = network.stem(torch.empty(1, 3, 64, 64, device="meta"))
    seen = [x.shape[1]]
    for stage in network.stages:
        x = stage(x)
        seen.append(x.shape[1])
    assert seen == channels
    assert [len(stage) for stage in network.stages] == depths
    assert network.head.num_features == channels[-1]


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 4.5}, {"width": float("nan")}, {"depth": "deep"}])
def test_impossible_multipliers_are_named(options):
    ((option, value),) = options.items()
    with pytest.raises(ModelError, match=rf"{option} is {value!r}, expected above 0 and at most 4"):
        on_meta("resnet18", **options)
    with pytest.raises(ModelError, match=f"plain18 has no option '{option}'"):
        on_meta("plain18", **options)


def test_plain_networks_have_no_shortcut():
    for name in list_models("plain"):
        assert not any(isinstance(module, Residual) for module in on_meta(name).modules())


@pytest.mark.parametrize(
    ("name", "options", "low", "high"),
    [
        ("resnet110", {}, 10, 1000),
        ("plain20", {}, 10, 1000),
        ("plain110", {}, 1e6, 1e10),
        ("plain110", {"linear_start": True}, 0.1, 10),
    ],
)
def test_gradients_explode_in_deep_plain_networks_unless_they_start_nearly_linear(name, options, low, high):
    torch.manual_seed(0)
    network = create_model(name, **options).train()
    nn.functional.cross_entropy(network(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
    convolutions = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    first, last = (weight.grad.norm() / weight.norm() for weight in (convolutions[0], convolutions[-1]))
    assert low < first / last < high


@pytest.mark.parametrize("name", [name for name in FAMILIES["resnet_cifar"] if name.startswith("plain")])
def test_a_linear_start_is_near_the_identity_and_a_departure(name):
    networks = []
    for options in ({}, {"linear_start": True}):
        torch.manual_seed(0)
        networks.append(create_model(name, **options))
    papers, linear = networks
    for drawn, module in zip(papers.modules(), linear.modules(), strict=True):
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert (set(drawn.bias.tolist()), set(module.bias.tolist())) == ({0}, {1})
        if isinstance(module, nn.Conv2d):
            x = torch.randn(2, module.in_channels, 5, 5)
            keeps = module.in_channels == module.out_channels
            torch.testing.assert_close(module(x), 0.2 * drawn(x) + x if keeps else drawn(x))
    assert [d.what for d in linear.departures] == [*(d.what for d in papers.departures), "initialisation"]
    with pytest.raises(ModelError, match="resnet20 has no option 'linear_start'"):
        create_model("resnet20", linear_start=True)


@pytest.mark.parametrize(("name", "strided"), [("resnet50", 3), ("resnet50_v1", 1)])
def test_where_the_bottleneck_strides(name, strided):
    network = on_meta(name)
    kernels = {
        module.kernel_size[0]
        for key, module in network.stages.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2) and "shortcut" not in key
    }
    assert kernels == {strided}
    assert any(d.what == "bottleneck stride" for d in network.departures) == (strided == 3)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_projections_are_a_departure_below_50_layers(name):
    network = on_meta(name)
    shortcuts = [m.shortcut for m in network.modules() if isinstance(m, Residual)]
    assert sum(isinstance(shortcut, ConvNorm) for shortcut in shortcuts) == 3
    assert any(departure.what == "shortcuts" for departure in network.departures)


# Reference builds that are not ours, of the three options of Table 3.
OPTIONS = [
    ("resnet18", "A", 11_515_688, 1_794_805_760),
    ("resnet18", "B", 11_689_512, 1_814_073_344),
    ("resnet18", "C", 12_043_816, 1_878_298_624),
    ("resnet34", "A", 21_623_848, 3_644_493_824),
    ("resnet34", "B", 21_797_672, 3_663_761_408),
    ("resnet34", "C", 22_716_840, 3_830_747_136),
    ("resnet20", "A", 269_722, 40_551_040),
    ("resnet20", "B", 272_474, 40_813_184),
    ("resnet110", "B", 1_730_714, 253_149_824),
]


@pytest.mark.parametrize(("name", "option", "parameters", "multiply_adds"), OPTIONS)
def test_shortcut_options_count_as_in_outside_builds(name, option, parameters, multiply_adds):
    network = on_meta(name, shortcut=option)
    side = 224 if name in FAMILIES["resnet"] else 32
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, side, side, device="meta"))
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    assert counter.get_total_flops() // 2 == multiply_adds


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("resnet18", {"A": {ZeroPadShortcut, nn.Identity}, "B": {ConvNorm, nn.Identity}, "C": {ConvNorm}}),
        ("resnet50", {"A": {ZeroPadShortcut, nn.Identity}, "B": {ConvNorm, nn.Identity}, "C": {ConvNorm}}),
        ("resnet20", {"A": {ZeroPadShortcut, nn.Identity}, "B": {ConvNorm, nn.Identity}, "C": {ConvNorm}}),
    ],
)
def test_shortcut_options_and_what_they_depart_from(name, kinds):
    papers = "B" if name == "resnet50" else "A"
    for option, expected in kinds.items():
        network = on_meta(name, shortcut=option)
        assert {type(m.shortcut) for m in network.modules() if isinstance(m, Residual)} == expected
        told = [departure for departure in network.departures if departure.what == "shortcuts"]
        assert len(told) == (option != papers)
        assert all(f"option {papers}" in d.paper and f"option {option}" in d.here for d in told)


def test_an_unknown_shortcut_is_named():
    with pytest.raises(ModelError, match="shortcut is 'D', expected 'A', 'B' or 'C'"):
        create_model("resnet18", shortcut="D")
    with pytest.raises(ModelError, match="plain18 has no option 'shortcut'"):
        create_model("plain18", shortcut="A")


def test_zero_padded_shortcuts_are_free_and_take_every_other_pixel():
    shortcut = ZeroPadShortcut(extra_channels=2, stride=2)
    assert not list(shortcut.parameters())
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    out = shortcut(x)
    assert out.shape == (1, 4, 2, 2)
    assert out[0, 0].tolist() == [[0, 2], [8, 10]]
    assert out[0, 2:].abs().sum() == 0


@pytest.mark.parametrize("name", ["resnet18", "plain18", "resnet50_v1"])
def test_the_small_stem_keeps_small_pictures_large(name):
    network = on_meta(name, small_stem=True, num_classes=10)
    last = network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta")))
    assert last.shape[2:] == (4, 4)
    assert network.smallest_input == 9
    assert network(torch.empty(2, 3, 9, 9, device="meta")).shape == (2, 10)
    departure = network.departures[-1]
    assert departure.what == "stem"
    assert "3x3" in departure.here
    assert not any(departure.what == "stem" for departure in on_meta(name).departures)


def test_convolutions_start_with_variance_2_over_fan_out():
    network = create_model("resnet18", num_classes=10)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
            assert module.bias is None
