"""Where a layer's map speaks for a class.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
equations 1 and 2, https://arxiv.org/abs/1610.02391.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .watching import as_leaf, as_map, check_class, evaluating, last_with_places, run, stages_of


class GradCam(NamedTuple):
    """`coarse` is (B, h, w), as the layer's map is; `maps` is (B, H, W), the same brought to the picture's size.

    Both are at least 0, in units of the logit; where they are 0 all over, nothing in the layer speaks for the class.
    """

    layer: str
    coarse: NDArray[np.float32]
    maps: NDArray[np.float32]


def grad_cam(network: nn.Module, images: Tensor, classes: Sequence[int], *, layer: str | None = None) -> GradCam:
    """The sum of a layer's channels, each weighted by the mean gradient of the class's logit, where it is positive.

    `images` are (B, C, H, W), normalised, with one class for each. The layer is the last stage unless named, or the
    last one whose map has more than one place.

    Raises ModelError for an unknown layer or class.
    """
    layers = stages_of(network) if layer is None else [layer]
    with evaluating(network):
        leaf = as_leaf(images)
        logits, kept = run(network, leaf, layers)
        chosen = last_with_places(kept, layers, network)
        for index in classes:
            check_class(index, logits)
        total = logits[torch.arange(len(logits)), list(classes)].sum()
        maps = kept[chosen]
        (gradients,) = torch.autograd.grad(total, maps, allow_unused=True)
        if gradients is None:  # the logits do not depend on the layer, such as on one of them itself
            gradients = torch.zeros_like(maps)
        maps, gradients = (as_map(part, chosen, network) for part in (maps.detach(), gradients))
        weights = gradients.mean((2, 3), keepdim=True)
        coarse = (weights * maps).sum(1, keepdim=True).clamp(min=0).float()
        fine = functional.interpolate(coarse, size=tuple(images.shape[2:]), mode="bilinear", align_corners=False)
    return GradCam(chosen, coarse[:, 0].cpu().numpy(), fine[:, 0].cpu().numpy())
