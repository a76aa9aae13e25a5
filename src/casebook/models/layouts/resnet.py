"""What torchvision and timm call the weights of ResNet."""

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
    return re.sub(r"^head\.classifier\.", "fc.", key)


PEERS = {
    name: {"torchvision": Peer(name, torch_name), "timm": Peer(name, torch_name)}
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
}
