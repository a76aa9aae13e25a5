"""What timm and Keras Applications call the weights of ResNet v2."""

import re

from . import Peer
from .resnet import KERAS, keras_layer

BLOCK = re.compile(
    r"stages\.(?P<stage>\d+)\.(?P<block>\d+)\."
    r"(?:preactivation\.(?P<first>norm)|branch\.(?P<i>\d+)(?:\.(?P<kind>conv|norm))?|shortcut)\.(?P<weight>\w+)"
)


def timm_name(key: str) -> str:
    """stem.conv, stages.0.blocks.0.norm1, stages.0.blocks.0.conv1, stages.0.blocks.0.downsample.conv, norm, head.fc.

    Blocks number their norms from the pre-activation on, so a norm has the number of the convolution after it.
    """
    if found := BLOCK.fullmatch(key):
        if found["first"]:
            place = "norm1"
        elif found["i"]:
            number = int(found["i"]) + 1
            place = f"norm{number + 1}" if found["kind"] == "norm" else f"conv{number}"
        else:
            place = "downsample.conv"
        return f"stages.{found['stage']}.blocks.{found['block']}.{place}.{found['weight']}"
    key = re.sub(r"^stem\.0\.", "stem.conv.", key)
    return re.sub(r"^stages\.\d+\.final\.norm\.", "norm.", key).replace("head.classifier.", "head.fc.")


def keras_name(key: str) -> str:
    """conv1_conv, conv2_block1_preact_bn, conv2_block1_1_conv, conv2_block1_0_conv (a shortcut), post_bn, ...."""
    if found := BLOCK.fullmatch(key):
        block, kind = f"conv{int(found['stage']) + 2}_block{int(found['block']) + 1}", found["kind"] or "conv"
        if found["first"]:
            return keras_layer(f"{block}_preact", "norm", found["weight"])
        place = int(found["i"]) + 1 if found["i"] else 0
        return keras_layer(f"{block}_{place}", kind, found["weight"])
    if found := re.fullmatch(r"stem\.0\.(\w+)", key):
        return keras_layer("conv1", "conv", found[1])
    if found := re.fullmatch(r"stages\.\d+\.final\.norm\.(\w+)", key):
        return keras_layer("post", "norm", found[1])
    return f"predictions/{KERAS['conv'][key.removeprefix('head.classifier.')]}"


PEERS = {
    f"resnet{depth}_v2": {"timm": Peer(f"resnetv2_{depth}", timm_name, convolved={"head.classifier.weight": 1})}
    for depth in (18, 34, 50, 101, 152)
} | {f"resnet{depth}_v2_keras": {"keras": Peer(f"ResNet{depth}V2", keras_name)} for depth in (50, 101, 152)}
