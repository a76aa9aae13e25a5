"""The one timer."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

WARM_UP_SECONDS = 2.0  # at most; warming up ends as soon as the times have settled
SETTLED = 0.05  # relative difference between the medians of two groups of runs


class Stopwatch:
    """Wall-clock seconds since it was made or last restarted; with `timed` the only clock of the package."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def restart(self) -> float:
        """Starts again from 0; returns the seconds until now."""
        now = time.perf_counter()
        seconds, self._began = now - self._began, now
        return seconds


class Timing(NamedTuple):
    """Seconds of one call: wall clock, and processor time of this thread."""

    wall: float
    processor: float


def timed(call: Callable[[], object], repeats: int = 1) -> Timing:
    """The mean of `repeats` calls. A call that uses a GPU must wait for it (`synchronise`)."""
    watch, processor_began = Stopwatch(), time.thread_time()
    for _ in range(repeats):
        call()
    return Timing(watch.seconds / repeats, (time.thread_time() - processor_began) / repeats)


def timed_in_turns(calls: Sequence[Callable[[], object]], *, seconds: float, least_runs: int = 1) -> list[list[Timing]]:
    """Times each call at least `least_runs` times and for `seconds` on average; a busy moment slows all of them."""
    found: list[list[Timing]] = [[] for _ in calls]
    watch = Stopwatch()
    while calls and (len(found[0]) < least_runs or watch.seconds < seconds * len(calls)):
        for call, timings in zip(calls, found, strict=True):
            timings.append(timed(call))
    return found


def settle(call: Callable[[], object], *, most_seconds: float = WARM_UP_SECONDS, group: int = 5) -> None:
    """Warms up: repeats the call until two groups of runs have about the same median time."""
    watch, before = Stopwatch(), math.inf
    while watch.seconds < most_seconds:
        now = statistics.median(timed(call).wall for _ in range(group))
        if abs(now - before) <= SETTLED * now:
            return
        before = now
