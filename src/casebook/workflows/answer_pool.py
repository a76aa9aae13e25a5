"""Batches of pictures, answered by workers in other processes that may die, in order and with few of them under way.

Nothing here knows how workers are made; `ray_workers.py` makes them with Ray. The batches are those of one process, so
each picture is computed together with the same others, and the answers have the same bits.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import RunError
from ..progress import Remark, Reporter
from ..runner.answers import Answer, Answerer
from ..runner.reading import NamedPicture, ahead, read
from .answering import ModelFacts, ModelFiles, Question

SLOTS = 2  # batches that a worker has at a time: one is read while the other is computed
LOOKAHEAD = 8  # batches for each worker that may be answered before the next one in order is
MOST_DEATHS = 3  # of workers that have the same batch

Batch = Sequence[NamedPicture]


class Worker:
    """Answers batches; lives in a process of its own, where up to `SLOTS` threads call it.

    Relative names begin in `folder`, that of the process that asks.
    """

    def __init__(self, folder: Path, files: ModelFiles, question: Question, cores: int):
        self._folder, self._files, self._question, self._cores = folder, files, question, cores
        self._computing = threading.Lock()

    def load(self) -> ModelFacts:
        """Opens the classifier, once."""
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise RunError(f"a worker's machine has no {self._folder}: {error.strerror}; share it") from error
        self._classifier = self._files.open(threads=self._cores)
        unsure = self._question.unsure
        self._judge = self._classifier.judge if unsure is None else self._classifier.judge_for(unsure)
        return ModelFacts.of(self._classifier)

    def answer(self, pictures: Batch, threads: int) -> list[Answer]:
        preprocessing = self._classifier.preprocessing
        readings = list(ahead(lambda picture: read(picture, preprocessing), pictures, self._cores))
        with self._computing:
            if isinstance(self._classifier, Answerer):
                return self._classifier.answered(readings, top=self._question.top, judge=self._judge)
            from ..device import using_threads

            with using_threads(threads):
                return self._classifier.answered(readings, top=self._question.top, judge=self._judge)


class Ready(NamedTuple):
    """A worker has loaded the classifier and waits for batches."""

    worker: int


class Answered(NamedTuple):
    worker: int
    place: int
    answers: list[Answer]


class Died(NamedTuple):
    """A worker is gone, with the batches it had; another one of its number starts."""

    worker: int
    reason: str


class Pool(Protocol):
    """Workers with numbers from 0 to `num_workers`."""

    num_workers: int

    def ask(self, worker: int, place: int, batch: Batch) -> None:
        """Gives a worker that is ready the batch at `place`."""
        ...

    def next(self) -> Ready | Answered | Died:
        """Waits for what happens next."""
        ...


def answered_in_order(pool: Pool, batches: Iterable[Batch], report: Reporter) -> Iterator[list[Answer]]:
    """The answers to each batch, in order.

    A batch whose worker died goes to another. Raises RunError where it has killed several: memory is short, or a
    decoder crashes on one of its pictures.
    """
    return _Schedule(pool, batches, report).answers()


class _Schedule:
    def __init__(self, pool: Pool, batches: Iterable[Batch], report: Reporter):
        self.pool, self.report = pool, report
        self.left: Iterator[tuple[int, Batch]] | None = enumerate(batches)
        self.given: dict[int, Batch] = {}  # by place: what the workers have
        self.again: dict[int, Batch] = {}  # what dead workers had
        self.done: dict[int, list[Answer]] = {}
        self.at_work: dict[int, set[int]] = {}  # the places that each ready worker has
        self.deaths = Counter[int]()
        self.next_place = 0

    def answers(self) -> Iterator[list[Answer]]:
        while True:
            self._hand_out()
            while self.next_place in self.done:
                yield self.done.pop(self.next_place)
                self.next_place += 1
                self._hand_out()
            if self.left is None and not self.given and not self.again:
                return
            self._take(self.pool.next())

    def _hand_out(self) -> None:
        while self.at_work:
            worker = min(self.at_work, key=self._load)
            if self._load(worker) >= SLOTS or (self.again and self.at_work[worker]):
                return  # a batch that may have killed a worker gets one for itself, which tells whether it has
            found = self._next_batch()
            if found is None:
                return
            place, batch = found
            self.given[place] = batch
            self.at_work[worker].add(place)
            self.pool.ask(worker, place, batch)

    def _load(self, worker: int) -> int:
        places = self.at_work[worker]
        return SLOTS if any(self.deaths[place] for place in places) else len(places)

    def _next_batch(self) -> tuple[int, Batch] | None:
        if self.again:
            place = min(self.again)
            return place, self.again.pop(place)
        if self.left is None or len(self.given) + len(self.done) >= LOOKAHEAD * self.pool.num_workers:
            return None
        found = next(self.left, None)
        if found is None:
            self.left = None
        return found

    def _take(self, event: Ready | Answered | Died) -> None:
        if isinstance(event, Ready):
            self.at_work[event.worker] = set()
        elif isinstance(event, Answered):
            self.at_work[event.worker].remove(event.place)
            del self.given[event.place]
            self.done[event.place] = event.answers
        else:
            self.report(Remark(f"worker {event.worker} died and is replaced: {event.reason}"))
            for place in self.at_work.pop(event.worker, set()):
                self.deaths[place] += 1
                batch = self.again[place] = self.given.pop(place)
                if self.deaths[place] == MOST_DEATHS:
                    raise RunError(
                        f"{MOST_DEATHS} workers died with the {len(batch)} pictures from {batch[0].name!r} to "
                        f"{batch[-1].name!r}: {event.reason}. Memory may be short, or a picture crashes its decoder; "
                        "with smaller batches or more memory, the same command goes on"
                    )
