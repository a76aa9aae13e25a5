"""What a temperature does to the calibration of probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runner.unsure import calibrated
from .metrics import evaluate_probabilities


def calibration_after(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], temperature: float
) -> dict[str, Any]:
    """The calibration error and its bins of the probabilities at this temperature, with the keys of `Metrics`."""
    classes = [""] * probabilities.shape[1]
    found = evaluate_probabilities(calibrated(probabilities, temperature), labels, classes)
    return {key: found[key] for key in ("ece", "ece_interval", "ece_if_calibrated", "log_loss", "reliability")}
