"""The temperature undoes over- and underconfidence."""

import numpy as np
import pytest

from casebook.evaluation.calibration import calibration_after
from casebook.training.temperature import fit_temperature


def draw(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 4) whose logits are `temperature` times too large, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 4))
    labels = (logits + rng.gumbel(size=(n, 4))).argmax(axis=1)
    powers = np.exp(temperature * logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature: float) -> None:
    probabilities, labels = draw(20_000, temperature)
    assert fit_temperature(probabilities, labels) == pytest.approx(temperature, rel=0.05)


def test_calibration_error_falls() -> None:
    probabilities, labels = draw(4000, 3.0)
    before, after = (
        calibration_after(*draw(4000, 3.0, seed=1), t) for t in (1.0, fit_temperature(probabilities, labels))
    )
    assert before["ece"] > 0.1
    assert after["ece"] < 0.03
    assert after["log_loss"] < before["log_loss"] - 0.1


def test_pictures_that_are_all_right_do_not_make_the_network_certain() -> None:
    """The likelihood alone would give the smallest temperature that is allowed, and probabilities of 1."""
    probabilities = np.tile([0.97, 0.03], (100, 1))
    assert 0.3 < fit_temperature(probabilities, np.zeros(100, int)) < 1


def test_a_probability_of_zero_is_no_failure() -> None:
    assert np.isfinite(fit_temperature(np.array([[1.0, 0.0], [0.6, 0.4]]), np.array([1, 0])))
