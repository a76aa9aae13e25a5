"""Networks without norms start with outputs of variance 1."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import casebook
from casebook.models import create_model
from casebook.models.layers import Network
from casebook.training.unit_variance import scale_to_unit_variance


def deviations(network: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """The standard deviation of each layer's outputs on these images."""
    found: dict[str, float] = {}

    def note(name: str, _module: nn.Module, _inputs: object, outputs: torch.Tensor) -> None:
        found[name] = float(outputs.detach().std())

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(partial(note, name))
    network.eval()(images)
    return found


def start(name: str) -> Network:
    """The network as the seed makes it, without dropout, so that each pass has the same outputs."""
    torch.manual_seed(0)
    network = create_model(name, num_classes=3)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


@pytest.mark.parametrize("name", ["squeezenet1_1", "nin_cifar", "vgg11"])
def test_each_layer_has_a_variance_of_1(name: str) -> None:
    images, network = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)), start(name)
    assert min(deviations(start(name), images).values()) < 0.5, "else there is nothing to show"
    scale_to_unit_variance(network, images)
    assert max(abs(deviation - 1) for deviation in deviations(network, images).values()) < 1e-3


def test_biases_start_at_0_but_for_the_classes() -> None:
    network = start("alexnet")
    assert network.head.pool.fc6.bias.mean() == 1, "the paper's"
    scale_to_unit_variance(network, torch.randn(8, 3, 100, 100))
    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    assert not any(layer.bias.any() for layer in layers)
    network = start("squeezenet1_1")  # a class whose map a ReLU makes 0 everywhere would learn nothing
    scale_to_unit_variance(network, torch.randn(8, 3, 64, 64))
    assert network.head.classifier.conv.bias.min() > 0


def test_directions_and_random_numbers_stay() -> None:
    network, before = start("squeezenet1_1"), start("squeezenet1_1")
    network.head.dropout.p = 0.5
    torch.manual_seed(1)
    scale_to_unit_variance(network, torch.randn(8, 3, 64, 64))
    after = torch.rand(3)
    torch.manual_seed(1)
    torch.randn(8, 3, 64, 64)
    assert torch.equal(torch.rand(3), after), "dropout drew from numbers of its own"
    for scaled, weight in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.cosine_similarity(scaled.flatten(), weight.flatten(), 0) > 0.9999 or not weight.any()
    assert network.training is before.training


def test_batch_norms_and_dead_layers_stay() -> None:
    with_norms = create_model("resnet20", num_classes=3)
    before = {name: value.clone() for name, value in with_norms.state_dict().items()}
    scale_to_unit_variance(with_norms, torch.randn(4, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in with_norms.state_dict().items())
    dead = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    nn.init.zeros_(dead[0].weight)
    nn.init.zeros_(dead[0].bias)
    scale_to_unit_variance(dead, torch.randn(4, 3, 16, 16))
    assert all(value.isfinite().all() for value in dead.state_dict().values())
    assert not dead[0].weight.any()


def test_a_training_starts_so_and_repeats_to_the_bit(photo_folder: Path, tmp_path: Path) -> None:
    settings = {"model": "squeezenet1_1", "epochs": 1, "input_size": 36, "batch_size": 16, "threads": 1, "seed": 3}
    first = casebook.train(photo_folder, out=tmp_path / "first", **settings)
    assert first.recipe.unit_variance, "recipe classic"
    again = casebook.train(recipe=first.path / "recipe.toml", out=tmp_path / "again")
    without = casebook.train(photo_folder, out=tmp_path / "without", unit_variance=False, **settings)
    weights = [(one.path / "model.safetensors").read_bytes() for one in (first, again, without)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_given_weights_stay_as_they_are(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebook.training.session.start_with_unit_variance", lambda plan: pytest.fail("scaled"))
    settings = {"model": "squeezenet1_1", "epochs": 1, "input_size": 36, "batch_size": 16, "threads": 1}
    first = casebook.train(photo_folder, out=tmp_path / "first", unit_variance=False, **settings)
    again = casebook.train(
        photo_folder, recipe="classic", weights=first.path, transfer="full", out=tmp_path / "again", **settings
    )
    assert again.recipe.unit_variance
