"""Grad-CAM's sums, its layer, and where it has nothing to say."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from casebook.errors import ModelError
from casebook.explanation.grad_cam import grad_cam

from .conftest import images, with_statistics


def test_before_a_global_mean_and_a_linear_layer_it_is_the_class_activation_map(untouched) -> None:
    """Selvaraju et al., section 3.1: it generalises Zhou et al. 2016, whose weights are those of the linear layer."""
    network = with_statistics("resnet20")
    untouched(network)
    two = images(network, batch=2, side=32)
    found = grad_cam(network, two, [3, 5])
    with torch.no_grad():
        maps = network.stages(network.stem(two))
        weights = network.head.classifier.weight[[3, 5]]  # type: ignore[index]
        cam = torch.einsum("bc,bchw->bhw", weights, maps).clamp(min=0) / maps[0, 0].numel()  # type: ignore[arg-type]
    assert found.layer == "stages.2"
    assert found.coarse.shape == (2, 8, 8)
    assert found.coarse.any()
    np.testing.assert_allclose(found.coarse, cam.numpy(), rtol=1e-4, atol=1e-7)
    fine = functional.interpolate(cam[:, None], (32, 32), mode="bilinear")[:, 0]
    np.testing.assert_allclose(found.maps, fine.numpy(), rtol=1e-4, atol=1e-7)


def test_at_a_named_layer_it_is_equation_2() -> None:
    network = with_statistics("densenet_bc_100_12")
    image = images(network, side=16)
    found = grad_cam(network, image, [2], layer="stages.1")
    with torch.enable_grad():
        maps = network.stages[1](network.stages[0](network.stem(image))).detach().requires_grad_()
        network.head(network.stages[2](maps))[0, 2].backward()
    expected = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1).clamp(min=0).detach()  # type: ignore[union-attr]
    assert expected.any()
    np.testing.assert_allclose(found.coarse, expected.numpy(), rtol=1e-4, atol=1e-8)


def test_pictures_do_not_mix() -> None:
    network = with_statistics("mobilenet_v2_035")
    two = images(network, batch=2, side=64)
    together = grad_cam(network, two, [1, 6]).coarse
    alone = [grad_cam(network, image[None], [index]).coarse[0] for image, index in zip(two, (1, 6), strict=True)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-3, atol=1e-7)


def test_the_last_stage_with_more_than_one_place_is_taken() -> None:
    network = with_statistics("lenet5")
    assert grad_cam(network, images(network), [0]).layer == "stages.0"  # C5 is a single place
    assert grad_cam(network, images(network), [0], layer="stages.1").coarse.shape == (1, 1, 1)


def test_a_layer_that_speaks_against_the_class_gives_an_empty_map() -> None:
    network = with_statistics("resnet20")
    with torch.no_grad():
        network.head.classifier.weight[1] = -1  # type: ignore[index]
    found = grad_cam(network, images(network, side=32), [1])
    assert not found.maps.any()


def test_wrong_classes_are_named() -> None:
    network = with_statistics("resnet20")
    for index in (7, -1):
        with pytest.raises(ModelError, match=f"class {index} is asked for, but the network has 7 outputs, from 0"):
            grad_cam(network, images(network), [index])
