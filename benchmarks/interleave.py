"""What the benchmarks share: arms in processes of their own that take turns, and the ratios between them.

A machine's speed drifts, so a figure alone says little. Each arm is a subprocess with its own interpreter. All are
warmed up, then they take turns, A B C A B C ..., one at work while the others block on their standard input. A round
gives one ratio for each pair of arms; the median of these ratios and their spread is the result.

Standard library only: peers run these files in environments that have neither Casebook nor, perhaps, torch.
"""

import contextlib
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Turn:
    """One request to a worker: `amount` of work, and what it answers. `note` may set its own "seconds"."""

    amount: int
    note: dict[str, Any] = dataclasses.field(default_factory=dict)


def turns(about: dict[str, Any]) -> Iterator[Turn]:
    """In a worker: says that it is ready and what it is, then yields each turn that is asked for.

    The time until the next turn is fetched counts as the turn's. Whatever else the process prints goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(document: dict[str, Any]) -> None:
        print(json.dumps(document), file=answers, flush=True)

    answer(about)
    for line in sys.stdin:
        turn = Turn(int(line))
        began = time.perf_counter()
        yield turn
        answer({"seconds": time.perf_counter() - began} | turn.note)


class Arm:
    """A worker process as the benchmark sees it. Raises RuntimeError when it dies, with what it printed at last."""

    def __init__(self, name: str, command: Sequence[str | Path], environment: dict[str, str] | None = None):
        self.name, self.answers = name, []
        # Not a pipe: one that nobody reads fills up and then blocks the worker.
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | (environment or {}),
            text=True,
        )
        self.about = self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            last = "\n".join(self.log.read().splitlines()[-15:])
            raise RuntimeError(f"{self.name}: its process ended with code {self.process.returncode}:\n{last}")
        return json.loads(line)

    def work(self, amount: int) -> dict[str, Any]:
        """Has the worker do an amount of work and gives its answer, with "seconds"."""
        self.process.stdin.write(f"{amount}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def take_turns(arms: Sequence[Arm], *, amount: int, rounds: int, warmup: int) -> None:
    """Warms the arms up, then fills `answers` of each with one answer a round."""
    for arm in arms:
        say(f"{arm.name}: warming up")
        arm.work(warmup)
    for number in range(1, rounds + 1):
        for arm in arms:
            arm.answers.append(arm.work(amount))
        told = ", ".join(f"{arm.name} {arm.answers[-1]['seconds']:.2f} s" for arm in arms)
        say(f"round {number} of {rounds}: {told}")


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def spread_text(values: Sequence[float], digits: int = 1) -> str:
    """ "12.3 (11.9..12.8)": median, smallest and largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def times_as_fast(arm: Arm, other: Arm) -> list[float]:
    """For each round, how many times as fast `arm` was as `other`."""
    pairs = zip(arm.answers, other.answers, strict=True)
    return [theirs["seconds"] / ours["seconds"] for ours, theirs in pairs]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, ready for docs/benchmarks.md."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [[*header], ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def machine() -> dict[str, Any]:
    """Where the figures were taken. A load average far above 0 at the start makes them worthless."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        named = (line for line in information.read_text().splitlines() if line.startswith("model name"))
        processor = next(named, processor).partition(":")[2].strip() or processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the load average is {load:.2f}: something else is running, so do not trust the figures")
    return {"processor": processor, "cores": cores, "platform": platform.platform(), "load_at_start": load}


def found(python: str, option: str, arm: str) -> bool:
    """Whether an interpreter is there; says that its arm is left out where it is not."""
    if python and Path(python).exists():
        return True
    say(f"{arm}: left out, {f'no interpreter {python}' if python else f'{option} is not given'}")
    return False


def import_torchvision() -> Any:
    """torchvision, also where its wheel was built for another torch than the one that is there.

    Its compiled detection operators cannot be loaded then, and its Python half asks for the names of two of them.
    """
    import torch

    with contextlib.suppress(RuntimeError):
        return import_module("torchvision")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    operators = torch.library.Library("torchvision", "FRAGMENT")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision = import_module("torchvision")
    torchvision.operators = operators  # its end would take the names back
    return torchvision


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def command_line() -> str:
    return " ".join(["python", *sys.argv])
