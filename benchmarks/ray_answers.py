"""Answers by one process and by Ray workers on this machine, in turns: equal bytes, and pictures a second.

    python benchmarks/ray_answers.py first.casebook PHOTOS --workers 2

Ray is started before the rounds. `first` is the time until the first batch is answered, in which the workers load the
network; pictures a second are counted from then on.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import ray

from casebook.progress import Advanced, Event
from casebook.workflows.predict_into import AnswerFiles, predict_into
from casebook.workflows.ray_workers import RayWorkers


def answer(model: Path, pictures: Path, out: Path, batch_size: int, workers: RayWorkers | None) -> dict[str, float]:
    start, first = time.perf_counter(), []

    def listen(event: Event) -> None:
        if isinstance(event, Advanced) and not first:
            first.extend((time.perf_counter(), event.done))

    found = predict_into(AnswerFiles(out), model, pictures, batch_size=batch_size, workers=workers, progress=listen)
    since = time.perf_counter() - first[0]
    return {"first": first[0] - start, "pictures_per_second": (found.num_pictures - first[1]) / since}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    start = time.perf_counter()
    ray.init(include_dashboard=False, log_to_driver=False)
    print(f"Ray {ray.__version__} started in {time.perf_counter() - start:.1f} s", flush=True)
    arms = {"one process": None, f"{given.workers} Ray workers": RayWorkers(given.workers)}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            contents = set()
            for name, workers in arms.items():
                out = Path(folder) / "answers.csv"
                rounds[name].append(answer(given.model, given.pictures, out, given.batch_size, workers))
                contents.add(out.read_bytes())
            print("the same bytes" if len(contents) == 1 else "DIFFERENT", flush=True)
    for name, found in rounds.items():
        figures = {}
        for what in ("first", "pictures_per_second"):
            values = [one[what] for one in found]
            figures[what] = [round(value, 1) for value in (statistics.median(values), min(values), max(values))]
        print(json.dumps({name: figures}))


if __name__ == "__main__":
    main()
