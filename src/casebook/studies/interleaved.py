"""Networks -> the seconds that each takes, measured in turns, and how much of that is arithmetic or memory."""

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
LEAST_SECONDS = 0.004  # of one measurement; what is faster is run several times


class Work(NamedTuple):
    """Something to time: a module, and the (B, C, H, W) that it is given."""

    module: nn.Module
    batch_size: int
    channels: int
    side: int

    def images(self, device: torch.device) -> Tensor:
        shape = (self.batch_size, self.channels, self.side, self.side)
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)
        return images.contiguous(memory_format=torch.channels_last)

    @property
    def multiply_adds(self) -> int:
        """Of the whole batch."""
        one = count(self.module, self.side, in_channels=self.channels).total.multiply_adds
        return self.batch_size * (one or 0)

    @property
    def bytes_moved(self) -> int:
        """Of a single layer, if it reads its input and weights once and writes its output once; float32."""
        output = count(self.module, self.side, in_channels=self.channels).outputs[""].shape
        values = self.channels * self.side**2 + math.prod(output)
        return 4 * (self.batch_size * values + sum(weight.numel() for weight in self.module.parameters()))


def seconds_in_turns(
    works: Mapping[str, Work], device: torch.device, *, rounds: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """(rounds,) seconds of each, in inference mode, float32 and channels-last memory; one after another in each round,
    so that a busy moment hits all alike."""
    rounds, calls = rounds or ROUNDS, {}
    for name, work in works.items():
        module = work.module.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        calls[name] = _call(module, work.images(device), device)
    repeats = {}
    for name, call in calls.items():
        fastest = min(timed(call).wall for _ in range(WARM_UP_RUNS))
        repeats[name] = max(1, math.ceil(LEAST_SECONDS / max(1e-6, fastest)))
    seconds = {name: np.empty(rounds) for name in works}
    for number in range(rounds):
        for name, call in calls.items():
            seconds[name][number] = timed(call, repeats[name]).wall
    return seconds


def _call(module: nn.Module, images: Tensor, device: torch.device) -> Callable[[], None]:
    def call() -> None:
        with torch.inference_mode():
            module(images)
        synchronise(device)

    return call


def seconds_by_kind(
    work: Work, kind: Callable[[nn.Module], str], device: torch.device, *, rounds: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """(rounds,) seconds that modules without parts of each kind take within one run of a whole network."""
    module = work.module.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rounds, call = rounds or ROUNDS, _call(module, work.images(device), device)
    found: dict[str, NDArray[np.float64]] = {}
    watch, number = Stopwatch(), 0

    def before(*_: object) -> None:
        synchronise(device)
        watch.restart()

    def after(part: nn.Module, *_: object) -> None:
        synchronise(device)
        found.setdefault(kind(part), np.zeros(rounds))[number] += watch.seconds

    leaves = [part for part in module.modules() if not any(True for _ in part.children())]
    for _ in range(WARM_UP_RUNS):
        call()
    hooks = [
        hook for part in leaves for hook in (part.register_forward_pre_hook(before), part.register_forward_hook(after))
    ]
    try:
        for number in range(rounds):  # noqa: B007 - `after` reads it
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return found


class Limits(NamedTuple):
    """What the machine did at its best here: multiply-adds a second of a large convolution, bytes a second of a copy
    that no cache holds, read and written."""

    multiply_adds_per_second: float
    bytes_per_second: float

    def at(self, intensity: float) -> float:
        """The most multiply-adds a second of work with so many multiply-adds for each byte moved."""
        return min(self.multiply_adds_per_second, intensity * self.bytes_per_second)


def machine_limits(device: torch.device, *, width: int = 256, megabytes: int = 256, tries: int = 7) -> Limits:
    """Both limits, measured now: the best of a few tries."""
    large = Work(nn.Conv2d(width, width, 3, padding=1, bias=False), 8, width, 28)
    convolve = _call(large.module.to(device).to(memory_format=torch.channels_last), large.images(device), device)  # type: ignore[call-overload]
    source = torch.ones(megabytes * 250_000, device=device)
    target = torch.empty_like(source)

    def copy_all() -> None:
        target.copy_(source)
        synchronise(device)

    best = []
    for call in (convolve, copy_all):
        call()
        best.append(min(timed(call).wall for _ in range(tries)))
    return Limits(large.multiply_adds / best[0], 2 * 4 * len(source) / best[1])
