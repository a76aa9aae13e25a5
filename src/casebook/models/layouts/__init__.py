"""What other libraries call our networks and their weights.

`FAMILY.py` beside this file has `PEERS`: for each network that another library has too, that library's name for it and
a function from our keys to theirs, `num_batches_tracked` included. The names of torchvision and timm are layouts that
we read and write; our own names are the layout "casebook". The weights of Keras Applications also differ in shape, so
`keras` reads and writes them.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar, cast

from ...errors import WeightsError
from .. import model_card

Value = TypeVar("Value")
Layout = Callable[[str], str]


class Peer(NamedTuple):
    """The same network in another library ("torchvision", "timm", "keras").

    `rename` turns one of our keys into theirs; for Keras "LAYER/WEIGHT", where WEIGHT is kernel, bias, gamma, beta,
    moving_mean or moving_variance (depthwise_kernel counts as kernel). `unused` are the beginnings of those of their
    keys that ours has no use for, such as auxiliary heads. `convolved` names those of our keys, of linear layers, that
    are convolutions there, with the side of the kernel. `older` turns keys of older files of theirs into today's.
    """

    name: str
    rename: Layout
    arguments: Mapping[str, Any] = {}  # of their constructor
    options: Mapping[str, Any] = {}  # of create_model, with which ours computes the same
    unused: tuple[str, ...] = ()
    convolved: Mapping[str, int] = {}
    older: Layout = str


def peers(name: str) -> dict[str, Peer]:
    """The libraries that have the network `name` too."""
    family = f"{__name__}.{model_card(name).family}"
    return import_module(family).PEERS.get(name, {}) if find_spec(family) else {}


def layouts(name: str) -> dict[str, Layout]:
    """The layouts in which a network's weights may come, our own first."""
    return {"casebook": str} | {library: peer.rename for library, peer in peers(name).items() if library != "keras"}


def to_layout(state: Mapping[str, Value], name: str, layout: str) -> dict[str, Value]:
    """A state with our names -> the same values under another library's names.

    Raises WeightsError for a layout that the network does not have.
    """
    rename, convolved = _layout(name, layout), _convolved(name, layout)

    def shaped(key: str, value: Any) -> Any:
        side = convolved.get(key)
        return value.reshape(len(value), -1, side, side) if side else value

    return {rename(key): shaped(key, value) for key, value in state.items()}


def from_layout(state: Mapping[str, Value], name: str, layout: str, keys: Iterable[str]) -> dict[str, Value]:
    """The inverse of `to_layout` for a network with these `keys`; unknown names stay as they came."""
    rename = _layout(name, layout)
    ours = {rename(key): key for key in keys}
    unused = peers(name)[layout].unused if layout != "casebook" else ()
    flat = {rename(key) for key in _convolved(name, layout)}
    if layout != "casebook":
        state = {peers(name)[layout].older(key): value for key, value in state.items()}
    return {
        ours.get(key, key): cast(Any, value).flatten(1) if key in flat else value
        for key, value in state.items()
        if key in ours or not (unused and key.startswith(unused))
    }


def detect_layout(state: Iterable[str], name: str, keys: Iterable[str]) -> str:
    """The layout that explains most of the state's names.

    Raises WeightsError when none explains half of the network's `keys`.
    """
    state, keys = list(state), list(keys)
    matches = count_matches(state, name, keys)
    best = max(matches, key=lambda layout: matches[layout])
    if matches[best] < len(keys) / 2:
        raise WeightsError(
            f"{matches[best]} of the {len(keys)} weights of {name} are there, in none of the layouts "
            f"{', '.join(matches)}; the names begin with {', '.join(sorted(state)[:3]) or 'nothing'}"
        )
    return best


def count_matches(state: Iterable[str], name: str, keys: Iterable[str]) -> dict[str, int]:
    """For each layout, how many of the network's `keys` the state's names stand for."""
    state, keys, matches = list(state), list(keys), {}
    for layout, rename in layouts(name).items():
        given = state if layout == "casebook" else map(peers(name)[layout].older, state)
        matches[layout] = len(set(given) & set(map(rename, keys)))
    return matches


def _convolved(name: str, layout: str) -> Mapping[str, int]:
    return peers(name)[layout].convolved if layout != "casebook" else {}


def _layout(name: str, layout: str) -> Layout:
    known = layouts(name)
    if layout not in known:
        raise WeightsError(f"layout is '{layout}', expected {' or '.join(known)} for {name}")
    return known[layout]
