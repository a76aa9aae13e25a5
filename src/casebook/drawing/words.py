"""What a call is called in a drawing: the kind of a module or operator, and the words for it."""

import re

from torch import nn

from ..models.layers import Add

# Operators that hand on the same numbers in another shape, or a copy of them.
MOVING = frozenset(
    """_reshape_alias _unsafe_view alias clone contiguous copy detach expand lift_fresh reshape squeeze to_copy
    unsafe_view unsqueeze view""".split()  # noqa: SIM905 - a list of words reads better
)
OPERATOR_KINDS = {
    "add": "add", "sub": "add", "cat": "cat", "mul": "mul", "stack": "cat",
    "convolution": "conv", "addmm": "linear", "mm": "linear",
    "mean": "pool", "max_pool2d": "pool", "avg_pool2d": "pool", "_adaptive_avg_pool2d": "pool",
    "adaptive_avg_pool2d": "pool", "adaptive_max_pool2d": "pool",
    "batch_norm": "norm", "layer_norm": "norm", "group_norm": "norm",
    "relu": "activation", "silu": "activation", "gelu": "activation", "sigmoid": "activation", "tanh": "activation",
    "hardtanh": "activation", "hardswish": "activation", "hardsigmoid": "activation", "softmax": "activation",
    "_softmax": "activation", "leaky_relu": "activation", "elu": "activation",
    "slice": "move", "index": "move", "select": "move", "split": "move", "split_with_sizes": "move", "unbind": "move",
    "pad": "move",
    "constant_pad_nd": "move", "permute": "move", "transpose": "move", "t": "move", "flip": "move", "roll": "move",
}  # fmt: skip
KINDS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "conv"),
    ((nn.Linear,), "linear"),
    ((nn.Dropout, nn.Dropout2d, nn.AlphaDropout), "dropout"),
    ((nn.Flatten, nn.Unflatten, nn.ZeroPad2d, nn.PixelShuffle, nn.Upsample), "move"),
)
ENDINGS = {"Norm": "norm", "Pool": "pool", "Tanh": "activation", "ReLU": "activation"}  # of the names of classes
NAMES = {
    "batchnorm": "batch norm", "localresponsenorm": "response norm", "layernorm": "layer norm",
    "groupnorm": "group norm", "relu": "ReLU", "relu6": "ReLU6", "silu": "SiLU", "gelu": "GELU", "hardtanh": "ReLU6",
    "hardswish": "h-swish", "hardsigmoid": "h-sigmoid", "sigmoid": "sigmoid", "tanh": "tanh", "softmax": "softmax",
    "prelu": "PReLU", "leakyrelu": "leaky ReLU", "elu": "ELU", "flatten": "flatten", "conv": "conv", "linear": "linear",
    "zeropadshortcut": "zero padding", "add": "add", "mul": "multiply", "cat": "concatenate", "mean": "mean",
    "constantpadnd": "pad", "scaledtanh": "scaled tanh",
}  # fmt: skip


def kind_of_module(module: nn.Module) -> str:
    """The kind of a leaf module's node."""
    for classes, kind in KINDS:
        if isinstance(module, classes):
            return kind
    name, home = type(module).__name__, type(module).__module__
    if isinstance(module, Add):
        return "add"
    if home == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention):
        return "activation"
    bare = re.sub(r"[123]d$", "", name)
    return next((kind for ending, kind in ENDINGS.items() if bare.endswith(ending)), "other")


def kind_of_operator(operator: str) -> str:
    return OPERATOR_KINDS.get(operator, "other")


def words(type_: str) -> str:
    """A class or operator in plain words: "BatchNorm2d" -> "batch norm", "DenseLayer" -> "dense layer"."""
    bare = re.sub(r"[123]d$", "", type_)
    known = NAMES.get(bare.lower().replace("_", ""))
    if known:
        return known
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", bare).replace("_", " ").strip()
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in split.split())
