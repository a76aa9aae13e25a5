"""How long the studio takes to start, and what its server holds in memory.

    python benchmarks/studio_start.py [--starts 10]

A start is timed from the command to the first answer of /api/home, with the interpreter and all imports; the folder
has a project, 20 runs and 50 finished jobs with 200 events each. Memory is the server's resident set after that.
"""

import argparse
import http.client
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS, JOBS, EVENTS = 20, 50, 200


def make_root(root: Path) -> None:
    """A studio that has been used for a while."""
    (root / "photos" / "cats").mkdir(parents=True)
    state = root / ".casebook-studio"
    for number in range(RUNS):
        run = root / "runs" / f"photos-lenet5-{number}"
        run.mkdir(parents=True)
        (run / "model.json").write_text(json.dumps({"architecture": "lenet5", "classes": ["a", "b"]}))
        (run / "recipe.toml").write_text(f'data = "{root / "photos"}"\nepochs = 30\n')
        row = {"val_top1": 0.9, "val_loss": 0.3, "train_loss": 0.3}
        (run / "metrics.jsonl").write_text("".join(json.dumps(row | {"epoch": e}) + "\n" for e in range(30)))
    log, counted = [], 0
    for number in range(JOBS):
        name = f"20260101-{number:06d}-aaaa"
        folder = state / "jobs" / name
        folder.mkdir(parents=True)
        asked = {"id": name, "task": "train", "project": None, "settings": {}, "made": 1e9}
        (folder / "job.json").write_text(json.dumps(asked))
        (folder / "state.json").write_text(json.dumps({"state": "done", "attempts": 1}))
        lines = [
            {"line": n, "time": 0, "event": {"event": "StepEnded", "loss": 1.0, "epoch": n}} for n in range(EVENTS)
        ]
        (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for line in lines:
            counted += 1
            log.append({"number": counted, "job": name, "line": line["line"], "event": line["event"]})
    (state / "events.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in log))


def start(root: Path) -> tuple[float, float]:
    """Seconds until home is answered, and MiB of the server then."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "casebook", "studio", str(root), "--no-browser"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process:
        found = next(m for line in process.stderr if (m := re.search(r"http://127\.0\.0\.1:(\d+)(/\?token=\S+)", line)))
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]))
        connection.request("GET", found[2])
        answer = connection.getresponse()
        answer.read()
        connection.request("GET", "/api/home", headers={"Cookie": answer.headers["Set-Cookie"].partition(";")[0]})
        home = json.loads(connection.getresponse().read())
        seconds = time.perf_counter() - began
        assert len(home["runs"]) == RUNS
        assert len(home["jobs"]) == JOBS
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
    memory = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert memory is not None
    return seconds, int(memory[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    starts = parser.parse_args().starts
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_root(root)
        start(root)  # fills the system's cache of files
        measured = [start(root) for _ in range(starts)]
    seconds, memory = sorted(one[0] for one in measured), statistics.median(one[1] for one in measured)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {starts} starts")
    print(f"first answer after {statistics.median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f})")
    print(f"memory of the server {memory:.0f} MiB")


if __name__ == "__main__":
    main()
