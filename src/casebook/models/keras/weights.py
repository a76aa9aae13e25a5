"""Copies weights between Keras Applications and our networks, in both directions.

`models/layouts/` says which network and which layer corresponds to which. Besides the names, this differs:

- Keras stores kernels as (height, width, in, out), depthwise kernels as (height, width, channels, multiplier), and
  dense kernels as (in, out). It flattens a feature map with the channels last, PyTorch with the columns last.
- A Keras convolution may have a bias that the following batch norm cancels. We fold it into the norm's mean.
- A Keras batch norm may lack the scale, which then is one. Its epsilon differs; we add the difference to the variance.
"""

import math
from collections.abc import Iterator, Mapping
from importlib import import_module
from inspect import signature
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...errors import ModelError, WeightsError
from .. import create_model, list_models, model_card
from ..layers import Network
from ..layouts import Peer, peers
from .files import KerasWeights, fresh_names, read_keras_weights, walk_layers, weight_name
from .network import import_keras

__all__ = ["fill_keras_model", "load_keras_weights", "to_keras_applications"]

NOT_OURS = ("normalization/",)  # the preprocessing inside some Keras models


def load_keras_weights(network: Network, source: Any) -> None:
    """Copies weights of Keras Applications into the network. The source must have every weight of the network.

    Only auxiliary heads, which Keras does not have, stay unchanged. `source` is the Keras model, or a .keras,
    .weights.h5 or .h5 file, for which h5py is enough. Create the network with the options in
    `peers(NAME)["keras"].options`, such as padding="same", and prepare pictures as Keras Applications does for it.

    Raises:
        ModelError: if `create_model` did not make the network.
        WeightsError: if the weights cannot be read or belong to another network; the network is unchanged.
        CasebookError: if reading the file needs h5py, which is missing.
    """
    match = Match(network)
    given = read_keras_weights(source)
    state, unused = match.ours(given)
    unused = [key for key in unused if not key.startswith((*NOT_OURS, *match.peer.unused))]
    if unused:
        raise WeightsError(
            f"{given.source}: {len(unused)} weights that {network.name} does not have ({', '.join(unused[:4])}"
            f"{', ...' if len(unused) > 4 else ''}), expected those of Keras's {match.peer.name}"
        )
    network.load_state_dict(
        {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in state.items()}, strict=False
    )


def fill_keras_model(model: Any, network: Network) -> None:
    """Copies the network's weights into its counterpart in Keras; the reverse of load_keras_weights.

    If the model contains its preprocessing, as EfficientNet's does, that is set to the one on the network's card.

    Raises:
        ModelError: if `create_model` did not make the network.
        WeightsError: if the model is that of another network.
    """
    match = Match(network)
    layers = list(walk_layers(model))
    names = fresh_names(layer.name for layer in layers)
    theirs = match.theirs(read_keras_weights(model))
    for layer in layers:
        if type(layer).__name__ == "Normalization":
            preprocessing = model_card(network.name).preprocessing
            if len(preprocessing.mean) == network.in_channels:
                mean, deviation = np.array(preprocessing.mean), np.array(preprocessing.std)
                layer.set_weights([mean, deviation**2, *layer.get_weights()[2:]])
                layer.finalize_state()  # otherwise it keeps using the old values
        else:
            layer.set_weights([theirs[f"{names[layer.name]}/{weight_name(weight.name)}"] for weight in layer.weights])


def to_keras_applications(network: Network, input_size: int | None = None) -> Any:
    """The network's counterpart in Keras Applications, with the network's weights; it returns logits.

    It takes pictures of `input_size`; the default is the size on the network's card.

    Raises:
        ModelError: if `create_model` did not make the network.
        WeightsError: if Keras Applications has no such network, or only with other options.
        CasebookError: if Keras is missing.
    """
    keras, match = import_keras(), Match(network)
    side = input_size or model_card(network.name).input_size
    try:
        model = getattr(keras.applications, match.peer.name)(
            weights=None,
            input_shape=(side, side, network.in_channels),
            classes=len(match.state["head.classifier.weight"]),
            classifier_activation=None,
            **match.peer.arguments,
        )
    except ValueError as error:  # the size is too small, or it is NASNet, which Keras cannot build on PyTorch
        raise ModelError(f"Keras cannot build {match.peer.name} for {side}x{side} pixels: {error}") from error
    fill_keras_model(model, network)
    return model


class _Norm(NamedTuple):
    """One of our batch norms, and the convolution directly before it, if any."""

    path: str
    eps: float
    conv: str | None


class Match:
    """One of our networks and its counterpart: which weights correspond, and how to convert them."""

    def __init__(self, network: Network):
        self.network, self.peer = network, _peer(network)
        self.state = {
            key: value.detach().float().cpu().numpy()
            for key, value in network.state_dict().items()
            if not key.endswith("num_batches_tracked") and not key.startswith("auxiliary.")
        }
        self.names = {key: self.peer.rename(key) for key in self.state}
        self.maps = maps_before_linear_layers(network)
        self.norms = list(_norms(network))

    def ours(self, given: KerasWeights) -> tuple[dict[str, np.ndarray], list[str]]:
        """Their values as our state, and the names of their weights that are left over."""
        left, state, missing, reshaped = dict(given.values), {}, [], []
        for key, name in self.names.items():
            shape, value = self.state[key].shape, left.pop(name, None)
            if value is None and name.endswith("/gamma"):
                value = np.ones(shape, np.float32)
            if value is None:
                missing.append(f"{name} for {key}")
                continue
            state[key] = our_shape(value.astype(np.float32), shape, self.maps.get(key))
            if state[key] is None:
                reshaped.append(f"{name} {value.shape} for {key} {shape}")
        if missing or reshaped:
            listed = [f"{len(keys)} {what} ({'; '.join(keys[:3])}{'; ...' if len(keys) > 3 else ''})"
                      for what, keys in (("missing", missing), ("with another shape", reshaped)) if keys]  # fmt: skip
            raise WeightsError(
                f"{given.source}: these are not the weights of {self.network.name}: {', '.join(listed)}; expected all "
                f"weights of Keras's {self.peer.name}, with its last layer and the network's number of classes"
            )
        for norm in self.norms:
            state[f"{norm.path}.running_var"] += self._epsilon(given, norm) - norm.eps
            if bias := self._needless_bias(norm, left):
                state[f"{norm.path}.running_mean"] -= left.pop(bias)
        return state, list(left)

    def theirs(self, given: KerasWeights) -> dict[str, np.ndarray]:
        """Our values under their names, for a model whose current weights are `given`."""
        state, found = {key: value.copy() for key, value in self.state.items()}, {}
        for norm in self.norms:
            state[f"{norm.path}.running_var"] += norm.eps - self._epsilon(given, norm)
            if bias := self._needless_bias(norm, given.values):
                found[bias] = np.zeros_like(given.values[bias])
            if self.names[f"{norm.path}.weight"] not in given.values:
                self._scale_before(norm, state)
        for key, name in self.names.items():
            if name in given.values:
                found[name] = their_shape(state[key], given.values[name].shape, self.maps.get(key))
            elif not name.endswith("/gamma"):
                found[name] = None
        wanted = {key for key in given.values if not key.startswith(NOT_OURS)}
        wrong = sorted((wanted ^ found.keys()) | {name for name, value in found.items() if value is None})
        if wrong:
            raise WeightsError(
                f"{given.source}: {len(wrong)} weights do not fit {self.network.name} ({', '.join(wrong[:4])}"
                f"{', ...' if len(wrong) > 4 else ''}), expected Keras's {self.peer.name} with as many classes"
            )
        return found

    def _epsilon(self, given: KerasWeights, norm: _Norm) -> float:
        layer = self.names[f"{norm.path}.running_var"].partition("/")[0]
        return given.epsilons.get(layer, usual_epsilon(self.peer.name))

    def _needless_bias(self, norm: _Norm, values: Mapping[str, np.ndarray]) -> str | None:
        """Their name of the bias before the norm, if they have one and we do not."""
        if norm.conv is None or f"{norm.conv}.bias" in self.state:
            return None
        name = self.names[f"{norm.conv}.weight"].partition("/")[0] + "/bias"
        return name if name in values else None

    def _scale_before(self, norm: _Norm, state: dict[str, np.ndarray]) -> None:
        """Folds a norm's scale into the convolution before it, which scales the norm's input and so its mean."""
        scale = state[f"{norm.path}.weight"]
        if norm.conv is None and (scale != 1).any():
            raise WeightsError(
                f"Keras's {self.peer.name} has no scale for {norm.path}, and no convolution before it to fold it into"
            )
        if norm.conv is not None:
            state[f"{norm.conv}.weight"] *= scale.reshape(-1, 1, 1, 1)
            state[f"{norm.path}.running_mean"] *= scale
            if f"{norm.conv}.bias" in state:
                state[f"{norm.conv}.bias"] *= scale


def _peer(network: Network) -> Peer:
    """Its counterpart in Keras Applications, if it has the options for that."""
    if not network.name:
        raise ModelError("the network was not made by create_model, so its counterpart in Keras is unknown")
    peer = peers(network.name).get("keras")
    if peer is None:
        known = ", ".join(name for name in list_models() if "keras" in peers(name))
        raise WeightsError(f"Keras Applications has no {network.name}, expected one of {known}")
    build = import_module(f"casebook.models.{model_card(network.name).family}").NETWORKS[network.name]
    defaults = {name: parameter.default for name, parameter in signature(build).parameters.items()}
    for option, value in peer.options.items():
        if (given := network.options.get(option, defaults[option])) != value and not option.endswith("eps"):
            raise WeightsError(
                f"{network.name} was created with {option}={given!r}, expected {option}={value!r}, as in "
                f"Keras's {peer.name}"
            )
    return peer


def usual_epsilon(application: str) -> float:
    """The epsilon of an application's batch norms, for files that do not state it."""
    return 1.001e-5 if application.startswith(("ResNet", "DenseNet")) else 1e-3


def maps_before_linear_layers(network: Network) -> dict[str, tuple[int, int, int]]:
    """Our key of each linear weight after a flattened feature map -> the (C, H, W) of the map."""
    with torch.device("meta"):
        twin = create_model(network.name, **network.options).eval()
    side = model_card(network.name).input_size
    maps: dict[str, tuple[int, int, int]] = {}
    latest: tuple[int, ...] = ()

    def look(module: nn.Module, given: tuple, output: Any) -> None:
        nonlocal latest
        if isinstance(module, nn.Linear):
            if len(latest) == 4 and math.prod(latest[1:]) == module.in_features and latest[2:] != (1, 1):
                maps[f"{paths[module]}.weight"] = (latest[1], latest[2], latest[3])
            latest = ()
        elif isinstance(output, torch.Tensor) and output.ndim == 4:
            latest = tuple(output.shape)

    paths = {module: path for path, module in twin.named_modules()}
    for module in paths:
        module.register_forward_hook(look)
    twin(torch.empty(1, twin.in_channels, side, side, device="meta"))
    return maps


def _norms(network: nn.Module) -> Iterator[_Norm]:
    before = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            children = list(module.named_children())
            for (name, child), (following, _) in pairwise(children):
                if isinstance(child, nn.Conv2d):
                    before[f"{path}.{following}"] = f"{path}.{name}"
    for path, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            yield _Norm(path, module.eps, before.get(path))


def our_shape(value: np.ndarray, shape: tuple[int, ...], image: tuple[int, int, int] | None) -> np.ndarray | None:
    """Their weight in our shape; None if it does not fit."""
    if value.ndim == 2 and image is not None:  # dense: (height * width * channels, out)
        channels, height, width = image
        if value.shape[0] != math.prod(image):
            return None
        value = value.reshape(height, width, channels, -1).transpose(3, 2, 0, 1)
    elif value.ndim == 2:
        value = value.T
        if len(shape) == 4 and shape[2:] == (1, 1):
            value = value[:, :, None, None]
    elif value.ndim == 4 and len(shape) == 4 and shape[1] == 1 and value.shape[3] != shape[0]:  # depthwise
        value = value.transpose(2, 3, 0, 1).reshape(-1, 1, *value.shape[:2])
    elif value.ndim == 4:
        value = value.transpose(3, 2, 0, 1)
    if len(shape) == 2:
        value = value.reshape(len(value), -1)
    return np.array(value) if value.shape == shape else None


def their_shape(value: np.ndarray, shape: tuple[int, ...], image: tuple[int, int, int] | None) -> np.ndarray | None:
    """Our weight in their shape, the inverse of our_shape."""
    if value.size != math.prod(shape):
        return None
    if len(shape) == 2:
        if image is not None:
            value = value.reshape(-1, *image).transpose(0, 2, 3, 1)
        value = value.reshape(len(value), -1).T
    elif len(shape) == 4 and value.ndim == 4 and value.shape[1] == 1 and shape[3] != len(value):
        value = value.reshape(shape[2], shape[3], *value.shape[2:]).transpose(2, 3, 0, 1)
    elif len(shape) == 4:
        value = value.reshape(shape[3], shape[2], *(value.shape[2:] or shape[:2])).transpose(2, 3, 1, 0)
    return value if value.shape == shape else None
