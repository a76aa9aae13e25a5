"""A classifier -> a bundle that was checked against it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import casebook

from ..errors import BundleError
from ..evaluation.classifier import Classifier
from ..progress import Advanced, Remark, Reporter, silent
from ..runner.bundle import open_pixels
from ..runner.engine import open_engine
from ..runner.verify import check_network, pixels_digest
from . import card, golden
from .graph import OPSET, export_graph
from .judges import find_judges, judge_members
from .parcel import runner_members
from .writer import npy, write_bundle

SUFFIX = ".casebook"
MOST_DIFFERENCE = 1e-4  # of any probability between torch's float32 and the exported network's
AT_ONCE = 8  # golden pictures in a batch of torch's


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """What goes into a bundle besides the network."""

    golden: str | Path | None = None
    """A folder of pictures that may travel in the bundle, beside the built-in ones."""
    unsure: float | None = None
    """The bundle says "unsure" so that at most this share of its answers is wrong; None: it always answers."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """A bundle that was written. `document` is what `export --json` prints."""

    path: Path
    sha256: str
    manifest: dict[str, Any] = dataclasses.field(repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The path, size and digest, and what bundle.json says of the networks."""
        return {
            "bundle": str(self.path),
            "bytes": self.path.stat().st_size,
            "sha256": self.sha256,
            "golden": len(self.manifest["golden"]),
            "networks": self.manifest["networks"],
        }


def check_target(out: Path) -> None:
    """Raises BundleError for a path that cannot be a bundle's."""
    if out.suffix != SUFFIX:
        raise BundleError(f"{out}: the name of a bundle ends in {SUFFIX}, such as {out.name}{SUFFIX}")
    if out.is_dir():
        raise BundleError(f"{out}: is a folder; choose another --out")


def export_bundle(
    classifier: Classifier,
    out: Path,
    settings: ExportSettings = ExportSettings(),
    report: Reporter = silent,
) -> Exported:
    """Writes the bundle of a classifier, once its ONNX network was found to answer like the classifier itself.

    Raises BundleError for a network that cannot be exported, or answers otherwise by more than MOST_DIFFERENCE.
    """
    check_target(out)
    steps = ("decoding the golden pictures", "converting the network", "comparing it with torch", "writing")

    def step(number: int) -> None:
        report(Advanced("export", number, len(steps), steps[min(number, len(steps) - 1)]))

    step(0)
    files = golden.built_in()
    if settings.golden is not None:
        own = golden.own_pictures(settings.golden)
        report(Remark(f"{len(own)} pictures of {settings.golden} travel in the bundle, for all who have it to see"))
        files |= own
    pictures, pixels = _golden(classifier, files)
    expected = np.concatenate(
        [classifier.infer(pixels[first : first + AT_ONCE]).probabilities for first in range(0, len(pixels), AT_ONCE)]
    )
    step(1)
    network = export_graph(classifier)
    step(2)
    differences, worst = check_network(open_engine("onnxruntime", network), pixels, expected)
    worst_difference = float(np.max(list(differences.values())))
    if not worst_difference <= MOST_DIFFERENCE:
        raise BundleError(
            f"{classifier.name}: the exported network answers otherwise than torch, by up to {worst_difference:.1e} at "
            f"{pictures[worst]['file']} ({pictures[worst]['shows']}), where {MOST_DIFFERENCE:.0e} is allowed; "
            "please report this network"
        )
    step(3)
    form = {
        "file": "model.onnx", "opset": OPSET, "expected": "golden/float32.npy", "tolerance": MOST_DIFFERENCE,
        "worst_difference": worst_difference,
        "differences": {str(size): difference for size, difference in differences.items()},
    }  # fmt: skip
    networks, tables = {"float32": form}, {}
    if settings.unsure is not None:
        judges, tables = judge_members(find_judges(classifier, settings.unsure, {}, report))
        for name, judge in judges.items():
            networks[name]["unsure"] = judge
    manifest: dict[str, Any] = {
        "name": out.name.removesuffix(SUFFIX),
        "casebook": casebook.__version__,
        "classes": list(classifier.classes),
        "ids": list(classifier.ids),
        "preprocessing": classifier.preprocessing.to_dict(),
        "networks": networks,
        "golden": pictures,
        "metrics": card.metrics(classifier),
        "provenance": card.provenance(classifier),
    }
    members = {
        **runner_members(),
        "MODEL_CARD.md": card.card_text(manifest).encode(),
        "LICENCES.md": card.licences(classifier).encode(),
        "model.onnx": network,
        "golden/float32.npy": npy(expected),
        **tables,
        **{name: content for name, (_, content) in files.items()},
    }
    digest = write_bundle(out, manifest, members)
    step(4)
    return Exported(out, digest, manifest)


def _golden(
    classifier: Classifier, files: Mapping[str, tuple[str, bytes]]
) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """The golden pictures as bundle.json lists them, and their pixels (N, H, W, C)."""
    pictures, pixels = [], []
    for name, (shows, content) in files.items():
        pixels.append(open_pixels(classifier.preprocessing, content, name=f"{name} ({shows})"))
        pictures.append({"file": name, "shows": shows, "pixels_sha256": pixels_digest(pixels[-1])})
    return pictures, np.stack(pixels)
