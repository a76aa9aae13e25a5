"""What this machine offers, and the settings that make it fast. Importing this room does not import torch."""

from .choice import (
    accumulation_dtype,
    autocast,
    choose_device,
    choose_precision,
    choose_workers,
    has_fast_bf16,
    synchronise,
)
from .environment import device_name, environment, prepare_environment, processor_name, tune_allocator
from .limits import LoadMeter, available_cores, free_memory_bytes, total_memory_bytes
from .memory import forget_peak, look_at_children, peak_memory_bytes, release_memory
from .threads import Threads, ThreadTuner, choose_threads, is_alone, tuned_threads, using_threads
from .timing import Stopwatch, Timing, settle, timed, timed_in_turns

__all__ = [
    "LoadMeter",
    "Stopwatch",
    "ThreadTuner",
    "Threads",
    "Timing",
    "accumulation_dtype",
    "autocast",
    "available_cores",
    "choose_device",
    "choose_precision",
    "choose_threads",
    "choose_workers",
    "device_name",
    "environment",
    "forget_peak",
    "free_memory_bytes",
    "has_fast_bf16",
    "is_alone",
    "look_at_children",
    "peak_memory_bytes",
    "prepare_environment",
    "processor_name",
    "release_memory",
    "settle",
    "synchronise",
    "timed",
    "timed_in_turns",
    "total_memory_bytes",
    "tune_allocator",
    "tuned_threads",
    "using_threads",
]
