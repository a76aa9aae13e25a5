"""Peers: other libraries' networks give the same logits with the same weights, in both directions.

Which library has which network, and what it calls the weights, stands in `models/layouts/`. Weights and batch-norm
statistics are random, everything is float64, and the largest difference is at most 1e-8 of the largest logit. Keras
Applications has a file of its own, `tests/models/keras/test_keras_applications.py`.
"""

import pytest
import torch
from torch import nn

from casebook.models import create_model, list_models, model_card
from casebook.models.layouts import from_layout, layouts, peers, to_layout
from casebook.models.weights import load_into, resolve, save_weights

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

PAIRS = [(name, library) for name in list_models() for library in peers(name) if library != "keras"]


def build(name: str, library: str) -> nn.Module:
    peer = peers(name)[library]
    if library == "timm":
        return pytest.importorskip("timm").create_model(peer.name, **peer.arguments)
    return getattr(pytest.importorskip("torchvision.models"), peer.name)(**peer.arguments)


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
            if module.bias is not None:
                module.bias.data.normal_(0, 0.2, generator=generator)
    return network.double().eval()


def assert_same(name: str, library: str, record_property, tmp_path, side: int) -> None:
    peer, options = build(name, library), dict(peers(name)[library].options)
    x = torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shuffle(peer)
    path = tmp_path / "peer.safetensors"
    save_weights(path, peer.state_dict(), {"architecture": name, "layout": library})
    ours = create_model(name, **options).double().eval()
    load_into(ours, resolve(path, name))
    path.unlink()
    with torch.no_grad():
        expected = peer(x)
        there = ((ours(x) - expected).abs().max() / expected.abs().max()).item()

        mine = shuffle(ours)
        missing, unexpected = peer.load_state_dict(to_layout(mine.state_dict(), name, library), strict=False)
        assert not unexpected
        assert all(key.startswith(peers(name)[library].unused) for key in missing), missing
        expected = mine(x)
        back = ((peer(x) - expected).abs().max() / expected.abs().max()).item()
    record_property("difference", max(there, back))
    print(f"\n{name} {library}: {there:.1e} {back:.1e}")
    assert expected.std() > 1e-3
    assert max(there, back) <= 1e-8
    roundtrip = from_layout(to_layout(mine.state_dict(), name, library), name, library, mine.state_dict().keys())
    assert all(torch.equal(value, mine.state_dict()[key]) for key, value in roundtrip.items())


@pytest.mark.parametrize(("name", "library"), PAIRS)
def test_logits_are_the_peers(name, library, operators, record_property, tmp_path):
    assert_same(name, library, record_property, tmp_path, side=max(96, model_card(name).smallest_input))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_an_odd_size_too(name, operators, record_property, tmp_path):
    assert_same(name, "torchvision", record_property, tmp_path, side=75)


def test_another_stride_is_seen(operators):
    """The comparison above can fail: with the very same weights, resnet50_v1 gives other logits."""
    peer = shuffle(build("resnet50", "torchvision"))
    ours, rename = create_model("resnet50_v1").double().eval(), layouts("resnet50")["torchvision"]
    state = peer.state_dict()
    ours.load_state_dict({key: state[rename(key)] for key in ours.state_dict()})
    x = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        assert (ours(x) - peer(x)).abs().max() > 0.01 * peer(x).abs().max()
