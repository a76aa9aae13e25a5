"""A promise of at most so many wrong answers is broken no more often than it says, whatever the network is like."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from casebook.evaluation.promise import (
    find_promise,
    first_test,
    pictures_needed,
    possible_promises,
    risk_coverage,
)

DRAWS = 1000
GRID = np.linspace(0, 1, 200_001)  # quantiles of the margins, the surest at 0
ErrorRate = Callable[[np.ndarray], np.ndarray]


def steep(u: np.ndarray) -> np.ndarray:
    """Error rate of a picture at quantile u: hardly any mistake among the sure, a quarter among the rest."""
    return 0.001 + 0.25 * u**4


def at_the_limit(u: np.ndarray) -> np.ndarray:
    """Exactly as many mistakes as promised, wherever the threshold lies: the hardest case."""
    return np.full_like(u, 0.05)


def just_above(u: np.ndarray) -> np.ndarray:
    """No threshold keeps the promise, by a little."""
    return np.full_like(u, 0.0505)


def waves(u: np.ndarray) -> np.ndarray:
    """Margins that say little: the error rate among the answered crosses the promised one several times."""
    return 0.05 + 0.045 * np.cos(12 * np.pi * u)


LAWS = (steep, at_the_limit, just_above, waves)


def true_rate(law: ErrorRate) -> np.ndarray:
    """The error rate among the answered when all pictures up to each quantile of GRID are."""
    rates = law(GRID)
    return np.concatenate([[rates[0]], np.cumsum((rates[1:] + rates[:-1]) / 2) / np.arange(1, len(GRID))])


def draw(law: ErrorRate, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Margins (n,), 1 - quantile, and whether each picture is wrong."""
    u = rng.random(n)
    return 1 - u, rng.random(n) < law(u)


@pytest.mark.parametrize("n", [150, 700])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_promise_holds_as_often_as_it_says(law: ErrorRate, n: int) -> None:
    rng, rates, promised, confidence = np.random.default_rng(n), true_rate(law), 0.05, 0.95
    broken = given = 0
    for _ in range(DRAWS):
        promise = find_promise(*draw(law, n, rng), promised, confidence)
        if promise is not None:
            given += 1
            quantile = 1 - promise.least_margin
            broken += np.interp(quantile, GRID, rates) > promised + 1e-9
    # Were it broken with a probability of 5 %, so many would be seen in fewer than 1 of 10,000 runs of this test.
    assert stats.binom.sf(broken - 1, DRAWS, 1 - confidence) > 1e-4, f"{broken} of {DRAWS} broken, {given} given"
    if law is steep:
        assert given > 0.8 * DRAWS  # the promise is not kept by never giving one


def test_the_promise_holds_with_the_unlike_pictures_refused() -> None:
    """Strange pictures are wrong more often; the limit that refuses 5 % comes from the pictures that promise."""
    rng, broken, given = np.random.default_rng(0), 0, 0

    def pictures(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        margin, strange = rng.random(n), rng.random(n)
        return margin, strange, rng.random(n) < 0.001 + 0.25 * (1 - margin) ** 4 + 0.5 * strange**30

    new, draws = pictures(100_000), 500
    for _ in range(draws):
        margin, strange, wrong = pictures(400)
        limit = np.sort(strange)[400 - 20]
        promise = find_promise(margin[strange < limit], wrong[strange < limit], 0.05)
        if promise is not None:
            given += 1
            answered = (new[1] < limit) & (new[0] > promise.least_margin)
            broken += new[2][answered].mean() > 0.05
    assert stats.binom.sf(broken - 1, draws, 0.05) > 1e-4, f"{broken} of {given} broken"
    assert given > 0.8 * draws


def test_a_rule_without_the_guarantee_fails_this_simulation() -> None:
    """The largest coverage whose validation error is at most 5 %, breaks the promise far more often."""
    rng, rates, broken = np.random.default_rng(0), true_rate(waves), 0
    for _ in range(200):
        margins, wrong = draw(waves, 700, rng)
        order = np.argsort(-margins)
        observed = np.cumsum(wrong[order]) / np.arange(1, 701)
        last = np.flatnonzero(observed <= 0.05)
        if len(last):
            broken += np.interp(1 - margins[order][last[-1]], GRID, rates) > 0.05
    assert stats.binom.sf(broken - 1, 200, 0.05) < 1e-4


def test_most_pictures_that_could_be_answered_are() -> None:
    """With many pictures the threshold comes close to the best one."""
    rng, rates = np.random.default_rng(1), true_rate(steep)
    best = GRID[np.flatnonzero(rates <= 0.05)[-1]]
    promise = find_promise(*draw(steep, 20_000, rng), 0.05)
    assert promise is not None
    assert best - 0.03 < 1 - promise.least_margin <= best


def test_so_many_pictures_are_needed() -> None:
    assert pictures_needed(0.01, 0.95) == 299  # 0.99^299 < 0.05 < 0.99^298
    for mistakes, share in ((1, 0.01), (4, 0.02), (17, 0.05)):
        needed = pictures_needed(share, 0.95, mistakes)
        assert stats.binom.cdf(mistakes, needed, share) <= 0.05 < stats.binom.cdf(mistakes, needed - 1, share)


@pytest.mark.parametrize("n", [299, 598, 700, 1000, 5000])
def test_the_first_test_is_on_about_half_of_the_pictures_and_can_pass(n: int) -> None:
    first = first_test(n, 0.01)
    assert first is not None
    assert 299 <= first <= max(299, n / 2)
    assert n < 1000 or first > 0.4 * n


def test_too_few_pictures_promise_less() -> None:
    margins, wrong = np.linspace(1, 5, 158), np.zeros(158, bool)
    assert find_promise(margins, wrong, 0.01) is None
    assert first_test(158, 0.01) is None
    (strictest,) = possible_promises(margins, wrong)  # it answers everything, so laxer ones say no more
    assert strictest.most_wrong == 0.02
    assert (strictest.n, strictest.answered, strictest.wrong) == (158, 158, 0)
    assert strictest.least_margin == 0


def test_a_network_that_is_often_wrong_gets_no_promise() -> None:
    rng = np.random.default_rng(0)
    assert possible_promises(rng.random(500), rng.random(500) < 0.6) == []
    assert possible_promises(np.zeros(0), np.zeros(0, bool)) == []


def test_pictures_of_equal_margin_are_answered_together() -> None:
    """400 pictures at one margin, five of them wrong: to answer some of them would be to choose by chance."""
    margins = np.concatenate([np.linspace(5, 6, 400), np.full(400, 3.0)])
    wrong = np.zeros(800, bool)
    wrong[795:] = True
    promise = find_promise(margins, wrong, 0.01)
    assert promise is not None
    assert promise.answered == 400
    assert promise.least_margin == 3.0
    assert not (margins[400:] > promise.least_margin).any()


def test_the_curve_of_risk_and_coverage() -> None:
    margins = np.array([4.0, 1.0, 3.0, 2.0])
    wrong = np.array([False, True, False, True])
    assert risk_coverage(margins, wrong) == [[0.25, 0.0], [0.5, 0.0], [0.75, 1 / 3], [1.0, 0.5]]
    assert len(risk_coverage(np.arange(1000.0), np.zeros(1000, bool))) == 100
    assert risk_coverage(np.zeros(0), np.zeros(0, bool)) == []
