"""Errors over the epochs -> when each arm reaches an error, and how many times sooner one arm does."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .experiment import Experiment
from .verdict import CONFIDENCE, Ratio, Verdict, judge_ratio


def epochs_to_reach(errors: ArrayLike, target: float, start: float) -> NDArray[np.float64]:
    """(seeds,) epochs until the error is `target`, nan where it never is.

    `errors` is (seeds, epochs), measured after each epoch. The error is interpolated linearly between two epochs;
    `start` is the error at epoch 0.
    """
    curves = np.atleast_2d(np.asarray(errors, float))
    found = np.full(len(curves), np.nan)
    for seed, curve in enumerate(curves):
        reached = np.flatnonzero(curve <= target)
        if not len(reached):
            continue
        epoch = int(reached[0])
        before = curve[epoch - 1] if epoch else start
        part = 1.0 if np.isnan(before) or before <= curve[epoch] else (before - target) / (before - curve[epoch])
        found[seed] = epoch + min(1.0, part)
    return found


class TimesLonger(NamedTuple):
    """How many times as many epochs a first arm needs as a second: the geometric mean over paired seeds.

    A seed that never reaches the error counts as reaching it in the last epoch. If the first arm has such a seed, the
    ratio is `at_least` that; if the second has one, `at_most`. With one seed, or with a seed that never reaches the
    error, there is no interval.
    """

    ratio: float
    low: float | None
    high: float | None
    per_seed: tuple[float, ...]
    at_least: bool
    at_most: bool

    @property
    def why_no_interval(self) -> str:
        if self.low is not None:
            return ""
        return "one seed" if len(self.per_seed) == 1 else "not every seed got there"

    def text(self) -> str:
        bound = "unknown, about " if self.at_least and self.at_most else ""
        bound = bound or ("at least " if self.at_least else "at most " if self.at_most else "")
        if self.low is None or self.high is None:
            return f"{bound}{self.ratio:.2f} times as many epochs ({self.why_no_interval}, so no interval)"
        return (
            f"{bound}{self.ratio:.2f} times as many epochs (95 % interval {self.low:.2f} to {self.high:.2f}; "
            f"{len(self.per_seed)} paired seeds)"
        )

    def judge(self, above: float) -> Verdict:
        """The verdict on the claim that the first arm needs more than `above` times as many epochs."""
        if self.low is None or self.high is None:
            return Verdict("no verdict", self.why_no_interval)
        return judge_ratio(Ratio(self.ratio, self.low, self.high, len(self.per_seed)), "higher", above)


def times_longer(epochs: ArrayLike, reference_epochs: ArrayLike, most: int) -> TimesLonger:
    """Both are (seeds,) as `epochs_to_reach` gives them; `most` is the number of epochs of the training."""
    from scipy.stats import t

    ours, theirs = np.asarray(epochs, float), np.asarray(reference_epochs, float)
    if ours.ndim != 1 or ours.shape != theirs.shape or not len(ours):
        raise ValueError(f"epochs are {ours.shape} and {theirs.shape}; expected (seeds,) both")
    at_least, at_most = bool(np.isnan(ours).any()), bool(np.isnan(theirs).any())
    logs = np.log(np.where(np.isnan(ours), most, ours) / np.where(np.isnan(theirs), most, theirs))
    center, low, high = float(logs.mean()), None, None
    if len(logs) > 1 and not (at_least or at_most):  # bounds vary less than what they bound
        reach = float(t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * float(logs.std(ddof=1)) / len(logs) ** 0.5
        low, high = float(np.exp(center - reach)), float(np.exp(center + reach))
    return TimesLonger(float(np.exp(center)), low, high, tuple(map(float, np.exp(logs))), at_least, at_most)


def compare_epochs(experiment: Experiment, claim: str, found: TimesLonger, what: str, *, above: float = 1.0) -> None:
    """Records the verdict on the claim that the first arm needs more than `above` times as many epochs."""
    interval = None if found.low is None or found.high is None else (found.low, found.high)
    experiment.verdict(
        claim, found.judge(above), f"{what}: {found.text()}", experiment.where, found.ratio, interval, "ratio of epochs"
    )


def epochs_text(epochs: ArrayLike, most: int) -> str:
    """ "3.4" epochs on average, or "more than 30" where a seed never reached the error."""
    values = np.asarray(epochs, float)
    return f"more than {most}" if np.isnan(values).any() else f"{values.mean():.1f}"
