"""What torchvision calls the weights of SqueezeNet."""

import re
from functools import partial

from ..squeezenet import VARIANTS
from . import Peer


def torchvision_name(depths: tuple[int, ...], key: str) -> str:
    """features.0, features.3.squeeze, features.3.expand1x1, ..., classifier.1: pooling is numbered with the rest."""
    if found := re.fullmatch(r"stem\.0\.conv\.(\w+)", key):
        return f"features.0.{found[1]}"
    if found := re.fullmatch(r"stages\.(\d)\.(\d)\.(\w+)\.conv\.(\w+)", key):
        stage, fire, part, weight = int(found[1]), int(found[2]), found[3], found[4]
        return f"features.{3 + sum(depths[:stage]) + stage + fire}.{part}.{weight}"
    return re.sub(r"^head\.classifier\.conv\.", "classifier.1.", key)


PEERS = {
    name: {"torchvision": Peer(name, partial(torchvision_name, variant.depths))} for name, variant in VARIANTS.items()
}
