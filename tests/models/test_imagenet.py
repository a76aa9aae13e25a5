"""The class names of ImageNet-1k, and the networks that carry them."""

import pytest
import torch

from casebook.models import create_model
from casebook.models.imagenet import imagenet_class_names, imagenet_classes
from casebook.models.weights import resolve, save_weights


def test_the_classes_are_in_the_order_of_their_wordnet_ids():
    classes = imagenet_classes()
    assert len(classes) == 1000
    assert list(classes) == sorted(classes, key=lambda one: one.wnid)
    assert classes[0] == ("n01440764", "tench")
    assert classes[742] == ("n04004767", "printer")
    assert classes[999] == ("n15075141", "toilet tissue")


def test_every_name_is_different():
    names = imagenet_class_names()
    assert len(set(names)) == 1000
    assert names[742] == "printer"
    assert (names[134], names[517]) == ("crane (n02012849)", "crane (n03126707)")


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ({"classes": "1000 ImageNet, sorted WordNet ids"}, True),
        ({"dataset": "ImageNet-1k"}, True),
        ({"dataset": "Places365"}, False),
        ({}, False),
    ],
)
def test_weights_that_name_imagenet_know_its_classes(tmp_path, metadata, known):
    torch.manual_seed(0)
    path, network = tmp_path / "w.safetensors", create_model("mobilenet_v2_035")
    save_weights(path, network.state_dict(), metadata)
    assert resolve(path, "mobilenet_v2_035").classes == (imagenet_class_names() if known else None)
    assert create_model("mobilenet_v2_035", weights=path).classes == (imagenet_class_names() if known else None)
    assert create_model("mobilenet_v2_035", weights=path, num_classes=7).classes is None


def test_only_a_thousand_outputs_are_imagenets(tmp_path):
    save_weights(tmp_path / "w.safetensors", create_model("resnet20").state_dict(), {"classes": "some of ImageNet"})
    assert resolve(tmp_path / "w.safetensors", "resnet20").classes is None
