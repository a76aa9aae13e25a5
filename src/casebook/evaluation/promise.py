"""Margins and mistakes on validation pictures -> from which margin on a network may answer.

The promise: of the answers it gives, at most a share `most_wrong` is wrong. It is about the error rate among the
answers, for new pictures of the same source, and it holds with probability `confidence` over the draw of the
validation pictures.

Learn then test (Angelopoulos et al., "Learn then Test", arXiv:2110.01052) with one fixed sequence of tests. The
validation pictures are sorted by margin, the surest first. Let the m surest be answered, k of them wrongly. Given the
margin of the next picture, these m are independent draws from all pictures with a larger margin, so k is binomial with
their true error rate, and P(Binomial(m, most_wrong) <= k) is an exact p-value of "more than most_wrong of such answers
are wrong". The tests go from a first m, fixed beforehand, through every larger m until one fails; each is made at the
full level 1 - confidence, since a wrong promise needs the first true hypothesis in the sequence to be rejected.

That this hypothesis depends on the drawn margins does no harm: wherever the error rate among the answered crosses
`most_wrong`, the pictures between two crossings have just this error rate on average, so the number of mistakes among
the surest m at the first crossing is binomial however many pictures lie between. Nothing is assumed of the network or
of how mistakes depend on the margin. Only equal margins are an exception of no weight: they are answered together or
not at all.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3)  # of wrong answers, for "what can be promised"
LEAST_ANSWERED = 0.5  # of the pictures; the first test is about this many, or as many as a promise needs


@dataclasses.dataclass(frozen=True)
class Promise:
    """Answers whose margin is above `least_margin` are wrong in at most a share `most_wrong`, with `confidence`.

    `n`, `answered` and `wrong` count the validation pictures it rests on.
    """

    most_wrong: float
    confidence: float
    least_margin: float
    n: int
    answered: int
    wrong: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return dataclasses.asdict(self)


def find_promise(
    margins: NDArray[np.floating], wrong: NDArray[np.bool_], most_wrong: float, confidence: float = CONFIDENCE
) -> Promise | None:
    """The promise with the most answers that pictures with these (N,) margins allow; None where they allow none."""
    n = len(margins)
    first = first_test(n, most_wrong, confidence)
    if first is None:
        return None
    order = np.argsort(-np.asarray(margins, np.float64), kind="stable")
    sorted_margins, mistakes = np.asarray(margins, np.float64)[order], np.cumsum(np.asarray(wrong, bool)[order])
    counts = np.arange(first, n + 1)
    p_values = special.bdtr(mistakes[first - 1 :], counts, most_wrong)
    following = np.append(sorted_margins, 0.0)[counts]  # a margin of 0 is a tie of two classes, never an answer
    together = sorted_margins[counts - 1] > following  # no picture of equal margin is left out
    passed = (p_values <= 1 - confidence)[together]
    num_passed = len(passed) if passed.all() else int(np.argmin(passed))
    if not num_passed:
        return None
    answered = int(counts[together][num_passed - 1])
    least = float(following[together][num_passed - 1])
    return Promise(most_wrong, confidence, least, n, answered, int(mistakes[answered - 1]))


def first_test(n: int, most_wrong: float, confidence: float = CONFIDENCE) -> int | None:
    """How many of n pictures the first test answers: about half, as many as pass with a whole number of mistakes.

    A test on fewer pictures than a promise needs cannot pass, so it is at least that many. None where n is too few.
    """
    least = pictures_needed(most_wrong, confidence)
    if least > n:
        return None
    found, mistakes = least, 1
    while (more := pictures_needed(most_wrong, confidence, mistakes)) <= max(least, LEAST_ANSWERED * n):
        found, mistakes = more, mistakes + 1
    return found


def pictures_needed(most_wrong: float, confidence: float = CONFIDENCE, mistakes: int = 0) -> int:
    """The fewest answers of which so many may be wrong and the promise still be given: 299 for 1 % at 95 %."""
    if mistakes == 0:
        return math.ceil(math.log(1 - confidence) / math.log1p(-most_wrong))
    # The binomial of so many mistakes in m answers falls with m: double, then halve.
    low, high = mistakes, 2 * pictures_needed(most_wrong, confidence) * (mistakes + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if special.bdtr(mistakes, middle, most_wrong) <= 1 - confidence else (middle, high)
    return high


def possible_promises(
    margins: NDArray[np.floating],
    wrong: NDArray[np.bool_],
    shares: Sequence[float] = SHARES,
    confidence: float = CONFIDENCE,
) -> list[Promise]:
    """The promises of these shares that can be given, the strictest first, up to the one that answers everything."""
    found = []
    for share in shares:
        promise = find_promise(margins, wrong, share, confidence)
        if promise is not None:
            found.append(promise)
            if promise.answered == promise.n:
                break
    return found


def risk_coverage(margins: NDArray[np.floating], wrong: NDArray[np.bool_], most: int = 100) -> list[list[float]]:
    """[share answered, share of these wrong], the surest pictures first, at `most` places or fewer; the last is all."""
    n = len(margins)
    mistakes = np.cumsum(np.asarray(wrong, bool)[np.argsort(-np.asarray(margins, np.float64), kind="stable")])
    counts = np.unique(np.ceil(np.arange(1, most + 1) * n / most).astype(int)) if n else []
    return [[int(count) / n, float(mistakes[count - 1] / count)] for count in counts]
