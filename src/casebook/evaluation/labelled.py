"""Labelled pictures for a classifier: which ones are scored, with labels that are its outputs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.datasets import PictureData
from ..data.pictures import find_names, same_name
from ..data.sources import Source, load_source, match_classes
from ..errors import DataError, RunError
from ..training.distributed import ALONE
from ..training.plan import prepare_data
from ..training.run import Run
from .classifier import Classifier

PARTS = ("train", "val", "test")


class Labelled(NamedTuple):
    """Pictures to score. `own` is the run's own data, where that is what was asked for."""

    source: Source  # its labels are the classifier's outputs
    indices: tuple[int, ...]
    part: str
    notes: tuple[str, ...]
    own: PictureData | None


def find_pictures(classifier: Classifier, data: str | Path | Source | None, split: str) -> Labelled:
    """The pictures of a data set, or without one of the run's own, that `split` names.

    "auto" is the test part where there is one, else everything. Raises DataError for data that cannot be scored so.
    """
    if split not in ("auto", "all", *PARTS):
        raise DataError(f"split is {split!r}, expected auto, all, train, val or test")
    if data is None:
        if classifier.run is None:
            raise DataError("name the data: a folder, a CSV file or a built-in name")
        own = own_data(classifier.run)
        part = "test" if split == "auto" else split
        parts = PARTS if part == "all" else (part,)
        return Labelled(
            own.source, tuple(i for name in parts for i in getattr(own.split, name)), part, own.source.notes, own
        )
    many = classifier.task == "multilabel"
    source, notes = with_classes_of(load_source(data, many_labels=many), classifier)
    present = {picture.split for picture in source.pictures}
    part = split if split != "auto" else "test" if "test" in present else "all"
    if part != "all" and part not in present:
        raise DataError(f"{source.name} has no {part} split; it has {', '.join(sorted(present - {''})) or 'none'}")
    indices = tuple(i for i, picture in enumerate(source.pictures) if part in ("all", picture.split))
    return Labelled(source, indices, part, (*source.notes, *notes), None)


def own_data(run: Run) -> PictureData:
    """The data that a run was trained on, with its split. Raises RunError where its classes are others by now."""
    data = prepare_data(run.recipe, run, ALONE, known_split=True)
    same = len(data.source.classes) == len(run.classes) and all(map(same_name, data.source.classes, run.classes))
    if not same:
        raise RunError(f"{run.path}: the classes of {run.recipe.data} have changed since the training; name the data")
    return data


def with_classes_of(source: Source, classifier: Classifier) -> tuple[Source, list[str]]:
    """The source with its labels turned into the classifier's outputs. Raises DataError naming what fits nowhere."""
    notes: list[str] = []
    if classifier.class_list is not None:
        outputs = match_classes(source.classes, classifier.class_list)
    else:
        places = find_names(source.classes, classifier.classes)
        unknown = [name for name, place in places.items() if place is None]
        if unknown:
            more, known = (
                " ..." if len(names) > most else "" for names, most in ((unknown, 5), (classifier.classes, 10))
            )
            raise DataError(
                f"{source.name}: {len(unknown)} classes that {classifier.name} does not know: "
                f"{', '.join(unknown[:5])}{more}; it knows {', '.join(classifier.classes[:10])}{known}. Rename the "
                "folders, or give a class list by --classes"
            )
        outputs = tuple(place for place in places.values() if place is not None)
        notes += [
            f"the class {name!r} is scored as {classifier.classes[place]!r}"
            for name, place in zip(places, outputs, strict=True)
            if not same_name(name, classifier.classes[place])
        ]
    pictures = tuple(picture._replace(label=outputs[picture.label]) for picture in source.pictures)
    if (number := len(set(outputs))) < len(classifier.classes):
        notes.append(
            f"{source.name} holds {number} of the network's {len(classifier.classes)} classes; scored against all"
        )
    targets = None
    if source.targets is not None:
        targets = np.full((len(source), len(classifier.classes)), np.nan, np.float32)
        targets[:, list(outputs)] = source.targets
    return dataclasses.replace(source, pictures=pictures, classes=classifier.classes, targets=targets), notes


def _some(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
