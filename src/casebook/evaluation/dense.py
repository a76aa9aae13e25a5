"""A network -> the same weights over pictures larger than its own, its class scores averaged over all positions.

Source: Sermanet et al., "OverFeat", ICLR 2014, https://arxiv.org/abs/1312.6229, and Simonyan, Zisserman, ICLR 2015,
section 3.2: the first fully connected layer becomes a convolution as large as the map it sees, the others 1x1
convolutions; what was a vector of scores is a map of them, which is averaged before the softmax. On a picture of the
network's own size that is the network itself.

Networks with global average pooling are such already: they run as they are, and where one linear layer follows the
pooling, the mean of the features gives the same as the mean of the scores of a 1x1 convolution. Where more follows
(MobileNet v3), and where blocks pool globally (squeeze-and-excitation), the mean is taken over the whole picture.
"""

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.foreign import BodyHead
from ..models.layers import Network

ELEMENTWISE = (nn.ReLU, nn.ReLU6, nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.SiLU, nn.Dropout, nn.Identity)


class DenseForm(nn.Module):
    """Normalised images (B, C, H, W), H and W at least the network's own size -> logits (B, num_classes).

    Shares its weights with the network that it was made of.
    """

    def __init__(self, network: Network, scores: nn.Sequential):
        super().__init__()
        self.network = network
        self.scores = scores
        self.in_channels = network.in_channels

    def score_map(self, images: Tensor) -> Tensor:
        """(B, num_classes, rows, columns): the logits of every position."""
        return self.scores(self.network.forward_features(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.score_map(images).mean(dim=(2, 3))


def dense_form(network: Network, size: int) -> tuple[nn.Module, int]:
    """The network in its fully convolutional form, and the smallest side that this takes; `size` is its own input's.

    Raises ModelError, with the reason, for a network that has none.
    """
    name = network.name or type(network).__name__
    if network.fixed_input:
        raise ModelError(
            f"{name} takes {network.smallest_input}x{network.smallest_input} pixels alone, so it cannot be dense; "
            "use crops, as center, flip and 10-crop do"
        )
    head = network.head
    if isinstance(head, BodyHead):
        raise ModelError(
            f"{name} comes from elsewhere, and how it pools is not known, so it cannot be dense; use crops, as center, "
            "flip and 10-crop do"
        )
    layers = [module for part in (head.pool, head.dropout, head.classifier) for module in _flat(part)]
    # The first module that changes the map's shape decides.
    grid = next((module.output_size for module in layers if isinstance(module, nn.AdaptiveAvgPool2d)), None)
    if grid in (1, (1, 1)):
        return network, network.smallest_input
    if type(grid) is not int or not any(isinstance(module, nn.Linear) for module in layers):
        raise ModelError(
            f"{name} has neither global average pooling nor fully connected layers on a grid, so how it would be "
            "dense is not known; use crops, as center, flip and 10-crop do"
        )
    weight = next(network.parameters())
    with torch.inference_mode():
        blank = torch.zeros(1, network.in_channels, size, size, device=weight.device, dtype=weight.dtype)
        sides = list(network.stages(network.stem(blank)).shape[2:])
    if sides != [grid, grid]:
        raise ModelError(
            f"{name} at {size} pixels pools a map of {sides[0]}x{sides[1]} to the {grid}x{grid} of its fully connected "
            "layers, which no convolution does, so it cannot be dense; use crops, or train it at the size of its card"
        )
    scores, kernel = nn.Sequential(), grid
    for module in layers:
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.Flatten):
            continue
        if isinstance(module, nn.Linear):
            scores.append(_as_convolution(module, module.in_features // kernel**2, kernel))
            kernel = 1
        elif isinstance(module, ELEMENTWISE):
            scores.append(module)
        else:
            raise ModelError(f"{name} has a {type(module).__name__} among its fully connected layers; use crops")
    return DenseForm(network, scores).eval(), size


def _flat(module: nn.Module) -> list[nn.Module]:
    """The modules without parts in the order of a sequence."""
    if isinstance(module, nn.Sequential):
        return [inner for part in module for inner in _flat(part)]
    return [module]


def _as_convolution(linear: nn.Linear, in_channels: int, kernel_size: int) -> nn.Conv2d:
    """The linear layer as a convolution on the map that it saw flattened; the weights are the same memory."""
    with torch.device("meta"):
        conv = nn.Conv2d(in_channels, linear.out_features, kernel_size, bias=linear.bias is not None)
    weight = linear.weight.detach().view(linear.out_features, in_channels, kernel_size, kernel_size)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    return conv
