"""What torchvision, timm and Keras Applications call the weights of VGG."""

import re
from functools import partial

from ..vgg import VARIANTS, Variant
from . import Peer

IN_TORCHVISION = {"head.pool.fc6": "classifier.0", "head.pool.fc7": "classifier.3", "head.classifier": "classifier.6"}
IN_TIMM = {"head.pool.fc6": "pre_logits.fc1", "head.pool.fc7": "pre_logits.fc2", "head.classifier": "head.fc"}
IN_KERAS = {"head.pool.fc6": "fc1", "head.pool.fc7": "fc2", "head.classifier": "predictions"}
WEIGHTS_IN_KERAS = {"weight": "kernel", "bias": "bias"}


def torch_name(variant: Variant, dense: dict[str, str], key: str) -> str:
    """features.0, features.2, ...: convolutions, norms, ReLUs and pooling are numbered through."""
    if (found := _convolution(key)) is None:
        layer, _, weight = key.rpartition(".")
        return f"{dense[layer]}.{weight}"
    block, i, kind, weight = found
    modules = 3 if variant.norm else 2  # of a convolution with what follows it
    first = sum(variant.depths[:block]) * modules + block
    return f"features.{first + i * modules + (kind == 'norm')}.{weight}"


def keras_name(key: str) -> str:
    """block1_conv1/kernel, ..., fc1/kernel, predictions/bias."""
    if (found := _convolution(key)) is None:
        layer, _, weight = key.rpartition(".")
        return f"{IN_KERAS[layer]}/{WEIGHTS_IN_KERAS[weight]}"
    block, i, _, weight = found
    return f"block{block + 1}_conv{i + 1}/{WEIGHTS_IN_KERAS[weight]}"


def _convolution(key: str) -> tuple[int, int, str, str] | None:
    """Block, convolution within the block, conv or norm, and weight, of a key before the head."""
    if found := re.fullmatch(r"(?:stem|stages\.(\d))\.(\d)\.(conv|norm)\.(\w+)", key):
        stage, i, kind, weight = found.groups()
        return 0 if stage is None else int(stage) + 1, int(i), kind, weight
    return None


PEERS = {
    name: {
        "torchvision": Peer(name, partial(torch_name, variant, IN_TORCHVISION)),
        "timm": Peer(
            name,
            partial(torch_name, variant, IN_TIMM),
            convolved={"head.pool.fc6.weight": 7, "head.pool.fc7.weight": 1},
        ),
    }
    | ({"keras": Peer(name.upper(), keras_name)} if name in ("vgg16", "vgg19") else {})
    for name, variant in VARIANTS.items()
    if name != "vgg15_lecture"
}
