"""What this machine has, and the settings that make it fast."""

import contextlib
import ctypes
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import RecipeError

WARM_UP_SECONDS = 2.0  # at most; warming up ends as soon as the times have settled
SETTLED = 0.05  # relative difference between the medians of two groups of runs


def choose_device(device: str = "auto") -> torch.device:
    """Raises RecipeError for a device that this machine does not have."""
    if device == "auto":
        return torch.device(_own_cuda() if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RecipeError(f"device is {device!r}, expected auto, cpu, cuda, cuda:N or mps") from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise RecipeError(
                f"device is {device!r}, but torch {torch.__version__} sees no CUDA device; use cpu or auto"
            )
        if chosen.index is not None and chosen.index >= torch.cuda.device_count():
            raise RecipeError(
                f"device is {device!r}, but there are {torch.cuda.device_count()} CUDA devices, from cuda:0"
            )
        return torch.device(_own_cuda()) if chosen.index is None else chosen
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise RecipeError(f"device is {device!r}, but this machine has no Apple GPU; use cpu or auto")
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise RecipeError(f"device is {device!r}, expected auto, cpu, cuda, cuda:N or mps")
    return chosen


def _own_cuda() -> str:
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is done in hardware: AVX512-BF16 or AMX on CPUs, compute capability 8 on CUDA."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
    return False


def choose_precision(precision: str, device: torch.device, input_size: int) -> torch.dtype:
    """bfloat16 where it is fast; on a CPU only for inputs of 64 pixels and more, below which conversion costs more."""
    if precision == "auto":
        worth_it = device.type == "cuda" or input_size >= 64
        return torch.bfloat16 if worth_it and has_fast_bf16(device) else torch.float32
    if precision not in ("bf16", "fp32"):
        raise RecipeError(f"precision is {precision!r}, expected auto, fp32 or bf16")
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def choose_workers(workers: int, device: torch.device, world_size: int) -> int:
    """Processes that read pictures for one training process: with a GPU all cores, else one beside the arithmetic."""
    if workers >= 0:
        return workers
    cores = available_cores()
    if device.type == "cpu":
        return 1 if cores > 1 and sys.platform == "linux" else 0
    return max(1, min(16, cores // world_size))


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tune_allocator() -> None:
    """Lets glibc keep large blocks instead of returning them to the kernel after each layer.

    The page faults of fresh blocks cost a CPU training step up to a third of its time (docs/benchmarks.md). Huge pages
    are asked for through torch's own switch. Does nothing on other systems.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # mallopt(3)
    largest = 2**31 - 1
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, largest)
        libc.mallopt(trim_threshold, largest)
        libc.mallopt(top_pad, 64 << 20)


def environment() -> dict[str, Any]:
    """What a result depends on besides the recipe, for environment.json."""
    import numpy
    import PIL

    import casebook

    device = choose_device()
    return {
        "casebook": casebook.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "fast_bf16": has_fast_bf16(device),
    }


class Stopwatch:
    """Wall-clock seconds since it was made or last restarted; with `timed` the only clock of the package."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def restart(self) -> float:
        """Starts again from 0; returns the seconds until now."""
        now = time.perf_counter()
        seconds, self._began = now - self._began, now
        return seconds


class Timing(NamedTuple):
    """Seconds of one call: wall clock, and processor time of this thread."""

    wall: float
    processor: float


def timed(call: Callable[[], object], repeats: int = 1) -> Timing:
    """The mean of `repeats` calls. A call that uses a GPU must wait for it (`synchronise`)."""
    watch, processor_began = Stopwatch(), time.thread_time()
    for _ in range(repeats):
        call()
    return Timing(watch.seconds / repeats, (time.thread_time() - processor_began) / repeats)


def timed_in_turns(calls: Sequence[Callable[[], object]], *, seconds: float, least_runs: int = 1) -> list[list[Timing]]:
    """Times each call at least `least_runs` times and for `seconds` on average; a busy moment slows all of them."""
    found: list[list[Timing]] = [[] for _ in calls]
    watch = Stopwatch()
    while calls and (len(found[0]) < least_runs or watch.seconds < seconds * len(calls)):
        for call, timings in zip(calls, found, strict=True):
            timings.append(timed(call))
    return found


def settle(call: Callable[[], object], *, most_seconds: float = WARM_UP_SECONDS, group: int = 5) -> None:
    """Warms up: repeats the call until two groups of runs have about the same median time."""
    watch, before = Stopwatch(), math.inf
    while watch.seconds < most_seconds:
        now = statistics.median(timed(call).wall for _ in range(group))
        if abs(now - before) <= SETTLED * now:
            return
        before = now


@contextlib.contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Inside, torch computes with that many threads."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor_name() -> str:
    """As Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_name(device: str | torch.device = "cpu") -> str:
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


def synchronise(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_alone(device: torch.device) -> bool:
    """Whether this thread does all the work."""
    return device.type == "cpu" and torch.get_num_threads() == 1
