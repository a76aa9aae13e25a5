"""What torchvision, timm and Keras Applications call the weights of ResNet.

Keras has biases in front of its batch norms and an epsilon of 1.001e-5; ours has no bias and 1e-5.
"""

import re

from . import Peer


def torch_name(key: str) -> str:
    """torchvision's and timm's: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, fc."""
    if found := re.fullmatch(r"stem\.0\.(conv|norm)\.(\w+)", key):
        return f"{'conv1' if found[1] == 'conv' else 'bn1'}.{found[2]}"
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.branch\.(\d+)\.(conv|norm)\.(\w+)", key):
        stage, block, i, kind, weight = found.groups()
        return f"layer{int(stage) + 1}.{block}.{'conv' if kind == 'conv' else 'bn'}{int(i) + 1}.{weight}"
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.shortcut\.(conv|norm)\.(\w+)", key):
        stage, block, kind, weight = found.groups()
        return f"layer{int(stage) + 1}.{block}.downsample.{'0' if kind == 'conv' else '1'}.{weight}"
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.branch\.\d+\.(reduce|expand)\.(\w+)", key):
        stage, block, kind, weight = found.groups()
        return f"layer{int(stage) + 1}.{block}.se.{'fc1' if kind == 'reduce' else 'fc2'}.{weight}"
    return re.sub(r"^head\.classifier\.", "fc.", key)


KERAS = {
    "conv": {"weight": "kernel", "bias": "bias"},
    "norm": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
}


def keras_layer(layer: str, kind: str, weight: str) -> str:
    """("conv1", "norm", "bias") -> "conv1_bn/beta"."""
    return f"{layer}_{'conv' if kind == 'conv' else 'bn'}/{KERAS[kind].get(weight, weight)}"


def keras_name(key: str) -> str:
    """conv1_conv, conv1_bn, conv2_block1_1_conv, conv2_block1_0_conv (the shortcut), predictions."""
    if found := re.fullmatch(r"stem\.0\.(conv|norm)\.(\w+)", key):
        return keras_layer("conv1", *found.groups())
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.(?:branch\.(\d+)|shortcut)\.(conv|norm)\.(\w+)", key):
        stage, block, i, kind, weight = found.groups()
        place = 0 if i is None else int(i) + 1
        return keras_layer(f"conv{int(stage) + 2}_block{int(block) + 1}_{place}", kind, weight)
    return f"predictions/{KERAS['conv'][key.removeprefix('head.classifier.')]}"


PEERS = {
    name: {"torchvision": Peer(name, torch_name), "timm": Peer(name, torch_name)}
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
} | {f"resnet{depth}_v1": {"keras": Peer(f"ResNet{depth}", keras_name)} for depth in (50, 101, 152)}
