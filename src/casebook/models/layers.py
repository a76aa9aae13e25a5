"""What the papers share: convolution with normalisation, the head, and the shape of every network."""

import contextlib
import math
from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from ..errors import ModelError
from .card import Departure


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm: (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)


class ConvNormReLU(ConvNorm):
    owns_relu_input = True  # see overwriting_activations

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, groups=groups)
        self.relu = nn.ReLU()  # always in place, it would break the backward hooks of explanation/


class Classifier(nn.Module):
    """The head: (B, C, H, W) -> logits (B, num_classes).

    `features` gives the (B, num_features) vector that `classifier`, the last layer, sees. The dropout between
    them is left out of `features`, so that a frozen backbone's features can be computed once and kept.
    """

    def __init__(self, num_features: int, num_classes: int, *, pool: nn.Module | None = None, dropout: float = 0.0):
        super().__init__()
        self.num_features = num_features
        self.pool = pool if pool is not None else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.classifier = self.new_classifier(num_classes)

    def new_classifier(self, num_classes: int) -> nn.Module:
        """A fresh last layer: (B, num_features) -> (B, num_classes)."""
        linear = nn.Linear(self.num_features, num_classes)
        draw_normal(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        return linear

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_features)."""
        return self.pool(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.features(x)))


class Network(nn.Module):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): stem, then stages, then head.

    `departures` lists where this very network, with the options it was built with, is not its paper's.

    Raises:
        ModelError: in `forward`, for images of another number of channels or too small a size.
    """

    stem: nn.Module
    stages: nn.Sequential
    head: Classifier
    departures: tuple[Departure, ...] = ()
    fixed_input = False

    def __init__(self, *, in_channels: int, smallest_input: int):
        super().__init__()
        self.in_channels = in_channels
        self.smallest_input = smallest_input

    def forward(self, images: Tensor) -> Tensor:
        self.check_shape(images)
        return self.head(self.stages(self.stem(images)))

    def check_shape(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ModelError(
                f"images have the shape {tuple(images.shape)}, expected (batch, {self.in_channels}, height, "
                f"width); other numbers of channels need create_model(..., in_channels=...)"
            )
        height, width = images.shape[2], images.shape[3]
        side = self.smallest_input
        if self.fixed_input and (height != side or width != side):
            raise ModelError(f"images are {height}x{width}, expected exactly {side}x{side} pixels; resize them to that")
        if height < side or width < side:
            raise ModelError(
                f"images are {height}x{width}, expected at least {side}x{side} pixels, below which the last "
                f"feature map is a single pixel; resize them or, where the network has one, build it with "
                f"its small-picture stem (small_stem=True)"
            )


@contextlib.contextmanager
def overwriting_activations(network: nn.Module) -> Iterator[None]:
    """Inside, ReLUs write over their input where nothing else reads it: less memory and time, the same numbers.

    Blocks say by `owns_relu_input` that what their `relu` is given is theirs alone and not needed by the backward
    pass. The setting is taken back at the end, for backward hooks need the inputs.
    """
    relus = [m.relu for m in network.modules() if getattr(m, "owns_relu_input", False)]
    for relu in relus:
        relu.inplace = True  # type: ignore[union-attr, assignment]
    try:
        yield
    finally:
        for relu in relus:
            relu.inplace = False  # type: ignore[union-attr, assignment]


def draw_normal(weight: Tensor, *, std: float) -> None:
    """Fills a weight from the normal distribution; on the meta device, where torch would load its compiler for it
    (a second), does nothing."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def initialise_convolutions(modules: Iterable[nn.Module]) -> None:
    """He et al. 2015 (https://arxiv.org/abs/1502.01852), equation 14: normal with variance 2 / fan-out.

    Batch norms keep scale 1 and shift 0, with which PyTorch makes them.
    """
    for module in modules:
        if isinstance(module, nn.Conv2d):
            # PyTorch's own fan-out forgets the groups, so a depthwise kernel would start far too small.
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            draw_normal(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def replace_classifier(network: Network, num_classes: int) -> None:
    """Gives the network a fresh last layer of `num_classes` outputs, on the old one's device and in its type.

    Raises ModelError for fewer than one class.
    """
    if num_classes < 1:
        raise ModelError(f"num_classes is {num_classes}, expected at least 1")
    old = next(iter(network.head.classifier.state_dict().values()))
    network.head.classifier = network.head.new_classifier(num_classes).to(device=old.device, dtype=old.dtype)
