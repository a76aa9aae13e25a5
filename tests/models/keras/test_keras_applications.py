"""Keras Applications gives the same logits with the same weights, in both directions, in float32.

Which network is whose stands in `models/layouts/`. Weights and batch-norm statistics are random, and the largest
difference is at most 1e-4 of the largest logit.
"""

import gc

import numpy as np
import pytest
import torch
from torch import nn

from casebook.errors import ModelError, WeightsError
from casebook.models import create_model, list_models, model_card
from casebook.models.keras.weights import fill_keras_model, load_keras_weights, to_keras_applications, usual_epsilon
from casebook.models.layouts import peers

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

NAMES = [name for name in list_models() if "keras" in peers(name)]
FULL_SIZE = ("vgg",)  # whose fully connected layers fix the size; the others take a smaller one, an even one to halve


def side_of(name: str) -> int:
    card = model_card(name)
    return card.input_size if card.family in FULL_SIZE else max(96, -(-card.smallest_input // 32) * 32)


def build(keras, name: str, **settings):
    keras.backend.clear_session()
    side, peer = side_of(name), peers(name)["keras"]
    settings = {"input_shape": (side, side, 3), "weights": None, "classifier_activation": None} | settings
    with pytest.MonkeyPatch.context() as patch:
        if name.startswith("nasnet"):
            patch.setattr("keras.src.applications.nasnet.backend.backend", lambda: "any")
        return getattr(keras.applications, peer.name)(**settings, **peer.arguments)


def shuffle(model) -> None:
    """Random batch-norm statistics, and random weights no larger than keeps what rounding does small.

    With variances of 1.5 instead of 1 by fan-in, EfficientNet B7 gives other logits in float32 than in float64.
    """
    generator = np.random.default_rng(7)
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            kind, shape = weight.name, tuple(weight.shape)
            if kind.endswith("kernel"):
                depthwise = type(layer).__name__ == "DepthwiseConv2D" or kind == "depthwise_kernel"
                fan_in = np.prod(shape[:2] if depthwise else shape[:-1])
                value = generator.normal(0, fan_in**-0.5, shape)
            elif kind in ("gamma", "moving_variance", "variance"):
                value = generator.uniform(0.5, 1.5, shape)
            elif kind == "count":
                value = np.zeros(shape)
            else:
                value = generator.normal(0, 0.2, shape)
            values.append(value.astype(np.float32))
        if values:
            layer.set_weights(values)
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()


def shuffle_ours(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)


def compare(keras, name: str, model, network: nn.Module) -> float:
    """The largest difference of the logits by the largest logit; ours sees what the model makes of pictures first."""
    side = model.input_shape[1]
    pictures = np.random.default_rng(1).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    first = [layer for layer in model.layers[:5] if type(layer).__name__ in ("Rescaling", "Normalization")]
    if not first:
        pictures = (pictures - 127.5) / 64
    prepared = keras.Model(model.inputs, first[-1].output)(pictures, training=False) if first else pictures
    network.eval()
    with torch.no_grad():
        expected = model(pictures, training=False).cpu()
        logits = network(torch.as_tensor(prepared).cpu().permute(0, 3, 1, 2).contiguous())
    assert expected.shape == logits.shape == (2, 1000)
    assert torch.isfinite(expected).all()
    assert expected.std() > 1e-3
    return ((logits - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_keras_applications(name, keras, record_property):
    model, network = build(keras, name), create_model(name, **peers(name)["keras"].options)
    shuffle(model)
    load_keras_weights(network, model)
    there = compare(keras, name, model, network)
    shuffle_ours(network)
    fill_keras_model(model, network)
    back = compare(keras, name, model, network)
    record_property("difference", max(there, back))
    print(f"\n{name} keras {side_of(name)}: {there:.1e} {back:.1e}")
    assert max(there, back) <= 1e-4
    del model, network
    gc.collect()


@pytest.fixture(scope="module")
def xception(keras):
    """A model with automatic layer names, made after another one, so that they do not begin at 0; and ours."""
    keras.backend.clear_session()
    keras.layers.Conv2D(1, 1)
    model = keras.applications.Xception(weights=None, input_shape=(96, 96, 3), classifier_activation=None)
    shuffle(model)
    network = create_model("xception", **peers("xception")["keras"].options)
    load_keras_weights(network, model)
    return model, network


def test_automatic_names_count_from_anywhere(xception, keras):
    model, network = xception
    assert "conv2d_1" in {layer.name for layer in model.layers}
    assert "conv2d" not in {layer.name for layer in model.layers}
    assert compare(keras, "xception", model, network) <= 1e-4


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_files_give_what_the_model_gives(suffix, xception, tmp_path):
    model, network = xception
    (model.save_weights if suffix == ".weights.h5" else model.save)(tmp_path / f"xception{suffix}")
    again = create_model("xception", **peers("xception")["keras"].options)
    load_keras_weights(again, tmp_path / f"xception{suffix}")
    for key, value in again.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[key], msg=key)


@pytest.mark.parametrize("name", ["resnet50_v1", "densenet121", "mobilenet_v3_small", "inception_v3"])
def test_the_epsilon_of_files_of_weights_is_the_models(name, keras):
    model = build(keras, name)
    norms = [layer.epsilon for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    assert set(norms) == {usual_epsilon(peers(name)["keras"].name)}


def test_the_way_back_in_one_call(keras):
    torch.manual_seed(0)
    network = create_model("mobilenet_v2_035", num_classes=1000, **peers("mobilenet_v2_035")["keras"].options)
    shuffle_ours(network)
    model = to_keras_applications(network, 96)
    assert model.input_shape == (None, 96, 96, 3)
    assert compare(keras, "mobilenet_v2_035", model, network) <= 1e-4
    with pytest.raises(WeightsError, match="weights do not fit mobilenet_v2_035"):
        fill_keras_model(build(keras, "mobilenet_v1_025"), network)


def test_a_model_that_prepares_its_pictures_does_so_as_the_card_says(keras):
    network = create_model("efficientnet_b0", num_classes=7, **peers("efficientnet_b0")["keras"].options).eval()
    prepare = model_card("efficientnet_b0").preprocessing
    raw = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    prepared = torch.from_numpy((raw / 255 - prepare.mean) / prepare.std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = network(prepared)
        logits = to_keras_applications(network, 64)(raw, training=False).cpu()
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_keras_does_not_build_everything(keras):
    options = peers("nasnet_mobile")["keras"].options
    with pytest.raises(ModelError, match=r"Keras cannot build NASNetMobile for 224x224 pixels: .*torch backend"):
        to_keras_applications(create_model("nasnet_mobile", **options))
