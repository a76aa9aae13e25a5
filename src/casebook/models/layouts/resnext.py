"""What torchvision and timm call the weights of ResNeXt."""

from . import Peer
from .resnet import torch_name

NAMES = ("resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d")

PEERS = {
    name: ({"torchvision": Peer(name, torch_name)} if name != "resnext101_32x4d" else {})
    | {"timm": Peer(name, torch_name)}
    for name in NAMES
}
