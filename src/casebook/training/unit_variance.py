"""The start of a network without norms: each layer's outputs get a variance of 1 on real pictures.

With the initial weights of their papers, the outputs of deep networks without norms hardly depend on the picture, and a
training on a small set ends before that has changed. Source: Mishkin and Matas, "All you need is a good init",
ICLR 2016, algorithm 1, https://arxiv.org/abs/1511.06422. The paper starts from orthogonal weights; here the network's
own initial weights are scaled. Biases start at 0, as in the paper: beside AlexNet's biases of 1, scaled or not, the
differences between pictures hardly count.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..data.batch_plan import BatchPlan
from ..data.loader import Batches
from ..errors import DataError
from .plan import Plan

PICTURES = 32  # more need much memory: VGG-16 keeps 13 MB a picture and layer
LEAST_DEVIATION = 1e-8  # of outputs; a layer without any difference stays as it is


def start_with_unit_variance(plan: Plan) -> None:
    """Scales the weights of the plan's network by some of its training pictures, the same ones in all processes.

    Raises DataError where not one of them can be read.
    """
    chosen = np.random.default_rng(plan.recipe.seed).permutation(plan.data.split.train)[:PICTURES].tolist()
    batches = Batches(plan.data.source, chosen, plan.setup.preprocessing, BatchPlan(PICTURES))
    batch = next(batches.epoch())
    batches.close()
    if batch.is_empty:
        raise DataError(f"not one of {len(chosen)} training pictures could be read")
    scale_to_unit_variance(plan.setup.network, plan.prepare(batch))


def scale_to_unit_variance(network: nn.Module, images: Tensor) -> None:
    """Scales convolutions and linear layers so that their outputs on these (B, C, H, W) images have variance 1.

    Biases become 0, except those of the last layer, which gives the classes: they are scaled like its weights.

    From the first layer to the last, each behind those before it as they are then. A network with batch norms,
    which do the same at every step, stays as it is. Random numbers that come later are as without this.
    """
    if any(isinstance(module, _NormBase) for module in network.modules()):
        return
    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    was_training = network.training
    for layer in layers[:-1]:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

    def scale(layer: nn.Conv2d | nn.Linear, _: object, outputs: Tensor) -> Tensor:
        handles.pop(layer).remove()  # a layer that is called again keeps its first scale
        deviation = float(outputs.float().std())
        if not LEAST_DEVIATION < deviation < math.inf:
            return outputs
        for weight in layer.parameters():
            weight /= deviation
        return outputs / deviation

    handles = {layer: layer.register_forward_hook(scale) for layer in layers}
    devices = [images.device] if images.device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            network.train()(images)  # auxiliary heads, too
    finally:
        network.train(was_training)
        for handle in handles.values():
            handle.remove()
