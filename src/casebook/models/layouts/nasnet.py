"""What timm and Keras call the weights of NASNet."""

import re
from functools import partial
from typing import NamedTuple

from ..nasnet import VARIANTS
from . import Peer

KERAS_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


class Key(NamedTuple):
    """One of our keys within a cell: "stages.1.cell4.rows.0.left.1.depthwise.weight"."""

    stage: int  # -1: the stem
    is_reduction: bool
    number: int  # of the cell among the normal ones, or among the reduction cells
    path: str  # within the cell: "current.conv", "previous.norm", "rows.0.left.1.depthwise"
    weight: str


def in_cell(key: str) -> Key | None:
    if found := re.fullmatch(r"(?:stem|stages\.(\d))\.(reduction|cell)(\d+)\.(.+)\.(\w+)", key):
        stage, kind, number, path, weight = found.groups()
        return Key(-1 if stage is None else int(stage), kind == "reduction", int(number), path, weight)
    return None


def timm_name(key: str) -> str:
    """conv0.conv, cell_stem_0.comb_iter_0_left.separable_1.depthwise_conv2d, reduction_cell_0.conv_1x1.conv, ..."""
    if found := re.fullmatch(r"stem\.conv\.(conv|norm)\.(\w+)", key):
        return f"conv0.{'conv' if found[1] == 'conv' else 'bn'}.{found[2]}"
    if (found := in_cell(key)) is None:
        return key.replace("head.classifier.", "last_linear.")
    if found.stage < 0:
        cell, factorized = f"cell_stem_{found.number}", found.number == 1
    elif found.is_reduction:
        cell, factorized = f"reduction_cell_{found.number - 2}", False
    else:
        cell, factorized = f"cell_{found.number}", found.number % VARIANTS["nasnet_large"].depth == 0
    path = "final_path_bn" if factorized and found.path == "previous.norm" else timm_path(found.path)
    return f"{cell}.{path}.{found.weight}"


def timm_path(path: str) -> str:
    if found := re.fullmatch(r"rows\.(\d)\.(left|right)\.(\d)\.(\w+)", path):
        row, side, i, part = int(found[1]), found[2], int(found[3]) + 1, found[4]
        operation = f"comb_iter_{row}_{side}"
        return f"{operation}.bn_sep_{i}" if part == "norm" else f"{operation}.separable_{i}.{part}_conv2d"
    return {
        "current.conv": "conv_1x1.conv",
        "current.norm": "conv_1x1.bn",
        "previous.conv": "conv_prev_1x1.conv",
        "previous.norm": "conv_prev_1x1.bn",
        "previous.even": "path_1.conv",
        "previous.odd": "path_2.conv",
    }[path]


def keras_name(depth: int, key: str) -> str:
    """stem_conv1, separable_conv_1_normal_left1_0, reduction_conv_1_stem_1, adjust_bn_reduce_4, predictions, ..."""
    if found := re.fullmatch(r"stem\.conv\.(conv|norm)\.(\w+)", key):
        return "stem_conv1/kernel" if found[1] == "conv" else f"stem_bn1/{KERAS_NORM.get(found[2], found[2])}"
    if (found := in_cell(key)) is None:
        return {"head.classifier.weight": "predictions/kernel", "head.classifier.bias": "predictions/bias"}[key]
    if found.stage < 0:
        cell = f"stem_{found.number + 1}"
    elif found.is_reduction:
        cell = f"reduce_{depth * (found.number - 1)}"
    else:
        cell = str(found.number + (found.stage > 0))
    layer, kind = keras_layer(found.path, "reduction" if found.is_reduction else "normal", cell)
    return f"{layer}/{kind or KERAS_NORM.get(found.weight, found.weight)}"


def keras_layer(path: str, kind: str, cell: str) -> tuple[str, str]:
    """The layer, and which of its weights; "" for those of a norm."""
    if found := re.fullmatch(r"rows\.(\d)\.(left|right)\.(\d)\.(\w+)", path):
        row, side, i, part = int(found[1]) + 1, found[2], int(found[3]) + 1, found[4]
        if kind == "reduction" and row == 5:
            row = 4  # Keras counts so
        place = f"{kind}_{side}{row}_{cell}"
        if part == "norm":
            return f"separable_conv_{i}_bn_{place}", ""
        return f"separable_conv_{i}_{place}", f"{part}_kernel"
    return {
        "current.conv": (f"{kind}_conv_1_{cell}", "kernel"),
        "current.norm": (f"{kind}_bn_1_{cell}", ""),
        "previous.conv": (f"adjust_conv_projection_{cell}", "kernel"),
        "previous.norm": (f"adjust_bn_{cell}", ""),
        "previous.even": (f"adjust_conv_1_{cell}", "kernel"),
        "previous.odd": (f"adjust_conv_2_{cell}", "kernel"),
    }[path]


def keras(name: str, theirs: str) -> Peer:
    return Peer(theirs, partial(keras_name, VARIANTS[name].depth), options={"pooling": "keras"})


PEERS = {
    "nasnet_mobile": {"keras": keras("nasnet_mobile", "NASNetMobile")},
    "nasnet_large": {
        "timm": Peer("nasnetalarge", timm_name, options={"pooling": "timm"}),
        "keras": keras("nasnet_large", "NASNetLarge"),
    },
}
