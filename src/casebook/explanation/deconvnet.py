"""What in a picture excites a unit: its activation projected down to the pixels.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 2.1,
https://arxiv.org/abs/1311.2901. The rules for what the paper does not treat stand in `descent`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .descent import descending
from .watching import as_leaf, as_map, check_channel, check_class, evaluating, run
from .windows import Window, windows


class Projection(NamedTuple):
    """What excites one channel of a layer in one picture.

    `position` is the (row, column) of the strongest unit in the layer's map and `window` what of the picture it can
    see; both are None where the whole map was projected. `pattern` is (C, H, W) float32, as large as the picture.
    """

    layer: str
    channel: int
    activation: float
    position: tuple[int, int] | None
    window: Window | None
    pattern: NDArray[np.float32]


def project(
    network: nn.Module,
    image: Tensor,
    layer: str,
    channels: Sequence[int] | None = None,
    *,
    num_channels: int = 4,
    rule: str = "deconvnet",
    whole_map: bool = False,
) -> list[Projection]:
    """Projections of `channels` of a layer, by default of the `num_channels` with the strongest units, strongest first;
    of equally strong ones, such as ReLU6 makes, those come first that are excited in the fewest places.

    `image` is (1, C, H, W), normalised. As in the paper, all units of the layer but a channel's strongest are set to
    zero; with `whole_map` all excited units of the channel stay. The signal begins as the activation itself, or as 1
    for the rules "guided" and "gradient". A channel whose strongest unit is not above 0 gives zeros.

    Raises ModelError for an unknown layer, channel or rule.
    """
    with evaluating(network):
        leaf = as_leaf(image[:1])
        with descending(rule):
            _, kept = run(network, leaf, [layer])
        maps = as_map(kept[layer], layer, network)
        values = maps[0].detach()
        strongest, places = values.flatten(1).max(1)
        if channels is None:
            pickiest = values.flatten(1).mean(1).argsort(stable=True)
            channels = pickiest[strongest[pickiest].argsort(descending=True, stable=True)][:num_channels].tolist()
        assert channels is not None
        found = []
        for channel in channels:
            check_channel(channel, maps, layer)
            row, column = divmod(int(places[channel]), values.shape[2])
            signal = torch.zeros_like(maps)
            if whole_map:
                signal[0, channel] = values[channel].clamp(min=0)
            else:
                signal[0, channel, row, column] = strongest[channel].clamp(min=0)
            if rule != "deconvnet":
                signal = (signal > 0).to(signal.dtype)
            pattern = _backward(maps, leaf, signal)
            place = None if whole_map else (row, column)
            found.append(Projection(layer, channel, float(strongest[channel]), place, None, pattern[0]))
    if whole_map:
        return found
    positions = [projection.position for projection in found if projection.position]
    seen = windows(network, tuple(image.shape[1:]), layer, positions)  # type: ignore[arg-type]
    return [projection._replace(window=window) for projection, window in zip(found, seen, strict=True)]


def class_gradient(
    network: nn.Module, images: Tensor, classes: Sequence[int], *, rule: str = "gradient"
) -> NDArray[np.float32]:
    """(B, C, H, W): the signal of each picture's class logit down to its pixels.

    With "gradient" it is the derivative (Simonyan et al., "Deep Inside Convolutional Networks", 2013,
    https://arxiv.org/abs/1312.6034); with "guided", guided backpropagation; with "deconvnet", the deconvnet's.

    Raises ModelError for an unknown class or rule.
    """
    with evaluating(network):
        leaf = as_leaf(images)
        with descending(rule):
            logits, _ = run(network, leaf, [])
        for index in classes:
            check_class(index, logits)
        signal = torch.zeros_like(logits)
        signal[torch.arange(len(signal)), list(classes)] = 1
        return _backward(logits, leaf, signal)


def _backward(output: Tensor, leaf: Tensor, signal: Tensor) -> NDArray[np.float32]:
    # The gradient of a number: for that of a map torch would first import its symbolic shapes, for half a second.
    total = (output * signal.to(output.dtype).view_as(output)).sum()
    (pattern,) = torch.autograd.grad(total, leaf, retain_graph=True)
    return pattern.float().cpu().numpy()
