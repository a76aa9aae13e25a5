"""Labels -> those that hold several labels in one, such as "c0,c9"."""

from collections.abc import Iterable
from typing import NamedTuple

SEPARATORS = ("|", ";", ",", "/", "+", " ")
CLEAR = ("|", ";", ",")  # seldom part of a name


class Combined(NamedTuple):
    separator: str
    labels: frozenset[str]  # those that hold several


def combined_labels(labels: Iterable[str]) -> Combined | None:
    """The labels that hold several, if it is plain that they do.

    It is where all parts of one are labels of their own ("cat", "dog", "cat,dog"); or where there are no more parts
    than labels and they stand in different places ("c0,c3", "c0,c9", "c3,c9"). "dog, large" beside "cat, large" and
    "great white shark" are one label each. Words with spaces between must show it for the most part.
    """
    labels = {label.strip() for label in labels}
    for separator in SEPARATORS:
        parts = {label: [part.strip() for part in label.split(separator)] for label in labels}
        several = {label: found for label, found in parts.items() if len(found) > 1 and all(found)}
        made_of_labels = {label for label, found in several.items() if labels.issuperset(found)}
        if made_of_labels and (separator != " " or 2 * len(made_of_labels) > len(several)):
            return Combined(separator, frozenset(several))
        if len(several) < 3:
            continue
        places: dict[str, set[int]] = {}
        for found in parts.values():
            for place, part in enumerate(found):
                places.setdefault(part, set()).add(place if len(found) > 1 else -1)
        moving = sum(len(where) > 1 for where in places.values())
        enough = moving > 0 if separator in CLEAR else 2 * moving > len(places)
        if enough and len(places) <= len(labels):
            return Combined(separator, frozenset(several))
    return None
