"""The parts of the search for wrong labels, against closed forms and definitions."""

import numpy as np
import pytest

from casebook.errors import DataError
from casebook.evaluation.suspects import doubted, lonely, order_suspects, out_of_fold


def test_doubted_follows_the_definition_of_confident_learning() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), 200)
    labels = generator.integers(0, 4, 200)
    found = doubted(probabilities, labels)
    usual = [probabilities[labels == label, label].mean() for label in range(4)]
    for row in range(200):
        possible = [label for label in range(4) if probabilities[row, label] >= usual[label]]
        best = max(possible, key=lambda label: probabilities[row, label], default=labels[row])
        assert found[row] == (best != labels[row])


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


def test_a_class_in_one_group_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="one group only"):
        out_of_fold(np.zeros((4, 2)), np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
