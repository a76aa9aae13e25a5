"""What a network looks for first, and what each layer makes of a picture."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ModelError
from .watching import as_map, evaluating, find_layer, run

PICTURE_CHANNELS = (1, 3)  # a filter that sees so many can be shown as a picture


class Filters(NamedTuple):
    """(N, C, k, k) float32 weights of a convolution whose filters see one channel or three."""

    layer: str
    weights: NDArray[np.float32]


def first_filters(network: nn.Module, image_shape: tuple[int, int, int], layer: str | None = None) -> Filters:
    """The filters of the convolution that runs first on a (C, H, W) picture, or of the one named.

    Raises ModelError for a layer that is none, or whose filters see other than one or three channels.
    """
    layer = _first_convolution(network, image_shape) if layer is None else layer
    module = find_layer(network, layer)
    if not isinstance(module, nn.Conv2d):
        raise ModelError(f"the layer {layer!r} is a {type(module).__name__}, expected a convolution (Conv2d)")
    weights = module.weight.detach().float().cpu().numpy()
    if weights.shape[1] not in PICTURE_CHANNELS:
        raise ModelError(
            f"the filters of {layer!r} see {weights.shape[1]} channels each, expected one or three, which a picture "
            "can show; look at deeper layers with --method features or deconvnet"
        )
    return Filters(layer, weights)


def _first_convolution(network: nn.Module, image_shape: tuple[int, int, int]) -> str:
    names: dict[nn.Module, str] = {m: name for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    ran: list[str] = []
    handles = []
    weight = next(network.parameters(), None)
    device = weight.device if weight is not None else None

    def note(module: nn.Module, args: Any) -> None:
        ran.append(names[module])

    try:
        handles = [module.register_forward_pre_hook(note) for module in names]
        with evaluating(network), torch.no_grad():
            network(torch.zeros(1, *image_shape, device=device))
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise ModelError(f"{type(network).__name__} has no convolution")
    return ran[0]


def feature_maps(network: nn.Module, image: Tensor, layer: str) -> NDArray[np.float32]:
    """(C, h, w): what a layer gives for a picture (1, C, H, W), before anything that works in place changes it.

    Raises ModelError for an unknown layer.
    """
    with evaluating(network), torch.no_grad():
        _, kept = run(network, image[:1], [layer])
    return as_map(kept[layer], layer, network)[0].float().cpu().numpy()
