"""Casebook: the classic convolutional networks, trained on your pictures, counted and explained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .augmentation.transform import Augment
    from .cost.count import count
    from .cost.latency import measure_latency
    from .cost.scaling import Budget
    from .data.datasets import PictureData, PictureDataset, SplitSettings, load_data
    from .deployment.export import ExportSettings
    from .errors import CasebookError, Interrupted
    from .evaluation.classifier import Classifier, load
    from .evaluation.views import Asking
    from .models import create_model, list_models, model_card, trust_code
    from .models.keras.network import to_keras
    from .models.keras.weights import load_keras_weights
    from .preprocessing import Preprocessing
    from .runner.answers import Answer
    from .scores import LabelScores, Scores
    from .training.recipe import Recipe, make_recipe
    from .training.run import Run, open_run
    from .workflows.draw import draw
    from .workflows.evaluate import Evaluation, evaluate
    from .workflows.explain import explain
    from .workflows.export import export
    from .workflows.export_elsewhere import export_coreml, export_keras, export_litert
    from .workflows.export_web import export_web
    from .workflows.features import features
    from .workflows.illustrate import illustrate
    from .workflows.many_labels import LabelComparison, LabelEvaluation, compare_many_labels, score_many_labels
    from .workflows.predict import predict
    from .workflows.predict_into import AnswerFiles, SavedAnswers, predict_into
    from .workflows.ray_workers import RayWorkers
    from .workflows.scale import TargetDevice, profile_device, scale
    from .workflows.scale_training import FinalistTraining
    from .workflows.serve import serve
    from .workflows.shift import evaluate_shift
    from .workflows.study import study
    from .workflows.suspects import Suspects, suspects
    from .workflows.train import train
    from .workflows.verify import verify

_HOMES = {
    "Answer": ".runner.answers",
    "AnswerFiles": ".workflows.predict_into",
    "Asking": ".evaluation.views",
    "Budget": ".cost.scaling",
    "Augment": ".augmentation.transform",
    "CasebookError": ".errors",
    "Classifier": ".evaluation.classifier",
    "ExportSettings": ".deployment.export",
    "Evaluation": ".workflows.evaluate",
    "FinalistTraining": ".workflows.scale_training",
    "Interrupted": ".errors",
    "LabelComparison": ".workflows.many_labels",
    "LabelEvaluation": ".workflows.many_labels",
    "compare_many_labels": ".workflows.many_labels",
    "LabelScores": ".scores",
    "PictureData": ".data.datasets",
    "PictureDataset": ".data.datasets",
    "Preprocessing": ".preprocessing",
    "RayWorkers": ".workflows.ray_workers",
    "Recipe": ".training.recipe",
    "Run": ".training.run",
    "SavedAnswers": ".workflows.predict_into",
    "Scores": ".scores",
    "score_many_labels": ".workflows.many_labels",
    "SplitSettings": ".data.datasets",
    "TargetDevice": ".workflows.scale",
    "count": ".cost.count",
    "create_model": ".models",
    "draw": ".workflows.draw",
    "evaluate": ".workflows.evaluate",
    "evaluate_shift": ".workflows.shift",
    "explain": ".workflows.explain",
    "export": ".workflows.export",
    "export_coreml": ".workflows.export_elsewhere",
    "export_keras": ".workflows.export_elsewhere",
    "export_litert": ".workflows.export_elsewhere",
    "export_web": ".workflows.export_web",
    "features": ".workflows.features",
    "illustrate": ".workflows.illustrate",
    "list_models": ".models",
    "load": ".evaluation.classifier",
    "load_data": ".data.datasets",
    "load_keras_weights": ".models.keras.weights",
    "make_recipe": ".training.recipe",
    "measure_latency": ".cost.latency",
    "model_card": ".models",
    "open_run": ".training.run",
    "predict": ".workflows.predict",
    "predict_into": ".workflows.predict_into",
    "profile_device": ".workflows.scale",
    "scale": ".workflows.scale",
    "serve": ".workflows.serve",
    "study": ".workflows.study",
    "to_keras": ".models.keras.network",
    "Suspects": ".workflows.suspects",
    "suspects": ".workflows.suspects",
    "train": ".workflows.train",
    "trust_code": ".models",
    "verify": ".workflows.verify",
}

__all__ = [
    "Answer",
    "AnswerFiles",
    "Asking",
    "Augment",
    "Budget",
    "CasebookError",
    "Classifier",
    "Evaluation",
    "ExportSettings",
    "FinalistTraining",
    "Interrupted",
    "LabelComparison",
    "LabelEvaluation",
    "LabelScores",
    "PictureData",
    "PictureDataset",
    "Preprocessing",
    "RayWorkers",
    "Recipe",
    "Run",
    "SavedAnswers",
    "Scores",
    "SplitSettings",
    "Suspects",
    "TargetDevice",
    "__version__",
    "compare_many_labels",
    "count",
    "create_model",
    "draw",
    "evaluate",
    "evaluate_shift",
    "explain",
    "export",
    "export_coreml",
    "export_keras",
    "export_litert",
    "export_web",
    "features",
    "illustrate",
    "list_models",
    "load",
    "load_data",
    "load_keras_weights",
    "make_recipe",
    "measure_latency",
    "model_card",
    "open_run",
    "predict",
    "predict_into",
    "profile_device",
    "scale",
    "score_many_labels",
    "serve",
    "study",
    "suspects",
    "to_keras",
    "train",
    "trust_code",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so `import casebook` is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'casebook' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
