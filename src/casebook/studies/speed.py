"""Curves of an error over the epochs -> when each arm has reached an error, and how many times sooner one is there."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .experiment import Lab
from .verdict import CONFIDENCE


def epochs_to_reach(errors: ArrayLike, target: float, start: float) -> NDArray[np.float64]:
    """`errors` is (seeds, epochs), after each epoch; gives (seeds,) epochs until `target`, nan where it is not reached.

    Between two epochs the error is taken to fall in a straight line; `start` is that of epoch 0.
    """
    curves = np.atleast_2d(np.asarray(errors, float))
    found = np.full(len(curves), np.nan)
    for seed, curve in enumerate(curves):
        reached = np.flatnonzero(curve <= target)
        if not len(reached):
            continue
        epoch = int(reached[0])
        before = curve[epoch - 1] if epoch else start
        fallen = 1.0 if np.isnan(before) or before <= curve[epoch] else (before - target) / (before - curve[epoch])
        found[seed] = epoch + min(1.0, fallen)
    return found


class TimesLonger(NamedTuple):
    """How many times the epochs of a second arm a first one needs: the geometric mean over paired seeds.

    Where the first never arrived it counts as arriving at the end, and the ratio is `at_least` that; `at_most` where
    the second never did. There is no interval with one seed, nor where a seed
    never arrived.
    """

    ratio: float
    low: float | None
    high: float | None
    per_seed: tuple[float, ...]
    at_least: bool
    at_most: bool

    def text(self) -> str:
        bound = "unknown, about " if self.at_least and self.at_most else ""
        bound = bound or ("at least " if self.at_least else "at most " if self.at_most else "")
        if self.low is None or self.high is None:
            why = "one seed" if len(self.per_seed) == 1 else "not all arrived"
            return f"{bound}{self.ratio:.2f} times as many epochs ({why}, no interval)"
        return (
            f"{bound}{self.ratio:.2f} times as many epochs (95 % interval {self.low:.2f} to {self.high:.2f}; "
            f"{len(self.per_seed)} paired seeds)"
        )

    def above(self, times: float) -> bool | None:
        """Whether the first arm needs more than `times` as many epochs; None where that cannot be told."""
        if self.low is None or self.high is None:
            return None
        return True if self.low > times else False if self.high < times else None


def times_longer(epochs: ArrayLike, reference_epochs: ArrayLike, most: int) -> TimesLonger:
    """`epochs` and `reference_epochs` are (seeds,) as `epochs_to_reach` gives them; `most` is how many there were."""
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


def compare_epochs(lab: Lab, claim: str, found: TimesLonger, what: str, *, above: float = 1.0) -> None:
    """Writes down whether the claim that the first arm needs more than `above` times the epochs holds."""
    held = found.above(above)
    outcome = "no detectable difference" if held is None else "confirmed" if held else "contradicted"
    interval = None if found.low is None or found.high is None else (found.low, found.high)
    lab.verdict(
        claim,
        "measured" if interval is None else outcome,
        f"{what}: {found.text()}",
        difference=found.ratio,
        interval=interval,
        unit="ratio of epochs",
    )


def written(epochs: ArrayLike, most: int) -> str:
    """ "3.4" epochs on average, or "more than 30" where a seed did not arrive."""
    values = np.asarray(epochs, float)
    return f"more than {most}" if np.isnan(values).any() else f"{values.mean():.1f}"
