"""A network's probabilities and features -> a class, or "unsure" with the reason. NumPy alone, for bundles too.

This is the one place that judges an answer; `evaluation` finds the numbers of a `Judge` on validation pictures.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..formatting import percent_text, share_text

LARGEST = 1e30  # of a judge's numbers; float32 holds it
SMALLEST = 1e-38  # float32 softmax gives 0 below this, which has no logarithm
Why = Literal["", "unlike", "close"]


class Judgement(NamedTuple):
    """What is said of one picture: a class, or why there is none."""

    label: int | None
    """The class; None for "unsure"."""
    why: Why
    """"unlike": the picture resembles none that the network learnt from. "close": two classes compete. Else ""."""
    reason: str
    """The same in a sentence."""
    probabilities: NDArray[np.float32]
    """(K,), calibrated by the temperature."""
    candidates: tuple[int, ...]
    """The prediction set, the most probable class first."""


@dataclasses.dataclass(frozen=True)
class PredictionSets:
    """Sets that hold the true class of at least a share `coverage` of new pictures.

    A class is in the set of a picture where the network's own probability, without temperature, reaches
    `least_probability`.
    """

    coverage: float
    least_probability: float


@dataclasses.dataclass(frozen=True, eq=False)
class Unlike:
    """How far a picture is from all that the network learnt from.

    `kept` (M, F) float16 are features of training pictures, as unit vectors. The score of a picture is 1 minus the
    cosine to the `neighbour`-th nearest of them; the network is unsure unless it is below `limit`.
    """

    kept: NDArray[np.float16]
    limit: float
    refused: float  # share of the validation pictures that are not below `limit`
    neighbour: int = 1

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) of features (N, F); infinite where a feature is not a number."""
        return unlike_scores(features, self.kept, self.neighbour)


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """Plain numbers that turn a network's output into an answer.

    Of the answers, at most a share `most_wrong` is wrong, with `confidence`; they need a margin above `least_margin`.
    The margin is the logarithm of the first class's probability over the second's: dividing all logits by a temperature
    leaves the order of pictures by their margins alone.
    """

    most_wrong: float
    confidence: float
    least_margin: float
    temperature: float
    sets: PredictionSets
    unlike: Unlike | None = None

    def __call__(
        self, probabilities: NDArray[np.floating], features: NDArray[np.floating] | None, classes: Sequence[str]
    ) -> list[Judgement]:
        """One judgement for each row of (N, K) probabilities and (N, F) features of the same pictures.

        Raises RunError where the judge needs features and gets none of that length.
        """
        whys = self.whys(probabilities, features)
        scores = None if self.unlike is None or features is None else self.unlike.scores(features)
        found = []
        shown_rows = calibrated(probabilities, self.temperature)
        for row, (given, shown) in enumerate(zip(probabilities, shown_rows, strict=True)):
            order = np.argsort(-given, kind="stable")
            held = given[order] >= self.sets.least_probability
            held[0] = True  # an empty set would help nobody
            why = whys[row]
            if why == "unlike":
                reason = unlike_reason(float(scores[row]), self.unlike)  # type: ignore[index, arg-type]
            else:
                reason = close_reason(shown, order, classes, self.most_wrong) if why else ""
            label = None if why else int(order[0])
            found.append(Judgement(label, why, reason, shown, tuple(int(one) for one in order[held])))
        return found

    def whys(self, probabilities: NDArray[np.floating], features: NDArray[np.floating] | None) -> list[Why]:
        """Why each row gets no answer, "" where it gets one."""
        close = margins(probabilities) <= self.least_margin
        far = np.zeros(len(close), bool)
        if self.unlike is not None:
            if features is None or features.ndim != 2 or features.shape[1] != self.unlike.kept.shape[1]:
                shape = "none" if features is None else str(features.shape)
                raise RunError(
                    f"features are {shape}, expected (N, {self.unlike.kept.shape[1]}); the judge belongs to another "
                    "network, so make it again with 'casebook evaluate RUN --unsure 0.01'"
                )
            far = ~(self.unlike.scores(features) < self.unlike.limit)
        return ["unlike" if f else "close" if c else "" for f, c in zip(far, close, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; the table `unlike.kept` goes into a file of its own."""
        record = dataclasses.asdict(self)
        if record["unlike"] is not None:
            del record["unlike"]["kept"]
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any], kept: NDArray[np.float16] | None = None) -> "Judge":
        """The judge from plain numbers and the table. Raises RunError where they are damaged or do not fit."""
        try:
            unlike = record["unlike"]
            if (unlike is None) != (kept is None):
                raise ValueError("the numbers and the table of features do not belong together")
            if kept is not None and (kept.ndim != 2 or not kept.size or not np.isfinite(kept).all()):
                raise ValueError(f"the table of features is {kept.shape}, expected (M, F) numbers")
            made = cls(**record | {
                "sets": PredictionSets(**record["sets"]),
                "unlike": None if unlike is None or kept is None else Unlike(kept=kept, **unlike),
            })  # fmt: skip
            numbers = [made.most_wrong, made.confidence, made.least_margin, made.temperature,
                       made.sets.coverage, made.sets.least_probability]  # fmt: skip
            numbers += [] if made.unlike is None else [made.unlike.limit, made.unlike.refused]
            if not all(isinstance(number, int | float) and abs(number) <= LARGEST for number in numbers):
                raise ValueError("a value is not a finite number")
            far = made.unlike
            if far is not None and not (isinstance(far.neighbour, int) and 1 <= far.neighbour <= len(far.kept)):
                raise ValueError("the neighbour is out of range")
            if made.temperature <= 0:
                raise ValueError("the temperature is out of range")
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"the numbers that judge an answer are damaged: {error}; restore them from a copy"
            ) from error
        return made


def margins(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N,) of (N, K): the logarithm of the largest probability over the second largest, 0 or more."""
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
    if logs.shape[1] < 2:
        return np.full(len(logs), -math.log(SMALLEST), np.float32)
    two = np.partition(logs, logs.shape[1] - 2, axis=1)[:, -2:]
    return (two[:, 1] - two[:, 0]).astype(np.float32)


def calibrated(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float32]:
    """(N, K) probabilities as the softmax of the logits divided by the temperature gives them."""
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def unit_vectors(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, F) of length 1; a vector of zeros stays one."""
    values = np.asarray(features, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def unlike_scores(
    features: NDArray[np.floating], kept: NDArray[np.floating], neighbour: int = 1
) -> NDArray[np.float32]:
    """(N,): 1 minus the cosine of each of (N, F) features to the `neighbour`-th nearest of the unit vectors (M, F)."""
    with np.errstate(invalid="ignore", over="ignore"):
        cosines = unit_vectors(features) @ np.asarray(kept, np.float32).T
    nearest = np.partition(cosines, -neighbour, axis=1)[:, -neighbour]
    return np.where(np.isfinite(cosines).all(axis=1), 1 - nearest, np.inf).astype(np.float32)


def unlike_reason(score: float, unlike: Unlike) -> str:
    """Why a picture with this score gets no answer."""
    return (
        f"unlike the pictures it was trained on (distance {score:.2f}; {share_text(1 - unlike.refused)} of its own "
        f"validation pictures stay below {unlike.limit:.2f})"
    )


def close_reason(
    shown: NDArray[np.floating], order: NDArray[np.intp], classes: Sequence[str], most_wrong: float
) -> str:
    """Why a picture between two classes gets no answer."""
    first, second = (
        f"{classes[int(one)]} {percent_text(float(shown[one]))}".replace("\u00a0", " ") for one in order[:2]
    )
    return f"{first} against {second}: not sure enough for at most {share_text(most_wrong)} wrong answers"
