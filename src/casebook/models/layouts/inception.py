"""What torchvision, timm and Keras Applications call the weights of Inception v3."""

import re
from functools import cache

import torch
from torch import nn

from ..inception import InceptionV3
from ..layers import ConvNorm
from . import Peer

TORCH = {"conv": "conv", "norm": "bn"}
KERAS = {
    "conv.weight": ("conv2d", "kernel"),
    "norm.weight": ("batch_normalization", "gamma"),
    "norm.bias": ("batch_normalization", "beta"),
    "norm.running_mean": ("batch_normalization", "moving_mean"),
    "norm.running_var": ("batch_normalization", "moving_variance"),
    "norm.num_batches_tracked": ("batch_normalization", "num_batches_tracked"),
}

# The places of the branches in each kind of module.

POOLED = {"branch0": "branch1x1", "branch3.1": "branch_pool"}
DOUBLE = {f"branch2.{i}": f"branch3x3dbl_{i + 1}" for i in range(3)}
A = POOLED | DOUBLE | {"branch1.0": "branch5x5_1", "branch1.1": "branch5x5_2"}
B = {"branch0": "branch3x3"} | {f"branch1.{i}": f"branch3x3dbl_{i + 1}" for i in range(3)}
C = POOLED | {f"branch1.{i}": f"branch7x7_{i + 1}" for i in range(3)}
C |= {f"branch2.{i}": f"branch7x7dbl_{i + 1}" for i in range(5)}
D = {f"branch0.{i}": f"branch3x3_{i + 1}" for i in range(2)} | {
    f"branch1.{i}": f"branch7x7x3_{i + 1}" for i in range(4)
}
E = POOLED | {"branch1.0": "branch3x3_1", "branch1.1.branch0": "branch3x3_2a", "branch1.1.branch1": "branch3x3_2b"}
E |= {"branch2.0": "branch3x3dbl_1", "branch2.1": "branch3x3dbl_2"}
E |= {"branch2.2.branch0": "branch3x3dbl_3a", "branch2.2.branch1": "branch3x3dbl_3b"}
MODULES_V3 = {"5b": A, "5c": A, "5d": A, "6a": B, "6b": C, "6c": C, "6d": C, "6e": C, "7a": D, "7b": E, "7c": E}
STEM_V3 = {"0": "1a_3x3", "1": "2a_3x3", "2": "2b_3x3", "4": "3b_1x1", "5": "4a_3x3"}
HIDDEN_V3 = {"pool.2.conv": "conv0.conv", "pool.2.norm": "conv0.bn", "classifier": "fc"}
HIDDEN_V3 |= {"pool.3.conv": "conv1.conv", "pool.3.norm": "conv1.bn"}


def torch_name_v3(key: str) -> str:
    """torchvision's and timm's: Conv2d_1a_3x3.conv, Mixed_5b.branch5x5_1.bn, AuxLogits.conv0.conv, fc."""
    if found := re.fullmatch(r"stem\.(\d)\.(conv|norm)\.(\w+)", key):
        return f"Conv2d_{STEM_V3[found[1]]}.{TORCH[found[2]]}.{found[3]}"
    if found := re.fullmatch(r"stages\.\d\.inception(\w+)\.(branch[\w.]+)\.(conv|norm)\.(\w+)", key):
        module, branch, kind, weight = found.groups()
        return f"Mixed_{module}.{MODULES_V3[module][branch]}.{TORCH[kind]}.{weight}"
    if found := re.fullmatch(r"auxiliary\.inception6e\.([\w.]+)\.(\w+)", key):
        return f"AuxLogits.{HIDDEN_V3[found[1]]}.{found[2]}"
    return re.sub(r"^head\.classifier\.", "fc.", key)


@cache
def order(build: type[nn.Module]) -> dict[str, int]:
    """The number of each convolution with a norm, in the order in which the network makes them, as Keras does."""
    with torch.device("meta"):
        modules = build().named_modules()
    return {name: i for i, name in enumerate(name for name, module in modules if isinstance(module, ConvNorm))}


def keras_name_v3(key: str) -> str:
    """conv2d/kernel, batch_normalization_93/beta, predictions/bias."""
    return numbered_keras_name(key, InceptionV3)


def numbered_keras_name(key: str, build: type[nn.Module]) -> str:
    if found := re.fullmatch(r"(.+)\.((?:conv|norm)\.\w+)", key):
        number, (layer, weight) = order(build)[found[1]], KERAS[found[2]]
        return f"{layer}_{number}/{weight}" if number else f"{layer}/{weight}"
    return f"predictions/{'kernel' if key.endswith('weight') else 'bias'}"


PEERS = {
    "inception_v3": {
        "torchvision": Peer(
            "inception_v3",
            torch_name_v3,
            arguments={"aux_logits": False, "init_weights": False, "transform_input": False},
            unused=("AuxLogits.",),
        ),
        "timm": Peer("inception_v3", torch_name_v3, unused=("AuxLogits.",)),
        "keras": Peer("InceptionV3", keras_name_v3, options={"padding": "same"}),
    },
}
