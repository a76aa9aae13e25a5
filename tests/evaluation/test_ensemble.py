"""Ensembles: classes matched by name, the algebra of leaving one out, weights that are the best on the simplex."""

import numpy as np
import pytest
from scipy.optimize import minimize

from casebook.errors import DataError
from casebook.evaluation.comparison import Scored
from casebook.evaluation.ensemble import aligned, average, columns_of, fit_weights, with_ensembles
from casebook.evaluation.predictions import Predictions

CLASSES = ("ant", "bee", "cat", "dog")


def member(seed: int, n: int = 60, sharpness: float = 1.0) -> Predictions:
    """A network that is right more often than not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    probabilities = rng.dirichlet(np.ones(4), n)
    probabilities[np.arange(n), labels] += sharpness * rng.random(n)
    probabilities /= probabilities.sum(1, keepdims=True)
    return Predictions(tuple(map(str, range(n))), labels, probabilities.astype(np.float32), CLASSES)


def shuffled(predictions: Predictions, seed: int) -> Predictions:
    """The same predictions with classes and pictures in another order."""
    rng = np.random.default_rng(seed)
    columns, rows = rng.permutation(4), rng.permutation(len(predictions.names))
    place = np.argsort(columns)
    return Predictions(
        tuple(predictions.names[row] for row in rows),
        place[predictions.labels[rows]],
        predictions.probabilities[rows][:, columns],
        tuple(CLASSES[column] for column in columns),
    )


def test_classes_and_pictures_are_matched_by_name() -> None:
    members = [member(seed) for seed in range(3)]
    others = [members[0], shuffled(members[1], 3), shuffled(members[2], 2)]
    assert others[1].classes != CLASSES
    for ours, theirs in zip(members, aligned(others, ("a", "b", "c")), strict=True):
        assert np.array_equal(ours.probabilities, theirs.probabilities)
        assert np.array_equal(ours.labels, theirs.labels)
        assert (ours.names, ours.classes) == (theirs.names, theirs.classes)


def test_mismatches_are_named() -> None:
    with pytest.raises(DataError, match="runs/b and runs/a have different classes: only runs/b knows 'cow'; only "
                                        "runs/a knows 'dog'"):  # fmt: skip
        columns_of(("ant", "bee", "cat", "cow"), CLASSES, "runs/b", "runs/a")
    with pytest.raises(DataError, match="only a knows 'dog'"):
        columns_of(CLASSES[:3], CLASSES, "b", "a")
    with pytest.raises(DataError, match="several classes called 'crane'"):
        columns_of(("crane", "tench", "crane"), ("tench", "crane", "crane"), "b", "a")
    assert columns_of(("crane", "tench", "crane"), ("crane", "tench", "crane"), "b", "a").tolist() == [0, 1, 2]
    one, two = member(0), member(1)
    with pytest.raises(DataError, match="hold different pictures: 1 are missing in the first and 1 in the second"):
        aligned([one, two._replace(names=("other", *two.names[1:]))], ("a", "b"))
    with pytest.raises(DataError, match="0 is 'bee' in b and 'ant' in a"):
        aligned([one, two._replace(labels=np.array([1, *two.labels[1:]]))], ("a", "b"))


def rows_of(members: list[Predictions], protocol: str = "center") -> list[Scored]:
    return [Scored(f"m{i}", "network", protocol, 2, said, 100 + i) for i, said in enumerate(members)]


def test_leaving_one_out_is_what_the_algebra_says() -> None:
    """M times the whole, less a member, is M - 1 times the others."""
    members = [member(seed) for seed in range(4)]
    rows = with_ensembles(rows_of(members))
    assert [row.name for row in rows[4:]] == ["without m0", "without m1", "without m2", "without m3", "ensemble"]
    whole = rows[-1].predictions.probabilities.astype(np.float64)
    assert whole == pytest.approx(np.mean([m.probabilities for m in members], axis=0), abs=1e-7)
    for place, row in enumerate(rows[4:8]):
        left = 4 * whole - members[place].probabilities
        assert 3 * row.predictions.probabilities.astype(np.float64) == pytest.approx(left, abs=1e-6)
        assert row.multiply_adds == 406 - (100 + place)
        assert row.views == 6
        assert row.kind == "without"
    assert (rows[-1].multiply_adds, rows[-1].views) == (406, 8)


def test_weights_go_with_their_members() -> None:
    members = [member(seed) for seed in range(3)]
    rows = with_ensembles(rows_of(members), (0.5, 0.3, 0.2))
    expected = sum(w * m.probabilities for w, m in zip((0.5, 0.3, 0.2), members, strict=True))
    assert rows[-1].predictions.probabilities == pytest.approx(expected, abs=1e-6)
    without = (0.3 * members[1].probabilities + 0.2 * members[2].probabilities) / 0.5
    assert rows[3].predictions.probabilities == pytest.approx(without, abs=1e-6)
    # Others than one that has all the weight are left with none: they count alike.
    alone = with_ensembles(rows_of(members), (1.0, 0.0, 0.0))
    assert alone[3].predictions.probabilities == pytest.approx(average(members[1:]).probabilities, abs=1e-6)


def test_two_have_no_leave_one_out_and_protocols_stay_apart() -> None:
    one, two = member(0), member(1)
    rows = with_ensembles([*rows_of([one, two]), *rows_of([two, one], "flip")])
    assert [(row.name, row.protocol) for row in rows] == [
        *(("m0", "center"), ("m1", "center"), ("ensemble", "center")),
        *(("m0", "flip"), ("m1", "flip"), ("ensemble", "flip")),
    ]
    uncounted = with_ensembles([row._replace(multiply_adds=None) for row in rows_of([one, two])])
    assert uncounted[-1].multiply_adds is None


def log_loss(members: list[Predictions], weights: np.ndarray) -> float:
    mixed = sum(w * m.probabilities.astype(np.float64) for w, m in zip(weights, members, strict=True))
    return float(-np.log(np.asarray(mixed)[np.arange(len(members[0].labels)), members[0].labels]).mean())


@pytest.mark.parametrize("seed", range(4))
def test_fitted_weights_have_the_least_log_loss(seed: int) -> None:
    """Against scipy's constrained minimiser, which knows nothing of mixtures."""
    members = [member(10 * seed + i, sharpness=s) for i, s in enumerate((0.5, 1.0, 2.0, 0.1))]
    weights = np.array(fit_weights(members))
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    best = minimize(
        lambda w: log_loss(members, w), np.full(4, 0.25), bounds=[(0, 1)] * 4, method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-12},
    )  # fmt: skip
    assert log_loss(members, weights) <= best.fun + 1e-6
    assert log_loss(members, weights) < log_loss(members, np.full(4, 0.25))


def test_a_member_that_knows_gets_the_weight() -> None:
    good = member(0, sharpness=50)
    noise = Predictions(good.names, good.labels, np.full((60, 4), 0.25, np.float32), CLASSES)
    weights = fit_weights([noise, good])
    assert weights[1] > 0.99
    assert fit_weights([good, good]) == pytest.approx([0.5, 0.5])
    wrong = noise._replace(probabilities=np.eye(4, dtype=np.float32)[(good.labels + 1) % 4])
    assert fit_weights([wrong, wrong]) == pytest.approx([0.5, 0.5])  # hopeless, and no division by zero
