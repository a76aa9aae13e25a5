"""The interval of a paired difference: closed cases, and how often it holds the truth."""

import numpy as np
import pytest

from casebook.studies.verdict import Difference, paired_difference, time_ratio


def test_difference_is_the_mean_over_seeds_and_pictures() -> None:
    wrong = np.array([[1, 0, 0, 0], [1, 1, 0, 0]], bool)
    reference = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], bool)
    found = paired_difference(wrong, reference)
    assert found.difference == pytest.approx(-3 / 8)
    assert found.per_seed == pytest.approx((-0.5, -0.25))
    assert (found.num_seeds, found.num_pictures) == (2, 4)
    assert found.low < found.difference < found.high


def test_the_same_mistakes_give_no_detectable_difference_but_an_interval_with_width() -> None:
    wrong = np.zeros((3, 500), bool)
    wrong[:, :20] = True
    found = paired_difference(wrong, wrong)
    assert found.difference == 0
    assert found.low < 0 < found.high
    assert found.outcome("lower") == found.outcome("higher") == "no detectable difference"


def test_one_seed_is_judged_by_its_pictures_alone() -> None:
    """Against the closed form: variance of the pictures' differences, with half a picture on each side."""
    wrong, reference = np.zeros((1, 1000), bool), np.zeros((1, 1000), bool)
    wrong[0, :50], reference[0, 50:60] = True, True
    found = paired_difference(wrong, reference)
    apart = wrong[0].astype(float) - reference[0]
    spread = ((apart - apart.mean()) ** 2).sum() + 1
    assert found.high - found.difference == pytest.approx(1.9623 * (spread / 1001 / 1000) ** 0.5, rel=1e-3)
    assert found.outcome("higher") == "confirmed"
    assert found.outcome("lower") == "contradicted"


def test_seeds_that_disagree_widen_the_interval() -> None:
    steady, shaky = np.zeros((3, 600), bool), np.zeros((3, 600), bool)
    steady[:, :30] = True
    for seed, count in enumerate((0, 10, 80)):
        shaky[seed, :count] = True
    none = np.zeros((3, 600), bool)
    assert paired_difference(steady, none).is_detectable
    assert shaky.mean() == pytest.approx(steady.mean())
    assert not paired_difference(shaky, none).is_detectable


@pytest.mark.parametrize(("num_seeds", "seed_deviation"), [(3, 0.0), (3, 0.01), (5, 0.02)])
def test_the_interval_holds_the_truth(num_seeds: int, seed_deviation: float) -> None:
    """Simulated arms: pictures of unequal difficulty, networks of unequal luck; both arms equally good."""
    rng = np.random.default_rng(5)
    held, rounds = 0, 300
    for _ in range(rounds):
        difficulty = rng.beta(1, 4, 400) / 2
        shares = [np.clip(difficulty + rng.normal(0, seed_deviation, (num_seeds, 1)), 0, 1) for _ in range(2)]
        first, second = (rng.random((num_seeds, 400)) < share for share in shares)
        found = paired_difference(first, second)
        held += found.low <= 0 <= found.high
    assert held / rounds >= 0.92


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(6)
    found = paired_difference(rng.random((3, 800)) < 0.05, rng.random((3, 800)) < 0.12)
    assert found.outcome("lower") == "confirmed"
    assert isinstance(found, Difference)
    assert "3 paired seeds, 800 pictures" in found.text()


@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((4,), (4,)), ((0, 4), (0, 4))])
def test_arrays_that_do_not_fit_are_refused(shapes: tuple) -> None:
    with pytest.raises(ValueError, match="expected"):
        paired_difference(*(np.zeros(shape, bool) for shape in shapes))


def test_time_ratio_takes_pairs_so_that_a_busy_moment_cancels() -> None:
    rng = np.random.default_rng(0)
    busy = rng.uniform(1, 4, 40)
    found = time_ratio(2 * busy, busy)
    assert (found.ratio, found.low, found.high) == pytest.approx((2, 2, 2))
    with pytest.raises(ValueError, match="at least 3"):
        time_ratio([1, 2], [1, 2])
