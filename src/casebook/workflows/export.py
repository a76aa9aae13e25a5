"""Export in one call: a run, or a named network with weights -> a bundle that runs without torch."""

from pathlib import Path

from ..deployment.export import SUFFIX, Exported, ExportSettings, check_target, export_bundle
from ..errors import BundleError, CasebookError
from ..evaluation.classifier import Classifier, load
from ..progress import Remark, Reporter, reporting
from ..reports.exported import add_export
from ..runner.bundle import is_bundle


def export(
    model: str | Path | Classifier,
    out: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    settings: ExportSettings | None = None,
    progress: bool | Reporter = False,
) -> Exported:
    """Writes a bundle: one file with the network as ONNX, its labels, a runner and the proof that it answers the same.

    `model` is a run folder, the name of a network with `weights`, or a classifier. `out` ends in .casebook; by default
    it has the run's name and lies in the current folder. `python NAME.casebook predict PICTURES` runs it where NumPy,
    Pillow and onnxruntime are installed; `casebook.load` and `casebook.predict` take it in place of a run. The report
    of a run then shows the networks of the bundle, float32 beside 8 bits.

    A run with several labels a picture gives a bundle with a threshold for each, which cannot be unsure.

    Raises BundleError for a network that cannot be exported or whose ONNX form answers otherwise than torch, and what
    `casebook.load` raises.
    """
    if is_bundle(model):
        raise BundleError(f"{model} is a bundle already; export the run that it was made from")
    name = model.name if isinstance(model, Classifier) else str(model)
    target = Path(out) if out is not None else Path(f"{Path(name).resolve().name or 'model'}{SUFFIX}")
    check_target(target)
    classifier = load(model, weights=weights, classes=classes, device="cpu", many_labels=True)
    with reporting(progress) as report:
        exported = export_bundle(classifier, target, settings or ExportSettings(), report)
        if classifier.run is not None:
            _note_in_report(classifier.run.path / "report.html", exported, report)
    return exported


def _note_in_report(page: Path, exported: Exported, report: Reporter) -> None:
    """The report of a run shows what its bundle holds. A run that cannot be written to is exported all the same."""
    try:
        is_shown = add_export(page, exported.path.name, exported.manifest)
    except CasebookError as error:
        report(Remark(f"the report does not show the bundle: {error}"))
    else:
        if is_shown:
            report(Remark(f"{page} shows the networks of the bundle"))
