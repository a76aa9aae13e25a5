import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from casebook.device import LoadMeter, Threads, ThreadTuner, choose_threads, tuned_threads, using_threads
from casebook.device.threads import SMALL_WORK, ThreadRule

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LARGE = 10 * SMALL_WORK


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("casebook.device.threads.available_cores", lambda: 4)


def test_large_work_gets_the_free_cores_and_small_work_one_thread() -> None:
    with using_threads(8):
        assert choose_threads(0, CPU, LARGE) == Threads(4, False)
        assert choose_threads(0, CPU, SMALL_WORK) == Threads(4, False)
        assert choose_threads(0, CPU, SMALL_WORK - 1) == Threads(1, True)
    with using_threads(3):  # the user's own setting is an upper bound
        assert choose_threads(0, CPU, LARGE) == Threads(3, False)
    with using_threads(1):
        assert choose_threads(0, CPU, LARGE) == Threads(1, True)


def test_a_given_number_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with using_threads(2):
        assert choose_threads(7, CPU, 1) == Threads(7, True)
        assert choose_threads(0, CUDA, LARGE) == Threads(2, True)
        assert choose_threads(0, CPU, LARGE, num_processes=2) == Threads(2, True)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert choose_threads(0, CPU, 1) == Threads(2, True)


class Machine:
    """Two cores, on which a picture takes `times[threads]` seconds."""

    def __init__(self, others: float, times: dict[int, float]) -> None:
        self.others, self.times = others, times
        self.rule = ThreadRule(2, 2, others)

    def run(self, windows: int = 1) -> list[int]:
        return [self.rule.next(self.times[self.rule.threads], self.others) for _ in range(windows)]


CALM, BUSY = {1: 1.0, 2: 0.6}, {1: 1.0, 2: 2.0}


def test_a_calm_machine_changes_nothing() -> None:
    machine = Machine(0.0, CALM)
    assert machine.rule.threads == 2
    assert machine.run(50) == [2] * 50
    machine.times, machine.others = {1: 9.0, 2: 9.0}, 0.2  # slow pictures, not a busy machine
    assert machine.run(50) == [2] * 50


def test_a_busy_machine_starts_with_the_cores_that_are_free() -> None:
    assert Machine(1.0, BUSY).rule.threads == 1
    assert Machine(2.0, BUSY).rule.threads == 1
    assert Machine(2.0, BUSY).run(50) == [1] * 50
    assert ThreadRule(8, 8, 2.4).threads == 6
    assert ThreadRule(4, 8, 2.4).threads == 4


def test_threads_fall_when_the_machine_gets_busy_and_rise_when_it_is_calm_again() -> None:
    machine = Machine(0.0, CALM)
    machine.run(3)
    machine.others, machine.times = 0.7, BUSY
    assert machine.run(5) == [1] * 5
    machine.others, machine.times = 0.1, CALM
    assert machine.run(5) == [2] * 5


def test_a_trial_that_saves_nothing_is_taken_back_and_not_repeated() -> None:
    machine = Machine(0.0, {1: 1.0, 2: 0.6})
    machine.run()
    machine.others, machine.times = 0.7, {1: 1.0, 2: 1.05}  # one thread saves less than a tenth
    assert machine.run(20) == [1] + [2] * 19
    machine.times = {1: 1.0, 2: 1.2}  # but now it would
    assert machine.run(20) == [2] * 20, "steady within SLOWER"
    machine.times = {1: 1.0, 2: 1.5}
    assert machine.run(20) == [1] * 20


def test_slow_steps_on_a_busy_machine_try_one_thread_even_below_the_change_of_load() -> None:
    machine = Machine(0.1, CALM)
    machine.run()
    machine.others, machine.times = 0.45, {1: 1.0, 2: 1.6}
    assert machine.run(10) == [1] * 10


class Meter(LoadMeter):
    def __init__(self, load: float | None) -> None:
        self.load = load

    def others(self) -> float | None:
        return self.load


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def spend(seconds: float) -> None:
        now[0] += seconds

    return spend


def test_the_tuner_changes_torchs_threads_between_steps(clock: Callable[[float], None]) -> None:
    changes: list[tuple[int, int, float]] = []
    meter = Meter(0.0)
    tuner = ThreadTuner(ThreadRule(2, 2), meter, lambda *change: changes.append(change))

    def steps(count: int, seconds: dict[int, float]) -> list[int]:
        seen = []
        for _ in range(count):
            with tuner.step(4):
                with tuner.waiting():
                    clock(99)  # waiting for pictures says nothing of threads
                before = torch.get_num_threads()
                clock(4 * seconds[before])
                assert torch.get_num_threads() == before
            seen.append(torch.get_num_threads())
        return seen

    with using_threads(2):
        assert steps(8, CALM) == [2] * 8
        meter.load = 1.0
        assert steps(10, BUSY)[-1] == 1
        assert changes == [(2, 1, 1.0)]
        meter.load = None  # the system does not tell: nothing changes
        assert steps(20, {1: 50.0}) == [1] * 20


def test_the_first_step_with_another_number_does_not_count(clock: Callable[[float], None]) -> None:
    meter = Meter(0.0)
    tuner = ThreadTuner(ThreadRule(2, 2), meter)

    def step(seconds: float) -> int:
        with tuner.step(1):
            clock(seconds)
        return torch.get_num_threads()

    with using_threads(2):
        assert [step(3.0) for _ in range(5)] == [2] * 5
        meter.load = 1.0
        assert step(6.0) == 1
        assert step(50.0) == 1  # kernels are prepared anew
        assert [step(3.0) for _ in range(3)] == [1] * 3


def test_short_steps_are_gathered_before_a_decision(clock: Callable[[float], None]) -> None:
    asked: list[float] = []

    class Rule(ThreadRule):
        def next(self, seconds: float, others: float) -> int:
            asked.append(seconds)
            return self.threads

    tuner = ThreadTuner(Rule(2, 2), Meter(0.0))
    for _ in range(2 + 8):
        with tuner.step(2):
            clock(0.125)
    assert asked == [0.0625] * 2  # after 0.5 s each; the first two steps warm up
    with tuner.step(2):
        clock(8.0)
    assert len(asked) == 3  # one long step is enough


@pytest.mark.parametrize("threads", [Threads(2, True), Threads(2, False)])
def test_the_users_number_comes_back(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebook.device.threads.LoadMeter", lambda: Meter(0.0))
    before = torch.get_num_threads()
    with tuned_threads(threads) as tuner:
        assert torch.get_num_threads() == 2
        assert (tuner.rule is None) == threads.is_fixed
    assert torch.get_num_threads() == before


def test_a_busy_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebook.device.threads.LoadMeter", lambda: Meter(2.6))
    changes: list[Any] = []
    with tuned_threads(Threads(4, False), lambda *change: changes.append(change)):
        assert torch.get_num_threads() == 1
    assert changes == [(4, 1, 2.6)]


def test_a_fixed_number_does_not_follow_the_load(clock: Callable[[float], None]) -> None:
    with tuned_threads(Threads(2, True)) as tuner:
        for seconds in range(1, 30):
            with tuner.step(1):
                clock(seconds)
            assert torch.get_num_threads() == 2
