"""Modules -> the seconds that each takes, measured by turns, and how much of that is arithmetic or memory."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..cost.count import count
from ..device import Stopwatch, synchronise, timed

ROUNDS = 21
WARM_UP_RUNS = 5
LEAST_SECONDS = 0.004  # of one measurement; a faster module runs several times


class TimedCall(NamedTuple):
    """A module to time, and the shape (B, C, H, W) of its input."""

    module: nn.Module
    batch_size: int
    channels: int
    side: int

    def images(self, device: torch.device) -> Tensor:
        shape = (self.batch_size, self.channels, self.side, self.side)
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)
        return images.contiguous(memory_format=torch.channels_last)

    def on(self, device: torch.device) -> Callable[[], None]:
        """What runs the module once, in inference mode, float32 and channels-last memory, and waits for the result."""
        module = self.module.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = self.images(device)

        def run() -> None:
            with torch.inference_mode():
                module(images)
            synchronise(device)

        return run

    @property
    def multiply_adds(self) -> int:
        """Of the whole batch."""
        one = count(self.module, self.side, in_channels=self.channels).total.multiply_adds
        return self.batch_size * (one or 0)

    @property
    def bytes_moved(self) -> int:
        """Of a single layer that reads its input and weights once and writes its output once, in float32."""
        output = count(self.module, self.side, in_channels=self.channels).outputs[""].shape
        values = self.channels * self.side**2 + math.prod(output)
        return 4 * (self.batch_size * values + sum(weight.numel() for weight in self.module.parameters()))


def interleaved_seconds(
    calls: Mapping[str, TimedCall], device: torch.device, *, rounds: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """(rounds,) seconds of each call. All take turns in each round, so that a busy moment hits all alike."""
    rounds = rounds or ROUNDS
    runs = {name: call.on(device) for name, call in calls.items()}
    repeats = {}
    for name, run in runs.items():
        fastest = min(timed(run).wall for _ in range(WARM_UP_RUNS))
        repeats[name] = max(1, math.ceil(LEAST_SECONDS / max(1e-6, fastest)))
    seconds = {name: np.empty(rounds) for name in calls}
    for number in range(rounds):
        for name, run in runs.items():
            seconds[name][number] = timed(run, repeats[name]).wall
    return seconds


def seconds_by_kind(
    call: TimedCall, kind: Callable[[nn.Module], str], device: torch.device, *, rounds: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """(rounds,) seconds that the layers of each kind take within one run of a whole network."""
    rounds, run = rounds or ROUNDS, call.on(device)
    found: dict[str, NDArray[np.float64]] = {}
    watch, number = Stopwatch(), 0

    def before(*_: object) -> None:
        synchronise(device)
        watch.restart()

    def after(layer: nn.Module, *_: object) -> None:
        synchronise(device)
        found.setdefault(kind(layer), np.zeros(rounds))[number] += watch.seconds

    layers = [module for module in call.module.modules() if not any(True for _ in module.children())]
    for _ in range(WARM_UP_RUNS):
        run()
    hooks = [
        hook
        for layer in layers
        for hook in (layer.register_forward_pre_hook(before), layer.register_forward_hook(after))
    ]
    try:
        for number in range(rounds):  # noqa: B007 - `after` reads it
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


class MachineLimits(NamedTuple):
    """The best rates seen on this machine: multiply-adds a second in a large convolution, and bytes a second, read and
    written, in a copy that no cache holds."""

    multiply_adds_per_second: float
    bytes_per_second: float

    def at(self, intensity: float) -> float:
        """The highest possible multiply-adds a second at so many multiply-adds for each byte moved."""
        return min(self.multiply_adds_per_second, intensity * self.bytes_per_second)


def machine_limits(device: torch.device, *, width: int = 256, megabytes: int = 256, tries: int = 7) -> MachineLimits:
    """Both limits, measured now: the best of a few tries."""
    large = TimedCall(nn.Conv2d(width, width, 3, padding=1, bias=False), 8, width, 28)
    source = torch.ones(megabytes * 250_000, device=device)
    target = torch.empty_like(source)

    def copy_all() -> None:
        target.copy_(source)
        synchronise(device)

    best = []
    for run in (large.on(device), copy_all):
        run()
        best.append(min(timed(run).wall for _ in range(tries)))
    return MachineLimits(large.multiply_adds / best[0], 2 * 4 * len(source) / best[1])
