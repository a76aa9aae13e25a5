"""What torchvision, timm and Keras call the weights of DenseNet."""

import re

from . import Peer

KERAS_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def torch_name(key: str) -> str:
    """torchvision's and timm's: features.conv0, features.denseblock1.denselayer1.conv1, features.transition1.norm."""
    if found := re.fullmatch(r"stem\.0\.(conv|norm)\.(\w+)", key):
        return f"features.{found[1]}0.{found[2]}"
    if found := _layer(key):
        block, layer, i, kind, weight = found
        return f"features.denseblock{block}.denselayer{layer}.{kind}{i + 1}.{weight}"
    if found := re.fullmatch(r"stages\.(\d+)\.0\.0\.(conv|norm)\.(\w+)", key):
        return f"features.transition{found[1]}.{found[2]}.{found[3]}"
    if found := re.fullmatch(r"stages\.\d+\.\d+\.norm\.(\w+)", key):
        return f"features.norm5.{found[1]}"
    return re.sub(r"^head\.", "", key)


def keras_name(key: str) -> str:
    """conv1_conv, conv2_block1_0_bn, conv2_block1_1_conv, pool2_conv, bn, predictions."""
    if found := re.fullmatch(r"stem\.0\.(conv|norm)\.(\w+)", key):
        return _keras("conv1", found[1], found[2])
    if found := _layer(key):
        block, layer, i, kind, weight = found
        place = i + 1 if kind == "conv" else i
        return _keras(f"conv{block + 1}_block{layer}_{place}", kind, weight)
    if found := re.fullmatch(r"stages\.(\d+)\.0\.0\.(conv|norm)\.(\w+)", key):
        return _keras(f"pool{int(found[1]) + 1}", found[2], found[3])
    if found := re.fullmatch(r"stages\.\d+\.\d+\.norm\.(\w+)", key):
        return f"bn/{KERAS_NORM.get(found[1], found[1])}"
    return {"head.classifier.weight": "predictions/kernel", "head.classifier.bias": "predictions/bias"}[key]


def _keras(layer: str, kind: str, weight: str) -> str:
    return f"{layer}_conv/kernel" if kind == "conv" else f"{layer}_bn/{KERAS_NORM.get(weight, weight)}"


def _layer(key: str) -> tuple[int, int, int, str, str] | None:
    """Block and layer from 1, convolution within the layer from 0, conv or norm, and weight, of a dense layer's key."""
    if (found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.branch\.(\d+)\.(conv|norm)\.(\w+)", key)) is None:
        return None
    stage, number = int(found[1]), int(found[2])
    layer = number + 1 if stage == 0 else number  # a later stage begins with its transition
    return stage + 1, layer, int(found[3]), found[4], found[5]


IN_KERAS = {"densenet121": "DenseNet121", "densenet169": "DenseNet169", "densenet201": "DenseNet201"}
BLOCKS_264 = {"block_config": (6, 12, 64, 48)}


def older_name(key: str) -> str:
    """torchvision's published files have denselayer1.norm.1 where its network has denselayer1.norm1."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


PEERS = {
    name: {"torchvision": Peer(name, torch_name, older=older_name), "timm": Peer(name, torch_name)}
    | ({"keras": Peer(IN_KERAS[name], keras_name)} if name in IN_KERAS else {})
    for name in ("densenet121", "densenet161", "densenet169", "densenet201")
}
PEERS["densenet264"] = {
    "torchvision": Peer("DenseNet", torch_name, arguments=BLOCKS_264),
    "timm": Peer("densenet121", torch_name, arguments=BLOCKS_264),
}
