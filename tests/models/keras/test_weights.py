"""Layouts, biases, scales and epsilons between Keras and us, on values made by hand; needs neither Keras nor h5py."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from casebook.errors import ModelError, WeightsError
from casebook.models import create_model
from casebook.models.keras.files import KerasWeights, fresh_names, read_keras_weights, weight_name
from casebook.models.keras.weights import (
    Match,
    load_keras_weights,
    maps_before_linear_layers,
    our_shape,
    their_shape,
)
from casebook.models.layers import ConvNorm
from casebook.models.layouts import peers

NAME = "mobilenet_v1_025"


def network(num_classes: int = 5):
    torch.manual_seed(0)
    made = create_model(NAME, num_classes=num_classes, **peers(NAME)["keras"].options)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return made


def keras_values(made, epsilon: float = 1e-3) -> KerasWeights:
    """What Keras's counterpart holds, in random numbers."""
    draw, values, match = np.random.default_rng(1), {}, Match(made)
    for key, name in match.names.items():
        shape = match.state[key].shape
        if name.endswith("/kernel"):
            out, inside, height, width = (*shape, 1, 1)[:4]
            shape = (height, width, out, 1) if "depthwise" in key else (height, width, inside, out)
        values[name] = draw.uniform(0.5, 1.5, shape).astype(np.float32)
    norms = {name.partition("/")[0] for name in values if name.endswith("/gamma")}
    return KerasWeights("by hand", values, dict.fromkeys(norms, epsilon))


def test_a_round_trip_gives_the_same_values():
    match, given = Match(network()), keras_values(network())
    state, unused = match.ours(given)
    assert unused == []
    match.state = state
    again = match.theirs(given)
    assert again.keys() == given.values.keys()
    for name, value in again.items():
        np.testing.assert_allclose(value, given.values[name], atol=1e-6, err_msg=name)


def test_a_depthwise_kernel_and_a_dense_one_behind_a_map():
    depthwise = np.arange(3 * 2 * 4 * 2, dtype=np.float32).reshape(3, 2, 4, 2)
    ours = our_shape(depthwise, (8, 1, 3, 2), None)
    assert ours[5, 0, 2, 1] == depthwise[2, 1, 2, 1]  # channel 5 is the second of input channel 2
    assert np.array_equal(their_shape(ours, depthwise.shape, None), depthwise)
    dense = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(24, 5)
    ours = our_shape(dense, (5, 24), (4, 2, 3))
    picture = np.random.default_rng(0).normal(size=(4, 2, 3))
    np.testing.assert_allclose(ours @ picture.reshape(-1), picture.transpose(1, 2, 0).reshape(-1) @ dense)
    assert np.array_equal(their_shape(ours, dense.shape, (4, 2, 3)), dense)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [((3, 5, 6, 8), (8, 6, 3, 5)), ((1, 1, 6, 8), (8, 6)), ((6, 8), (8, 6, 1, 1)), ((6, 8), (8, 6)), ((7,), (7,))],
)
def test_kernels_turn(theirs, ours):
    values = np.random.default_rng(0).normal(size=theirs)
    turned = our_shape(values, ours, None)
    assert turned.shape == ours
    assert np.array_equal(their_shape(turned, theirs, None), values)


@pytest.mark.parametrize(
    ("theirs", "ours"), [((1, 7, 6, 8), (8, 6, 7, 1)), ((3, 3, 8, 6), (8, 6, 3, 3)), ((8, 6), (8, 6)), ((4,), (5,))]
)
def test_what_only_has_as_many_values_does_not_fit(theirs, ours):
    assert our_shape(np.zeros(theirs), ours, None) is None


def test_only_vgg_has_a_linear_layer_behind_a_map():
    assert maps_before_linear_layers(network()) == {}
    with torch.device("meta"):
        assert maps_before_linear_layers(create_model("vgg16")) == {"head.pool.fc6.weight": (512, 7, 7)}


def test_epsilons_and_biases_make_no_difference():
    """Keras's convolution with bias and norm, computed by hand, against ours without bias and with another epsilon."""
    made = network()
    given = keras_values(made, epsilon=0.02)
    bias = np.random.default_rng(2).normal(size=8).astype(np.float32)
    state, unused = Match(made).ours(given._replace(values=given.values | {"conv1/bias": bias}))
    assert unused == []
    ours = ConvNorm(3, 8, 3, eps=made.stem.norm.eps).eval()
    ours.load_state_dict({key.removeprefix("stem."): torch.from_numpy(v) for key, v in state.items() if "stem" in key})
    x = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        kernel = torch.from_numpy(given.values["conv1/kernel"]).permute(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(x, kernel, torch.from_numpy(bias), padding=1)
        norm = {name: torch.from_numpy(given.values[f"conv1_bn/{name}"])[:, None, None] for name in
                ("gamma", "beta", "moving_mean", "moving_variance")}  # fmt: skip
        y = (y - norm["moving_mean"]) / (norm["moving_variance"] + 0.02).sqrt() * norm["gamma"] + norm["beta"]
        torch.testing.assert_close(ours(x), y)


def test_a_norm_without_scale_takes_one_and_gives_it_to_the_convolution():
    made = network()
    given = keras_values(made)
    bare = given._replace(values={name: value for name, value in given.values.items() if name != "conv1_bn/gamma"})
    state, _ = Match(made).ours(bare)
    assert (state["stem.norm.weight"] == 1).all()
    match = Match(made)
    theirs, scale = match.theirs(bare), match.state["stem.norm.weight"]
    np.testing.assert_allclose(theirs["conv1/kernel"], match.state["stem.conv.weight"].transpose(2, 3, 1, 0) * scale)
    np.testing.assert_allclose(theirs["conv1_bn/moving_mean"], match.state["stem.norm.running_mean"] * scale)


def test_missing_reshaped_and_unknown_weights_are_named():
    made, given = network(), keras_values(network())
    values = {name: value for name, value in given.values.items() if name != "conv_dw_1/kernel"}
    with pytest.raises(WeightsError, match=r"by hand: .* 1 missing \(conv_dw_1/kernel for stages.*depthwise.conv"):
        Match(made).ours(given._replace(values=values))
    values = given.values | {"conv_dw_1/kernel": np.zeros((3, 3, 9, 1), np.float32)}
    with pytest.raises(
        WeightsError, match=r"1 with another shape \(conv_dw_1/kernel \(3, 3, 9, 1\) for .* \(8, 1, 3, 3\)"
    ):
        Match(made).ours(given._replace(values=values))
    with pytest.raises(WeightsError, match=r"do not fit .*conv_dw_1/kernel"):
        Match(made).theirs(given._replace(values=values))
    with pytest.raises(WeightsError, match=r"another shape .*head.classifier.weight .*number of classes"):
        Match(network(4)).ours(given)
    assert Match(made).ours(given._replace(values=given.values | {"more/kernel": np.zeros(1)}))[1] == ["more/kernel"]


def test_a_network_that_is_left_alone():
    made = network()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    layer = SimpleNamespace(name="conv1", weights=[SimpleNamespace(name="kernel")], get_weights=lambda: [np.zeros(3)])
    with pytest.raises(WeightsError, match=r"these are not the weights of mobilenet_v1_025: .* missing"):
        load_keras_weights(made, SimpleNamespace(name="other", layers=[layer]))
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())


def test_auxiliary_heads_are_left_out_for_keras():
    with torch.device("meta"):
        plain, helped = (create_model("inception_v3", padding="same", auxiliary_heads=heads) for heads in (0, 1))
    assert any(key.startswith("auxiliary.") for key in helped.state_dict())
    match = Match(helped.to_empty(device="cpu"))
    assert match.names.keys() == {key for key in plain.state_dict() if "num_batches" not in key}


def test_networks_without_a_counterpart():
    with pytest.raises(WeightsError, match=r"Keras Applications has no resnet18, expected one of .*vgg16"):
        load_keras_weights(create_model("resnet18"), "weights.h5")
    made = network()
    made.name = ""
    with pytest.raises(ModelError, match="not made by create_model"):
        load_keras_weights(made, "weights.h5")
    with pytest.raises(WeightsError, match="created with padding='symmetric', expected padding='same'"):
        load_keras_weights(create_model(NAME), "weights.h5")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "int given, expected a Keras model or a .keras or .h5 file"),
        ("weights.pth", "expected a file that ends in .keras, .weights.h5 or .h5"),
    ],
)
def test_sources_that_are_none(source, message):
    with pytest.raises(WeightsError, match=message):
        read_keras_weights(source)


def test_automatic_names_start_anew():
    names = [
        "input_2",
        "conv2d_7",
        "conv2d_12",
        "conv2d_9",
        "block1_conv1",
        "batch_normalization_3",
        "conv2d_transposed",
    ]
    assert fresh_names(names) == {
        "input_2": "input_2",
        "conv2d_7": "conv2d",
        "conv2d_9": "conv2d_1",
        "conv2d_12": "conv2d_2",
        "block1_conv1": "block1_conv1",
        "batch_normalization_3": "batch_normalization",
        "conv2d_transposed": "conv2d_transposed",
    }
    assert fresh_names(["conv2d_1", "conv2d"]) == {"conv2d": "conv2d", "conv2d_1": "conv2d_1"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Conv1/kernel:0", "kernel"),
        ("bn_Conv1/moving_variance:0", "moving_variance"),
        ("block1_conv1_W_1:0", "kernel"),
        ("block1_conv1_b_1:0", "bias"),
        ("bn2a_branch2a_running_std:0", "moving_variance"),
        ("depthwise_kernel", "depthwise_kernel"),
        ("bias", "bias"),
    ],
)
def test_names_of_weights(path, name):
    assert weight_name(path) == name
