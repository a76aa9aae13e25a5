"""What torchvision calls the weights of AlexNet's single column."""

import re

from . import Peer

FEATURES = {"stem": 0, "stages.0": 3, "stages.1": 6, "stages.2": 8, "stages.3": 10}
DENSE = {"head.pool.fc6": 1, "head.pool.fc7": 4, "head.classifier": 6}


def torchvision_name(key: str) -> str:
    """features.0, features.3, ..., features.10, classifier.1, classifier.4, classifier.6."""
    if found := re.fullmatch(r"(stem|stages\.\d)\.0\.conv\.(\w+)", key):
        return f"features.{FEATURES[found[1]]}.{found[2]}"
    layer, _, weight = key.rpartition(".")
    return f"classifier.{DENSE[layer]}.{weight}"


PEERS = {"alexnet_owt": {"torchvision": Peer("alexnet", torchvision_name)}}
