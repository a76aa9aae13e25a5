"""A classifier -> a bundle that was checked against it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import casebook

from ..errors import BundleError
from ..evaluation.classifier import Classifier
from ..progress import Advanced, Remark, Reporter, silent
from ..runner.bundle import Bundle, open_pixels
from ..runner.engine import open_engine
from ..runner.signature import check_private_key, sign, signature_path
from ..runner.verify import check_network, pixels_digest
from . import card, golden
from .gate import Int8, Verdict, check_settings, gated
from .graph import OPSET, export_graph
from .judges import find_judges, judge_members
from .parcel import runner_members
from .writer import npy, write_bundle

SUFFIX = ".casebook"
INT8_DIFFERENCE = 0.05  # of any probability of the 8-bit network between this machine and another: an activation that
# is rounded the other way moves it by up to 0.02, instructions that saturate by much more
MOST_DIFFERENCE = 1e-4  # of any probability between torch's float32 and the exported network's
STEPS = ("decoding the golden pictures", "converting the network", "comparing it with torch", "8 bits", "writing")
AT_ONCE = 8  # golden pictures in a batch of torch's


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """What goes into a bundle besides the network."""

    golden: str | Path | None = None
    """A folder of pictures that may travel in the bundle, beside the built-in ones."""
    unsure: float | None = None
    """The bundle says "unsure" so that at most this share of its answers is wrong; None: it always answers."""
    int8: Int8 = "auto"
    """Whether an 8-bit network is made as well: "auto" where it passes the gate, "require" fails where it does not."""
    max_drop: float = 1.0
    """Points of accuracy that 8 bits may cost: the upper end of the paired interval on validation pictures.

    With several labels a picture, of the share of pictures with all labels right.
    """
    sign: str | Path | None = None
    """The file of a private Ed25519 key in PEM: the bundle is signed with it, in NAME.casebook.sig beside it."""

    def __post_init__(self) -> None:
        check_settings(self.int8, self.max_drop)
        if self.sign is not None:
            check_private_key(self.sign)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A bundle that was written. `document` is what `export --json` prints."""

    path: Path
    sha256: str
    manifest: dict[str, Any] = dataclasses.field(repr=False)
    signature: Path | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The path, size and digest, and what bundle.json says of the networks."""
        return {
            "bundle": str(self.path),
            "bytes": self.path.stat().st_size,
            "sha256": self.sha256,
            "golden": len(self.manifest["golden"]),
            "networks": self.manifest["networks"],
            "int8": self.manifest["int8"],
            "signature": None if self.signature is None else str(self.signature),
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
    if settings.unsure is not None and classifier.task == "multilabel":
        raise BundleError(
            f"{classifier.name} gives several labels a picture, so its bundle cannot be unsure of one; leave out unsure"
        )

    def step(number: int) -> None:
        report(Advanced("export", number, len(STEPS), STEPS[min(number, len(STEPS) - 1)]))

    step(0)
    files = _golden_files(settings, report)
    pictures, pixels = _golden(classifier, files)
    expected = _expected(classifier, pictures, pixels)
    step(1)
    network = export_graph(classifier)
    step(2)
    networks = {"float32": _compared(classifier.name, network, pictures, pixels, expected)}
    members = {"model.onnx": network, "golden/float32.npy": npy(expected)}
    step(3)
    int8, verdict = _int8(classifier, network, settings, report)
    if int8 is not None:
        members |= {"model.int8.onnx": int8, "golden/int8.npy": npy(_answers(int8, pixels))}
        differences, _ = check_network(open_engine("onnxruntime", int8), pixels, expected, sizes=(AT_ONCE,))
        networks["int8"] = _form("int8", int8, differences, INT8_DIFFERENCE)
    promise = None
    if settings.unsure is not None:
        others = {} if int8 is None else {"int8": int8}
        judges, tables = judge_members(find_judges(classifier, settings.unsure, others, report))
        members |= tables
        for name, judge in judges.items():
            networks[name]["unsure"] = judge
        promise = card.promise(classifier, settings.unsure, without=sorted(set(networks) - set(judges)))
    step(4)
    manifest: dict[str, Any] = {
        "name": out.name.removesuffix(SUFFIX),
        "casebook": casebook.__version__,
        "task": classifier.task,
        "classes": list(classifier.classes),
        "thresholds": list(classifier.thresholds),
        "ids": list(classifier.ids),
        "preprocessing": classifier.preprocessing.to_dict(),
        "networks": networks,
        "int8": verdict,
        "promise": promise,
        "golden": pictures,
        "metrics": card.metrics(classifier),
        "provenance": card.provenance(classifier),
    }
    members = {
        **runner_members(),
        "MODEL_CARD.md": card.card_text(manifest).encode(),
        "LICENCES.md": card.licences(classifier).encode(),
        **members,
        **{name: content for name, (_, content) in files.items()},
    }
    digest = write_bundle(out, manifest, members)
    # A signature of what the file held before would belong to no bundle.
    signature_path(out).unlink(missing_ok=True)
    signature = None if settings.sign is None else sign(Bundle.open(out), settings.sign)
    step(5)
    return Exported(out, digest, manifest, signature)


def _golden_files(settings: ExportSettings, report: Reporter) -> dict[str, tuple[str, bytes]]:
    """Member -> (what it shows, content): the built-in pictures and the user's own."""
    files = golden.built_in()
    if settings.golden is not None:
        own = golden.own_pictures(settings.golden)
        report(Remark(f"{len(own)} pictures of {settings.golden} travel in the bundle, for all who have it to see"))
        files |= own
    return files


def _expected(
    classifier: Classifier, pictures: Sequence[Mapping[str, Any]], pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """The classifier's own probabilities. Raises BundleError where one is not a number."""
    expected = np.concatenate(
        [classifier.infer(pixels[first : first + AT_ONCE]).probabilities for first in range(0, len(pixels), AT_ONCE)]
    )
    broken = ~np.isfinite(expected).all(axis=1)
    if broken.any():
        picture = pictures[int(broken.argmax())]
        raise BundleError(
            f"{classifier.name}: for {picture['file']} ({picture['shows']}) the network itself gives a probability "
            "that is not a number, so there is nothing to export; its weights or activations are not finite: train it "
            "again, at a lower learning rate"
        )
    return expected


def _compared(
    name: str,
    network: bytes,
    pictures: Sequence[Mapping[str, Any]],
    pixels: NDArray[np.uint8],
    expected: NDArray[np.float32],
) -> dict[str, Any]:
    """What bundle.json says of the float32 network. Raises BundleError where it answers otherwise than torch."""
    differences, worst = check_network(open_engine("onnxruntime", network), pixels, expected)
    form = _form("float32", network, differences, MOST_DIFFERENCE)
    if not form["worst_difference"] <= MOST_DIFFERENCE:
        raise BundleError(
            f"{name}: the exported network answers otherwise than torch, by up to {form['worst_difference']:.1e} at "
            f"{pictures[worst]['file']} ({pictures[worst]['shows']}), where {MOST_DIFFERENCE:.0e} is allowed; "
            "please report this network"
        )
    return form


def _form(name: str, network: bytes, differences: dict[int, float], tolerance: float) -> dict[str, Any]:
    """What bundle.json says of a network. `differences` are those from torch's probabilities."""
    return {
        "file": "model.onnx" if name == "float32" else f"model.{name}.onnx",
        "bytes": len(network),
        "opset": OPSET,
        "expected": f"golden/{name}.npy",
        "tolerance": tolerance,
        "worst_difference": float(np.max(list(differences.values()))),
        "differences": {str(size): difference for size, difference in differences.items()},
    }


def _int8(
    classifier: Classifier, network: bytes, settings: ExportSettings, report: Reporter
) -> tuple[bytes | None, dict[str, Any] | None]:
    """The 8-bit network if it passes its gate, and what bundle.json says of that; None where it is not wanted."""
    if settings.int8 == "off":
        return None, None
    try:
        int8, verdict = gated(classifier, network, settings.max_drop, report)
    except BundleError as error:
        int8, verdict = None, Verdict(False, str(error))
    if int8 is None and settings.int8 == "require":
        raise BundleError(f"no 8-bit network: {verdict.reason}")
    report(Remark(f"{'8 bits' if int8 is not None else 'no 8-bit network'}: {verdict.reason}"))
    return int8, {**dataclasses.asdict(verdict), "max_drop": settings.max_drop}


def _answers(network: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    engine = open_engine("onnxruntime", network)
    parts = [engine(pixels[first : first + AT_ONCE]).probabilities for first in range(0, len(pixels), AT_ONCE)]
    return np.concatenate(parts)


def _golden(
    classifier: Classifier, files: Mapping[str, tuple[str, bytes]]
) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """The golden pictures as bundle.json lists them, and their pixels (N, H, W, C)."""
    pictures, pixels = [], []
    for name, (shows, content) in files.items():
        pixels.append(open_pixels(classifier.preprocessing, content, name=f"{name} ({shows})"))
        pictures.append({"file": name, "shows": shows, "pixels_sha256": pixels_digest(pixels[-1])})
    return pictures, np.stack(pixels)
