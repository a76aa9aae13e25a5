"""Evidence, and predictions on other pictures -> how many answers a judge gives there, and how many are wrong."""

from typing import Any

import numpy as np

from ..runner.unsure import margins
from .calibration import calibration_after
from .conformal import set_members
from .evidence import Evidence
from .metrics import wilson_interval
from .predictions import Predictions
from .promise import Promise, risk_coverage

DEFAULT_MOST_WRONG = 0.01


def judged_scores(evidence: Evidence, predictions: Predictions, most_wrong: float) -> dict[str, Any]:
    """What the judge of this promise says of the pictures, as JSON. Shares are in [0, 1], intervals hold 95 %.

    Raises RunError where the promise cannot be given.
    """
    judge = evidence.judge(most_wrong)
    said, labels = predictions.probabilities, predictions.labels
    n, wrong = len(labels), predictions.predicted() != labels
    whys = np.array(judge.whys(said, predictions.features))
    members = set_members(said, evidence.sets.sets)
    held = int(members[np.arange(n), labels].sum())
    order = np.where(whys == "unlike", -1.0, margins(said))
    return {
        "most_wrong": judge.most_wrong,
        "confidence": judge.confidence,
        "least_margin": judge.least_margin,
        **_counts(whys == "", wrong),
        "unlike": int((whys == "unlike").sum()),
        "close": int((whys == "close").sum()),
        "promises": [
            {**promise.to_dict(), "here": _here(evidence, promise, predictions, wrong)}
            for promise in evidence.promises()
        ],
        "curve": risk_coverage(order, wrong),
        "temperature": evidence.temperature,
        "calibrated": calibration_after(said, labels, evidence.temperature),
        "sets": {
            "coverage": evidence.sets.sets.coverage,
            "spread": list(evidence.sets.spread),
            "num_validation": evidence.sets.n,
            "covered": held / n,
            "covered_interval": wilson_interval(held, n),
            "mean_size": float(members.sum(axis=1).mean()),
        },
        "num_validation": evidence.num_pictures,
    }


def strictest_promise(evidence: Evidence) -> float | None:
    """The default promise where it can be given, else the strictest one that can; None where there is none."""
    possible = [promise.most_wrong for promise in evidence.promises() if promise.most_wrong >= DEFAULT_MOST_WRONG]
    return possible[0] if possible else None


def _here(evidence: Evidence, promise: Promise, predictions: Predictions, wrong: np.ndarray) -> dict[str, Any]:
    whys = np.array(evidence.judge_of(promise).whys(predictions.probabilities, predictions.features))
    return _counts(whys == "", wrong)


def _counts(answered: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """How many pictures are answered, how many of these wrongly. Without an answer there is no share of wrong ones."""
    n, num_answered, num_wrong = len(wrong), int(answered.sum()), int((answered & wrong).sum())
    return {
        "n": n,
        "answered": num_answered,
        "answered_share": num_answered / n,
        "answered_interval": wilson_interval(num_answered, n),
        "wrong": num_wrong,
        "wrong_share": num_wrong / num_answered if num_answered else None,
        "wrong_interval": wilson_interval(num_wrong, num_answered) if num_answered else None,
    }
