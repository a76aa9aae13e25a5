"""What torchvision calls the weights of GoogLeNet with batch norm; its auxiliary heads are aux1 and aux2."""

import re

from . import Peer

BRANCHES = {
    "branch0": "branch1",
    "branch1.0": "branch2.0",
    "branch1.1": "branch2.1",
    "branch2.0": "branch3.0",
    "branch2.1": "branch3.1",
    "branch3.1": "branch4.1",
}
AUXILIARY = {"inception4a": "aux1", "inception4d": "aux2"}
HIDDEN = {"pool.conv.conv": "conv.conv", "pool.conv.norm": "conv.bn", "pool.linear": "fc1", "classifier": "fc2"}


def torchvision_name(key: str) -> str:
    """conv1.conv, inception3a.branch2.0.bn, aux1.fc1, fc."""
    if found := re.fullmatch(r"stem\.(conv\d)\.(conv|norm)\.(\w+)", key):
        layer, kind, weight = found.groups()
        return f"{layer}.{'conv' if kind == 'conv' else 'bn'}.{weight}"
    if found := re.fullmatch(r"stages\.\d\.(inception\w+)\.(branch[\d.]+)\.(conv|norm)\.(\w+)", key):
        block, branch, kind, weight = found.groups()
        return f"{block}.{BRANCHES[branch]}.{'conv' if kind == 'conv' else 'bn'}.{weight}"
    if found := re.fullmatch(r"auxiliary\.(\w+)\.([\w.]+)\.(\w+)", key):
        block, layer, weight = found.groups()
        return f"{AUXILIARY[block]}.{HIDDEN[layer]}.{weight}"
    return re.sub(r"^head\.classifier\.", "fc.", key)


PEERS = {
    "googlenet_bn": {
        "torchvision": Peer(
            "googlenet",
            torchvision_name,
            arguments={"aux_logits": False, "init_weights": False, "transform_input": False},
            unused=("aux1.", "aux2."),
        )
    }
}
