"""Prediction sets hold the true class as often as they say."""

import numpy as np
import pytest
from scipy import stats

from casebook.evaluation.conformal import calibrate_sets, set_members
from casebook.runner.unsure import PredictionSets

DRAWS = 1000


def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 5) of an overconfident network, and labels."""
    logits = rng.normal(0, 1.5, (n, 5))
    labels = (logits + rng.gumbel(size=(n, 5))).argmax(axis=1)
    powers = np.exp(2 * logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


def test_sets_cover_new_pictures() -> None:
    """On average over 1,000 validation sets, and for each of them within the spread that it states."""
    rng = np.random.default_rng(0)
    new, new_labels = draw(20_000, rng)
    coverages, inside = [], 0
    for _ in range(DRAWS):
        found = calibrate_sets(*draw(100, rng), 0.9)
        covered = float((new[np.arange(len(new)), new_labels] >= found.sets.least_probability).mean())
        coverages.append(covered)
        inside += found.spread[0] <= covered <= found.spread[1]
    standard_error = np.std(coverages) / DRAWS**0.5
    assert np.mean(coverages) > 0.9 - 4 * standard_error
    assert np.mean(coverages) < 0.9 + 1 / 101 + 4 * standard_error
    assert stats.binomtest(inside, DRAWS, 0.9).pvalue > 1e-4, inside


def test_few_pictures_give_sets_of_all_classes() -> None:
    found = calibrate_sets(np.full((8, 3), 1 / 3), np.zeros(8, int), 0.9)
    assert found.sets.least_probability == 0
    assert calibrate_sets(np.eye(3)[[0] * 9], np.zeros(9, int), 0.9).sets.least_probability == 1


@pytest.mark.parametrize(("least", "expected"), [(0.5, [[0, 1, 0], [1, 0, 0]]), (0.2, [[1, 1, 0], [1, 1, 1]])])
def test_members(least: float, expected: list[list[int]]) -> None:
    rows = np.array([[0.2, 0.7, 0.1], [0.4, 0.3, 0.3]])
    assert set_members(rows, PredictionSets(0.9, least)).astype(int).tolist() == expected
