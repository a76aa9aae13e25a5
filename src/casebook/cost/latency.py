"""Networks enter; the measured time of one forward pass on this device leaves.

Times are of the network alone, in float32 and channels-last memory, without decoding or resizing.
"""

import contextlib
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ..device import Timing, device_name, is_alone, settle, synchronise, timed_in_turns, using_threads
from ..errors import ModelError


class Latency(NamedTuple):
    """Milliseconds for one batch: the median of `num_runs`, the 5 % and 95 % quantiles, and a bound of the median.

    `median_high_ms` is the upper end of the median's 95 % interval, from order statistics. `processor_ms` is the median
    processor time of a run if one thread does all the work, else None; if it is far below `median_ms`, other programs
    kept the processor busy.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    median_high_ms: float
    processor_ms: float | None
    num_runs: int
    batch_size: int
    threads: int
    device: str

    def to_dict(self) -> dict[str, Any]:
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in self._asdict().items()}


def measure_latency(
    network: nn.Module,
    input_size: int | tuple[int, int],
    *,
    batch_size: int = 1,
    threads: int | None = None,
    device: str | torch.device = "cpu",
    seconds: float = 1.0,
    least_runs: int = 20,
) -> Latency:
    """The time of one forward pass in inference mode, after a warm-up, over `seconds` and at least `least_runs` runs.

    `threads` defaults to torch's own number. The network is moved to the device and to channels-last memory; it runs in
    evaluation mode and gets its own mode back.
    """
    (found,) = interleaved(
        [(network, input_size)], batch_size=batch_size, threads=threads, device=device, seconds=seconds,
        least_runs=least_runs,
    )  # fmt: skip
    return found


def interleaved(
    networks: Sequence[tuple[nn.Module, int | tuple[int, int]]],
    *,
    batch_size: int = 1,
    threads: int | None = None,
    device: str | torch.device = "cpu",
    seconds: float = 1.0,
    least_runs: int = 20,
) -> list[Latency]:
    """The times of several (network, input size), which take turns run by run, so that a busy moment slows them all.

    `seconds` is for each network. Raises ModelError for impossible settings or an input that a network does not take.
    """
    device = torch.device(device)
    if batch_size < 1 or least_runs < 1 or not 0 <= seconds < math.inf or (threads is not None and threads < 1):
        raise ModelError(
            f"batch_size is {batch_size}, threads is {threads}, least_runs is {least_runs} and seconds is {seconds}; "
            "expected at least 1, and at least 0 seconds"
        )
    with using_threads(threads), contextlib.ExitStack() as stack:
        calls = [
            stack.enter_context(_ready_to_run(network, input_size, batch_size, device))
            for network, input_size in networks
        ]
        for call in calls:
            settle(call)
        runs = timed_in_turns(calls, seconds=seconds, least_runs=least_runs)
        return [summary(found, batch_size, device) for found in runs]


def summary(runs: Sequence[Timing], batch_size: int, device: torch.device) -> Latency:
    ordered = [1000 * run.wall for run in sorted(runs)]
    last = len(ordered) - 1
    # The true median exceeds this order statistic in 2.5 % of all cases (normal approximation of the binomial).
    high = min(last, math.ceil(len(ordered) / 2 + 0.98 * math.sqrt(len(ordered))))
    return Latency(
        median_ms=statistics.median(ordered),
        low_ms=ordered[round(0.05 * last)],
        high_ms=ordered[round(0.95 * last)],
        median_high_ms=ordered[high],
        processor_ms=statistics.median(1000 * run.processor for run in runs) if is_alone(device) else None,
        num_runs=len(ordered),
        batch_size=batch_size,
        threads=torch.get_num_threads() if device.type == "cpu" else 1,
        device=device_name(device),
    )


@contextlib.contextmanager
def _ready_to_run(
    network: nn.Module, input_size: int | tuple[int, int], batch_size: int, device: torch.device
) -> Iterator[Callable[[], None]]:
    """A call that runs the network once and waits for the result."""
    sides = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    modes = {module: module.training for module in network.modules()}
    network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    weight = next(network.parameters(), None)
    images = torch.rand(
        batch_size, getattr(network, "in_channels", 3), *sides, device=device,
        dtype=weight.dtype if weight is not None else torch.float32,
    ).contiguous(memory_format=torch.channels_last)  # fmt: skip

    def call() -> None:
        with torch.inference_mode():
            network(images)
        synchronise(device)

    try:
        yield call
    finally:
        for module, was_training in modes.items():
            module.training = was_training
