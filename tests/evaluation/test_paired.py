"""Paired differences: what they are, that their intervals hold the truth, McNemar's p against scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest

from casebook.evaluation.paired import exact_mcnemar, paired_differences, paired_error
from casebook.evaluation.predictions import Predictions


def test_the_difference_is_that_of_the_errors() -> None:
    ours, theirs = np.array([1, 1, 0, 0, 0, 0, 1, 0]), np.array([1, 0, 1, 1, 1, 0, 0, 0])
    found = paired_error(ours, theirs)
    assert found["difference"] == ours.mean() - theirs.mean() == -1 / 8
    assert (found["fixed"], found["broken"]) == (3, 2)
    low, high = found["interval"]
    assert low <= -1 / 8 <= high
    turned = paired_error(theirs, ours)
    assert turned["difference"] == 1 / 8
    assert turned["p_value"] == found["p_value"] == 1.0
    assert found == paired_error(ours, theirs)  # the same seed


def test_it_is_the_bootstrap_over_pictures() -> None:
    """Drawing counts is drawing pictures: the same interval as resampled pictures give, where they are many."""
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(2000) < 0.2, rng.random(2000) < 0.23
    drawn = rng.integers(2000, size=(4000, 2000))
    low, high = np.quantile(ours[drawn].mean(1) - theirs[drawn].mean(1), [0.025, 0.975])
    assert paired_error(ours, theirs)["interval"] == pytest.approx([low, high], abs=0.002)


def test_pairing_narrows() -> None:
    """Two networks that make nearly the same mistakes: their difference is known far better than either error."""
    rng = np.random.default_rng(0)
    theirs = rng.random(1000) < 0.3
    ours = theirs.copy()
    ours[np.flatnonzero(theirs)[:20]] = False
    low, high = paired_error(ours, theirs)["interval"]
    assert high < 0
    assert high - low < 0.5 * 2 * 1.96 * np.sqrt(2 * 0.3 * 0.7 / 1000)


def test_nothing_different_is_not_certainty() -> None:
    low, high = paired_error(np.zeros(50, bool), np.zeros(50, bool))["interval"]
    assert low < 0 < high
    assert paired_error(np.ones(5, bool), np.ones(5, bool))["p_value"] == 1.0


@pytest.mark.parametrize(
    ("n", "worse", "better"),
    [(50, 0.02, 0.005), (50, 0.1, 0.03), (200, 0.01, 0.0), (200, 0.02, 0.02), (500, 0.05, 0.02), (1000, 0.05, 0.05)],
)
def test_intervals_hold_the_truth(n: int, worse: float, better: float) -> None:
    """At least 93 of 100; a plain percentile bootstrap holds it in 61 of 100 of the first."""
    rng = np.random.default_rng(1)
    held, sets = 0, 600
    for trial in range(sets):
        kind = rng.random(n)
        ours, theirs = kind < worse, (kind >= worse) & (kind < worse + better)
        low, high = paired_error(ours, theirs, seed=trial, resamples=1000)["interval"]
        held += low <= worse - better <= high
    assert held / sets >= 0.93


def test_p_is_mcnemars() -> None:
    for fixed, broken in ((0, 0), (1, 0), (5, 5), (9, 2), (2, 9), (40, 21), (700, 600), (3000, 2500)):
        expected = binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
        assert exact_mcnemar(fixed, broken) == pytest.approx(expected, rel=1e-9)


def test_top5_comes_with_more_than_five_classes() -> None:
    rng = np.random.default_rng(0)
    names, labels = tuple(map(str, range(40))), rng.integers(7, size=40)

    def said(num_classes: int) -> Predictions:
        return Predictions(
            names, labels % num_classes, rng.dirichlet(np.ones(num_classes), 40), tuple("abcdefg")[:num_classes]
        )

    found = paired_differences(said(7), said(7))
    assert set(found) == {"top1_error", "top5_error"}
    assert set(paired_differences(said(5), said(5))) == {"top1_error"}
    one, two = said(7), said(7)
    wrong = [(np.argsort(-p.probabilities, axis=1)[:, :5] != p.labels[:, None]).all(1) for p in (one, two)]
    assert paired_differences(one, two)["top5_error"]["difference"] == pytest.approx(wrong[0].mean() - wrong[1].mean())
    with pytest.raises(ValueError, match="other pictures"):
        paired_differences(one, two._replace(names=names[::-1]))
    with pytest.raises(ValueError, match="expected"):
        paired_error([True], [True, False])
