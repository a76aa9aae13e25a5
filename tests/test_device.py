import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import casebook
from casebook.device import (
    Stopwatch,
    available_cores,
    choose_device,
    choose_precision,
    choose_workers,
    environment,
    has_fast_bf16,
    settle,
    timed,
    timed_in_turns,
    tune_allocator,
)
from casebook.errors import RecipeError
from casebook.training.recipe import Recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu", "meta"])
def test_devices_that_are_not_there_are_named(device: str) -> None:
    with pytest.raises(RecipeError, match=f"device is '{device}'"):
        choose_device(device)


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebook.device.has_fast_bf16", lambda device: True)
    assert choose_precision("auto", CPU, 224) == torch.bfloat16
    assert choose_precision("auto", CPU, 32) == torch.float32
    assert choose_precision("bf16", CPU, 32) == torch.bfloat16
    monkeypatch.setattr("casebook.device.has_fast_bf16", lambda device: False)
    assert choose_precision("auto", CPU, 224) == torch.float32
    assert choose_precision("fp32", CPU, 224) == torch.float32


def test_bf16_is_fast_where_the_processor_says_so() -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        assert has_fast_bf16(CPU)
    elif "avx512f" not in flags:
        assert not has_fast_bf16(CPU)


def test_workers() -> None:
    assert choose_workers(3, CPU, 1) == 3
    assert choose_workers(-1, CPU, 1) in (0, 1)
    assert 1 <= choose_workers(-1, torch.device("cuda"), 2) <= max(1, available_cores() // 2)


def test_the_allocator_can_be_tuned_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    tune_allocator()
    tune_allocator()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


def test_the_environment_names_versions_and_machine() -> None:
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["casebook"] == casebook.__version__
    assert found["cores"] >= 1


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's own
def test_a_compiled_training_ends_near_an_eager_one(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    settings = small_recipe().model_dump(exclude={"data", "compile"})
    data = small_recipe().data
    eager = casebook.train(data, recipe="scratch", out=tmp_path / "eager", **settings)
    compiled = casebook.train(data, recipe="scratch", out=tmp_path / "compiled", compile=True, **settings)
    for ours, theirs in zip(compiled.history, eager.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_and_finds_its_batch_size(photo_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(photo_folder, recipe="scratch", model="resnet18", epochs=2, device="cuda", out=tmp_path / "r")
    assert run.environment["gpu"]
    assert run.recipe.batch_size >= 2
    assert len(run.history) == 2
