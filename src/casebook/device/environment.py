"""Settings that torch reads when it loads, and a description of the machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .choice import choose_device, has_fast_bf16
from .limits import available_cores, total_memory_bytes

if TYPE_CHECKING:
    import torch

# Read once, when torch's libraries are loaded. A user's own value wins.
BEFORE_TORCH = {
    # Huge pages for large tensors, through torch's own switch: docs/benchmarks.md, "Training speed".
    "THP_MEM_ALLOC_ENABLE": "1",
    # A thread that has finished its part soon sleeps until the next one. By default it spins for milliseconds, on a
    # core that another program, or the slowest thread of this one, could use: docs/benchmarks.md, "Beside other
    # programs".
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "1000",  # GNU's OpenMP, in torch's wheels for Linux: microseconds, which helps on a quiet machine
    "KMP_BLOCKTIME": "0",  # Intel's and LLVM's OpenMP, in conda's torch and on macOS
}


def prepare_environment() -> None:
    """Sets what torch reads when it loads. Does nothing once torch is loaded: it would come too late.

    For programs that start torch themselves, such as the command line. It changes `os.environ`, and so the environment
    of child processes.
    """
    if "torch" in sys.modules:
        return
    for name, value in BEFORE_TORCH.items():
        os.environ.setdefault(name, value)


def tune_allocator() -> None:
    """Makes glibc keep large blocks instead of returning them to the kernel after each layer.

    The page faults of fresh blocks cost a CPU training step up to a third of its time (docs/benchmarks.md). Does
    nothing on other systems.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_threshold, arena_max = -1, -2, -3, -8  # mallopt(3)
    largest = 2**31 - 1
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, largest)
        libc.mallopt(trim_threshold, largest)
        libc.mallopt(top_pad, 64 << 20)
        libc.mallopt(arena_max, 1)  # one for all threads: those of other threads give large blocks back


def environment() -> dict[str, Any]:
    """Everything besides the recipe that a result depends on, for environment.json."""
    import numpy
    import PIL
    import torch

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
        "memory_bytes": total_memory_bytes(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "fast_bf16": has_fast_bf16(device),
    }


def processor_name() -> str:
    """The name that Linux gives, elsewhere the one that Python gives."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_name(device: str | torch.device = "cpu") -> str:
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()
