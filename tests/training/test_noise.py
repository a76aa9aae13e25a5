"""The standard error of paired differences: closed forms, and simulated sets of near-copies."""

import math

import numpy as np
import pytest

from casebook.training.noise import standard_error, within_noise


def test_of_independent_pictures_it_is_the_usual_one() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, 50)
    expected = differences.std(ddof=1) / math.sqrt(50)
    assert standard_error(differences) == pytest.approx(expected)
    assert standard_error(differences, np.arange(50)[::-1]) == pytest.approx(expected)


def test_copies_add_nothing() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, 50)
    copied, sets = np.repeat(differences, 4), np.repeat(np.arange(50) * 3, 4)
    assert standard_error(copied, sets) == pytest.approx(standard_error(differences))
    assert standard_error(copied) < 0.6 * standard_error(differences)


def test_it_is_the_spread_of_the_means_of_simulated_data() -> None:
    """30 sets of 1 to 19 near-copies that differ a little; a thousand draws."""
    generator = np.random.default_rng(0)
    sets = np.repeat(np.arange(30), generator.integers(1, 20, 30))
    means, errors, by_pictures = [], [], []
    for _ in range(1000):
        differences = generator.normal(0, 1, 30)[sets] + generator.normal(0, 0.3, len(sets))
        means.append(differences.mean())
        errors.append(standard_error(differences, sets))
        by_pictures.append(standard_error(differences))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)
    assert np.mean(by_pictures) < 0.4 * np.std(means)


def test_one_draw_has_no_error() -> None:
    assert standard_error(np.array([0.3])) == math.inf
    assert standard_error(np.array([0.3, 0.4]), np.array([5, 5])) == math.inf
    assert within_noise(np.array([0.3, 0.4]), np.array([5, 5]))
    assert not within_noise(np.array([0.3, 0.4, 0.3]))
