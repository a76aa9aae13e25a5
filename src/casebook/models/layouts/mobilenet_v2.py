"""What torchvision, timm and Keras Applications call the weights of MobileNet v2."""

import re

from ..mobilenet_v2 import STAGES, WIDTHS
from . import Peer
from .mobilenet_v1 import keras_weight


def torchvision_name(key: str) -> str:
    """features.0.0, features.1.conv.0.0, features.18.1, classifier.1: blocks are numbered through."""
    if found := re.fullmatch(r"stem\.(conv|norm)\.(\w+)", key):
        return f"features.0.{'0' if found[1] == 'conv' else '1'}.{found[2]}"
    if found := _block(key):
        stage, block, i, kind, weight = found
        number = 1 + sum(s.depth for s in STAGES[:stage]) + block
        second = 0 if kind == "conv" else 1
        if stage == len(STAGES):
            return f"features.{number}.{second}.{weight}"
        is_projection = i == (1 if STAGES[stage].expansion == 1 else 2)
        place = str(i + second) if is_projection else f"{i}.{second}"
        return f"features.{number}.conv.{place}.{weight}"
    return re.sub(r"^head\.classifier\.", "classifier.1.", key)


def timm_name(key: str) -> str:
    """conv_stem, blocks.0.0.conv_dw, blocks.1.0.conv_pwl, bn3, conv_head, classifier."""
    if found := re.fullmatch(r"stem\.(conv|norm)\.(\w+)", key):
        return f"{'conv_stem' if found[1] == 'conv' else 'bn1'}.{found[2]}"
    if found := _block(key):
        stage, block, i, kind, weight = found
        if stage == len(STAGES):
            return f"{'conv_head' if kind == 'conv' else 'bn2'}.{weight}"
        convs = ("conv_dw", "conv_pw") if STAGES[stage].expansion == 1 else ("conv_pw", "conv_dw", "conv_pwl")
        return f"blocks.{stage}.{block}.{convs[i] if kind == 'conv' else f'bn{i + 1}'}.{weight}"
    return re.sub(r"^head\.", "", key)


def keras_name(key: str) -> str:
    """Conv1, bn_Conv1, expanded_conv_depthwise, block_1_expand, block_1_expand_BN, Conv_1, Conv_1_bn, predictions."""
    if found := re.fullmatch(r"stem\.(conv|norm)\.(\w+)", key):
        return f"{'bn_' * (found[1] == 'norm')}Conv1/{keras_weight(found[1], found[2])}"
    if found := _block(key):
        stage, block, i, kind, weight = found
        if stage == len(STAGES):
            return f"Conv_1{'_bn' * (kind == 'norm')}/{keras_weight(kind, weight)}"
        number = sum(s.depth for s in STAGES[:stage]) + block
        layers = ("depthwise", "project") if STAGES[stage].expansion == 1 else ("expand", "depthwise", "project")
        prefix = f"block_{number}" if number else "expanded_conv"
        return f"{prefix}_{layers[i]}{'_BN' * (kind == 'norm')}/{keras_weight(kind, weight)}"
    return f"predictions/{keras_weight('conv', key.removeprefix('head.classifier.'))}"


def _block(key: str) -> tuple[int, int, int, str, str] | None:
    """Stage, block, convolution within the block, conv or norm, and weight, of a key below `stages`."""
    if (found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.(?:branch\.)?(?:(\d+)\.)?(conv|norm)\.(\w+)", key)) is None:
        return None
    stage, block, i, kind, weight = found.groups()
    return int(stage), int(block), int(i or 0), kind, weight


IN_TIMM = {
    "mobilenet_v2_035": "mobilenetv2_035",
    "mobilenet_v2_050": "mobilenetv2_050",
    "mobilenet_v2_075": "mobilenetv2_075",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v2_140": "mobilenetv2_140",
}

PEERS = {
    name: {
        "torchvision": Peer("mobilenet_v2", torchvision_name, arguments={"width_mult": width}),
        "keras": Peer("MobileNetV2", keras_name, arguments={"alpha": width}, options={"padding": "same"}),
    }
    | ({"timm": Peer(IN_TIMM[name], timm_name)} if name in IN_TIMM else {})
    for name, width in WIDTHS.items()
}
