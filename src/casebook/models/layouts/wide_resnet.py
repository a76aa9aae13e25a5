"""What torchvision and timm call the weights of Wide ResNet."""

from . import Peer
from .resnet import torch_name

PEERS = {
    name: {"torchvision": Peer(name, torch_name), "timm": Peer(name, torch_name)}
    for name in ("wide_resnet50_2", "wide_resnet101_2")
}
