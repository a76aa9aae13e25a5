"""The casebook: give it a name, and it gives you the network or the network's card.

`FAMILIES` below is the catalogue. The cards of a family NAME are in `cards/NAME.py` and its networks in `NAME.py`. Both
are imported on first use, so listing names and reading cards does not import torch.
"""

import dataclasses
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, WeightsError, did_you_mean
from .foreign_names import is_foreign

if TYPE_CHECKING:
    from pathlib import Path

    from ..preprocessing import Preprocessing
    from .card import ModelCard
    from .layers import Network

__all__ = ["FAMILIES", "create_model", "list_models", "model_card", "trust_code"]

FAMILIES = {
    "lenet": ("lenet5", "lenet5_1998"),
    "alexnet": ("alexnet", "alexnet_ungrouped", "alexnet_owt"),
    "zfnet": ("zfnet", "zfnet_b", "zfnet_wide"),
    "nin": ("nin_cifar", "nin_imagenet"),
    "vgg": (
        *("vgg11", "vgg13", "vgg16", "vgg19"),
        *("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
        "vgg15_lecture",
    ),
    "googlenet": ("googlenet", "googlenet_bn", "googlenet_naive"),
    "inception": ("inception_v2", "inception_v3"),
    "inception_v4": ("inception_v4", "inception_resnet_v2"),
    "resnet": (
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("resnet50_v1", "resnet101_v1", "resnet152_v1"),
        *("plain18", "plain34"),
    ),
    "resnet_cifar": (
        *("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"),
        *("plain20", "plain32", "plain44", "plain56", "plain110"),
    ),
    "resnet_v2": (
        *("resnet18_v2", "resnet34_v2", "resnet50_v2", "resnet101_v2", "resnet152_v2"),
        *("resnet50_v2_keras", "resnet101_v2_keras", "resnet152_v2_keras"),
    ),
    "wide_resnet": ("wide_resnet50_2", "wide_resnet101_2", "wrn28_10"),
    "resnext": ("resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    "senet": ("seresnet50", "senet154"),
    "densenet": (
        *("densenet121", "densenet169", "densenet201", "densenet161", "densenet264"),
        "densenet_bc_100_12",
    ),
    "fractalnet": ("fractalnet20", "fractalnet40", "fractalnet20_column", "fractalnet40_column"),
    "nasnet": ("nasnet_mobile", "nasnet_large"),
    "mobilenet_v1": ("mobilenet_v1", "mobilenet_v1_025", "mobilenet_v1_050", "mobilenet_v1_075"),
    "mobilenet_v2": (
        *("mobilenet_v2", "mobilenet_v2_035", "mobilenet_v2_050", "mobilenet_v2_075"),
        *("mobilenet_v2_130", "mobilenet_v2_140"),
    ),
    "mobilenet_v3": ("mobilenet_v3_small", "mobilenet_v3_large"),
    "efficientnet": (
        *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"),
        *("efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7"),
    ),
    "squeezenet": ("squeezenet1_0", "squeezenet1_1"),
    "xception": ("xception",),
}


def list_models(pattern: str | None = None) -> list[str]:
    """The names that `create_model` accepts, by family; with `pattern`, those that contain or match (*, ?) it."""
    names = [name for names in FAMILIES.values() for name in names]
    if not pattern:
        return names
    pattern = pattern.lower()
    if any(sign in pattern for sign in "*?["):
        return [name for name in names if fnmatchcase(name, pattern)]
    return [name for name in names if pattern in name]


def model_card(name: str) -> "ModelCard":
    """What is known about a network. Raises ModelError for an unknown name."""
    if is_foreign(name):
        from .foreign import card

        return card(name)
    card = import_module(f".cards.{_family(name)}", __name__).CARDS[name]
    from .cards.torchvision import torchvision_weights

    originals, known = torchvision_weights(name), card.weights
    if originals and known and known[0].name.startswith("torchvision/") and not known[0].proved:
        # timm's copy of torchvision's first weights: the original has a checksum.
        return dataclasses.replace(card, weights=originals[:1] + known + originals[1:])
    return dataclasses.replace(card, weights=known + originals)


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    weights: "str | Path | None" = None,
    pretrained: bool = False,
    small_stem: bool = False,
    padding: str | None = None,
    **options: Any,
) -> "Network":
    """A network by name, freshly initialised or with weights.

    `num_classes` and `in_channels` default to those of the weights, or else of the card. `weights` is a file
    (safetensors or PyTorch), a run folder, or a name on the card ("imagenet" is the first of ImageNet);
    `pretrained=True` means the first weights on the card. Options that the weights need, such as their padding, are set
    unless you give them. With another `num_classes` than the weights have, the last layer stays untrained; the log says
    so. `small_stem` builds the network's stem for small pictures, `padding` is "same" or "symmetric", and
    `model_card(name).options` lists all options of a network.

    The network has `card`, `preprocessing` (of the weights, or else of the card) and `classes` (the names of its
    outputs where the weights know them, or else None).

    Raises:
        ModelError: for an unknown name, or an option that the network does not have or accept.
        WeightsError: for weights that cannot be found, read, or fitted.
    """
    options |= {"small_stem": True} if small_stem else {}
    options |= {"padding": padding} if padding is not None else {}
    options |= {"in_channels": in_channels} if in_channels is not None else {}
    if pretrained:
        weights = _pretrained(name, weights)
    if weights is None:
        return _build(name, options if num_classes is None else options | {"num_classes": num_classes})

    from . import weights as loading

    found = loading.resolve(weights, name)
    replace_head = num_classes is not None and num_classes != found.num_classes
    network = _build(
        name, found.options | options | {"num_classes": num_classes if replace_head else found.num_classes}
    )
    for note in loading.load_into(network, found, replace_head=replace_head):
        loading.logger.info("%s: %s", name, note)
    return network


def _family(name: str) -> str:
    for family, names in FAMILIES.items():
        if name in names:
            return family
    suggestion = did_you_mean(name, list_models()) or ";"
    raise ModelError(f"unknown network '{name}'{suggestion} 'casebook models' lists all")


def _pretrained(name: str, weights: "str | Path | None") -> str:
    """The name of the weights that `pretrained=True` means."""
    if weights is not None:
        raise ModelError(f"pretrained=True and weights={str(weights)!r} are both given; leave out pretrained")
    published = model_card(name).weights
    if not published:
        raise WeightsError(
            f"no published weights are known for {name}; leave out pretrained=True, or give a file as weights=..."
        )
    return published[0].name


def trust_code(name: str) -> None:
    """Lets this process run the code of a network of yours, "FILE.py:FUNCTION" or "PACKAGE.MODULE:FUNCTION".

    A name that is typed on the command line is trusted. A run folder that names code is not: opening one asks for this
    first, so that no run makes you run its maker's code.
    """
    from .foreign import trust_code as trust

    trust(name)


def _build(name: str, options: dict[str, Any]) -> "Network":
    if is_foreign(name):
        from .foreign import build as build_foreign

        network = build_foreign(name, options)
        network.card = None if any(weight.is_meta for weight in network.parameters()) else model_card(name)
        network.departures = () if network.card is None else network.card.departures
        return network

    from inspect import signature

    build = import_module(f".{_family(name)}", __name__).NETWORKS[name]
    known = signature(build).parameters
    for option, value in options.items():
        if option not in known:
            suggestion = did_you_mean(option, known) or ";"
            raise ModelError(f"{name} has no option '{option}'{suggestion} it takes {', '.join(known)}")
        if option in ("num_classes", "in_channels") and (type(value) is not int or value < 1):
            raise ModelError(f"{option} is {value!r}, expected an integer of at least 1")
        if type(known[option].default) is bool and type(value) is not bool:
            raise ModelError(f"{option} is {value!r}, expected true or false")
    network, card = build(**options), model_card(name)
    kept = tuple(departure for departure in card.departures if departure.what not in network.undone)
    network.departures = kept + network.departures
    network.name, network.options, network.card = name, dict(options), card
    network.preprocessing = _for_channels(card.preprocessing, network.in_channels)
    return network


def _for_channels(preprocessing: "Preprocessing", in_channels: int) -> "Preprocessing | None":
    """The preprocessing for colour or grey pictures; None for a number of channels that pictures do not have."""
    if in_channels == preprocessing.channels:
        return preprocessing
    if in_channels not in (1, 3):
        return None
    mean, std = (sum(values) / len(values) for values in (preprocessing.mean, preprocessing.std))
    mode = "RGB" if in_channels == 3 else "L"
    return dataclasses.replace(preprocessing, mode=mode, mean=(mean,) * in_channels, std=(std,) * in_channels)
