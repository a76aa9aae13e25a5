"""Predictions of several networks for the same pictures -> their average, and what each of them is worth in it."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .comparison import Scored
from .predictions import Predictions

STEPS = 20_000
TOLERANCE = 1e-9


def columns_of(classes: Sequence[str], reference: Sequence[str], name: str, reference_name: str) -> NDArray[np.intp]:
    """For each of the reference's classes, the column of the class of that name.

    Raises DataError naming what only one of them knows, and names that several columns have.
    """
    if tuple(classes) == tuple(reference):
        return np.arange(len(classes))
    if Counter(classes) != Counter(reference):
        parts = [
            f"only {who} knows {', '.join(map(repr, names[:5]))}{' ...' if len(names) > 5 else ''}"
            for who, names in (
                (name, sorted((Counter(classes) - Counter(reference)).elements())),
                (reference_name, sorted((Counter(reference) - Counter(classes)).elements())),
            )
            if names
        ]
        raise DataError(
            f"{name} and {reference_name} have different classes: {'; '.join(parts)}; take runs of the same"
        )
    twice = sorted(known for known, number in Counter(classes).items() if number > 1)
    if twice:
        raise DataError(
            f"{name} and {reference_name} have several classes called {twice[0]!r}, in different places, so that they "
            "cannot be told apart; rename them in model.json"
        )
    places = {known: place for place, known in enumerate(classes)}
    return np.array([places[known] for known in reference], np.intp)


def aligned(members: Sequence[Predictions], names: Sequence[str]) -> list[Predictions]:
    """The members with their columns in the order of the first one's classes, and their pictures in its order.

    Raises DataError where the classes, the pictures or a picture's label differ.
    """
    first, classes = members[0], members[0].classes
    ours = []
    for name, member in zip(names, members, strict=True):
        columns = columns_of(member.classes, classes, name, names[0])
        places = {picture: row for row, picture in enumerate(member.names)}
        missing = [picture for picture in first.names if picture not in places]
        extra = sorted(set(places) - set(first.names))
        if missing or extra:
            raise DataError(
                f"{name} and {names[0]} hold different pictures: {len(missing)} are missing in the first and "
                f"{len(extra)} in the second, such as {(missing + extra)[0]}; save both from the same data"
            )
        rows = np.array([places[picture] for picture in first.names], np.intp)
        outputs = {int(column): place for place, column in enumerate(columns)}
        labels = np.array([outputs[int(label)] for label in member.labels[rows]], np.int64)
        differ = np.flatnonzero(labels != first.labels)
        if len(differ):
            row = int(differ[0])
            raise DataError(
                f"{first.names[row]} is {classes[labels[row]]!r} in {name} and {classes[first.labels[row]]!r} in "
                f"{names[0]}; save both from the same data"
            )
        ours.append(Predictions(first.names, first.labels, member.probabilities[rows][:, columns], classes))
    return ours


def average(members: Sequence[Predictions], weights: Sequence[float] | None = None) -> Predictions:
    """The weighted mean of the probabilities of aligned members, the plain one without weights."""
    shares = np.full(len(members), 1 / len(members)) if weights is None else np.asarray(weights, np.float64)
    total = sum(share * member.probabilities.astype(np.float64) for share, member in zip(shares, members, strict=True))
    return members[0]._replace(probabilities=np.asarray(total).astype(np.float32))


def fit_weights(members: Sequence[Predictions]) -> list[float]:
    """Weights of aligned members, 0 or more and summing to 1, with the least log loss of their average.

    By expectation maximisation for the shares of a mixture of fixed distributions (Dempster, Laird, Rubin, JRSS B 39,
    1977, section 4.3): the loss is convex in the weights and falls with every step.
    """
    of_label = np.stack(
        [member.probabilities[np.arange(len(member.labels)), member.labels] for member in members], axis=1
    ).astype(np.float64)
    of_label = np.maximum(of_label, 1e-12)  # a picture that all have wrong for sure must not divide by nothing
    weights = np.full(len(members), 1 / len(members))
    for _ in range(STEPS):
        gains = (of_label / (of_label @ weights)[:, None]).mean(axis=0)
        weights = weights * gains
        weights /= weights.sum()
        if gains.max() < 1 + TOLERANCE:  # no weight is worth raising: the optimum
            break
    return [float(weight) for weight in weights]


def with_ensembles(rows: Sequence[Scored], weights: Sequence[float] | None = None) -> list[Scored]:
    """The rows of members, for each protocol followed by the ensembles without one of them and that of all."""
    found: list[Scored] = []
    for _, group in itertools.groupby(
        sorted(rows, key=lambda row: [r.protocol for r in rows].index(row.protocol)), key=lambda row: row.protocol
    ):
        members = list(group)
        found += members
        if len(members) > 2:
            for left_out in range(len(members)):
                others = [place for place in range(len(members)) if place != left_out]
                found.append(_ensemble_of(f"without {members[left_out].name}", "without", members, others, weights))
        found.append(_ensemble_of("ensemble", "ensemble", members, range(len(members)), weights))
    return found


def _ensemble_of(
    name: str, kind: Any, members: Sequence[Scored], places: Sequence[int], weights: Sequence[float] | None
) -> Scored:
    """The average of some members; their weights are those of the whole, scaled to sum to 1."""
    chosen = [members[place] for place in places]
    shares = None
    if weights is not None:
        total = sum(weights[place] for place in places)
        shares = [weights[place] / total for place in places] if total > 0 else None
    costs = [row.multiply_adds for row in chosen]
    cost = None if any(c is None for c in costs) else sum(c or 0 for c in costs)
    said = average([row.predictions for row in chosen], shares)
    return Scored(name, kind, chosen[0].protocol, sum(row.views for row in chosen), said, cost)
