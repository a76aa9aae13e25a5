"""A classifier -> a LiteRT (formerly TensorFlow Lite) file for Android, checked against torch.

The file takes (1, H, W, C) uint8 pixels and gives probabilities, logits and features, as the ONNX network does.
Decoding and resizing are the app's: the JSON file beside it says how to resize, and holds the labels.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import BundleError
from ..evaluation.classifier import Classifier
from ..files import write_atomically, write_json
from ..runner.bundle import open_pixels
from .golden import built_in
from .graph import PixelNetwork

MOST_DIFFERENCE = 1e-4  # of any probability of the golden pictures


def write_litert(classifier: Classifier, out: Path) -> float:
    """Writes `out` and the JSON file beside it; gives the largest difference of a probability from torch's.

    Raises BundleError where litert-torch is not installed, cannot convert the network, or answers otherwise.
    """
    if out.suffix != ".tflite":
        raise BundleError(f"{out}: the name of a LiteRT file ends in .tflite, such as {out.name}.tflite")
    content = _converted(classifier)
    worst = _difference(classifier, content)
    if not worst <= MOST_DIFFERENCE:
        raise BundleError(
            f"{classifier.name}: the LiteRT network answers otherwise than torch, by up to {worst:.1e}, where "
            f"{MOST_DIFFERENCE:.0e} is allowed; nothing was written"
        )
    described = {
        "task": classifier.task,
        "classes": list(classifier.classes),
        "thresholds": list(classifier.thresholds),
        "preprocessing": classifier.preprocessing.to_dict(),
        "outputs": ["probabilities", "logits", "features"],
    }
    write_atomically(out, content)
    write_json(out.with_suffix(".json"), described)
    return worst


def _converted(classifier: Classifier) -> bytes:
    try:
        import litert_torch
    except ImportError as error:
        raise BundleError(f"{error.name} is not installed; pip install 'casebook[litert]'") from error
    channels, height, width = classifier.image_shape
    example = torch.zeros((1, height, width, channels), dtype=torch.uint8)
    # The converter prints its steps.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "network.tflite"
        try:
            litert_torch.convert(PixelNetwork(classifier).eval(), (example,)).export(str(path))
        except Exception as error:  # the converter raises many types
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise BundleError(f"{classifier.name} cannot be converted to LiteRT: {line}") from error
        return path.read_bytes()


def _difference(classifier: Classifier, content: bytes) -> float:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found]

    interpreter: Any = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    place, first = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    worst = 0.0
    for name, (_, picture) in built_in().items():
        pixels = open_pixels(classifier.preprocessing, picture, name=name)[None]
        interpreter.set_tensor(place, pixels)
        interpreter.invoke()
        difference = np.abs(interpreter.get_tensor(first) - classifier.infer(pixels).probabilities).max()
        worst = float(np.maximum(worst, difference))  # a NaN stays
    return worst
