"""What torchvision, timm and Keras Applications call the weights of EfficientNet.

timm has each network twice: with TensorFlow's padding and epsilon, which is the peer here, and as efficientnet_b0 and
so on with PyTorch's, which have the same names and need `norm_eps=1e-5`.
"""

import re
from string import ascii_lowercase

from ..efficientnet import SCALES, STAGES
from . import Peer
from .mobilenet_v1 import keras_weight

LAYER = re.compile(
    r"stages\.(?P<stage>\d+)\.(?P<block>\d+)\.(?:branch\.)?"
    r"(?P<layer>expand|depthwise|excitation|project)\.(?P<part>conv|norm|reduce|expand)\.(?P<weight>\w+)"
)
LAST = re.compile(rf"stages\.{len(STAGES)}\.0\.(?P<part>conv|norm)\.(?P<weight>\w+)")
FIRST_LAYERS = ("depthwise", "excitation", "project")  # of the stage without expansion
LAYERS = ("expand", *FIRST_LAYERS)
IN_KERAS = {
    "expand": ("expand_conv", "expand_bn"),
    "depthwise": ("dwconv", "bn"),
    "project": ("project_conv", "project_bn"),
}


def torchvision_name(key: str) -> str:
    """features.0.0, features.1.0.block.0.0, features.2.0.block.2.fc1, features.8.1, classifier.1."""
    if found := LAYER.fullmatch(key):
        number = _layers(int(found["stage"])).index(found["layer"])
        part = {"conv": "0", "norm": "1", "reduce": "fc1", "expand": "fc2"}[found["part"]]
        return f"features.{int(found['stage']) + 1}.{found['block']}.block.{number}.{part}.{found['weight']}"
    if found := LAST.fullmatch(key):
        return f"features.{len(STAGES) + 1}.{int(found['part'] == 'norm')}.{found['weight']}"
    key = key.replace("stem.conv.", "features.0.0.").replace("stem.norm.", "features.0.1.")
    return key.replace("head.classifier.", "classifier.1.")


def timm_name(key: str) -> str:
    """conv_stem, blocks.0.0.conv_dw, blocks.0.0.se.conv_reduce, blocks.1.0.conv_pwl, conv_head, bn2, classifier."""
    if found := LAYER.fullmatch(key):
        block = f"blocks.{found['stage']}.{found['block']}"
        if found["layer"] == "excitation":
            return f"{block}.se.conv_{found['part']}.{found['weight']}"
        layers = [layer for layer in _layers(int(found["stage"])) if layer != "excitation"]
        convs = ("conv_dw", "conv_pw") if len(layers) == 2 else ("conv_pw", "conv_dw", "conv_pwl")
        i = layers.index(found["layer"])
        return f"{block}.{convs[i] if found['part'] == 'conv' else f'bn{i + 1}'}.{found['weight']}"
    if found := LAST.fullmatch(key):
        return f"{'conv_head' if found['part'] == 'conv' else 'bn2'}.{found['weight']}"
    key = key.replace("stem.conv.", "conv_stem.").replace("stem.norm.", "bn1.")
    return key.removeprefix("head.")


def keras_name(key: str) -> str:
    """stem_conv, stem_bn, block1a_dwconv, block1a_bn, block1a_se_reduce, block2a_expand_conv, top_conv, predictions."""
    if found := LAYER.fullmatch(key):
        part, weight = found["part"], found["weight"]
        block = f"block{int(found['stage']) + 1}{ascii_lowercase[int(found['block'])]}"
        if found["layer"] == "excitation":
            return f"{block}_se_{part}/{keras_weight('conv', weight)}"
        return f"{block}_{IN_KERAS[found['layer']][part == 'norm']}/{keras_weight(part, weight)}"
    if found := re.fullmatch(r"(stem|stages\.\d+\.0)\.(conv|norm)\.(\w+)", key):
        layer = "stem" if found[1] == "stem" else "top"
        return f"{layer}_{'conv' if found[2] == 'conv' else 'bn'}/{keras_weight(found[2], found[3])}"
    return f"predictions/{keras_weight('conv', key.removeprefix('head.classifier.'))}"


def _layers(stage: int) -> tuple[str, ...]:
    return FIRST_LAYERS if STAGES[stage].expansion == 1 else LAYERS


IN_TORCHVISION = {"norm_eps": 1e-5}  # of b0 to b4; b5 to b7 have ours

PEERS = {
    name: {
        "torchvision": Peer(name, torchvision_name, options=IN_TORCHVISION if name < "efficientnet_b5" else {}),
        "timm": Peer(f"tf_{name}", timm_name, options={"padding": "same"}),
        "keras": Peer(f"EfficientNet{name[-2:].upper()}", keras_name, options={"padding": "same"}),
    }
    for name in SCALES
}
