"""What this machine has, and the settings that make it fast."""

import contextlib
import ctypes
import os
import platform
import sys
from typing import Any

import torch

from ..cost.latency import processor_name
from ..errors import RecipeError


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
