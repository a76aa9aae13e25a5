"""What timm calls the weights of SE-ResNet-50 and SENet-154."""

import re

from . import Peer
from .resnet import torch_name


def legacy_name(key: str) -> str:
    """layer0.conv1, layer0.bn1, layer1.0.conv1, layer1.0.se_module.fc1, last_linear."""
    if found := re.fullmatch(r"stem\.(\d)\.(conv|norm)\.(\w+)", key):
        return f"layer0.{'conv' if found[2] == 'conv' else 'bn'}{int(found[1]) + 1}.{found[3]}"
    return re.sub(r"^fc\.", "last_linear.", torch_name(key).replace(".se.", ".se_module."))


PEERS = {
    "seresnet50": {"timm": Peer("seresnet50", torch_name)},
    "senet154": {"timm": Peer("legacy_senet154", legacy_name)},
}
