"""Which device computes, in which precision, and how many processes read pictures for it."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from ..errors import RecipeError
from .limits import available_cores

if TYPE_CHECKING:
    import torch

EXPECTED_DEVICES = "expected auto, cpu, cuda, cuda:N or mps"
MOST_WORKERS = 16


def choose_device(device: str = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, else an Apple GPU, else the CPU.

    Raises RecipeError for a device that this machine does not have.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device(_own_cuda())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RecipeError(f"device is {device!r}, {EXPECTED_DEVICES}") from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise RecipeError(
                f"device is {device!r}, but torch {torch.__version__} finds no CUDA device; use cpu or auto"
            )
        if chosen.index is not None and chosen.index >= torch.cuda.device_count():
            raise RecipeError(
                f"device is {device!r}, but this machine has {torch.cuda.device_count()} CUDA devices, "
                "numbered from cuda:0"
            )
        return torch.device(_own_cuda()) if chosen.index is None else chosen
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise RecipeError(f"device is {device!r}, but this machine has no Apple GPU; use cpu or auto")
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise RecipeError(f"device is {device!r}, {EXPECTED_DEVICES}")
    return chosen


def _own_cuda() -> str:
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16: AVX512-BF16 or AMX on CPUs, compute capability 8 on CUDA."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
    return False


def choose_precision(precision: str, device: torch.device, input_size: int) -> torch.dtype:
    """bfloat16 where it is fast; on a CPU only for inputs of 64 pixels or more, because smaller ones gain less than
    the conversion costs."""
    import torch

    if precision == "auto":
        worth_it = device.type == "cuda" or input_size >= 64
        return torch.bfloat16 if worth_it and has_fast_bf16(device) else torch.float32
    if precision not in ("bf16", "fp32"):
        raise RecipeError(f"precision is {precision!r}, expected auto, fp32 or bf16")
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    import torch

    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """The dtype for long sums on a device: float64, or float32 on Apple GPUs, which have no float64."""
    import torch

    return torch.float32 if device.type == "mps" else torch.float64


def choose_workers(workers: int, device: torch.device, world_size: int) -> int:
    """The number of processes that read pictures for one training process; a number from 0 up is kept.

    Beside a GPU all cores read, shared between the training processes. On a CPU one process reads beside the
    arithmetic.
    """
    if workers >= 0:
        return workers
    cores = available_cores()
    if device.type == "cpu":
        return 1 if cores > 1 and sys.platform == "linux" else 0
    return max(1, min(MOST_WORKERS, cores // world_size))


def synchronise(device: torch.device) -> None:
    """Waits until a GPU has finished the work queued on it."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
