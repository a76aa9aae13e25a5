"""The parts that several families share, the head, and the class of every network."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ..errors import ModelError
from .card import Departure

if TYPE_CHECKING:
    from ..preprocessing import Preprocessing
    from .card import ModelCard

Padding = int | tuple[int, int] | Literal["symmetric", "same"]


# Convolutions


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME" does: an odd row or column of zeros goes below or to the right.

    It differs from symmetric padding only for strides above 1: with an even side, a 3x3 window and stride 2, there is
    no zero before the image and one after it, so every window starts one pixel later.
    """

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size, self.stride
        return super().forward(pad_same(input, kernel, stride))


class SameMaxPool2d(nn.MaxPool2d):
    """Max pooling with the windows of TensorFlow's "SAME" padding; pixels outside the image never win."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = (self.kernel_size,) * 2, (self.stride,) * 2
        return super().forward(pad_same(input, kernel, stride, value=-math.inf))  # type: ignore[arg-type]


@fx.wrap  # its result depends on the size of x, which torch.fx does not know while it traces
def pad_same(x: Tensor, kernel_size: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """(B, C, H, W), padded so that a sliding window gives ceil(H / stride) x ceil(W / stride) outputs."""
    sides = []
    for side, kernel, step in zip(x.shape[2:], kernel_size, stride, strict=True):
        total = max((-(-side // step) - 1) * step + kernel - side, 0)
        sides.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = sides
    return functional.pad(x, (left, right, top, bottom), value=value)


SAME_PADDING = Departure(
    what="padding",
    paper="not stated",
    here='TensorFlow\'s "SAME": at stride 2, an even side gets no zeros before the image and one after it',
    why="weights trained in TensorFlow need it",
)


def tensorflow_options(padding: str, norm_eps: float) -> tuple[Departure, ...]:
    """The departures that the padding and batch norm epsilon of a network from TensorFlow cause.

    Raises ModelError for an unknown padding or an epsilon that is not above 0.
    """
    if padding not in ("symmetric", "same"):
        raise ModelError(f"padding is {padding!r}, expected 'symmetric' or 'same'")
    if not norm_eps > 0:
        raise ModelError(f"norm_eps is {norm_eps}, expected above 0")
    eps = Departure("norm epsilon", "1e-3, in the authors' code", f"{norm_eps:g}", "weights trained with it need it")
    return (SAME_PADDING,) * (padding == "same") + (eps,) * (norm_eps != 1e-3)


class ConvReLU(nn.Sequential):
    """Convolution with bias, then ReLU: the layer of networks that predate batch norm."""

    owns_activation_input = True  # see temporary.overwriting_activations

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | None = None,  # half the kernel
        groups: int = 1,
    ):
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups)
        self.activation = nn.ReLU()


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm: (B, in, H, W) -> (B, out, H/stride, W/stride).

    "symmetric" padding adds half the kernel on each side; "same" pads a strided convolution as TensorFlow does. A
    subclass with an `activation_type` applies it last.
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
    activation_type = nn.ReLU  # never in place by itself: that would break the backward hooks of explanation/
    owns_activation_input = True  # see temporary.overwriting_activations


class ConvNormReLU6(ConvNorm):
    activation_type = nn.ReLU6
    owns_activation_input = True  # see temporary.overwriting_activations


class NormReLU(nn.Sequential):
    """Batch norm, then ReLU: (B, C, H, W) -> the same shape, at least 0."""

    owns_activation_input = True  # see temporary.overwriting_activations

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=eps, momentum=momentum)
        self.activation = nn.ReLU()


# Other parts


class Add(nn.Module):
    """x + y, both of one shape. Inside `overwriting_activations` the result is written over x."""

    def __init__(self):
        super().__init__()
        self.inplace = False

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.add_(y) if self.inplace else x + y


class InvertedResidual(nn.Module):
    """(B, C, H, W) -> the same shape: the input plus its branch, with no activation after the addition."""

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class SqueezeExcitation(nn.Module):
    """(B, C, H, W) -> the same shape, with each channel scaled by a factor computed from the means of all channels.

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
    """In training, zeroes the branch of an image with probability `p` and scales up the others to keep the mean.

    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016, https://arxiv.org/abs/1603.09382. The paper
    scales at test time; scaling in training is the usual form today.
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


def response_norm() -> nn.Module:
    """AlexNet's section 3.3: x / (2 + 0.0001 * (sum of the squares of 5 neighbouring channels)) ** 0.75."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)  # PyTorch's takes the mean of the squares


# Heads


class Head(nn.Module):
    """(B, C, H, W) -> logits (B, num_classes).

    `features` gives the (B, num_features) vector that `classifier`, the last layer, sees. The dropout between them is
    not part of `features`, so the features of a frozen network can be computed once and cached.
    """

    def __init__(self, num_features: int, num_classes: int, *, pool: nn.Module | None = None, dropout: float = 0.0):
        super().__init__()
        self.num_features = num_features
        self.pool = pool if pool is not None else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.classifier = self.new_classifier(num_classes)

    def new_classifier(self, num_classes: int) -> nn.Module:
        """A new last layer: (B, num_features) -> (B, num_classes)."""
        linear = nn.Linear(self.num_features, num_classes)
        draw_normal(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        return linear

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_features)."""
        return self.pool(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.features(x)))


class ConvHead(Head):
    """A head without dense layers: (B, C, H, W) -> logits (B, num_classes), the mean of one feature map per class.

    `features` gives the feature map that the last 1x1 convolution sees, (B, num_features, H, W).
    """

    def __init__(self, num_features: int, num_classes: int, *, dropout: float = 0.0):
        super().__init__(num_features, num_classes, pool=nn.Identity(), dropout=dropout)

    def new_classifier(self, num_classes: int) -> nn.Module:
        """A new last layer: (B, num_features, H, W) -> (B, num_classes)."""
        conv = nn.Conv2d(self.num_features, num_classes, 1)
        draw_normal(conv.weight, std=0.01)
        # Above 0: a class whose map is 0 everywhere gets no gradient from its ReLU, and most would be within an epoch.
        nn.init.ones_(conv.bias)  # type: ignore[arg-type]
        return nn.Sequential(
            OrderedDict(conv=conv, activation=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
        )

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return self.pool(x)


def dense_head(channels: int, grid: int, num_classes: int, dropouts: tuple[float, float, float]) -> Head:
    """AlexNet's layers 6, 7 and 8 on (B, channels, H, W), first averaged to grid x grid.

    `dropouts` are the rates in front of each layer.
    """
    hidden = nn.Sequential(
        OrderedDict(
            grid=nn.AdaptiveAvgPool2d(grid),
            flatten=nn.Flatten(),
            dropout6=nn.Dropout(dropouts[0]),
            fc6=nn.Linear(channels * grid * grid, 4096),
            relu6=nn.ReLU(),
            dropout7=nn.Dropout(dropouts[1]),
            fc7=nn.Linear(4096, 4096),
            relu7=nn.ReLU(),
        )
    )
    return Head(4096, num_classes, pool=hidden, dropout=dropouts[2])


# The network


class Network(nn.Module):
    """Normalised images (B, in_channels, H, W) -> logits (B, num_classes): stem, then stages, then head.

    A network may have `auxiliary` heads; the key of each is the name of the block whose output it reads. In training
    mode such a network gives (logits, [auxiliary logits, ...]), and each auxiliary loss counts `auxiliary_weight`.

    `create_model` sets the rest. `name` and `options` are its arguments; `card` is what is known about the network, and
    `departures` says where this one, with its options, differs from its paper. `preprocessing` is how its pictures are
    prepared, and `classes` are the names of its outputs; each is None when unknown.

    Raises:
        ModelError: in `forward`, for images with another number of channels or too few pixels.
    """

    stem: nn.Module
    stages: nn.Sequential
    head: Head
    auxiliary: nn.ModuleDict
    auxiliary_weight = 0.3
    departures: tuple[Departure, ...] = ()
    undone: tuple[str, ...] = ()  # `what` of those departures on the card that an option takes back
    name = ""
    options: Mapping[str, Any] = {}
    card: "ModelCard | None" = None
    preprocessing: "Preprocessing | None" = None
    classes: tuple[str, ...] | None = None
    fixed_input = False

    def __init__(self, *, in_channels: int, smallest_input: int):
        super().__init__()
        self.in_channels = in_channels
        self.smallest_input = smallest_input
        self.auxiliary = nn.ModuleDict()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        if not (self.training and self.auxiliary):
            return self.head(self.forward_features(images))
        check_shape(images, self.in_channels, self.smallest_input, self.fixed_input)
        x, logits = self.stem(images), []
        for stage in self.stages:
            for name, block in stage.named_children():
                x = block(x)
                if name in self.auxiliary:
                    logits.append(self.auxiliary[name](x))
        return self.head(x), logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (B, in_channels, H, W) -> the last stage's feature map (B, C, h, w)."""
        check_shape(images, self.in_channels, self.smallest_input, self.fixed_input)
        return self.stages(self.stem(images))

    def _repr_svg_(self) -> str | None:
        """In a notebook a network shows its strip; one that `create_model` did not make shows its modules."""
        import casebook  # the root package, which reaches every room: a network knows nothing of drawings

        try:
            return casebook.draw(self).svg()
        except casebook.CasebookError:
            return None

    def reset_classifier(self, num_classes: int) -> None:
        """Gives every head a new last layer of `num_classes` outputs, whose names are unknown.

        The new layers have the device and dtype of the old ones. Raises ModelError for fewer than one class.
        """
        if type(num_classes) is not int or num_classes < 1:
            raise ModelError(f"num_classes is {num_classes!r}, expected an integer of at least 1")
        for head in (self.head, *self.auxiliary.values()):
            old = next(iter(head.classifier.state_dict().values()))  # type: ignore[union-attr]
            head.classifier = head.new_classifier(num_classes).to(device=old.device, dtype=old.dtype)  # type: ignore[operator]
        self.classes = None
        self.options = dict(self.options) | {"num_classes": num_classes}


@fx.wrap  # it compares sizes, which torch.fx does not know while it traces
def check_shape(images: Tensor, in_channels: int, smallest_input: int, fixed_input: bool) -> None:
    """Raises ModelError for images that a network cannot take."""
    if images.ndim != 4 or images.shape[1] != in_channels:
        raise ModelError(
            f"images have the shape {tuple(images.shape)}, expected (batch, {in_channels}, height, "
            f"width); for another number of channels use create_model(..., in_channels=...)"
        )
    height, width, side = images.shape[2], images.shape[3], smallest_input
    if fixed_input and (height != side or width != side):
        raise ModelError(f"images are {height}x{width}, expected exactly {side}x{side} pixels; resize them")
    if height < side or width < side:
        raise ModelError(
            f"images are {height}x{width}, expected at least {side}x{side} pixels, because smaller ones leave a single "
            f"pixel in the last feature map; resize them or, where the network has one, build it with its "
            f"small-picture stem (small_stem=True)"
        )


# Widths and initial weights


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, but at least 8 and never more than a tenth below `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def check_multipliers(**multipliers: float) -> None:
    """Raises ModelError for a width or depth outside (0, 4]."""
    for option, factor in multipliers.items():
        if type(factor) not in (int, float) or not 0 < factor <= 4:
            raise ModelError(f"{option} is {factor!r}, expected above 0 and at most 4")


def draw_normal(weight: Tensor, *, std: float) -> None:
    """Fills a weight from the normal distribution.

    Does nothing on the meta device, where torch would spend a second on loading its compiler.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def draw_truncated_normal(weight: Tensor, *, std: float) -> None:
    """As draw_normal, but cut off at two standard deviations and not rescaled, as TensorFlow does."""
    if not weight.is_meta:
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def initialise_convolutions(modules: Iterable[nn.Module]) -> None:
    """He et al. 2015 (https://arxiv.org/abs/1502.01852), equation 14: normal with variance 2 / fan-out.

    Batch norms keep PyTorch's scale of 1 and shift of 0.
    """
    for module in modules:
        if isinstance(module, nn.Conv2d):
            # PyTorch's own fan-out ignores the groups, so a depthwise kernel would start far too small.
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            draw_normal(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
