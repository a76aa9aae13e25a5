"""Mistakes of two arms over seeds and pictures -> their difference with its interval, and what it says about a claim.

Two things vary: another seed gives another network, and other test pictures give other mistakes. Both count. The
variance of the difference between the arms' errors is the variance between the paired seeds, divided by the number of
seeds, plus the variance between pictures (of each picture's difference, averaged over the seeds), divided by the number
of pictures. The degrees of freedom are those of Welch and Satterthwaite (Satterthwaite, "An approximate distribution of
estimates of variance components", Biometrics Bulletin 2, 1946). The seeds' part also contains some of the pictures'
noise, so the interval is slightly too wide where seeds differ little; with three seeds that differ a lot it covered the
truth in 90 % of simulated studies. Half a picture is added to each side, as in evaluation.paired, so that two arms with
identical mistakes still get an interval with a width.

A study gives no verdict where it cannot support one:

- with one seed, because nothing tells how much another seed would change;
- where the arm that the claim calls better learned nothing, because then training failed before the claim was tested.

An outcome names the data it was found on ("reproduced on digits"): a quick study is no statement about the paper's own
data. Only counted facts ("exact") hold everywhere.
"""

from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
ADDED = 0.5  # pictures on each side
Expected = Literal["lower", "higher"]
Kind = Literal["reproduced", "not reproduced", "no detectable difference", "exact", "not exact", "no verdict"]


class Side(Protocol):
    """One side of a comparison."""

    @property
    def name(self) -> str: ...

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(seeds, pictures), in the same order on both sides."""
        ...

    @property
    def chance(self) -> float:
        """The error of always answering the most frequent class of these pictures."""
        ...


class Difference(NamedTuple):
    """The first error less the second, as a share: below 0 where the first arm makes fewer mistakes."""

    difference: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    num_seeds: int
    num_pictures: int

    @property
    def is_detectable(self) -> bool:
        return not self.low <= 0 <= self.high

    def text(self) -> str:
        """ "-3.20 points (95 % interval -5.10 to -1.30; 3 paired seeds, 800 pictures)"."""
        seeds = f"{self.num_seeds} paired seeds" if self.num_seeds > 1 else "one seed, so over pictures alone"
        return (
            f"{100 * self.difference:+.2f} points (95 % interval {100 * self.low:+.2f} to {100 * self.high:+.2f}; "
            f"{seeds}, {self.num_pictures:,} pictures)"
        )


class Verdict(NamedTuple):
    """What a comparison says about a claim. `why` explains a missing verdict; `detail` is a remark for the reader."""

    kind: Kind
    why: str = ""
    detail: str = ""

    def outcome(self, where: str) -> str:
        """The kind with the data or the machine it was found on: "reproduced on digits", "one seed: no verdict"."""
        if self.kind == "no verdict":
            return f"{self.why}: no verdict"
        return self.kind if self.kind in ("exact", "not exact") else f"{self.kind} {where}"


def paired_difference(wrong: ArrayLike, reference_wrong: ArrayLike) -> Difference:
    """`wrong` and `reference_wrong` are (seeds, pictures) booleans in the same order.

    With one seed the interval covers the choice of pictures only. Raises ValueError for arrays of unequal shape.
    """
    ours, theirs = np.asarray(wrong, bool), np.asarray(reference_wrong, bool)
    if ours.ndim != 2 or ours.shape != theirs.shape or not ours.size:
        raise ValueError(f"wrong is {ours.shape}, reference_wrong {theirs.shape}; expected (seeds, pictures) both")
    from scipy.stats import t

    apart = ours.astype(float) - theirs
    num_seeds, num_pictures = apart.shape
    per_seed, per_picture = apart.mean(1), apart.mean(0)
    center = float(apart.mean())
    spread = float(((per_picture - center) ** 2).sum()) + 2 * ADDED
    pictures_part = spread / (num_pictures + 2 * ADDED) / num_pictures
    seeds_part = float(per_seed.var(ddof=1)) / num_seeds if num_seeds > 1 else 0.0
    total = pictures_part + seeds_part
    freedom = total**2 / (pictures_part**2 / max(1, num_pictures - 1) + seeds_part**2 / max(1, num_seeds - 1))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * total**0.5
    low, high = max(-1.0, center - reach), min(1.0, center + reach)
    return Difference(center, low, high, tuple(map(float, per_seed)), num_seeds, num_pictures)


def learned(wrong: ArrayLike, chance: float) -> bool:
    """Whether any seed of the (seeds, pictures) mistakes is detectably better than `chance`.

    Each seed has an exact binomial test against the share of the most frequent class, at 5 % divided by the number of
    seeds. A network that ignores its input answers correctly at most that often, whatever it answers.
    """
    mistakes = np.asarray(wrong, bool)
    from scipy.stats import binomtest

    num_seeds, num_pictures = mistakes.shape
    tests = (
        binomtest(num_pictures - int(row.sum()), num_pictures, 1 - chance, alternative="greater") for row in mistakes
    )
    return any(test.pvalue < (1 - CONFIDENCE) / num_seeds for test in tests)


def judge(side: Side, reference: Side, expected: Expected, *, margin: float = 0.0) -> tuple[Difference, Verdict]:
    """Tests the claim that the error of `side` less that of `reference` is lower, or higher, than `margin`."""
    found = paired_difference(side.wrong, reference.wrong)
    if found.num_seeds == 1:
        return found, Verdict("no verdict", "one seed")
    failed = [arm for arm in (side, reference) if not learned(arm.wrong, arm.chance)]
    detail = "; ".join(
        f"{arm.name} learned nothing: {100 * arm.wrong.mean():.1f} % error, {100 * arm.chance:.1f} % by chance"
        for arm in failed
    )
    if len(failed) == 2:
        return found, Verdict("no verdict", "no arm learned", detail)
    if failed and failed[0] is (side if expected == "lower" else reference):
        return found, Verdict("no verdict", "the better arm did not learn", detail)
    return found, Verdict(outcome_kind(found.low, found.high, expected, margin), detail=detail)


def judge_ratio(ratio: "Ratio", expected: Expected, bound: float = 1.0) -> Verdict:
    """Tests the claim that a ratio is lower, or higher, than `bound`."""
    return Verdict(outcome_kind(ratio.low, ratio.high, expected, bound))


def outcome_kind(low: float, high: float, expected: Expected, bound: float) -> Kind:
    """What an interval says about the claim that a value is lower, or higher, than `bound`."""
    if low <= bound <= high:
        return "no detectable difference"
    return "reproduced" if (high < bound) == (expected == "lower") else "not reproduced"


class Ratio(NamedTuple):
    """The first of two paired measurements over the second: the median of the pairs, and 95 % of its bootstrap."""

    ratio: float
    low: float
    high: float
    num_pairs: int

    def text(self, pairs: str = "interleaved pairs") -> str:
        """ "0.90 (95 % interval 0.89 to 0.91; 21 interleaved pairs)"."""
        return f"{self.ratio:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}; {self.num_pairs} {pairs})"


def paired_ratio(values: ArrayLike, reference_values: ArrayLike) -> Ratio:
    """Both are (N,), measured in the same rounds, so a busy moment hits both. Raises ValueError for other shapes."""
    ours, theirs = np.asarray(values, float), np.asarray(reference_values, float)
    if ours.ndim != 1 or ours.shape != theirs.shape or len(ours) < 3:
        raise ValueError(f"the values are {ours.shape} and {theirs.shape}; expected (N,) both, N at least 3")
    ratios = ours / theirs
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, 1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Ratio(float(np.median(ratios)), float(low), float(high), len(ratios))
