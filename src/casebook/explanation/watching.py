"""Looking into a network without leaving a trace: its layers' outputs, its mode put back, no hook left behind."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, did_you_mean

MOST_NAMED = 12  # layers that an error names


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside, the network is in evaluation mode and autograd records; afterwards each module's mode is what it was.

    Weights, their gradients and their `requires_grad` are not touched: gradients are asked for by name.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def captured(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """A dictionary that fills with the outputs of `layers` when the network runs, on the graph that autograd records.

    What follows a layer gets a copy of its output, so an activation that works in place does not change what is kept.
    Of a layer that gives several tensors it is the first; of one that runs several times, such as a shared activation,
    the last run.

    Raises ModelError for an unknown layer.
    """
    kept: dict[str, Tensor] = {}
    with contextlib.ExitStack() as stack:
        for layer in layers:
            handle = find_layer(network, layer).register_forward_hook(_keeper(kept, layer))
            stack.callback(handle.remove)
        yield kept


def _keeper(kept: dict[str, Tensor], layer: str) -> Any:
    def keep(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            kept[layer] = output
            return output.clone()
        if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
            kept[layer] = output[0]
            followed = (output[0].clone(), *output[1:])
            return list(followed) if isinstance(output, list) else followed
        raise ModelError(
            f"the layer {layer!r} gives a {type(output).__name__}, expected a tensor; choose another layer"
        )

    return keep


def find_layer(network: nn.Module, layer: str) -> nn.Module:
    """Raises ModelError for an unknown layer."""
    layers = {name: module for name, module in network.named_modules(remove_duplicate=False) if name}
    if layer in layers:
        return layers[layer]
    parts = ", ".join([name for name, _ in _outline(network)][:MOST_NAMED])
    raise ModelError(
        f"{_name(network)} has no layer {layer!r}{did_you_mean(layer, layers) or ';'} it has {parts} and what they "
        "are made of; 'casebook summary' lists the layers of a network"
    )


def _outline(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in network.named_children():
        if name == "stages":
            yield from ((f"stages.{stage}", part) for stage, part in module.named_children())
        elif name != "auxiliary" or len(list(module.children())):
            yield name, module


def _name(network: nn.Module) -> str:
    return getattr(network, "name", "") or type(network).__name__


def stages_of(network: nn.Module) -> list[str]:
    """The stem and the stages, shallow to deep. Raises ModelError for a network that has none."""
    if hasattr(network, "stage_names"):  # a network from elsewhere
        return network.stage_names()  # type: ignore[operator]
    stages = getattr(network, "stages", None)
    if not isinstance(stages, nn.Sequential) or not len(stages):
        raise ModelError(f"{_name(network)} has no stages to choose from; name a layer")
    return [*(["stem"] if hasattr(network, "stem") else []), *(f"stages.{name}" for name, _ in stages.named_children())]


def run(network: nn.Module, images: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the outputs of the layers as maps (B, C, H, W), for images on whose graph they stand.

    To be called inside `evaluating`. Raises ModelError for a layer that is unknown, or does not run in evaluation.
    """
    with captured(network, layers) as kept:
        logits = network(images.clone())  # a first layer that works in place must not overwrite a leaf
    if missing := [layer for layer in layers if layer not in kept]:
        raise ModelError(f"the layer {missing[0]!r} of {_name(network)} does not run in evaluation; choose another")
    return logits, kept


def as_map(output: Tensor, layer: str, network: nn.Module | None = None) -> Tensor:
    """A layer's output as (B, C, H, W); a vector is a map of one place, tokens are put on the grid of their `network`.

    Raises ModelError for other shapes.
    """
    if network is not None and hasattr(network, "as_map"):
        output = network.as_map(output)  # type: ignore[operator]
    if output.ndim == 2:
        return output[:, :, None, None]
    if output.ndim != 4:
        raise ModelError(
            f"the layer {layer!r} gives {tuple(output.shape)}, expected (batch, channels, height, width); "
            "choose another layer"
        )
    return output


def last_with_places(kept: dict[str, Tensor], layers: Sequence[str], network: nn.Module | None = None) -> str:
    """The deepest of the layers whose map has more than one place, else the deepest of all."""
    several = [layer for layer in layers if as_map(kept[layer], layer, network)[0, 0].numel() > 1]
    return (several or list(layers))[-1]


def as_leaf(images: Tensor) -> Tensor:
    """The images as the leaf of a graph of its own. Raises ModelError for other than (B, C, H, W)."""
    if images.ndim != 4 or not len(images):
        raise ModelError(f"images have the shape {tuple(images.shape)}, expected (batch, channels, height, width)")
    return images.detach().clone().requires_grad_()


def check_class(index: int, logits: Tensor) -> None:
    if not 0 <= index < logits.shape[1]:
        raise ModelError(f"class {index} is asked for, but the network has {logits.shape[1]} outputs, from 0")


def check_channel(channel: int, maps: Tensor, layer: str) -> None:
    if not 0 <= channel < maps.shape[1]:
        raise ModelError(f"channel {channel} is asked for, but {layer!r} has {maps.shape[1]} channels, from 0")
