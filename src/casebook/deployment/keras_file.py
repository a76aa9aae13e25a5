"""A classifier -> a .keras file from pixels to probabilities, checked against torch.

The file takes (B, H, W, C) pixels from 0 to 255 and opens wherever Keras 3 is, on any of its backends. Decoding and
resizing are the app's: the JSON file beside it says how to resize, and holds the labels.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BundleError
from ..evaluation.classifier import Classifier
from ..files import write_atomically, write_json
from ..models.keras.network import import_keras, to_keras
from ..runner.bundle import open_pixels
from .golden import built_in

MOST_DIFFERENCE = 1e-4  # of any probability of the golden pictures


def write_keras(classifier: Classifier, out: Path) -> float:
    """Writes `out` and the JSON file beside it; gives the largest difference of a probability from torch's.

    Raises BundleError where the network answers otherwise, CasebookError where Keras is missing, and ModelError for a
    network that Keras has no layers for.
    """
    if out.suffix != ".keras":
        raise BundleError(f"{out}: the name of a Keras file ends in .keras, such as {out.name}.keras")
    keras = import_keras()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        _model(keras, classifier).save(path)
        worst = _difference(keras.saving.load_model(path), keras, classifier)
        if not worst <= MOST_DIFFERENCE:
            raise BundleError(
                f"{classifier.name}: the Keras network answers otherwise than torch, by up to {worst:.1e}, where "
                f"{MOST_DIFFERENCE:.0e} is allowed; nothing was written"
            )
        write_atomically(out, path.read_bytes())
    described = {
        "classes": list(classifier.classes),
        "preprocessing": classifier.preprocessing.to_dict(),
        "outputs": ["probabilities"],
    }
    write_json(out.with_suffix(".json"), described)
    return worst


def _model(keras: Any, classifier: Classifier) -> Any:
    channels, height, width = classifier.image_shape
    offset, scale = classifier.preprocessing.offset_and_scale
    network = to_keras(classifier.model, (height, width))
    pixels = keras.Input((height, width, channels), name="pixels", dtype="float32")
    normalised = keras.layers.Normalization(mean=offset, variance=scale.astype(np.float64) ** 2)(pixels)
    probabilities = keras.layers.Softmax(name="probabilities")(network(normalised))
    return keras.Model(pixels, probabilities, name=network.name)


def _difference(model: Any, keras: Any, classifier: Classifier) -> float:
    worst = 0.0
    for name, (_, picture) in built_in().items():
        pixels = open_pixels(classifier.preprocessing, picture, name=name)[None]
        answer = keras.ops.convert_to_numpy(model(pixels.astype(np.float32), training=False))
        difference = np.abs(answer - classifier.infer(pixels).probabilities).max()
        worst = float(np.maximum(worst, difference))  # a NaN stays
    return worst
