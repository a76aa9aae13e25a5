"""GoogLeNet: the sizes of Table 1, the cost of naive modules counted by hand, auxiliary heads, and each departure."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.googlenet import TABLE_1
from casebook.models.inception_parts import Inception

from .golden import GOLDEN
from .networks import block_shapes, on_meta

NAMES = ("googlenet", "googlenet_bn", "googlenet_naive")


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_modules_have_the_sizes_of_table_1(name):
    assert block_shapes(on_meta(name), 224) == [
        ("inception3a", 256, 28),
        ("inception3b", 480, 28),
        ("pool", 480, 14),
        ("inception4a", 512, 14),
        ("inception4b", 512, 14),
        ("inception4c", 512, 14),
        ("inception4d", 528, 14),
        ("inception4e", 832, 14),
        ("pool", 832, 7),
        ("inception5a", 832, 7),
        ("inception5b", 1024, 7),
    ]


def test_the_stem_has_the_sizes_of_table_1():
    x, sides = torch.empty(1, 3, 224, 224, device="meta"), []
    for layer in on_meta("googlenet").stem:
        x = layer(x)
        sides.append((x.shape[1], x.shape[2]))
    assert sides == [(64, 112), (64, 56), (64, 56), (64, 56), (192, 56), (192, 56), (192, 28)]


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_it_is_22_layers_deep(name):
    """The longest way through: three convolutions, two in each of nine modules, and the linear layer."""
    network = on_meta(name)
    stem = sum(isinstance(module, nn.Conv2d) for module in network.stem.modules())
    modules = [module for module in network.modules() if isinstance(module, Inception)]
    deepest = [
        max(sum(isinstance(part, nn.Conv2d) for part in branch.modules()) for branch in module.children())
        for module in modules
    ]
    assert stem + sum(deepest) + 1 == 22


@pytest.mark.parametrize("row", [row for rows in TABLE_1 for row in rows])
def test_operations_of_a_row_are_those_of_table_1(row):
    """In millions, as printed, but for 5a: the table has 54, where its own filters give 51."""
    printed = {"inception3a": 128, "inception3b": 304, "inception4a": 73, "inception4b": 88, "inception4c": 100}
    printed |= {"inception4d": 119, "inception4e": 170, "inception5a": 51, "inception5b": 71}
    (module,) = [m for key, m in on_meta("googlenet").named_modules() if key.endswith(row)]
    side = {"3": 28, "4": 14, "5": 7}[row.removeprefix("inception")[0]]
    weights = sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Conv2d))
    assert weights * side**2 / 1e6 == pytest.approx(printed[row], abs=1)


def test_the_naive_network_counted_by_hand():
    """Pure arithmetic over Table 1, without any network.

    On C channels a naive module of a 1x1, b 3x3 and c 5x5 filters has C (a + 9 b + 25 c) weights and a + b + c biases;
    each weight works once for every pixel, and C + a + b + c channels leave.
    """
    stages = (
        (28, [(64, 128, 32), (128, 192, 96)]),
        (14, [(192, 208, 48), (160, 224, 64), (128, 256, 64), (112, 288, 64), (256, 320, 128)]),
        (7, [(256, 320, 128), (384, 384, 128)]),
    )
    stem = ((49 * 3, 64, 112), (64, 64, 56), (9 * 64, 192, 56))  # weights of a filter, filters, side
    parameters = sum(weights * filters + filters for weights, filters, _ in stem)
    multiply_adds = sum(weights * filters * side**2 for weights, filters, side in stem)
    channels = 192
    for side, modules in stages:
        for a, b, c in modules:
            weights = channels * (a + 9 * b + 25 * c)
            parameters += weights + a + b + c
            multiply_adds += weights * side**2
            channels += a + b + c
    parameters += channels * 1000 + 1000
    multiply_adds += channels * 1000
    golden = GOLDEN["googlenet_naive"]
    assert golden[:2] == (parameters, multiply_adds) == (97_526_008, 12_568_061_056)
    assert golden.feature_map == (channels, 7, 7)


def test_naive_modules_keep_all_channels():
    network = on_meta("googlenet_naive")
    channels = [c for name, c, _ in block_shapes(network, 224) if name != "pool"]
    assert channels == [416, 832, 1280, 1728, 2176, 2640, 3344, 4048, 4944]
    torch.manual_seed(0)
    module = create_model("googlenet_naive", num_classes=2, small_stem=True).eval().stages[0].inception3a
    x = torch.randn(1, 192, 5, 5)
    with torch.no_grad():
        assert torch.equal(module(x)[:, -192:], nn.functional.max_pool2d(x, 3, stride=1, padding=1))
    assert any(departure.what == "modules" for departure in network.departures)


@pytest.mark.parametrize(
    ("name", "heads", "parameters", "multiply_adds"),
    [
        ("googlenet", 1, 6_998_552 + 3_188_840, None),
        ("googlenet", 2, 13_378_280, 1_591_044_096),
        ("googlenet_bn", 2, 13_004_888, None),
    ],
)
def test_auxiliary_heads_count_what_others_count(name, heads, parameters, multiply_adds):
    network = on_meta(name, auxiliary_heads=heads)
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    if multiply_adds:
        with FlopCounterMode(display=False) as counter:
            network.train()(torch.empty(1, 3, 224, 224, device="meta"))
        assert counter.get_total_flops() // 2 == multiply_adds


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("small_stem", [False, True])
def test_auxiliary_heads_speak_in_training_only(name, small_stem):
    network = on_meta(name, auxiliary_heads=2, num_classes=7, small_stem=small_stem)
    assert list(network.auxiliary) == ["inception4a", "inception4d"]
    assert network.auxiliary_weight == 0.3
    for side in (network.smallest_input, network.smallest_input + 50):
        images = torch.empty(2, 3, side, side, device="meta")
        assert network.eval()(images).shape == (2, 7)
        logits, auxiliary = network.train()(images)
        assert [logits.shape, *(head.shape for head in auxiliary)] == [(2, 7)] * 3


def test_auxiliary_heads_average_5x5_with_stride_3():
    x = torch.arange(14.0 * 14).reshape(1, 1, 14, 14)
    pool = create_model("googlenet", auxiliary_heads=1, num_classes=2).auxiliary["inception4a"].pool
    averaged = pool.resize(pool.average(x))
    assert averaged.shape[2:] == (4, 4)
    assert averaged[0, 0, 1, 2] == x[0, 0, 3:8, 6:11].mean()


def test_every_weight_of_the_heads_gets_a_gradient():
    torch.manual_seed(0)
    network = create_model("googlenet_bn", auxiliary_heads=2, num_classes=3, small_stem=True).train()
    logits, auxiliary = network(torch.randn(4, 3, 16, 16))
    torch.stack([logits, *auxiliary]).square().sum().backward()
    for key, weight in network.auxiliary.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().sum() > 0, key


@pytest.mark.parametrize("heads", [-1, 3, "two"])
def test_impossible_heads_are_named(heads):
    with pytest.raises(ModelError, match=f"auxiliary_heads is {heads!r}, expected 0, 1 or 2"):
        create_model("googlenet", auxiliary_heads=heads)


def test_the_heads_departure_goes_with_both_heads():
    assert [
        any(departure.what == "auxiliary heads" for departure in on_meta("googlenet", auxiliary_heads=n).departures)
        for n in (0, 1, 2)
    ] == [True, True, False]


def test_the_papers_network_has_biases_and_response_norm_and_the_other_batch_norm():
    paper, bn = on_meta("googlenet"), on_meta("googlenet_bn")
    convolutions = [module for module in paper.modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.bias is not None for conv in convolutions)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in paper.modules())
    norms = [key for key, module in paper.named_modules() if isinstance(module, nn.LocalResponseNorm)]
    assert norms == ["stem.norm1", "stem.norm2"]
    assert not any(isinstance(module, nn.LocalResponseNorm) for module in bn.modules())
    assert all(conv.bias is None for conv in bn.modules() if isinstance(conv, nn.Conv2d))
    assert {norm.eps for norm in bn.modules() if isinstance(norm, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize(
    ("name", "kernel", "window", "dropout"), [("googlenet", 5, 3, 0.4), ("googlenet_bn", 3, 2, 0.2)]
)
def test_large_kernel_last_pool_and_dropout(name, kernel, window, dropout):
    network = on_meta(name)
    assert network.stages[0].inception3a.branch2[1].conv.kernel_size == (kernel, kernel)
    assert network.stages[2].pool.kernel_size == window
    assert network.stages[1].pool.kernel_size == 3
    assert network.head.dropout.p == dropout
    departures = {departure.what for departure in network.departures}
    assert ({"5x5 branch", "last max pooling", "dropout", "norm"} <= departures) == (name == "googlenet_bn")


def test_the_paper_starts_as_caffe_does():
    torch.manual_seed(0)
    conv = create_model("googlenet", num_classes=2).stages[2].inception5b.branch1[1].conv
    bound = (3 / (9 * 192)) ** 0.5
    assert conv.weight.abs().max() <= bound
    assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert (conv.bias == 0.2).all()


def test_the_normalised_network_starts_within_two_deviations():
    torch.manual_seed(0)
    weight = create_model("googlenet_bn", num_classes=2).stages[2].inception5b.branch1[1].conv.weight
    assert 0.019 < weight.abs().max() <= 0.02
    assert weight.std().item() == pytest.approx(0.88 * 0.01, rel=0.01)  # what is left of 0.01 without the tails


@pytest.mark.parametrize("name", NAMES)
def test_the_small_stem_keeps_small_pictures_large(name):
    network = on_meta(name, small_stem=True)
    assert network.stem(torch.empty(1, 3, 32, 32, device="meta")).shape[1:] == (192, 32, 32)
    assert network.stages(network.stem(torch.empty(1, 3, 32, 32, device="meta"))).shape[2:] == (8, 8)
    assert network.departures[-1].what == "stem"
    assert not any(departure.what == "stem" for departure in on_meta(name).departures)


def test_branches_see_the_same_input_and_stay_in_order():
    module = Inception(nn.Identity(), nn.ReLU())
    x = torch.tensor([-1.0, 2.0]).reshape(1, 1, 1, 2)
    assert module(x)[0, :, 0].tolist() == [[-1, 2], [0, 2]]


@pytest.mark.peers
@pytest.mark.usefixtures("operators")
@pytest.mark.filterwarnings("ignore")
def test_auxiliary_heads_are_torchvisions(tmp_path):
    """The same weights give the same three logits in training mode, without dropout, and load without the heads too."""
    models = pytest.importorskip("torchvision.models")
    from casebook.models.weights import load_into, resolve, save_weights

    torch.manual_seed(0)
    theirs = models.googlenet(aux_logits=True, init_weights=False, num_classes=5).double()
    path = tmp_path / "theirs.safetensors"
    save_weights(path, theirs.state_dict(), {"layout": "torchvision", "options": '{"auxiliary_heads": 2}'})
    ours = create_model("googlenet_bn", num_classes=5, auxiliary_heads=2).double()
    load_into(ours, resolve(path, "googlenet_bn"))
    for module in (*ours.modules(), *theirs.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        logits, (first, second) = ours.train()(x)
        expected, their_second, their_first = theirs.train()(x)
    for mine, other in ((logits, expected), (first, their_first), (second, their_second)):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)

    save_weights(path, theirs.state_dict(), {"layout": "torchvision"})
    without = create_model("googlenet_bn", num_classes=5).double().eval()
    load_into(without, resolve(path, "googlenet_bn"))
    with torch.no_grad():
        torch.testing.assert_close(without(x), theirs.eval()(x), rtol=0, atol=1e-10)
