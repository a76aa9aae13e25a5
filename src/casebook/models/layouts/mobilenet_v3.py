"""What torchvision, timm and Keras Applications call the weights of MobileNet v3.

timm has each network twice: with TensorFlow's padding and epsilon, which is the peer here, and as mobilenetv3_small_100
and mobilenetv3_large_100 with PyTorch's, which have the same names and need `norm_eps=1e-5`.
"""

import re
from functools import partial

from ..mobilenet_v3 import STEM_CHANNELS, VARIANTS, Block, Variant
from . import Peer
from .mobilenet_v1 import keras_weight

LAYER = re.compile(
    r"stages\.(?P<stage>\d+)\.(?P<block>\d+)\.(?:branch\.)?"
    r"(?P<layer>expand|depthwise|excitation|project)\.(?P<part>conv|norm|reduce|expand)\.(?P<weight>\w+)"
)
LAST = re.compile(r"stages\.\d+\.0\.(?P<part>conv|norm)\.(?P<weight>\w+)")


def torchvision_name(variant: Variant, key: str) -> str:
    """features.0.0, features.1.block.0.0, features.4.block.2.fc1, features.16.1, classifier.0, classifier.3.

    Blocks are numbered through; the layers of a block are numbered without those that it lacks.
    """
    if found := LAYER.fullmatch(key):
        stage, i = int(found["stage"]), int(found["block"])
        layers = _layers(_channels_before(variant, stage, i), variant.stages[stage][i])
        part = {"conv": "0", "norm": "1", "reduce": "fc1", "expand": "fc2"}[found["part"]]
        block = f"features.{1 + _number(variant, stage, i)}.block"
        return f"{block}.{layers.index(found['layer'])}.{part}.{found['weight']}"
    if found := LAST.fullmatch(key):
        return f"features.{1 + sum(map(len, variant.stages))}.{int(found['part'] == 'norm')}.{found['weight']}"
    key = key.replace("stem.conv.", "features.0.0.").replace("stem.norm.", "features.0.1.")
    return key.replace("head.pool.hidden.", "classifier.0.").replace("head.classifier.", "classifier.3.")


def timm_name(variant: Variant, key: str) -> str:
    """conv_stem, blocks.0.0.conv_dw, blocks.2.0.se.conv_reduce, blocks.6.0.conv, conv_head, classifier."""
    if found := LAYER.fullmatch(key):
        stage, i = int(found["stage"]), int(found["block"])
        expands = "expand" in _layers(_channels_before(variant, stage, i), variant.stages[stage][i])
        block = f"blocks.{stage}.{i}"
        if found["layer"] == "excitation":
            return f"{block}.se.conv_{found['part']}.{found['weight']}"
        names = (
            {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
            if expands
            else {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
        )
        return f"{block}.{names[found['layer']][found['part'] == 'norm']}.{found['weight']}"
    if found := LAST.fullmatch(key):
        return f"blocks.{len(variant.stages)}.0.{'conv' if found['part'] == 'conv' else 'bn1'}.{found['weight']}"
    key = key.replace("stem.conv.", "conv_stem.").replace("stem.norm.", "bn1.")
    return key.replace("head.pool.hidden.", "conv_head.").removeprefix("head.")


def keras_name(variant: Variant, key: str) -> str:
    """conv, conv_bn, expanded_conv_depthwise, expanded_conv_1_expand, expanded_conv_3_squeeze_excite_conv, conv_1."""
    if found := LAYER.fullmatch(key):
        part, weight = found["part"], found["weight"]
        number = _number(variant, int(found["stage"]), int(found["block"]))
        block = f"expanded_conv_{number}" if number else "expanded_conv"
        if found["layer"] == "excitation":
            return f"{block}_squeeze_excite_conv{'_1' * (part == 'expand')}/{keras_weight('conv', weight)}"
        return f"{block}_{found['layer']}{'_bn' * (part == 'norm')}/{keras_weight(part, weight)}"
    if found := re.fullmatch(r"(stem|stages\.\d+\.0)\.(conv|norm)\.(\w+)", key):
        return f"conv{'_1' * (found[1] != 'stem')}{'_bn' * (found[2] == 'norm')}/{keras_weight(found[2], found[3])}"
    layer, _, weight = key.rpartition(".")
    return f"{'logits' if layer == 'head.classifier' else 'conv_2'}/{keras_weight('conv', weight)}"


def _number(variant: Variant, stage: int, block: int) -> int:
    return sum(map(len, variant.stages[:stage])) + block


def _channels_before(variant: Variant, stage: int, block: int) -> int:
    blocks = [row for rows in variant.stages for row in rows]
    number = _number(variant, stage, block)
    return blocks[number - 1].channels if number else STEM_CHANNELS


def _layers(in_channels: int, block: Block) -> list[str]:
    expand, excitation = ["expand"] * (block.width != in_channels), ["excitation"] * block.squeezes
    return [*expand, "depthwise", *excitation, "project"]


HIDDEN, LOGITS = {"head.pool.hidden.weight": 1}, {"head.classifier.weight": 1}

PEERS = {
    name: {
        "torchvision": Peer(name, partial(torchvision_name, variant)),
        "timm": Peer(
            f"tf_{name.replace('mobilenet_v3', 'mobilenetv3')}_100",
            partial(timm_name, variant),
            options={"padding": "same"},
            convolved=HIDDEN,
        ),
        "keras": Peer(
            f"MobileNetV3{name.removeprefix('mobilenet_v3_').title()}",
            partial(keras_name, variant),
            arguments={"include_preprocessing": False},
            options={"padding": "same"},
            convolved=HIDDEN | LOGITS,
        ),
    }
    for name, variant in VARIANTS.items()
}
