"""Workers on the machines of a Ray cluster, or on this machine: https://docs.ray.io.

Plain actors, not Ray Data: its executor hands answers on when a block of batches is done, not batch by batch, so a
killed job would lose blocks; with blocks of one batch it takes half a second for each; and it tries a batch that kills
its worker again without end.
"""

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ..errors import CasebookError, RunError
from ..formatting import one_line
from ..progress import Remark, Reporter
from ..runner.answers import Answer
from ..runner.reading import NamedPicture
from .answer_pool import MOST_DEATHS, SLOTS, Answered, Batch, Died, Ready, Worker, answered_in_order
from .answering import ModelFacts, ModelFiles, Question, batches_of

PATIENCE_SECONDS = 60.0  # without a worker, before the user is told


@dataclasses.dataclass(frozen=True)
class RayWorkers:
    """How many workers answer, and what each of them takes. Each loads the classifier once.

    The address of a cluster is RAY_ADDRESS; without one, workers start on this machine. Casebook, the model and the
    pictures must be there under the same names on every machine.
    """

    num: int = 0
    """Workers; 0: as many as the cluster has room for."""
    cpus: int = 0
    """Cores for each worker; 0: one, or with GPUs an equal share."""
    gpus: float | None = None
    """GPUs for each worker, such as 0.5; None: one where the cluster has any."""

    def __post_init__(self) -> None:
        """Raises RunError for numbers that cannot be meant."""
        if self.num < 0 or self.cpus < 0:
            raise RunError(f"workers are {self.num} with {self.cpus} cores each, expected numbers from 0")
        gpus = self.gpus or 0.0
        if not 0 <= gpus < 1000 or (gpus > 1 and gpus != int(gpus)):
            raise RunError(f"a worker takes {self.gpus} GPUs, expected a share up to 1, or a whole number")


def fit(asked: RayWorkers, cluster: Mapping[str, float]) -> RayWorkers:
    """The workers asked for, with every number chosen for a cluster's cores and GPUs. Raises RunError if none fits."""
    cores, cards = int(cluster.get("CPU", 0)), cluster.get("GPU", 0.0)
    gpus = float(cards > 0) if asked.gpus is None else asked.gpus
    by_gpus = _whole(cards / gpus) if gpus else 0
    cpus = asked.cpus or (max(1, cores // max(1, asked.num or by_gpus)) if gpus else 1)
    room = min(cores // cpus, by_gpus) if gpus else cores // cpus
    num = asked.num or room
    if not 0 < num <= room:
        raise RunError(
            f"{num or 'no'} workers with {cpus} cores and {gpus:g} GPUs each do not fit in the cluster, which has "
            f"{cores} cores and {cards:g} GPUs; choose fewer or smaller ones"
        )
    return RayWorkers(num, cpus, gpus)


def _whole(number: float) -> int:
    return int(number + 1e-9)  # 0.3 / 0.1 is a little less than 3


class OnRay:
    """Workers that answer, inside a `with` block. Raises RunError where Ray is missing or no worker can start."""

    facts: ModelFacts

    def __init__(self, workers: RayWorkers, files: ModelFiles, question: Question, report: Reporter):
        self.workers, self.num_workers, self.report = workers, workers.num, report
        self._worker_arguments = Path.cwd(), files, question
        self._waiting: dict[Any, tuple[int, int | None]] = {}  # by reference: a worker, and the place it answers
        self._actors: dict[int, Any] = {}
        self._failed_starts = 0
        self._early: list[Ready] = []
        self._threads = 1

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers
        try:
            import ray
        except ImportError as error:
            raise RunError('Ray is not installed; install it with: pip install "casebook[ray]"') from error
        self.ray: Any = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            try:
                ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
            except Exception as error:  # Ray raises all kinds, bare ones among them
                raise RunError(f"cannot start or reach Ray: {_line(error)}; RAY_ADDRESS names a cluster") from error
        try:
            self.workers = fit(self.workers, ray.cluster_resources())
            self.num_workers = self.workers.num
            for worker in range(self.num_workers):
                self._start(worker)
            while not isinstance(event := self.next(), Ready):
                self.report(Remark(f"worker {event.worker} could not start: {getattr(event, 'reason', '')}"))
            self._early.append(event)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors.values():
            self.ray.kill(actor)
        if self._is_ours:
            self.ray.shutdown()

    def threads(self, batch_size: int, num_pictures: int) -> int:
        return 1 if self.facts.has_own_threads else self.workers.cpus

    def answered(self, pictures: Sequence[NamedPicture], batch_size: int, threads: int) -> Iterator[list[Answer]]:
        self._threads = threads
        return answered_in_order(self, batches_of(pictures, batch_size), self.report)

    def ask(self, worker: int, place: int, batch: Batch) -> None:
        self._waiting[self._actors[worker].answer.remote(batch, self._threads)] = worker, place

    def next(self) -> Ready | Answered | Died:
        if self._early:
            return self._early.pop()
        while not (found := self.ray.wait(list(self._waiting), num_returns=1, timeout=PATIENCE_SECONDS)[0]):
            if all(place is None for _, place in self._waiting.values()):
                self.report(Remark(f"waiting for the cluster to start workers: {len(self._waiting)} asked for"))
        worker, place = self._waiting.pop(found[0])
        try:
            result = self.ray.get(found[0])
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, CasebookError):
                raise error.cause from None
            raise
        except self.ray.exceptions.RayError as error:
            return self._replaced(worker, was_starting=place is None, reason=_line(error))
        if place is not None:
            return Answered(worker, place, result)
        self._check(result)
        self._failed_starts = 0
        return Ready(worker)

    def _start(self, worker: int) -> None:
        # Ray would restart an actor by itself, but tells neither when nor how often, and not which batch killed it.
        actor = self.ray.remote(Worker).options(
            num_cpus=self.workers.cpus, num_gpus=self.workers.gpus, max_concurrency=SLOTS, max_restarts=0
        )
        self._actors[worker] = started = actor.remote(*self._worker_arguments, self.workers.cpus)
        self._waiting[started.load.remote()] = worker, None

    def _replaced(self, worker: int, *, was_starting: bool, reason: str) -> Died:
        self._failed_starts += was_starting
        if self._failed_starts == MOST_DEATHS:
            raise RunError(f"{MOST_DEATHS} workers in a row died before they had the network: {reason}")
        self._waiting = {one: what for one, what in self._waiting.items() if what[0] != worker}
        self.ray.kill(self._actors[worker])  # it may only be out of reach
        self._start(worker)
        return Died(worker, reason)

    def _check(self, facts: ModelFacts) -> None:
        """Raises RunError where a worker would answer otherwise than the first one."""
        if not hasattr(self, "facts"):
            self.facts = facts
        ours, theirs = self.facts.digest, facts.digest
        if differ := [name for name in ours | theirs if ours.get(name) != theirs.get(name)]:
            raise RunError(
                f"the workers do not agree: they differ in {', '.join(differ)}; use machines with the same model, "
                "packages and devices"
            )


def _line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[0] if lines else type(error).__name__)[:300]
