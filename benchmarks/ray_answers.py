"""Answers by one process, by two without Ray and by Ray workers on this machine, in turns: bytes and pictures a second.

    python benchmarks/ray_answers.py MODEL.casebook PHOTOS --repeat 4

All arms use `--workers` threads in all: the one process that many, every other process one. Without Ray, each process
answers its share of the pictures by a call of its own, as one would by hand. Ray is started before the rounds. `first`
is the time until the first batch is answered, in which the network is loaded; `pictures a second` are counted from then
on, and `seconds` are those of the whole call. Starting Python for the processes without Ray is not counted.
"""

import argparse
import itertools
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import ray

from casebook.progress import Advanced, Event
from casebook.workflows.answering import ModelFiles
from casebook.workflows.predict_into import AnswerFiles, predict_into
from casebook.workflows.ray_workers import RayWorkers


class Share(NamedTuple):
    """Answers to some pictures by one call; times are those of the machine's one clock."""

    content: bytes
    start: float
    first: float
    end: float
    num_first: int
    num: int


def answer(model: Path, pictures: list[Path], out: Path, batch_size: int, workers: RayWorkers | int) -> Share:
    """By Ray workers, or by this process with so many threads."""
    start, first = time.monotonic(), []

    def listen(event: Event) -> None:
        if isinstance(event, Advanced) and not first:
            first.extend((time.monotonic(), event.done))

    on_ray = workers if isinstance(workers, RayWorkers) else None
    asked = model if isinstance(workers, RayWorkers) else ModelFiles(model).open(threads=workers)
    found = predict_into(AnswerFiles(out), asked, pictures, batch_size=batch_size, workers=on_ray, progress=listen)
    return Share(out.read_bytes(), start, first[0], time.monotonic(), first[1], found.num_pictures)


def figures(shares: list[Share]) -> dict[str, float]:
    start, first, end = (min(s.start for s in shares), min(s.first for s in shares), max(s.end for s in shares))
    answered = sum(share.num - share.num_first for share in shares)
    return {"first": first - start, "pictures a second": answered / (end - first), "seconds": end - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=1, help="how often each picture comes")
    given = parser.parse_args()
    start = time.perf_counter()
    ray.init(include_dashboard=False, log_to_driver=False)
    print(f"Ray {ray.__version__} started in {time.perf_counter() - start:.1f} s", flush=True)
    model, size, num = given.model, given.batch_size, given.workers
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pictures = []
        for place, file in enumerate(sorted(path for path in given.pictures.rglob("*") if path.is_file())):
            for time_ in range(given.repeat):
                pictures.append(folder / f"{place:05d}-{time_:02d}{file.suffix}")
                shutil.copy(file, pictures[-1])
        # Whole batches for each process, so that every picture is computed together with the same others in each arm.
        bounds = [min(len(pictures), size * -(-len(pictures) * place // (size * num))) for place in range(num + 1)]

        def apart() -> list[Share]:
            with ProcessPoolExecutor(num, multiprocessing.get_context("spawn")) as pool:
                calls = [
                    pool.submit(answer, model, pictures[first:last], folder / f"answers-{first}.csv", size, 1)
                    for first, last in itertools.pairwise(bounds)
                ]
                return [call.result() for call in calls]

        arms: dict[str, Callable[[], list[Share]]] = {
            f"one process, {num} threads": lambda: [answer(model, pictures, folder / "one.csv", size, num)],
            f"{num} processes without Ray": apart,
            f"{num} Ray workers": lambda: [answer(model, pictures, folder / "ray.csv", size, RayWorkers(num))],
        }
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
        for _ in range(given.rounds):
            contents = set()
            for name, run in arms.items():
                shares = run()
                rounds[name].append(figures(shares))
                header, *lines = shares[0].content.splitlines()
                for share in shares[1:]:
                    lines += share.content.splitlines()[1:]
                contents.add((header, *lines))
            print("the same bytes" if len(contents) == 1 else "DIFFERENT", flush=True)
    print(f"{len(pictures)} pictures; median, least, most")
    for name, found in rounds.items():
        told = {}
        for what in found[0]:
            values = [one[what] for one in found]
            told[what] = [round(value, 1) for value in (statistics.median(values), min(values), max(values))]
        print(json.dumps({name: told}))


if __name__ == "__main__":
    main()
