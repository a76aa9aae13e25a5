"""What timm and Keras Applications call the weights of Inception v4 and Inception-ResNet v2."""

import re

from ..inception_v4 import InceptionResNetV2
from . import Peer
from .inception import KERAS, numbered_keras_name


def timm_name_v4(key: str) -> str:
    """features.0.conv, features.3.conv, features.9.branch1.0.bn, features.20.branch2_3a, last_linear."""
    key = re.sub(r"^stem\.", "features.", key)
    key = re.sub(r"^features\.3\.branch1\.", "features.3.conv.", key)
    key = re.sub(r"^features\.5\.branch0\.", "features.5.conv.", key)
    if found := re.fullmatch(r"stages\.(\d)\.inception\d(\w)\.(branch[\w.]+)\.((?:conv|norm)\.\w+)", key):
        stage, module, branch, rest = found.groups()
        number = (5, 10, 18)[int(stage)] + ord(module) - ord("a")
        if stage == "2" and module != "a":  # the modules with splits
            branch = re.sub(r"\.(\d)\.branch([01])$", lambda m: f"_{m[1]}{'ab'[int(m[2])]}", branch)
            branch = re.sub(r"^(branch[12])\.(\d)$", r"\1_\2", branch)
        key = f"features.{number}.{branch}.{rest}"
    return re.sub(r"^head\.classifier\.", "last_linear.", key).replace(".norm.", ".bn.")


STEM_RESNET = {"0": "1a", "1": "2a", "2": "2b", "4": "3b", "5": "4a"}


def timm_name_resnet(key: str) -> str:
    """conv2d_1a.conv, mixed_5b.branch1.0.bn, repeat.0.branch0.conv, repeat.0.conv2d, block8, conv2d_7b, classif."""
    key = key.replace(".norm.", ".bn.")
    key = re.sub(r"^stem\.(\d)", lambda m: f"conv2d_{STEM_RESNET[m[1]]}", key)
    key = re.sub(r"^stages\.\d\.inception(\w\w)\.", r"mixed_\1.", key)
    key = re.sub(r"^stages\.2\.conv7b\.", "conv2d_7b.", key)
    key = re.sub(r"^stages\.2\.residual10\.", "block8.", key)
    repeat = ("repeat", "repeat_1", "repeat_2")
    key = re.sub(r"^stages\.(\d)\.residual(\d+)\.", lambda m: f"{repeat[int(m[1])]}.{int(m[2]) - 1}.", key)
    key = key.replace(".branch.0.", ".").replace(".branch.1.", ".conv2d.")
    return re.sub(r"^head\.classifier\.", "classif.", key)


def keras_name_resnet(key: str) -> str:
    """conv2d/kernel, batch_normalization_3/beta, block35_1_conv/bias, conv_7b/kernel, conv_7b_bn/beta, predictions."""
    if found := re.fullmatch(r"stages\.(\d)\.residual(\d+)\.branch\.1\.(weight|bias)", key):
        block = ("block35", "block17", "block8")[int(found[1])]
        return f"{block}_{found[2]}_conv/{'kernel' if found[3] == 'weight' else 'bias'}"
    if key.startswith("stages.2.conv7b."):
        layer, weight = KERAS[key.removeprefix("stages.2.conv7b.")]
        return f"{'conv_7b' if layer == 'conv2d' else 'conv_7b_bn'}/{weight}"
    return numbered_keras_name(key, InceptionResNetV2)


PEERS = {
    "inception_v4": {"timm": Peer("inception_v4", timm_name_v4)},
    "inception_resnet_v2": {
        "timm": Peer("inception_resnet_v2", timm_name_resnet),
        "keras": Peer("InceptionResNetV2", keras_name_resnet),
    },
}
