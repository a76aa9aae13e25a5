"""Files for other engines in one call each: a run, or a named network with weights -> LiteRT, Core ML or Keras."""

from pathlib import Path

from ..evaluation.classifier import Classifier, load


def export_litert(
    model: str | Path | Classifier,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
) -> float:
    """Writes a LiteRT file, and beside it a JSON file with the labels and the preprocessing.

    Gives the largest difference of a probability from torch's on the golden pictures. Needs the extra `litert`.
    Raises BundleError for a network that cannot be converted or answers otherwise, and what `casebook.load` raises.
    """
    from ..deployment.litert import write_litert

    classifier = load(model, weights=weights, classes=classes, device="cpu", many_labels=True)
    return write_litert(classifier, Path(out).expanduser())


def export_coreml(
    model: str | Path | Classifier,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
) -> None:
    """Writes a Core ML package. Unproved: its answers have not been compared with torch's, which takes a Mac.

    A Core ML classifier names one class, so runs with several labels a picture are refused.

    Needs the extra `coreml`. Raises BundleError for a network that cannot be converted, and what `casebook.load`
    raises.
    """
    from ..deployment.coreml import write_coreml

    write_coreml(load(model, weights=weights, classes=classes, device="cpu"), Path(out).expanduser())


def export_keras(
    model: str | Path | Classifier,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
) -> float:
    """Writes a .keras file from pixels to probabilities, and beside it a JSON file with the labels and the
    preprocessing.

    Gives the largest difference of a probability from torch's on the golden pictures. Needs the extra `keras`.
    Raises BundleError for a network that answers otherwise, CasebookError where Keras is missing, ModelError for a
    network that it has no layers for, and what `casebook.load` raises.
    """
    from ..deployment.keras_file import write_keras

    return write_keras(load(model, weights=weights, classes=classes, device="cpu"), Path(out).expanduser())
