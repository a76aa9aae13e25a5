"""Scores of several labels a picture, against scikit-learn and by simulation."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from casebook.evaluation.many_labels import average_precisions, evaluate_labels, fit_thresholds, paired_map

NAN = float("nan")


def made(rng, pictures=200, classes=4, signal=1.5):
    truth = (rng.random((pictures, classes)) < 0.25).astype(float)
    scores = 1 / (1 + np.exp(1 - truth * signal - rng.normal(size=truth.shape)))
    return np.round(scores, 2), truth  # rounded: many scores are equal


def test_scores_are_those_of_scikit_learn():
    scores, truth = made(np.random.default_rng(0))
    found = evaluate_labels(scores, truth, tuple("abcd"), [0.4] * 4, resamples=50)
    given = scores >= 0.4
    assert found["map"] == pytest.approx(average_precision_score(truth, scores))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, given, average="macro"))
    assert found["subset_accuracy"] == pytest.approx((given == truth).all(1).mean())
    for column, one in enumerate(found["per_class"]):
        assert one["average_precision"] == pytest.approx(average_precision_score(truth[:, column], scores[:, column]))
        assert one["f1"] == pytest.approx(f1_score(truth[:, column], given[:, column]))
        low, high = one["average_precision_interval"]
        assert low <= one["average_precision"] <= high


def test_weights_are_copies():
    rng = np.random.default_rng(1)
    scores, truth = made(rng, 60)
    times = rng.integers(0, 3, 60)
    weighted = average_precisions(scores, truth, times[None].astype(float))[0]
    copied = average_precisions(np.repeat(scores, times, 0), np.repeat(truth, times, 0))[0]
    np.testing.assert_allclose(weighted, copied)


def test_unknown_labels_count_for_nothing():
    scores, truth = made(np.random.default_rng(2))
    truth[:50, 0] = NAN
    truth[50:60, 0] = 0.5  # even votes
    found = evaluate_labels(scores, truth, tuple("abcd"), [0.4] * 4, resamples=20)
    first = found["per_class"][0]
    assert first["average_precision"] == pytest.approx(average_precision_score(truth[60:, 0], scores[60:, 0]))
    assert (first["known"], found["complete"]) == (140, 140)


def test_a_class_without_pictures_has_no_figures():
    scores, truth = made(np.random.default_rng(3))
    truth[:, 1] = 0
    found = evaluate_labels(scores, truth, tuple("abcd"), [0.4] * 4, resamples=20)
    assert found["per_class"][1]["average_precision"] is None
    assert found["map"] == pytest.approx(average_precision_score(truth[:, [0, 2, 3]], scores[:, [0, 2, 3]]))
    assert fit_thresholds(scores, truth, resamples=5)[1] == (0.5, None, None, 0)


def test_a_threshold_has_the_best_f1():
    scores, truth = made(np.random.default_rng(4))
    for column, one in enumerate(fit_thresholds(scores, truth, resamples=50)):
        actual, said = truth[:, column], scores[:, column]
        tried = [f1_score(actual, said >= cut, zero_division=0.0) for cut in np.arange(0, 1, 0.02) - 0.005]
        assert one.f1 is not None
        assert one.f1 >= max(tried) - 1e-9
        assert f1_score(truth[:, column], scores[:, column] >= one.threshold) == pytest.approx(one.f1)
        assert one.interval is not None
        assert one.interval[0] <= one.threshold <= one.interval[1]


def test_intervals_of_map_hold_the_truth():
    rng = np.random.default_rng(5)
    scores, truth = made(rng, 40_000)
    actual = average_precision_score(truth, scores)
    held = 0
    for seed in range(60):
        some = made(rng, 150)
        low, high = evaluate_labels(*some, tuple("abcd"), [0.4] * 4, seed=seed, resamples=100)["map_interval"]
        held += low <= actual <= high
    assert held >= 49  # of 60; 57 are expected of 95 %, and fewer than 50 have a chance below 0.1 %


def test_a_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(6)
    scores, truth = made(rng, 300)
    other = np.clip(scores + rng.normal(scale=0.05, size=scores.shape), 0, 1)
    difference, (low, high) = paired_map(scores, other, truth, resamples=200)
    assert low <= difference <= high
    single = evaluate_labels(scores, truth, tuple("abcd"), [0.4] * 4, resamples=200)["map_interval"]
    assert high - low < single[1] - single[0]
    assert paired_map(scores, scores, truth, resamples=20) == (0.0, [0.0, 0.0])
