"""A policy and pictures enter; augmented pictures leave, the same for the same seed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .mixing import mix, partners
    from .policy import POLICIES, Policy, named_policy
    from .sampling import described, replayed, sample
    from .transform import Augment

_HOMES = {
    "POLICIES": ".policy",
    "Augment": ".transform",
    "Policy": ".policy",
    "described": ".sampling",
    "mix": ".mixing",
    "named_policy": ".policy",
    "partners": ".mixing",
    "replayed": ".sampling",
    "sample": ".sampling",
}

__all__ = ["POLICIES", "Augment", "Policy", "described", "mix", "named_policy", "partners", "replayed", "sample"]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
