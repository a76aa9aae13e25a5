"""Answers by several workers: those of one process, whatever the workers do, and what is refused."""

import pickle
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest

import casebook
from casebook.data.shard_writer import write_shards
from casebook.data.sources import load_source
from casebook.errors import DataError, RunError
from casebook.progress import Event
from casebook.runner.answers import Answer
from casebook.runner.reading import NamedPicture, named_pictures
from casebook.workflows.answer_pool import (
    LOOKAHEAD,
    MOST_DEATHS,
    SLOTS,
    Answered,
    Batch,
    Died,
    Ready,
    Worker,
    answered_in_order,
)
from casebook.workflows.answering import ModelFiles, Question, batches_of
from casebook.workflows.predict import with_shards
from casebook.workflows.predict_into import AnswerFiles, predict_into
from casebook.workflows.ray_workers import RayWorkers, fit


class Pool:
    """Workers in this process, which finish in an order of chance and die when they hold what `kills` names."""

    def __init__(self, worker: Any, num_workers: int = 3, kills: dict[int, int] | None = None, seed: int = 0):
        self.worker, self.num_workers, self.kills = worker, num_workers, Counter(kills or {})
        self.draw = random.Random(seed)
        self.starting = list(range(num_workers))
        self.has: dict[int, dict[int, Batch]] = {}
        self.asked: list[tuple[int, ...]] = []  # the places that a worker had, after each question
        self.ahead = 0

    def ask(self, worker: int, place: int, batch: Batch) -> None:
        assert len(self.has[worker]) < SLOTS
        self.has[worker][place] = batch
        self.asked.append(tuple(self.has[worker]))

    def next(self) -> Ready | Answered | Died:
        busy = [worker for worker, places in self.has.items() if places]
        if self.starting and (not busy or self.draw.random() < 0.2):
            worker = self.starting.pop()
            self.has[worker] = {}
            return Ready(worker)
        worker = self.draw.choice(busy)
        for place in self.has[worker]:
            if self.kills[place]:
                self.kills[place] -= 1
                del self.has[worker]
                self.starting.append(worker)
                return Died(worker, "killed by the test")
        place = self.draw.choice(list(self.has[worker]))
        return Answered(worker, place, self.worker.answer(self.has[worker].pop(place), 1))


class Echo:
    def answer(self, pictures: Batch, threads: int) -> list[Answer]:
        return [Answer(picture.name) for picture in pictures]


def named(count: int) -> list[NamedPicture]:
    return [NamedPicture(f"{number:03d}") for number in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kills", [{}, {0: 1}, {0: 2, 1: 1, 30: 2}])
def test_answers_come_in_order_whatever_the_workers_do(kills: dict[int, int], seed: int) -> None:
    pool, said = Pool(Echo(), kills=kills, seed=seed), []
    batches = list(batches_of(named(61), 2))
    found = list(answered_in_order(pool, batches, said.append))
    assert [[answer.picture for answer in some] for some in found] == [[one.name for one in some] for some in batches]
    assert len(said) == sum(kills.values())


def test_few_batches_are_under_way() -> None:
    taken = 0

    def batches() -> Any:
        nonlocal taken
        for batch in batches_of(named(200), 1):
            taken += 1
            yield batch

    for done, _ in enumerate(answered_in_order(Pool(Echo()), batches(), lambda event: None)):
        assert taken - done <= 3 * LOOKAHEAD
    assert taken == 200


def test_a_batch_that_kills_its_workers_is_named_and_its_neighbours_are_not_blamed() -> None:
    for seed in range(10):
        pool = Pool(Echo(), kills={7: MOST_DEATHS}, seed=seed)
        with pytest.raises(RunError, match=r"3 workers died with the 2 pictures from '014' to '015': killed by"):
            list(answered_in_order(pool, batches_of(named(60), 2), lambda event: None))
        assert pool.asked.count((7,)) >= MOST_DEATHS - 1  # alone, once it had killed one


class Fake(Pool):
    """A pool that predict_into can use."""

    def __init__(self, files: ModelFiles, question: Question, report: Any, **options: Any):
        super().__init__(Worker(Path.cwd(), files, question, 1), **options)
        self.facts, self.report = self.worker.load(), report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def threads(self, batch_size: int, num_pictures: int) -> int:
        return 1

    def answered(self, pictures: Sequence[NamedPicture], batch_size: int, threads: int) -> Any:
        return answered_in_order(self, batches_of(pictures, batch_size), self.report)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", ["bundle", "run"])
def test_the_files_have_the_bytes_of_one_process_also_after_an_interruption(
    kind: str, small_bundle: Path, runs: tuple[Path, ...], digit_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = small_bundle if kind == "bundle" else runs[0]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pictures = [digit_folder, tmp_path / "broken.png", "missing.png"]
    predict_into(AnswerFiles(tmp_path / "one.csv"), model, pictures, batch_size=7)
    options: dict[str, Any] = {"kills": {3: 1, 15: 1}}
    monkeypatch.setattr(
        "casebook.workflows.predict_into.OnRay", lambda workers, *arguments: Fake(*arguments, **options)
    )

    def stop(event: Event) -> None:
        if getattr(event, "done", 0) == 70:
            raise Killed

    files = AnswerFiles(tmp_path / "several.csv")
    with pytest.raises(Killed):
        predict_into(files, model, pictures, batch_size=7, workers=RayWorkers(), progress=stop)
    found = predict_into(files, model, pictures, batch_size=7, workers=RayWorkers())
    assert (found.num_earlier, found.num_errors) == (70, 2)
    assert (tmp_path / "several.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_pictures_in_shards_go_to_a_worker_without_their_index(digit_folder: Path, tmp_path: Path) -> None:
    write_shards(load_source(digit_folder), tmp_path / "set", shard_mb=1)
    pictures = list(named_pictures(with_shards(tmp_path / "set")))
    sent = pickle.dumps(pictures[5])
    assert len(sent) < 1000
    there = pickle.loads(sent)
    assert there.get() == pictures[5].get() == (digit_folder / pictures[5].name).read_bytes()  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(pictures[6])).get.source is there.get.source


@pytest.mark.parametrize(
    ("given", "cluster", "expected"),
    [
        (RayWorkers(), {"CPU": 8}, (8, 1, 0)),
        (RayWorkers(cpus=3), {"CPU": 8}, (2, 3, 0)),
        (RayWorkers(), {"CPU": 64, "GPU": 8}, (8, 8, 1)),
        (RayWorkers(gpus=0.5), {"CPU": 64, "GPU": 8}, (16, 4, 0.5)),
        (RayWorkers(gpus=0.1), {"CPU": 64, "GPU": 0.3}, (3, 21, 0.1)),
        (RayWorkers(2, gpus=2), {"CPU": 64, "GPU": 8}, (2, 32, 2)),
        (RayWorkers(gpus=0), {"CPU": 4, "GPU": 1}, (4, 1, 0)),
    ],
)
def test_workers_fill_the_cluster(given: RayWorkers, cluster: dict[str, float], expected: tuple[Any, ...]) -> None:
    assert fit(given, cluster) == RayWorkers(*expected)


def test_workers_that_cannot_be() -> None:
    for wrong, cluster in ((RayWorkers(9), {"CPU": 8}), (RayWorkers(gpus=1), {"CPU": 8}), (RayWorkers(), {})):
        with pytest.raises(RunError, match="do not fit in the cluster"):
            fit(wrong, cluster)  # type: ignore[arg-type]
    for wrong in ({"num": -1}, {"gpus": -0.5}, {"gpus": 1.5}, {"gpus": float("nan")}):
        with pytest.raises(RunError, match="expected"):
            RayWorkers(**wrong)  # type: ignore[arg-type]


def test_what_workers_cannot_do(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = AnswerFiles(tmp_path / "answers.csv")
    with pytest.raises(RunError, match="give its path"):
        predict_into(files, casebook.load(small_bundle), [], workers=RayWorkers())
    with pytest.raises(DataError, match="top is 0"):
        predict_into(files, small_bundle, [], top=0, workers=RayWorkers())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r'pip install "casebook\[ray\]"'):
        predict_into(files, small_bundle, [], workers=RayWorkers())
    with pytest.raises(RunError, match="has no"):
        Worker(tmp_path / "elsewhere", ModelFiles(small_bundle), Question(5, None), 1).load()
