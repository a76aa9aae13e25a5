"""Asks a run about every picture of the project: where it is unsure, and which labels would teach it most."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...progress import Advanced
from ..openings import last_parts, openings
from ..pictures import ProjectPictures
from .pictures import RUN, run_path
from .task import Task, Work

NUM_NEXT = 200  # pictures that are proposed
CANDIDATES = 4000  # the most doubtful pictures, among which these are drawn


def ask(work: Work) -> Mapping[str, Any]:
    """One value for each picture that was judged, in the order of `numbers`; `next` are numbers, the best first.

    Pictures of the run's locked test are left out until it is opened, since an answer to one is a look at the test.
    """
    import casebook
    from casebook.evaluation.active import doubt, most_informative

    assert work.project is not None
    name = work.settings["run"]
    pictures = ProjectPictures(work.studio, work.projects, work.project, keep=False)
    classifier = casebook.load(run_path(work, name))
    closed = set() if openings(work.projects, work.project).get(name) else _tested(work.studio.runs / name)
    asked = [
        number
        for number, picture in enumerate(pictures.names)
        if pictures.find_row(number) is not None and last_parts(picture) not in closed
    ]
    numbers: list[int] = []
    doubts: list[NDArray[np.float64]] = []
    guesses: list[NDArray[np.int64]] = []
    pool = _Pool({number for number in asked if pictures.is_open(number)})
    for judged, probabilities, features in _answers(work, classifier, pictures, asked):
        numbers += judged
        doubts.append(doubt(probabilities))
        guesses.append(probabilities.argmax(1))
        pool.add(judged, doubts[-1], probabilities, features)
    return {
        "run": name,
        "classes": list(classifier.classes),
        "numbers": numbers,
        "doubts": [round(float(one), 3) for part in doubts for one in part],
        "guesses": [int(one) for part in guesses for one in part],
        "next": pool.choose(most_informative),
        "locked": sum(pictures.find_row(number) is not None for number in range(len(pictures.names))) - len(asked),
        "unreadable": len(asked) - len(numbers),
    }


class _Pool:
    """The most doubtful pictures that nobody has decided about, with what their choice needs."""

    def __init__(self, free: set[int]):
        self._free = free
        self._numbers = np.zeros(0, np.int64)
        self._doubts = np.zeros(0)
        self._probabilities: NDArray[np.float32] | None = None
        self._features: NDArray[np.float16] | None = None

    def add(
        self,
        numbers: list[int],
        doubts: NDArray[np.float64],
        probabilities: NDArray[np.float32],
        features: NDArray[np.float32],
    ) -> None:
        rows = [row for row, number in enumerate(numbers) if number in self._free]
        self._numbers = np.concatenate([self._numbers, np.array(numbers, np.int64)[rows]])
        self._doubts = np.concatenate([self._doubts, doubts[rows]])
        # Half precision is enough to tell pictures apart.
        probabilities, small = probabilities[rows], features[rows].astype(np.float16)
        if self._probabilities is not None and self._features is not None:
            probabilities = np.concatenate([self._probabilities, probabilities])
            small = np.concatenate([self._features, small])
        kept = np.argsort(-self._doubts, kind="stable")[:CANDIDATES]
        self._numbers, self._doubts = self._numbers[kept], self._doubts[kept]
        self._probabilities, self._features = probabilities[kept], small[kept]

    def choose(self, most_informative: Any) -> list[int]:
        if self._probabilities is None or self._features is None:
            return []
        chosen = most_informative(self._probabilities, self._features, NUM_NEXT)
        return [int(number) for number in self._numbers[chosen]]


def _answers(
    work: Work, classifier: Any, pictures: ProjectPictures, asked: list[int]
) -> Iterator[tuple[list[int], NDArray[np.float32], NDArray[np.float32]]]:
    """(numbers, probabilities, features) of the pictures that can be read, in batches."""
    from ...runner.reading import NamedPicture, read_ahead

    def named() -> Iterator[NamedPicture]:
        for number in asked:
            row = pictures.row(number)
            path = pictures.source.path(row)
            yield NamedPicture(str(number), pictures.source.open(row)) if path is None else NamedPicture(str(path))

    batch: list[tuple[int, NDArray[np.uint8]]] = []
    for done, (number, reading) in enumerate(zip(asked, read_ahead(named(), classifier.preprocessing), strict=True), 1):
        if reading.pixels is not None:
            batch.append((number, reading.pixels))
        if batch and (len(batch) == classifier.batch_size or done == len(asked)):
            outputs = classifier.infer(np.stack([pixels for _, pixels in batch]))
            yield [one for one, _ in batch], outputs.probabilities, outputs.features
            batch = []
        work.report(Advanced("predict", done, len(asked)))


def _tested(run: Path) -> set[str]:
    """The pictures of a run's locked test."""
    with (run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {last_parts(row["name"]) for row in csv.DictReader(file) if row["split"] == "test"}


DOUBT = Task("doubt", "asking the network", ask, {"run": RUN})
