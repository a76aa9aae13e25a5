"""A classifier -> a Core ML package for Apple's devices. Unproved: nobody has checked its answers.

It runs on those devices alone. The package takes an RGB or grey image of the network's size and names the class;
resizing is the app's.
"""

import json
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import BundleError, RunError
from ..evaluation.classifier import Classifier


class ImageNetwork(nn.Module):
    """(1, C, H, W) float32 from 0 to 255 -> (1, K) probabilities."""

    offset: Tensor
    scale: Tensor

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.network = classifier.model
        offset, scale = classifier.preprocessing.offset_and_scale
        self.register_buffer("offset", torch.from_numpy(offset)[:, None, None])
        self.register_buffer("scale", torch.from_numpy(scale)[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.network((image - self.offset) / self.scale), 1)


def write_coreml(classifier: Classifier, out: Path) -> None:
    """Writes the package, a folder.

    Raises BundleError where coremltools is not installed or cannot convert the network.
    """
    if out.suffix != ".mlpackage":
        raise BundleError(f"{out}: the name of a Core ML package ends in .mlpackage, such as {out.name}.mlpackage")
    if out.exists():
        raise BundleError(f"{out} exists already; remove it, or name another")
    try:
        import coremltools
    except ImportError as error:
        raise BundleError(f"{error.name} is not installed; pip install 'casebook[coreml]'") from error
    channels, height, width = classifier.image_shape
    example = torch.zeros((1, channels, height, width))
    layouts = coremltools.colorlayout
    names = [str(name) for name in classifier.classes]
    if len(set(names)) < len(names):  # Core ML wants them all different
        names = [f"{number} {name}" for number, name in enumerate(names)]
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(ImageNetwork(classifier).eval(), (example,)).run_decompositions({})
            package = coremltools.convert(
                program, convert_to="mlprogram", compute_precision=coremltools.precision.FLOAT32,
                inputs=[coremltools.ImageType(
                    name="image", shape=example.shape,
                    color_layout=layouts.RGB if channels == 3 else layouts.GRAYSCALE,
                )],
                classifier_config=coremltools.ClassifierConfig(names),
                minimum_deployment_target=coremltools.target.iOS16,
            )  # fmt: skip
    except Exception as error:  # the converter raises many types
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BundleError(f"{classifier.name} cannot be converted to Core ML: {line}") from error
    package.user_defined_metadata["casebook.preprocessing"] = json.dumps(classifier.preprocessing.to_dict())
    package.short_description = "Unproved: compare its answers with 'casebook predict' before you rely on them."
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:
            package.save(str(Path(folder) / out.name))
            shutil.move(Path(folder) / out.name, out)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}") from error
