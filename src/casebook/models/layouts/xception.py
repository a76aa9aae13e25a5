"""What timm and Keras Applications call the weights of Xception."""

import re

from ..xception import ENTRY_WIDTHS, MIDDLE_DEPTH
from . import Peer
from .mobilenet_v1 import keras_weight

BLOCK = re.compile(r"stages\.(\d+)\.(\d+)\.(branch\.\d+|shortcut)\.(depthwise|pointwise|conv|norm)\.(\w+)")
LAST = re.compile(r"stages\.\d+\.([12])\.(depthwise|pointwise|norm)\.(\w+)")  # behind the exit flow's block
STEM = re.compile(r"stem\.([01])\.(conv|norm)\.(\w+)")


def timm_name(key: str) -> str:
    """conv1, bn1, conv2, bn2, block1.rep.0.conv1, block1.rep.1, block1.skip, block12.skipbn, conv3.pointwise, bn4, fc.

    A block numbers ReLUs, separable convolutions and norms through; the first has no ReLU at its beginning.
    """
    if found := BLOCK.fullmatch(key):
        stage, block, place, kind, weight = found.groups()
        number = _number(int(stage), int(block))
        if place == "shortcut":
            return f"block{number}.skip{'bn' * (kind == 'norm')}.{weight}"
        i = 3 * int(place.removeprefix("branch.")) - 2 - (number == 1)
        return f"block{number}.rep.{i + 1 if kind == 'norm' else f'{i}.{CONV[kind]}'}.{weight}"
    if found := LAST.fullmatch(key):
        number, kind, weight = int(found[1]) + 2, found[2], found[3]
        return f"bn{number}.{weight}" if kind == "norm" else f"conv{number}.{CONV[kind]}.{weight}"
    if found := STEM.fullmatch(key):
        return f"{'conv' if found[2] == 'conv' else 'bn'}{int(found[1]) + 1}.{found[3]}"
    return key.replace("head.classifier.", "fc.")


def keras_name(key: str) -> str:
    """block1_conv1, block1_conv1_bn, block2_sepconv1, block14_sepconv2_bn, conv2d_3 (a shortcut), predictions."""
    if found := BLOCK.fullmatch(key):
        stage, block, place, kind, weight = found.groups()
        number = _number(int(stage), int(block))
        if place == "shortcut":
            shortcut = min(int(stage), len(ENTRY_WIDTHS))  # the fourth is the exit flow's
            layer = "conv2d" if kind == "conv" else "batch_normalization"
            return f"{layer}{f'_{shortcut}' if shortcut else ''}/{keras_weight(kind, weight)}"
        return _separable(f"block{number + 1}_sepconv{place.removeprefix('branch.')}", kind, weight)
    if found := LAST.fullmatch(key):
        return _separable(f"block{_number(len(ENTRY_WIDTHS) + 1, 0) + 2}_sepconv{found[1]}", found[2], found[3])
    if found := STEM.fullmatch(key):
        return f"block1_conv{int(found[1]) + 1}{'_bn' * (found[2] == 'norm')}/{keras_weight(found[2], found[3])}"
    return f"predictions/{keras_weight('conv', key.removeprefix('head.classifier.'))}"


CONV = {"depthwise": "conv1", "pointwise": "pointwise"}


def _number(stage: int, block: int) -> int:
    """Blocks with a shortcut are numbered through, from 1: the entry flow's, the middle flow's, the exit flow's."""
    return 1 + stage + block + (MIDDLE_DEPTH - 1) * (stage > len(ENTRY_WIDTHS))


def _separable(layer: str, kind: str, weight: str) -> str:
    return f"{layer}_bn/{keras_weight('norm', weight)}" if kind == "norm" else f"{layer}/{kind}_kernel"


PEERS = {
    "xception": {
        "timm": Peer("legacy_xception", timm_name, options={"norm_eps": 1e-5}),
        "keras": Peer("Xception", keras_name, options={"padding": "same"}),
    }
}
