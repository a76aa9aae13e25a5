"""What the tests of single families ask of a network: its shapes without its numbers, and its departures."""

from typing import Any

import torch

from casebook.models import create_model
from casebook.models.layers import Network


def on_meta(name: str, **options: Any) -> Network:
    """In evaluation mode, on the device that has shapes but no numbers."""
    with torch.device("meta"):
        return create_model(name, **options).eval()


def stage_shapes(network: Network, side: int) -> list[tuple[int, int, int]]:
    """Channels, height and width of what the stem and each stage give for 3 colours."""
    x = network.stem(torch.empty(1, 3, side, side, device="meta"))
    found = [tuple(x.shape[1:])]
    for stage in network.stages:
        x = stage(x)
        found.append(tuple(x.shape[1:]))
    return found


def block_shapes(network: Network, side: int) -> list[tuple[str, int, int]]:
    """Name, channels and side of what each block of the stages gives for 3 colours."""
    found, x = [], network.stem(torch.empty(1, 3, side, side, device="meta"))
    for stage in network.stages:
        for name, block in stage.named_children():
            x = block(x)
            found.append((name, x.shape[1], x.shape[2]))
    return found


def departures(network: Network) -> list[str]:
    """What each departure is about."""
    return [departure.what for departure in network.departures]
