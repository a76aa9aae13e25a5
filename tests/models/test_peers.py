"""Peers: torchvision's and timm's networks give the same logits with the same weights, in both directions.

Weights and batch-norm statistics are random, everything is float64, and the largest difference is at most 1e-8 of
the largest logit.
"""

import pytest
import torch
from torch import nn

from casebook.models import create_model
from casebook.models.layouts import from_layout, to_layout
from casebook.models.weights import load_into, resolve, save_weights

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
MOBILENETS = {
    "mobilenet_v2_035": 0.35,
    "mobilenet_v2_050": 0.5,
    "mobilenet_v2_075": 0.75,
    "mobilenet_v2": 1.0,
    "mobilenet_v2_130": 1.3,
    "mobilenet_v2_140": 1.4,
}
IN_TIMM = {name: name for name in RESNETS} | {
    "mobilenet_v2_035": "mobilenetv2_035",
    "mobilenet_v2_050": "mobilenetv2_050",
    "mobilenet_v2_075": "mobilenetv2_075",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v2_140": "mobilenetv2_140",
}


@pytest.fixture(scope="session")
def operators():
    """The schemas of torchvision's compiled operators, which its wheel lacks next to a CPU-only torch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@pytest.fixture
def torchvision_models(operators):
    return pytest.importorskip("torchvision.models")


@pytest.fixture
def timm(operators):
    return pytest.importorskip("timm")


def shuffle(network: nn.Module) -> nn.Module:
    """Random weights of a size that keeps the logits finite, and random batch-norm statistics."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (1.5 / fan_in) ** 0.5, generator=generator)
    return network.double().eval()


def assert_same(name: str, peer: nn.Module, layout: str, record_property, tmp_path, side: int = 96) -> None:
    x = torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shuffle(peer)
    path = tmp_path / "peer.safetensors"
    save_weights(path, peer.state_dict(), {"architecture": name, "layout": layout})
    ours = create_model(name).double().eval()
    load_into(ours, resolve(path, name))
    with torch.no_grad():
        expected = peer(x)
        there = ((ours(x) - expected).abs().max() / expected.abs().max()).item()

        mine = shuffle(create_model(name))
        peer.load_state_dict(to_layout(mine.state_dict(), name, layout))
        expected = mine(x)
        back = ((peer(x) - expected).abs().max() / expected.abs().max()).item()
    record_property("difference", max(there, back))
    print(f"\n{name} {layout}: {there:.1e} {back:.1e}")
    assert expected.std() > 1e-3
    assert max(there, back) <= 1e-8
    roundtrip = from_layout(to_layout(mine.state_dict(), name, layout), name, layout, mine.state_dict().keys())
    assert all(torch.equal(value, mine.state_dict()[key]) for key, value in roundtrip.items())


@pytest.mark.parametrize("name", RESNETS)
def test_resnets_of_torchvision(name, torchvision_models, record_property, tmp_path):
    assert_same(name, getattr(torchvision_models, name)(), "torchvision", record_property, tmp_path)


@pytest.mark.parametrize(("name", "width"), MOBILENETS.items())
def test_mobilenets_of_torchvision(name, width, torchvision_models, record_property, tmp_path):
    peer = torchvision_models.mobilenet_v2(width_mult=width)
    assert_same(name, peer, "torchvision", record_property, tmp_path)


@pytest.mark.parametrize(("name", "theirs"), IN_TIMM.items())
def test_networks_of_timm(name, theirs, timm, record_property, tmp_path):
    assert_same(name, timm.create_model(theirs), "timm", record_property, tmp_path)


def test_another_stride_is_seen(torchvision_models):
    """The comparison above can fail: with the very same weights, resnet50_v1 gives other logits."""
    peer = shuffle(torchvision_models.resnet50())
    ours = create_model("resnet50_v1").double().eval()
    ours.load_state_dict(from_layout(peer.state_dict(), "resnet50_v1", "torchvision", ours.state_dict().keys()))
    x = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        assert (ours(x) - peer(x)).abs().max() > 0.01 * peer(x).abs().max()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_an_odd_size_too(name, torchvision_models, record_property, tmp_path):
    assert_same(name, getattr(torchvision_models, name)(), "torchvision", record_property, tmp_path, side=75)
