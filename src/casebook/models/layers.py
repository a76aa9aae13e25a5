"""What the papers share: convolution with normalisation, the head, and the shape of every network."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelError
from .card import Departure

Padding = int | tuple[int, int] | Literal["symmetric", "same"]


class SameConv2d(nn.Conv2d):
    """A convolution with zeros where TensorFlow's "SAME" puts them: the odd one out below and to the right.

    It differs from symmetric padding where it strides: a 3x3 window with stride 2 on an even side has none
    before and one after, so it looks one pixel further.
    """

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size, self.stride
        return super().forward(pad_same(input, kernel, stride))


class SameMaxPool2d(nn.MaxPool2d):
    """Max pooling whose windows lie as TensorFlow's "SAME" puts them; what is outside never wins."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = (self.kernel_size,) * 2, (self.stride,) * 2
        return super().forward(pad_same(input, kernel, stride, value=-math.inf))  # type: ignore[arg-type]


def pad_same(x: Tensor, kernel_size: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """(B, C, H, W) with a border such that a window gives ceil(H / stride) x ceil(W / stride) outputs."""
    sides = []
    for side, kernel, step in zip(x.shape[2:], kernel_size, stride, strict=True):
        total = max((-(-side // step) - 1) * step + kernel - side, 0)
        sides.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = sides
    return functional.pad(x, (left, right, top, bottom), value=value)


SAME_PADDING = Departure(
    what="padding",
    paper="not stated",
    here='TensorFlow\'s "SAME": at stride 2, an even side gets no zeros before and one after',
    why="weights trained in TensorFlow need it",
)


def tensorflow_options(padding: str, norm_eps: float) -> tuple[Departure, ...]:
    """What a network that was born in TensorFlow records of its padding and its batch norms' epsilon.

    Raises ModelError for an unknown padding or an epsilon that is not above 0.
    """
    if padding not in ("symmetric", "same"):
        raise ModelError(f"padding is {padding!r}, expected 'symmetric' or 'same'")
    if not norm_eps > 0:
        raise ModelError(f"norm_eps is {norm_eps}, expected above 0")
    eps = Departure("norm epsilon", "1e-3, in the authors' code", f"{norm_eps:g}", "weights trained with it need it")
    return (SAME_PADDING,) * (padding == "same") + (eps,) * (norm_eps != 1e-3)


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm: (B, in, H, W) -> (B, out, H/stride, W/stride).

    "symmetric" padding is half the kernel on each side; "same" puts the zeros of a strided convolution where
    TensorFlow does. A subclass with an `activation_type` applies it last.
    """

    activation_type: ClassVar[type[nn.Module] | None] = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        padding: Padding = "symmetric",
        eps: float = 1e-5,
        momentum: float = 0.1,
    ):
        super().__init__()
        sides = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        same = padding == "same" and stride > 1
        if isinstance(padding, str):
            padding = (sides[0] // 2, sides[1] // 2)
        self.conv = (SameConv2d if same else nn.Conv2d)(
            in_channels,
            out_channels,
            sides,
            stride=stride,
            padding=0 if same else padding,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)
        if self.activation_type is not None:
            self.activation = self.activation_type()


class ConvNormReLU(ConvNorm):
    activation_type = nn.ReLU  # always in place, it would break the backward hooks of explanation/
    owns_activation_input = True  # see overwriting_activations


class ConvNormReLU6(ConvNorm):
    activation_type = nn.ReLU6
    owns_activation_input = True  # see overwriting_activations


class Sum(nn.Module):
    """x + y, of one shape; see overwriting_activations for when the sum takes the place of x."""

    def __init__(self):
        super().__init__()
        self.inplace = False

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.add_(y) if self.inplace else x + y


class SqueezeExcitation(nn.Module):
    """(B, C, H, W) -> the same shape, each channel times a factor that the means of all channels decide.

    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, equations 2 to 4, https://arxiv.org/abs/1709.01507.
    """

    def __init__(
        self,
        channels: int,
        squeezed_channels: int,
        *,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed_channels, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(squeezed_channels, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.activation(self.reduce(self.pool(x)))))


class DropPath(nn.Module):
    """In training, zeroes the whole branch of a picture with probability `p` and scales the others to keep the mean.

    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016, https://arxiv.org/abs/1603.09382; the
    scaling in training instead of at test time is today's usual form.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.p
        return x * (keep.to(x.dtype) / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


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

    A network may have `auxiliary` heads, each under the name of the block of a stage whose output it sees. In
    training mode it then gives (logits, [auxiliary logits, ...]), whose losses count `auxiliary_weight` each.
    `departures` lists where this very network, with the options it was built with, is not its paper's. `name` and
    `options` are what `create_model` built it from.

    Raises:
        ModelError: in `forward`, for images of another number of channels or too small a size.
    """

    stem: nn.Module
    stages: nn.Sequential
    head: Classifier
    auxiliary: nn.ModuleDict
    auxiliary_weight = 0.3
    departures: tuple[Departure, ...] = ()
    undone: tuple[str, ...] = ()  # `what` of those on the card that an option takes back
    name = ""
    options: Mapping[str, Any] = {}
    fixed_input = False

    def __init__(self, *, in_channels: int, smallest_input: int):
        super().__init__()
        self.in_channels = in_channels
        self.smallest_input = smallest_input
        self.auxiliary = nn.ModuleDict()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        self.check_shape(images)
        if not (self.training and self.auxiliary):
            return self.head(self.stages(self.stem(images)))
        x, logits = self.stem(images), []
        for stage in self.stages:
            for name, block in stage.named_children():
                x = block(x)
                if name in self.auxiliary:
                    logits.append(self.auxiliary[name](x))
        return self.head(x), logits

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
    """Inside, ReLUs and sums write over their (first) input where nothing else reads it: less memory and time, the
    same numbers.

    Blocks say by `owns_activation_input` that what their `activation`, a ReLU, is given is theirs alone and not
    needed by the backward pass; of a Sum it is always so. The setting is taken back at the end, for backward hooks need
    the inputs.
    """
    modules = list(network.modules())
    overwriting: list[nn.Module] = [m.activation for m in modules if getattr(m, "owns_activation_input", False)]  # type: ignore[misc]
    overwriting += [m for m in modules if isinstance(m, Sum)]
    for module in overwriting:
        module.inplace = True  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in overwriting:
            module.inplace = False  # type: ignore[assignment]


def draw_normal(weight: Tensor, *, std: float) -> None:
    """Fills a weight from the normal distribution; on the meta device, where torch would load its compiler for it
    (a second), does nothing."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def draw_truncated_normal(weight: Tensor, *, std: float) -> None:
    """As draw_normal, from the normal distribution cut off at two deviations and not rescaled, as TensorFlow's."""
    if not weight.is_meta:
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


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
    """Gives the network's heads fresh last layers of `num_classes` outputs, on the old ones' device and in their type.

    Raises ModelError for fewer than one class.
    """
    if num_classes < 1:
        raise ModelError(f"num_classes is {num_classes}, expected at least 1")
    for head in (network.head, *network.auxiliary.values()):
        old = next(iter(head.classifier.state_dict().values()))  # type: ignore[union-attr]
        head.classifier = head.new_classifier(num_classes).to(device=old.device, dtype=old.dtype)  # type: ignore[operator]
