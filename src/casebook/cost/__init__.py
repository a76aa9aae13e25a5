"""A layer or network enters; its parameters, operations, receptive field, memory and latency leave.

`count.count` and `compare.compare` are not exported here, because their modules have the same names. `casebook.count`
is the first of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare import Compared
    from .latency import Latency, measure_latency
    from .latency_model import (
        LatencyModel,
        cached_latency_model,
        measure_latency_model,
        read_latency_model,
        write_latency_model,
    )
    from .memory import MemoryMeter, NetworkSpec, file_bytes
    from .scaling import Budget, Point, Proposal, Space, family, propose
    from .steps import WorkedComputation
    from .summary import Summary
    from .worked import COMPUTATIONS, explain

_HOMES = {
    "COMPUTATIONS": ".worked",
    "Budget": ".scaling",
    "Compared": ".compare",
    "Latency": ".latency",
    "LatencyModel": ".latency_model",
    "MemoryMeter": ".memory",
    "NetworkSpec": ".memory",
    "Point": ".scaling",
    "Proposal": ".scaling",
    "Space": ".scaling",
    "Summary": ".summary",
    "WorkedComputation": ".steps",
    "cached_latency_model": ".latency_model",
    "explain": ".worked",
    "family": ".scaling",
    "file_bytes": ".memory",
    "measure_latency": ".latency",
    "measure_latency_model": ".latency_model",
    "propose": ".scaling",
    "read_latency_model": ".latency_model",
    "write_latency_model": ".latency_model",
}

__all__ = [
    "COMPUTATIONS",
    "Budget",
    "Compared",
    "Latency",
    "LatencyModel",
    "MemoryMeter",
    "NetworkSpec",
    "Point",
    "Proposal",
    "Space",
    "Summary",
    "WorkedComputation",
    "cached_latency_model",
    "explain",
    "family",
    "file_bytes",
    "measure_latency",
    "measure_latency_model",
    "propose",
    "read_latency_model",
    "write_latency_model",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
