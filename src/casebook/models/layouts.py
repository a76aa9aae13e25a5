"""What other libraries call our weights: key maps between our names and torchvision's and timm's.

A layout is a function from one of our keys to theirs; `num_batches_tracked` is a key like the others. Our own
names are the layout "casebook".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from ..errors import WeightsError
from . import model_card
from .mobilenet import STAGES

Value = TypeVar("Value")


def resnet(key: str) -> str:
    """torchvision's and timm's: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, fc."""
    if found := re.fullmatch(r"stem\.0\.(conv|norm)\.(\w+)", key):
        return f"{'conv1' if found[1] == 'conv' else 'bn1'}.{found[2]}"
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.branch\.(\d+)\.(conv|norm)\.(\w+)", key):
        stage, block, i, kind, weight = found.groups()
        return f"layer{int(stage) + 1}.{block}.{'conv' if kind == 'conv' else 'bn'}{int(i) + 1}.{weight}"
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.shortcut\.(conv|norm)\.(\w+)", key):
        stage, block, kind, weight = found.groups()
        return f"layer{int(stage) + 1}.{block}.downsample.{'0' if kind == 'conv' else '1'}.{weight}"
    return re.sub(r"^head\.classifier\.", "fc.", key)


def mobilenet_v2_torchvision(key: str) -> str:
    """features.0.0, features.1.conv.0.0, features.18.1, classifier.1: blocks are numbered through."""
    if found := re.fullmatch(r"stem\.(conv|norm)\.(\w+)", key):
        return f"features.0.{'0' if found[1] == 'conv' else '1'}.{found[2]}"
    if found := _mobilenet_v2_block(key):
        stage, block, i, kind, weight = found
        number = 1 + sum(s.depth for s in STAGES[:stage]) + block
        second = 0 if kind == "conv" else 1
        if stage == len(STAGES):
            return f"features.{number}.{second}.{weight}"
        is_projection = i == (1 if STAGES[stage].expansion == 1 else 2)
        place = str(i + second) if is_projection else f"{i}.{second}"
        return f"features.{number}.conv.{place}.{weight}"
    return re.sub(r"^head\.classifier\.", "classifier.1.", key)


def mobilenet_v2_timm(key: str) -> str:
    """conv_stem, blocks.0.0.conv_dw, blocks.1.0.conv_pwl, bn3, conv_head, classifier."""
    if found := re.fullmatch(r"stem\.(conv|norm)\.(\w+)", key):
        return f"{'conv_stem' if found[1] == 'conv' else 'bn1'}.{found[2]}"
    if found := _mobilenet_v2_block(key):
        stage, block, i, kind, weight = found
        if stage == len(STAGES):
            return f"{'conv_head' if kind == 'conv' else 'bn2'}.{weight}"
        convs = ("conv_dw", "conv_pw") if STAGES[stage].expansion == 1 else ("conv_pw", "conv_dw", "conv_pwl")
        return f"blocks.{stage}.{block}.{convs[i] if kind == 'conv' else f'bn{i + 1}'}.{weight}"
    return re.sub(r"^head\.", "", key)


def _mobilenet_v2_block(key: str) -> tuple[int, int, int, str, str] | None:
    """Stage, block, convolution within the block, conv or norm, and weight, of a key below `stages`."""
    if (found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.(?:branch\.)?(?:(\d+)\.)?(conv|norm)\.(\w+)", key)) is None:
        return None
    stage, block, i, kind, weight = found.groups()
    return int(stage), int(block), int(i or 0), kind, weight


Layout = Callable[[str], str]
LAYOUTS: dict[str, dict[str, Layout]] = {  # family -> layout -> map
    "resnet": {"torchvision": resnet, "timm": resnet},
    "mobilenet": {"torchvision": mobilenet_v2_torchvision, "timm": mobilenet_v2_timm},
}


def layouts(name: str) -> dict[str, Layout]:
    """The layouts in which a network's weights may come, our own first."""
    return {"casebook": str} | LAYOUTS.get(model_card(name).family, {})


def to_layout(state: Mapping[str, Value], name: str, layout: str) -> dict[str, Value]:
    """A state with our names -> the same values under another library's names.

    Raises WeightsError for a layout that the network's family does not have.
    """
    rename = _layout(name, layout)
    return {rename(key): value for key, value in state.items()}


def from_layout(state: Mapping[str, Value], name: str, layout: str, keys: Iterable[str]) -> dict[str, Value]:
    """The inverse of `to_layout` for a network with these `keys`; unknown names stay as they came."""
    rename = _layout(name, layout)
    ours = {rename(key): key for key in keys}
    return {ours.get(key, key): value for key, value in state.items()}


def detect_layout(state: Iterable[str], name: str, keys: Iterable[str]) -> str:
    """The layout that explains most of the state's names.

    Raises WeightsError when none explains half of the network's `keys`.
    """
    given, keys = set(state), list(keys)
    matches = {layout: len(given & set(map(rename, keys))) for layout, rename in layouts(name).items()}
    best = max(matches, key=lambda layout: matches[layout])
    if matches[best] < len(keys) / 2:
        raise WeightsError(
            f"{matches[best]} of the {len(keys)} weights of {name} are there, in none of the layouts "
            f"{', '.join(matches)}; the names begin with {', '.join(sorted(given)[:3]) or 'nothing'}"
        )
    return best


def _layout(name: str, layout: str) -> Layout:
    known = layouts(name)
    if layout not in known:
        raise WeightsError(f"layout is '{layout}', expected {' or '.join(known)} for {name}")
    return known[layout]
