"""Network in Network: the authors' maps, the head of convolution, and each departure."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from casebook.models import create_model, list_models
from casebook.models.weights import load_into, resolve, save_weights

from .networks import on_meta, stage_shapes

NINS = list_models("nin_")


def test_maps_have_the_sizes_of_the_authors_files():
    assert stage_shapes(on_meta("nin_cifar"), 32) == [(96, 16, 16), (192, 8, 8), (192, 8, 8)]
    assert stage_shapes(on_meta("nin_imagenet"), 224) == [(96, 27, 27), (256, 13, 13), (384, 6, 6), (1024, 6, 6)]


@pytest.mark.parametrize(("side", "first", "expected"), [(224, 54, 1_100_188_800), (227, 55, 1_105_996_320)])
def test_multiply_adds_of_nin_imagenet_by_hand(side, first, expected):
    """The convolutions at 54, 27, 13 and 6 pixels, which are the sides in Caffe from 224 pixels, or 55 from 227."""
    counted = (
        first**2 * (11 * 11 * 3 * 96 + 2 * 96 * 96)
        + 27**2 * (5 * 5 * 96 * 256 + 2 * 256 * 256)
        + 13**2 * (3 * 3 * 256 * 384 + 2 * 384 * 384)
        + 6**2 * (3 * 3 * 384 * 1024 + 1024 * 1024 + 1024 * 1000)
    )
    with FlopCounterMode(display=False) as counter:
        on_meta("nin_imagenet")(torch.empty(1, 3, side, side, device="meta"))
    assert counted == counter.get_total_flops() // 2 == expected


@pytest.mark.parametrize("name", NINS)
def test_every_convolution_has_a_relu_and_there_is_no_dense_layer(name):
    network = on_meta(name)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert convolutions == (9 if name == "nin_cifar" else 12)
    assert sum(isinstance(module, nn.ReLU) for module in network.modules()) == convolutions
    assert not any(isinstance(module, nn.Linear) for module in network.modules())


def test_pooling_and_dropout_of_the_authors_files():
    cifar, imagenet = on_meta("nin_cifar"), on_meta("nin_imagenet")
    assert [type(part[3]) for part in (cifar.stem, cifar.stages[0])] == [nn.MaxPool2d, nn.AvgPool2d]
    assert [part[4].p for part in (cifar.stem, cifar.stages[0])] == [0.5, 0.5]
    dropouts = [key for key, module in imagenet.named_modules() if isinstance(module, nn.Dropout)]
    assert dropouts == ["stages.1.4"]


@pytest.mark.parametrize("name", NINS)
def test_the_head_is_the_mean_of_one_map_a_class(name):
    torch.manual_seed(0)
    network = create_model(name, num_classes=5).eval()
    side = network.smallest_input
    with torch.no_grad():
        maps = network.stages(network.stem(torch.randn(3, 3, side, side + 9)))
        features = network.head.features(maps)
        assert torch.equal(features, maps)
        logits = network.head.classifier(features)
        conv = network.head.classifier.conv
        expected = torch.einsum("bchw,kc->bkhw", maps, conv.weight[:, :, 0, 0]).add(conv.bias[:, None, None])
        torch.testing.assert_close(logits, expected.clamp(min=0).mean(dim=(2, 3)))
        torch.testing.assert_close(network.head(maps), logits)


@pytest.mark.parametrize("name", [*NINS, "squeezenet1_1"])
def test_the_head_of_convolution_can_be_replaced_and_its_classes_are_read(name, tmp_path):
    torch.manual_seed(0)
    network, path = create_model(name, num_classes=5).eval(), tmp_path / "weights.safetensors"
    assert [key for key in network.state_dict() if key.startswith("head.")] == [
        "head.classifier.conv.weight",
        "head.classifier.conv.bias",
    ]
    save_weights(path, network.state_dict(), {"architecture": name})
    weights = resolve(path, name)
    assert weights.num_classes == 5
    other = create_model(name, num_classes=3).eval()
    load_into(other, weights, replace_head=True)
    network.reset_classifier(3)
    network.head.classifier.load_state_dict(other.head.classifier.state_dict())
    x = torch.randn(2, 3, network.smallest_input, network.smallest_input)
    with torch.no_grad():
        assert network(x).shape == (2, 3)
        assert torch.equal(network(x), other(x))


def test_the_small_stem_keeps_small_pictures_large():
    network = on_meta("nin_imagenet", small_stem=True, num_classes=10)
    assert stage_shapes(network, 32) == [(96, 32, 32), (256, 16, 16), (384, 8, 8), (1024, 8, 8)]
    assert network.smallest_input == 8
    assert stage_shapes(network, 8)[-1] == (1024, 2, 2)
    assert network.departures[-1].what == "stem"
    assert [departure.what for departure in on_meta("nin_imagenet").departures] == ["layers", "input"]


@pytest.mark.parametrize("name", NINS)
def test_the_smallest_input_leaves_four_pixels(name):
    network = on_meta(name)
    assert stage_shapes(network, network.smallest_input)[-1][1:] == (2, 2)
    assert stage_shapes(network, network.smallest_input - 1)[-1][1:] == (1, 1)


@pytest.mark.parametrize(
    ("name", "stds"),
    [
        ("nin_cifar", [0.05] * 9),
        ("nin_imagenet", [0.01, 0.05, 0.05, 0.05, 0.05, 0.05, 0.01, 0.05, 0.05, 0.05, 0.05, 0.01]),
    ],
)
def test_weights_start_as_in_the_authors_files(name, stds):
    network = create_model(name)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [module.weight.std().item() for module in convolutions] == pytest.approx(stds, rel=0.1)
    assert not any(module.bias.any() for module in convolutions)
