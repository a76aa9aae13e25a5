import time

import pytest

from casebook.device import Stopwatch, settle, timed, timed_in_turns


class Clock:
    """Takes the place of the wall clock and of the thread's processor clock; moves only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.processor = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "thread_time", lambda: self.processor)

    def spend(self, wall: float, processor: float = 0.0) -> None:
        self.now += wall
        self.processor += processor


def test_a_stopwatch_starts_again_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Stopwatch()
    clock.spend(3)
    assert (watch.seconds, watch.restart(), watch.seconds) == (3, 3, 0)
    clock.spend(2)
    assert watch.seconds == 2


def test_a_timing_is_the_mean_of_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert timed(lambda: clock.spend(3, 1)) == (3, 1)
    lengths = iter([1.0, 2.0, 6.0])
    assert timed(lambda: clock.spend(next(lengths), 0.5), repeats=3) == (3, 0.5)


def test_calls_take_turns_until_both_limits_are_met(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = Clock(monkeypatch), []

    def call(name: str, seconds: float) -> None:
        log.append(name)
        clock.spend(seconds)

    calls = [lambda: call("a", 1.0), lambda: call("b", 3.0)]
    found = timed_in_turns(calls, seconds=5, least_runs=1)  # 5 s for each of two: 10 s, which 3 rounds of 4 s reach
    assert [[timing.wall for timing in timings] for timings in found] == [[1.0] * 3, [3.0] * 3]
    assert log == ["a", "b"] * 3
    assert [len(timings) for timings in timed_in_turns(calls, seconds=0, least_runs=7)] == [7, 7]
    assert timed_in_turns([], seconds=1) == []


def test_warming_up_ends_when_the_times_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    lengths = iter([0.4] * 3 + [0.2] * 3 + [0.1] * 3 + [0.102] * 3 + [9.0])
    settle(lambda: clock.spend(next(lengths)), most_seconds=60, group=3)
    assert next(lengths) == 9.0
    endless = iter([2.0**n for n in range(100)])
    settle(lambda: clock.spend(next(endless)), most_seconds=60, group=3)
    assert next(endless) == 2.0**6
