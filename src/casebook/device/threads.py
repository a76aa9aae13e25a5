"""The threads that torch computes with on the CPU: how many, and fewer while other programs need the cores.

The last bits of a result depend on the number of threads. So a number from the user or from OMP_NUM_THREADS is kept,
and small work always gets one thread. Otherwise a training keeps the number that it started with as long as the machine
is calm; only a busy machine changes it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from .limits import LoadMeter, available_cores
from .timing import Stopwatch

if TYPE_CHECKING:
    import torch

SMALL_WORK = 500_000_000  # multiply-adds of a batch; below, waking other threads costs about what they save
SAMPLE_SECONDS = 0.1  # of looking at the machine's load before the start

CALM_CORES = 0.25  # the machine is calm while other programs use less than this
LOAD_CHANGE = 0.5  # cores; a smaller change of the load is none
SLOWER = 1.25  # times as long as before: steps have become slow
GAIN = 0.9  # of the time: another number of threads must save this much to be kept
WINDOW_STEPS, WINDOW_SECONDS = 3, 0.5  # a decision looks at no less than both, ...
LONG_SECONDS = 2.0  # ... or at this long


@contextlib.contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Inside the block torch computes with that many threads; None changes nothing."""
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_alone(device: torch.device) -> bool:
    """Whether the calling thread does all the work."""
    import torch

    return device.type == "cpu" and torch.get_num_threads() == 1


class Threads(NamedTuple):
    """How many threads compute; unless the number is fixed, it may fall while the machine is busy."""

    number: int
    is_fixed: bool


def choose_threads(asked: int, device: torch.device, multiply_adds: int, *, num_processes: int = 1) -> Threads:
    """The threads for batches of `multiply_adds` each.

    A number `asked` for (above 0) is kept, and so is OMP_NUM_THREADS, the number that torchrun gives to each of several
    processes, and what torch uses beside a GPU. Small work gets one thread. Other work gets one thread for each core
    that this process may use, but never more than torch has.
    """
    import torch

    if asked:
        return Threads(asked, True)
    own = torch.get_num_threads()
    if device.type != "cpu" or num_processes > 1 or "OMP_NUM_THREADS" in os.environ:
        return Threads(own, True)
    most = min(own, available_cores())
    if most == 1 or multiply_adds < SMALL_WORK:
        return Threads(1, True)
    return Threads(most, False)


class ThreadRule:
    """Decides about the number of threads from how long steps take and how busy other programs keep the machine.

    Fewer threads are tried when the load rises or steps become slow on a busy machine; all of them when it is calm
    again. A trial is kept if it saves time. Steady steps under a steady load change nothing.
    """

    def __init__(self, most: int, cores: int, others: float = 0.0):
        self.most, self.cores = most, cores
        self.threads = self._free(others)
        self.settled_load = others
        self.settled_seconds: float | None = None
        self.before_trial: tuple[int, float] | None = None  # threads, seconds

    def _free(self, others: float) -> int:
        """The cores that other programs leave."""
        return max(1, min(self.most, round(self.cores - others)))

    def next(self, seconds: float, others: float) -> int:
        """The number of threads from now on, when a picture has just taken `seconds` with the present number, and
        other programs have kept `others` cores busy."""
        if self.before_trial is not None:
            threads, before = self.before_trial
            self.before_trial = None
            if seconds > GAIN * before:
                self.threads, seconds = threads, before
            self._settle(seconds, others)
            return self.threads
        is_slow = self.settled_seconds is not None and seconds > SLOWER * self.settled_seconds
        has_changed = abs(others - self.settled_load) >= LOAD_CHANGE
        target = self._target(others, is_slow)
        if (has_changed or is_slow) and target != self.threads:
            self.before_trial = self.threads, seconds
            self.threads = target
        elif has_changed or is_slow or self.settled_seconds is None:
            self._settle(seconds, others)
        else:
            self.settled_seconds = min(seconds, self.settled_seconds)
        return self.threads

    def _target(self, others: float, is_slow: bool) -> int:
        if others < CALM_CORES:
            return self.most
        free = self._free(others)
        return 1 if is_slow and free == self.threads else free

    def _settle(self, seconds: float, others: float) -> None:
        self.settled_seconds, self.settled_load = seconds, others


class ThreadTuner:
    """Measures the steps of some work and lets a ThreadRule set torch's number of threads between them.

    Without a rule it does nothing. `on_change` is called with the number before, the new one and the load.
    """

    def __init__(
        self,
        rule: ThreadRule | None = None,
        meter: LoadMeter | None = None,
        on_change: Callable[[int, int, float], object] = lambda before, now, others: None,
    ):
        self.rule, self.meter, self.on_change = rule, meter, on_change
        self._times: list[float] = []  # seconds for each picture
        self._total, self._waited, self._num_ignored = 0.0, 0.0, 2  # the first steps choose kernels and fill memory

    @contextlib.contextmanager
    def step(self, num_pictures: int) -> Iterator[None]:
        """One step; the number of threads changes after it at the earliest."""
        if self.rule is None:
            yield
            return
        watch, self._waited = Stopwatch(), 0.0
        yield
        self._end(watch.seconds - self._waited, num_pictures)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A part of a step that waits for data and counts for nothing."""
        watch = Stopwatch()
        yield
        self._waited += watch.seconds

    def _end(self, seconds: float, num_pictures: int) -> None:
        if self.rule is None or self.meter is None:
            return
        if self._num_ignored:
            self._num_ignored -= 1
            if not self._num_ignored:
                self.meter.others()  # look from here on
            return
        self._times.append(seconds / max(1, num_pictures))
        self._total += seconds
        is_long_enough = len(self._times) >= WINDOW_STEPS and self._total >= WINDOW_SECONDS
        if not is_long_enough and self._total < LONG_SECONDS:
            return
        others, median = self.meter.others(), statistics.median(self._times)
        self._times, self._total = [], 0.0
        if others is not None:
            self._change(median, others)

    def _change(self, seconds: float, others: float) -> None:
        import torch

        assert self.rule is not None
        before = self.rule.threads
        now = self.rule.next(seconds, others)
        if now != before:
            torch.set_num_threads(now)
            self._num_ignored = 1  # the first step with another number prepares its kernels anew
            self.on_change(before, now, others)


@contextlib.contextmanager
def tuned_threads(
    threads: Threads, on_change: Callable[[int, int, float], object] = lambda before, now, others: None
) -> Iterator[ThreadTuner]:
    """Inside, torch computes with those threads, and with fewer while the machine is busy unless the number is fixed.

    A fixed number is never changed. `ThreadTuner.step` must surround each step for changes to happen.
    """
    if threads.is_fixed:
        with using_threads(threads.number):
            yield ThreadTuner()
        return
    meter = LoadMeter()
    time.sleep(SAMPLE_SECONDS)
    others = meter.others()
    rule = ThreadRule(threads.number, available_cores(), others or 0.0)
    with using_threads(rule.threads):
        if rule.threads != threads.number:
            on_change(threads.number, rule.threads, others or 0.0)
        yield ThreadTuner(rule, meter, on_change)
