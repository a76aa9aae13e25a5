"""What timm and Keras Applications call the weights of MobileNet v1."""

import re

from ..mobilenet_v1 import STAGES, WIDTHS
from . import Peer
from .resnet import KERAS

LAYER = re.compile(r"stages\.(\d+)\.(\d+)\.(depthwise|pointwise)\.(conv|norm)\.(\w+)")


def timm_name(key: str) -> str:
    """conv_stem, bn1, blocks.0.0.conv_dw, blocks.0.0.bn1, blocks.0.0.conv_pw, blocks.0.0.bn2, classifier."""
    if found := LAYER.fullmatch(key):
        stage, block, layer, kind, weight = found.groups()
        conv, norm = ("conv_dw", "bn1") if layer == "depthwise" else ("conv_pw", "bn2")
        return f"blocks.{stage}.{block}.{conv if kind == 'conv' else norm}.{weight}"
    key = key.replace("stem.conv.", "conv_stem.").replace("stem.norm.", "bn1.")
    return key.removeprefix("head.")


def keras_name(key: str) -> str:
    """conv1, conv1_bn, conv_dw_1, conv_dw_1_bn, conv_pw_1, ..., conv_preds: blocks are numbered through, from 1."""
    if found := LAYER.fullmatch(key):
        stage, block, layer, kind, weight = found.groups()
        number = 1 + sum(row.depth for row in STAGES[: int(stage)]) + int(block)
        conv = f"conv_{'dw' if layer == 'depthwise' else 'pw'}_{number}"
        return f"{conv}{'_bn' * (kind == 'norm')}/{keras_weight(kind, weight)}"
    if found := re.fullmatch(r"stem\.(conv|norm)\.(\w+)", key):
        return f"conv1{'_bn' * (found[1] == 'norm')}/{keras_weight(found[1], found[2])}"
    return f"conv_preds/{keras_weight('conv', key.removeprefix('head.classifier.'))}"


def keras_weight(kind: str, weight: str) -> str:
    """("norm", "running_mean") -> "moving_mean"."""
    return KERAS[kind].get(weight, weight)


PEERS = {
    name: {
        "keras": Peer(
            "MobileNet",
            keras_name,
            arguments={"alpha": width},
            options={"padding": "same"},  # at even sides: at odd ones Keras pads none before and one after all the same
            convolved={"head.classifier.weight": 1},
        )
    }
    for name, width in WIDTHS.items()
}
PEERS["mobilenet_v1"]["timm"] = Peer("mobilenetv1_100", timm_name, options={"norm_eps": 1e-5})
