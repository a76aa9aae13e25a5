"""The fully convolutional form: the network itself on one window, its head at every position of a larger map."""

import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.evaluation.dense import DenseForm, dense_form
from casebook.models import create_model, model_card
from casebook.models.layers import Network


def network_of(name: str) -> Network:
    """A network with drawn weights; its fully connected layers are 32 wide, not 4096, for their 100 million weights
    would take most of the time."""
    with torch.device("meta"):
        network = create_model(name, num_classes=7).eval()
        if isinstance(first := getattr(network.head.pool, "fc6", None), nn.Linear):
            network.head.pool.fc6, network.head.pool.fc7 = nn.Linear(first.in_features, 32), nn.Linear(32, 32)
            network.head.classifier = nn.Linear(32, 7)
    network.to_empty(device="cpu")
    torch.manual_seed(0)
    for weight in network.parameters():
        weight.data.normal_(0, weight[0].numel() ** -0.5)
    for name, buffer in network.named_buffers():
        buffer.fill_(1 if name.endswith("var") else 0)
    return network


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1"])
def test_on_a_single_window_it_is_the_network(name: str) -> None:
    """AlexNet with its groups and response norms, VGG, and networks with global pooling."""
    network = network_of(name)
    size = model_card(name).input_size
    images = torch.randn(1, 3, size, size)
    dense, smallest = dense_form(network, size)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(dense(images), expected, rtol=1e-4, atol=1e-6)
        assert expected.std() > 0
        if not isinstance(dense, DenseForm):
            assert smallest == network.smallest_input
            return
        # Elsewhere the head is applied to every window of the map, and the scores are averaged.
        larger = torch.randn(1, 3, size + 32, size + 64)
        maps = network.stages(network.stem(larger))
        grid = maps.shape[2] - 1
        scores = dense.score_map(larger)
        assert scores.shape == (1, 7, 2, 3)
        for row in range(2):
            for column in range(3):
                window = maps[:, :, row : row + grid, column : column + grid]
                torch.testing.assert_close(scores[:, :, row, column], network.head(window), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(dense(larger), scores.mean((2, 3)))
        with pytest.raises(ModelError, match="images have the shape"):
            dense(torch.randn(1, 2, size, size))
    assert smallest == size
    shared = {weight.data_ptr() for weight in network.parameters()}
    assert all(weight.data_ptr() in shared for weight in dense.parameters())  # no second copy of the weights


def test_global_pooling_is_the_mean_of_the_score_map() -> None:
    """One linear layer on the mean of the features gives the mean of a 1x1 convolution's scores."""
    network = network_of("resnet18")
    dense, _ = dense_form(network, 224)
    images = torch.randn(1, 3, 256, 320)
    with torch.inference_mode():
        maps = network.stages(network.stem(images))
        linear = network.head.classifier
        scores = torch.einsum("bchw,kc->bkhw", maps, linear.weight) + linear.bias[None, :, None, None]  # type: ignore[union-attr, operator, index]
        torch.testing.assert_close(dense(images), scores.mean((2, 3)), rtol=1e-4, atol=1e-6)


ONE_OF_EACH = (
    *("alexnet_owt", "zfnet", "zfnet_wide", "nin_imagenet", "vgg16", "vgg15_lecture", "googlenet", "inception_v3"),
    *("inception_v4", "resnet50", "resnet50_v2", "resnext50_32x4d", "seresnet50", "densenet121", "nasnet_mobile"),
    *("mobilenet_v1", "efficientnet_b0", "xception", "fractalnet20"),
)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_family_that_takes_other_sizes_has_one(name: str) -> None:
    with torch.device("meta"):
        network = create_model(name).eval()
    dense, smallest = dense_form(network, model_card(name).input_size)
    assert isinstance(dense, DenseForm) == name.startswith(("alexnet", "zfnet", "vgg"))
    side = max(smallest, model_card(name).input_size) + 40
    assert dense(torch.empty(1, 3, side, side + 8, device="meta")).shape == (1, model_card(name).num_classes)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998"])
def test_a_fixed_input_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} takes 32x32 pixels alone"):
        dense_form(create_model(name), 32)


def test_another_map_than_the_dense_layers_is_refused() -> None:
    """At 128 pixels VGG averages its 4x4 map up to 7x7, which no convolution does."""
    with torch.device("meta"):
        network = create_model("vgg11").eval()
    with pytest.raises(ModelError, match="pools a map of 4x4 to the 7x7"):
        dense_form(network, 128)


def test_an_unknown_head_is_refused() -> None:
    with torch.device("meta"):
        network = create_model("resnet18").eval()
        network.head.pool = torch.nn.Flatten()
    with pytest.raises(ModelError, match="neither global average pooling nor"):
        dense_form(network, 224)
    with torch.device("meta"):
        network = create_model("vgg11").eval()
        network.head.pool.relu6 = torch.nn.LayerNorm(4096)
    with pytest.raises(ModelError, match="has a LayerNorm among"):
        dense_form(network, 224)
