"""Epochs until an error are read off a curve, and their ratio says when it is only a bound."""

import math
from pathlib import Path

import numpy as np
import pytest

from casebook.studies.experiment import Study
from casebook.studies.speed import TimesLonger, compare_epochs, epochs_text, epochs_to_reach, times_longer

from .conftest import make_experiment


def test_epochs_are_read_in_a_straight_line_between_two() -> None:
    found = epochs_to_reach([[0.8, 0.4, 0.2, 0.3, 0.1], [0.25, 0.1, 0.1, 0.1, 0.1]], 0.3, 0.9)
    assert found == pytest.approx([2.5, (0.9 - 0.3) / (0.9 - 0.25)])  # the first crossing; within the first epoch


def test_an_error_that_is_not_reached_is_no_number() -> None:
    found = epochs_to_reach([[0.8, 0.7, np.nan], [0.8, np.nan, 0.1]], 0.3, 0.9)
    assert math.isnan(found[0])
    assert found[1] == 3  # no line from nan
    assert epochs_to_reach([[0.3, 0.2]], 0.3, 0.3)[0] == 1  # it never was above


def test_the_ratio_is_a_geometric_mean_with_the_interval_of_its_logarithms() -> None:
    found = times_longer([2.0, 8.0, 4.0], [1.0, 1.0, 1.0], 10)
    assert found.ratio == pytest.approx(4.0)
    reach = 4.302652729911275 * math.log(2) / math.sqrt(3)  # Student's t with 2 degrees of freedom
    assert (found.low, found.high) == pytest.approx((4 * math.exp(-reach), 4 * math.exp(reach)))
    assert found.per_seed == pytest.approx((2, 8, 4))
    assert not found.at_least
    assert not found.at_most
    assert times_longer([3, 3, 3.3], [1, 1, 1.1], 9).judge(2).kind == "reproduced"
    assert times_longer([3, 3, 3.3], [1, 1, 1.1], 9).judge(4).kind == "not reproduced"
    assert found.judge(4).kind == "no detectable difference"


def test_an_error_never_reached_gives_a_bound_and_no_interval() -> None:
    slow = times_longer([np.nan, 9.0], [1.0, 1.0], 9)
    assert slow.at_least
    assert slow.ratio == pytest.approx(9)
    assert (slow.low, slow.high) == (None, None)
    assert slow.judge(2).outcome("on digits") == "not every seed got there: no verdict"
    assert "at least 9.00 times" in slow.text()
    assert "not every seed got there, so no interval" in slow.text()
    fast = times_longer([1.0, 1.0], [np.nan, 9.0], 9)
    assert fast.judge(1).kind == "no verdict"
    assert "at most" in fast.text()
    assert "unknown" in times_longer([np.nan, np.nan], [np.nan, np.nan], 9).text()


def test_one_seed_has_no_interval_and_no_verdict(tmp_path: Path) -> None:
    found = times_longer([4.0], [2.0], 9)
    assert found == TimesLonger(pytest.approx(2.0), None, None, (pytest.approx(2.0),), False, False)
    assert outcome(tmp_path, found) == "one seed: no verdict"


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ((6.0, 6.0, 6.5), "reproduced on digits"),
        ((1.0, 1.0, 1.1), "not reproduced on digits"),
        ((1.0, 4.0, 2.0), "no detectable difference on digits"),
    ],
)
def test_the_claim_of_fewer_epochs_can_come_out_three_ways(tmp_path: Path, epochs: tuple, expected: str) -> None:
    assert outcome(tmp_path, times_longer(epochs, [2.0, 2.0, 2.1], 9)) == expected


def outcome(folder: Path, found: TimesLonger) -> str:
    study = Study("speed", "", "", "", "", "", "", "", lambda _: None)
    experiment = make_experiment(study, folder)
    compare_epochs(experiment, "sooner", found, "one against another")
    verdict = experiment.findings.verdicts[0]
    assert verdict["difference"] == pytest.approx(found.ratio)
    return verdict["outcome"]


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        times_longer([1.0, 2.0], [1.0], 9)


def test_epochs_are_written_with_their_end() -> None:
    assert epochs_text([2.0, 3.0], 9) == "2.5"
    assert epochs_text([2.0, np.nan], 9) == "more than 9"
