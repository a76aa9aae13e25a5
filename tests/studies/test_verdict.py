"""The interval of a paired difference and the rules for a verdict: closed cases, and rates in simulated studies."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from casebook.studies.verdict import (
    Expected,
    Ratio,
    Verdict,
    judge,
    judge_ratio,
    learned,
    paired_difference,
    paired_ratio,
)

CHANCE = 0.9  # ten equal classes


class Arm(NamedTuple):
    name: str
    wrong: NDArray[np.bool_]
    chance: float = CHANCE


def arm(name: str, *errors: float, num_pictures: int = 400) -> Arm:
    """One seed for each error; the mistakes are the first pictures."""
    places = np.arange(num_pictures)
    return Arm(name, np.stack([places < round(error * num_pictures) for error in errors]))


def test_difference_is_the_mean_over_seeds_and_pictures() -> None:
    wrong = np.array([[1, 0, 0, 0], [1, 1, 0, 0]], bool)
    reference = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], bool)
    found = paired_difference(wrong, reference)
    assert found.difference == pytest.approx(-3 / 8)
    assert found.per_seed == pytest.approx((-0.5, -0.25))
    assert (found.num_seeds, found.num_pictures) == (2, 4)
    assert found.low < found.difference < found.high


def test_identical_mistakes_give_no_detectable_difference_but_an_interval_with_width() -> None:
    found, verdict = judge(arm("one", 0.1, 0.1, 0.1), arm("other", 0.1, 0.1, 0.1), "lower")
    assert found.difference == 0
    assert found.low < 0 < found.high
    assert verdict == Verdict("no detectable difference")
    assert verdict.outcome("on digits") == "no detectable difference on digits"


def test_the_interval_of_one_seed_covers_its_pictures_only() -> None:
    """Against the closed form: variance of the pictures' differences, with half a picture on each side."""
    wrong, reference = np.zeros((1, 1000), bool), np.zeros((1, 1000), bool)
    wrong[0, :50], reference[0, 50:60] = True, True
    found = paired_difference(wrong, reference)
    apart = wrong[0].astype(float) - reference[0]
    spread = ((apart - apart.mean()) ** 2).sum() + 1
    assert found.high - found.difference == pytest.approx(1.9623 * (spread / 1001 / 1000) ** 0.5, rel=1e-3)
    assert "one seed, so over pictures alone" in found.text()


@pytest.mark.parametrize("expected", ["lower", "higher"])
def test_one_seed_gives_no_verdict_however_large_the_difference(expected: Expected) -> None:
    found, verdict = judge(arm("good", 0.01), arm("bad", 0.8), expected)
    assert verdict.outcome("on digits") == "one seed: no verdict"
    assert found.low < found.difference < found.high < 0


def test_the_outcome_names_the_data_and_follows_the_expectation() -> None:
    good, bad = arm("good", 0.05, 0.06), arm("bad", 0.30, 0.31)
    assert judge(good, bad, "lower")[1].outcome("on digits") == "reproduced on digits"
    assert judge(bad, good, "lower")[1].outcome("on digits") == "not reproduced on digits"
    assert judge(bad, good, "higher")[1].outcome("on PHOTOS") == "reproduced on PHOTOS"
    assert judge(good, bad, "higher")[1].outcome("on PHOTOS") == "not reproduced on PHOTOS"
    assert Verdict("exact").outcome("on digits") == "exact"
    assert Verdict("not exact").outcome("") == "not exact"


def test_a_margin_moves_the_bound() -> None:
    steady, slightly_worse = (
        arm("steady", 0.1, 0.1, num_pictures=20_000),
        arm("worse", 0.105, 0.105, num_pictures=20_000),
    )
    assert judge(slightly_worse, steady, "lower", margin=0.01)[1].kind == "reproduced"
    assert judge(slightly_worse, steady, "lower")[1].kind == "not reproduced"
    assert judge(arm("bad", 0.3, 0.3), arm("good", 0.1, 0.1), "lower", margin=0.01)[1].kind == "not reproduced"


def test_two_arms_at_chance_give_no_verdict_and_the_text_says_why() -> None:
    found, verdict = judge(arm("deep", 0.9, 0.88), arm("shallow", 0.89, 0.9), "lower")
    assert verdict.outcome("on digits") == "no arm learned: no verdict"
    assert verdict.detail == (
        "deep learned nothing: 89.0 % error, 90.0 % by chance; shallow learned nothing: 89.5 % error, 90.0 % by chance"
    )
    assert found.num_pictures == 400


@pytest.mark.parametrize(
    ("side", "reference", "expected", "outcome"),
    [
        (0.9, 0.1, "lower", "the better arm did not learn: no verdict"),  # the claim's better arm failed to train
        (0.1, 0.9, "higher", "the better arm did not learn: no verdict"),
        (0.1, 0.9, "lower", "reproduced on digits"),  # the worse arm may fail: that is the claim
        (0.9, 0.1, "higher", "reproduced on digits"),
    ],
)
def test_only_the_arm_that_the_claim_calls_better_has_to_learn(
    side: float, reference: float, expected: Expected, outcome: str
) -> None:
    _, verdict = judge(arm("first", side, side), arm("second", reference, reference), expected)
    assert verdict.outcome("on digits") == outcome
    assert f"{'first' if side == 0.9 else 'second'} learned nothing: 90.0 % error" in verdict.detail


def test_an_arm_learned_if_one_of_its_seeds_did() -> None:
    assert learned(arm("", 0.9, 0.9, 0.3).wrong, CHANCE)
    assert not learned(arm("", 0.9, 0.9, 0.9).wrong, CHANCE)
    # 3 of 20 against a chance of 1 in 2, a threshold by hand: P(15 of 20 or more) = 0.0207, P(14 or more) = 0.0577.
    assert learned(arm("", 5 / 20, num_pictures=20).wrong, 0.5)
    assert not learned(arm("", 6 / 20, num_pictures=20).wrong, 0.5)
    assert not learned(arm("", 5 / 20, 1.0, 1.0, num_pictures=20).wrong, 0.5)  # three seeds: at 0.05 / 3


def test_seeds_that_disagree_widen_the_interval() -> None:
    none, steady, shaky = arm("", 0.0, 0.0, 0.0), arm("", 0.05, 0.05, 0.05), arm("", 0.0, 0.02, 0.13)
    assert paired_difference(steady.wrong, none.wrong).is_detectable
    assert shaky.wrong.mean() == pytest.approx(steady.wrong.mean())
    assert not paired_difference(shaky.wrong, none.wrong).is_detectable


@pytest.mark.parametrize(("num_seeds", "seed_deviation"), [(3, 0.0), (3, 0.01), (5, 0.02)])
def test_equal_arms_seldom_get_a_verdict(num_seeds: int, seed_deviation: float) -> None:
    """Simulated studies: pictures of unequal difficulty, networks of unequal luck; both arms equally good."""
    rng = np.random.default_rng(5)
    kinds = []
    for _ in range(300):
        difficulty = rng.beta(1, 4, 400) / 2
        shares = [np.clip(difficulty + rng.normal(0, seed_deviation, (num_seeds, 1)), 0, 1) for _ in range(2)]
        sides = [Arm(name, rng.random((num_seeds, 400)) < share) for name, share in zip("ab", shares, strict=True)]
        kinds.append(judge(*sides, "lower")[1].kind)
    assert kinds.count("no detectable difference") / len(kinds) >= 0.92
    assert "no verdict" not in kinds


@pytest.mark.parametrize(("num_classes", "num_pictures"), [(10, 720), (4, 60), (2, 300)])
def test_networks_that_guess_seldom_pass_for_networks_that_learned(num_classes: int, num_pictures: int) -> None:
    """One guesses at random, one always gives a class of its own: neither has learned. The test passes 5 % of them at
    most, here with three standard deviations of 600 simulated studies."""
    rng = np.random.default_rng(7)
    labels = np.arange(num_pictures) % num_classes
    chance = 1 - np.bincount(labels).max() / num_pictures
    passed = [0, 0]
    for _ in range(600):
        guesses = rng.integers(num_classes, size=(3, num_pictures)), rng.integers(num_classes, size=(3, 1))
        for place, answers in enumerate(guesses):
            passed[place] += learned(answers != labels, chance)
    assert passed[0] / 600 <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5
    assert passed[1] == 0


def test_an_arm_a_little_better_than_chance_has_learned() -> None:
    """82 % error where chance is 90 %, on 720 pictures: found in 95 % of simulated studies at least."""
    rng = np.random.default_rng(8)
    assert sum(learned(rng.random((3, 720)) < 0.82, CHANCE) for _ in range(200)) >= 190


def test_a_real_difference_is_found() -> None:
    """5 against 12 % error on 800 pictures with 3 seeds: found in 95 % of simulated studies at least."""
    rng = np.random.default_rng(6)
    kinds = []
    for _ in range(200):
        good, bad = (Arm("", rng.random((3, 800)) < share) for share in (0.05, 0.12))
        kinds.append(judge(good, bad, "lower")[1].kind)
    assert kinds.count("reproduced") >= 190
    assert "not reproduced" not in kinds
    assert "3 paired seeds, 800 pictures" in paired_difference(good.wrong, bad.wrong).text()


@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((4,), (4,)), ((0, 4), (0, 4))])
def test_arrays_that_do_not_fit_are_refused(shapes: tuple) -> None:
    with pytest.raises(ValueError, match="expected"):
        paired_difference(*(np.zeros(shape, bool) for shape in shapes))


def test_paired_ratio_cancels_a_busy_moment() -> None:
    rng = np.random.default_rng(0)
    busy = rng.uniform(1, 4, 40)
    found = paired_ratio(2 * busy, busy)
    assert (found.ratio, found.low, found.high) == pytest.approx((2, 2, 2))
    with pytest.raises(ValueError, match="at least 3"):
        paired_ratio([1, 2], [1, 2])


@pytest.mark.parametrize(
    ("low", "high", "expected", "bound", "kind"),
    [
        (0.8, 0.9, "lower", 1.0, "reproduced"),
        (1.1, 1.2, "lower", 1.0, "not reproduced"),
        (0.9, 1.1, "lower", 1.0, "no detectable difference"),
        (1.2, 1.4, "higher", 1.1, "reproduced"),
        (1.0, 1.05, "higher", 1.1, "not reproduced"),
    ],
)
def test_a_ratio_is_judged_against_its_bound(
    low: float, high: float, expected: Expected, bound: float, kind: str
) -> None:
    assert judge_ratio(Ratio((low + high) / 2, low, high, 21), expected, bound).kind == kind
