"""Casebook: the classic convolutional networks, trained on your pictures, counted and explained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .conversion.keras import to_keras
    from .conversion.keras_weights import load_keras_weights
    from .cost.count import count
    from .cost.latency import measure_latency
    from .errors import CasebookError
    from .evaluation.scoring import Evaluation, evaluate
    from .explain_job import explain
    from .jobs import predict, train
    from .models import create_model, list_models, model_card
    from .preprocessing import Preprocessing
    from .scale_job import profile_device, scale
    from .study_job import study
    from .training.recipe import Recipe, make_recipe
    from .training.run import Run, open_run

_HOMES = {
    "CasebookError": ".errors",
    "Evaluation": ".evaluation.scoring",
    "Preprocessing": ".preprocessing",
    "Recipe": ".training.recipe",
    "Run": ".training.run",
    "count": ".cost.count",
    "create_model": ".models",
    "evaluate": ".evaluation.scoring",
    "explain": ".explain_job",
    "list_models": ".models",
    "load_keras_weights": ".conversion.keras_weights",
    "make_recipe": ".training.recipe",
    "measure_latency": ".cost.latency",
    "model_card": ".models",
    "open_run": ".training.run",
    "predict": ".jobs",
    "profile_device": ".scale_job",
    "scale": ".scale_job",
    "study": ".study_job",
    "to_keras": ".conversion.keras",
    "train": ".jobs",
}

__all__ = [
    "CasebookError",
    "Evaluation",
    "Preprocessing",
    "Recipe",
    "Run",
    "__version__",
    "count",
    "create_model",
    "evaluate",
    "explain",
    "list_models",
    "load_keras_weights",
    "make_recipe",
    "measure_latency",
    "model_card",
    "open_run",
    "predict",
    "profile_device",
    "scale",
    "study",
    "to_keras",
    "train",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so `import casebook` is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'casebook' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
