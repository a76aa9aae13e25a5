"""A classifier -> a bundle."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import casebook

from ..errors import BundleError
from ..evaluation.classifier import Classifier
from ..runner.bundle import is_bundle
from .graph import OPSET, export_graph
from .parcel import runner_members
from .writer import write_bundle


@dataclasses.dataclass(frozen=True)
class Exported:
    """A bundle that was written."""

    path: Path
    sha256: str
    size_bytes: int
    manifest: dict[str, Any]


def export_bundle(classifier: Classifier, out: Path) -> Exported:
    """Writes a bundle. Raises BundleError for a network that cannot be exported."""
    if not is_bundle(out):
        raise BundleError(f"{out}: a bundle's name ends in .casebook, such as {out.name}.casebook")
    network = export_graph(classifier)
    manifest = {
        "name": re.sub(r"\.casebook$", "", out.name),
        "casebook": casebook.__version__,
        "classes": list(classifier.classes),
        "ids": list(classifier.ids),
        "preprocessing": classifier.preprocessing.to_dict(),
        "networks": {"float32": {"file": "model.onnx", "opset": OPSET}},
    }
    members = {**runner_members(), "model.onnx": network}
    digest = write_bundle(out, manifest, members)
    return Exported(out, digest, out.stat().st_size, manifest)
