"""The parts of the search for wrong labels, against closed forms and definitions."""

import numpy as np
import pytest

from casebook.errors import DataError
from casebook.evaluation.metrics import wilson_interval
from casebook.evaluation.suspects import doubted, lonely, order_suspects, out_of_fold, wrong_labels


def test_doubted_follows_the_definition_of_confident_learning() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), 200)
    labels = generator.integers(0, 4, 200)
    found = doubted(probabilities, labels)
    usual = [probabilities[labels == label, label].mean() for label in range(4)]
    for row in range(200):
        possible = [label for label in range(4) if probabilities[row, label] >= usual[label]]
        best = max(possible, key=lambda label: probabilities[row, label], default=labels[row])
        assert found[row] == (best != labels[row] and probabilities[row].argmax() != labels[row])


def hard_pictures(count: int = 3000, num_classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) probabilities, many of them near a tie, and labels drawn from them: no label is wrong."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(count, num_classes)) * generator.uniform(0.5, 8, (count, 1))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (probabilities.cumsum(1) < generator.uniform(size=(count, 1))).sum(1)
    return probabilities, labels


def test_hard_pictures_are_no_wrong_labels() -> None:
    probabilities, labels = hard_pictures()
    assert doubted(probabilities, labels).sum() > 100  # confident learning counts them
    found = wrong_labels(probabilities, labels)
    assert found.share < 0.003
    assert found.interval[0] == 0
    assert found.interval[1] < 0.01
    assert (found.probabilities > 0.5).sum() <= 3


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_planted_labels_are_within_the_interval_and_found(share: float) -> None:
    probabilities, labels = hard_pictures()
    generator = np.random.default_rng(1)
    wrong = generator.permutation(len(labels)) < share * len(labels)
    labels = np.where(wrong, (labels + generator.integers(1, 5, len(labels))) % 5, labels)
    found = wrong_labels(probabilities, labels)
    assert found.interval[0] < share < found.interval[1]
    assert found.interval[0] < found.share < found.interval[1] < found.share + 0.03
    assert found.probabilities.sum() == pytest.approx(found.share * len(labels), rel=0.05)
    surely = found.probabilities > 0.5
    assert wrong[surely].mean() == pytest.approx(found.probabilities[surely].mean(), abs=0.1)
    assert wrong[surely].mean() > 0.75


def test_how_sure_the_classifier_claims_to_be_changes_no_estimate() -> None:
    probabilities, labels = hard_pictures()
    sharp = probabilities**3 / (probabilities**3).sum(1, keepdims=True)
    ours, sharper = wrong_labels(probabilities, labels), wrong_labels(sharp, labels)
    assert sharper.share == pytest.approx(ours.share, abs=3e-4)
    assert sharper.interval == pytest.approx(ours.interval, abs=1e-3)


def test_a_class_without_pictures_doubts_nobody() -> None:
    probabilities = np.array([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1]])
    assert not doubted(probabilities, np.array([0, 1, 1, 0]))[:2].any()


def test_nobody_is_judged_by_a_copy_of_it() -> None:
    generator = np.random.default_rng(0)
    features = np.repeat(generator.normal(size=(60, 5)), 2, axis=0)  # noise, each twice
    labels = np.repeat(generator.integers(0, 2, 60), 2)
    groups = np.repeat(np.arange(60), 2)
    said = out_of_fold(features, labels, groups).probabilities.argmax(1)
    assert (said == labels).mean() < 0.75  # copies in both folds would give 1


def test_lonely_pictures_have_no_neighbour_of_their_class_besides_copies() -> None:
    generator = np.random.default_rng(0)
    features = np.concatenate([generator.normal(5, 1, (30, 3)), generator.normal(-5, 1, (32, 3))])
    labels = np.array([0] * 30 + [1] * 30 + [0, 0])
    groups = np.array([*range(60), 60, 60])  # the last two are copies of each other
    assert np.flatnonzero(lonely(features, labels, groups)).tolist() == [60, 61]


def test_copies_come_first_then_the_least_probable_labels() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.05, 0.95], [0.1, 0.9], [0.8, 0.2]])
    labels = np.array([0, 0, 0, 0, 1, 0])
    rows = [row for row, _ in order_suspects(probabilities, labels, [0])]
    assert rows == [0, 3, 2, 1]


def test_a_class_in_one_group_is_not_judged() -> None:
    generator = np.random.default_rng(0)
    features = np.concatenate([generator.normal(5, 1, (30, 3)), generator.normal(-5, 1, (32, 3))])
    labels = np.array([0] * 30 + [1] * 30 + [2, 2])
    found = out_of_fold(features, labels, np.array([*range(60), 60, 60]))
    assert np.flatnonzero(~found.known).tolist() == [60, 61]
    assert found.probabilities[60].tolist() == [0, 0, 1]
    assert [row for row, _ in order_suspects(found.probabilities, labels) if row >= 60] == []


def test_too_few_groups_to_judge_by() -> None:
    with pytest.raises(DataError, match="too few"):
        out_of_fold(np.zeros((4, 2)), np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))


def test_planted_labels_against_the_most_confident_mistakes() -> None:
    """5 % wrong labels in real digits: the first so many suspects hold more of them than the list of mistakes does."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    hits, of_mistakes, num = 0, 0, 0
    for seed in range(3):
        generator = np.random.default_rng(seed)
        wrong = np.zeros(len(bunch.target), bool)
        wrong[generator.choice(len(wrong), 90, replace=False)] = True
        moved = (bunch.target + generator.integers(1, 10, len(wrong))) % 10
        labels = np.where(wrong, moved, bunch.target)
        said = out_of_fold(bunch.data, labels, np.arange(len(labels))).probabilities
        ours = [row for row, _ in order_suspects(said, labels)]
        mistakes = np.flatnonzero(said.argmax(1) != labels)
        mistakes = mistakes[np.argsort(-said.max(1)[mistakes], kind="stable")]
        hits, of_mistakes, num = hits + wrong[ours[:90]].sum(), of_mistakes + wrong[mistakes[:90]].sum(), num + 90
        is_doubted = doubted(said, labels)
        assert wilson_interval(int(wrong[is_doubted].sum()), 90)[0] > 0.6  # recall; chance is 5 %
        assert wrong[ours].sum() / 90 > 0.95
    assert wilson_interval(int(hits), num)[0] > 0.88  # precision; chance is 5 %
    assert hits > of_mistakes
