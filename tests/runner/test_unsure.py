"""The judge: labels, "unsure" with its reason, and sets, from plain numbers."""

import json
import subprocess
import sys

import numpy as np
import pytest

from casebook.errors import RunError
from casebook.runner.unsure import Judge, PredictionSets, Unlike, calibrated, margins

CLASSES = ("cat", "dog", "horse")
KEPT = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float16)


def judge(**changes: object) -> Judge:
    given = {"most_wrong": 0.01, "confidence": 0.95, "least_margin": 1.0, "temperature": 2.0,
             "sets": PredictionSets(0.9, 0.25), "unlike": Unlike(KEPT, 0.3, 0.05)}  # fmt: skip
    return Judge(**given | changes)  # type: ignore[arg-type]


def test_a_clear_picture_gets_its_class() -> None:
    (found,) = judge()(np.array([[0.1, 0.8, 0.1]]), np.array([[2.0, 0.1, 0, 0]]), CLASSES)
    assert (found.label, found.why, found.reason, found.candidates) == (1, "", "", (1,))
    assert found.probabilities == pytest.approx(np.sqrt([0.1, 0.8, 0.1]) / np.sqrt([0.1, 0.8, 0.1]).sum())


def test_two_classes_that_compete() -> None:
    (found,) = judge()(np.array([[0.5, 0.3, 0.2]]), np.array([[1.0, 0, 0, 0]]), CLASSES)
    assert (found.label, found.why, found.candidates) == (None, "close", (0, 1))
    assert found.reason == "cat 41.5 % against dog 32.2 %: not sure enough for at most 1 % wrong answers"


def test_a_picture_unlike_all() -> None:
    """However certain the network is; also where its features are no numbers."""
    rows = np.array([[0.98, 0.01, 0.01]] * 2)
    first, second = judge()(rows, np.array([[0, 0, 3.0, 0], [np.nan, 0, 0, 0]]), CLASSES)
    assert first.label is None
    assert first.why == second.why == "unlike"
    assert "distance 1.00; 95 % of its own validation pictures stay below 0.30" in first.reason


def test_the_limit_is_the_nearest_kept_picture() -> None:
    """Cosine 0.8 to the second kept one, whatever the length; the second nearest is farther."""
    features = np.array([[0.0, 4, 3, 0]])
    assert judge().unlike.scores(features) == pytest.approx(0.2, abs=1e-3)  # type: ignore[union-attr]
    assert Unlike(KEPT, 0.3, 0.05, 2).scores(features) == pytest.approx(1.0)


def test_margins_do_not_depend_on_the_temperature() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    assert margins(calibrated(rows, 2.5)) * 2.5 == pytest.approx(margins(rows), rel=1e-4)
    assert margins(np.array([[0.25, 0.75]])) == pytest.approx(np.log(3))
    assert np.isfinite(margins(np.array([[1.0, 0.0, 0.0]]))).all()
    assert np.isfinite(margins(np.array([[1.0]]))).all()


def test_plain_numbers_and_a_table_make_the_same_judge() -> None:
    rng = np.random.default_rng(0)
    rows, features = rng.dirichlet(np.ones(3) * 0.5, 40), rng.random((40, 4))
    again = Judge.from_dict(json.loads(json.dumps(judge().to_dict())), KEPT)
    for one, other in zip(judge()(rows, features, CLASSES), again(rows, features, CLASSES), strict=True):
        assert one._replace(probabilities=0) == other._replace(probabilities=0)  # type: ignore[arg-type]
    without = Judge.from_dict(judge(unlike=None).to_dict())
    assert without.whys(rows, None).count("close") > 0


@pytest.mark.parametrize(
    "damage",
    [{"temperature": 0}, {"least_margin": float("nan")}, {"least_margin": "much"}, {"unknown": 1}, {"sets": {}},
     {"unlike": None}, {"unlike": {"limit": 0.1, "refused": 0.05, "neighbour": 3}},
     {"unlike": {"limit": 0.1, "refused": 0.05, "neighbour": 1.5}}, {"least_margin": 1e300}, {"temperature": 10**400}],
)  # fmt: skip
def test_damaged_numbers(damage: dict) -> None:
    with pytest.raises(RunError, match="damaged"):
        Judge.from_dict(judge().to_dict() | damage, KEPT)


def test_features_of_another_network() -> None:
    with pytest.raises(RunError, match=r"features are \(1, 5\), expected \(N, 4\)"):
        judge()(np.array([[0.5, 0.5, 0]]), np.zeros((1, 5)), CLASSES)


def test_it_needs_numpy_alone() -> None:
    code = (
        "import sys, casebook.runner.unsure; print([n for n in ('torch', 'scipy', 'PIL', 'cv2') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"
