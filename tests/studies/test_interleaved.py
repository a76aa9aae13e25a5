"""Times are taken in turns, kinds of layers get their own, and what a layer moves is counted by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from casebook.device import Timing
from casebook.studies import interleaved
from casebook.studies.interleaved import MachineLimits, TimedCall, interleaved_seconds, machine_limits, seconds_by_kind

CPU = torch.device("cpu")


class Noting(nn.Module):
    def __init__(self, name: str, calls: list[str]):
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        assert x.is_contiguous(memory_format=torch.channels_last)
        self.calls.append(self.name)
        return x + 1


def test_modules_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleaved, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(interleaved, "WARM_UP_RUNS", 1)
    calls: list[str] = []
    timed_calls = {name: TimedCall(Noting(name, calls), 2, 3, 4) for name in "ab"}
    seconds = interleaved_seconds(timed_calls, CPU, rounds=4)
    assert calls == ["a", "b"] + ["a", "b"] * 4
    assert [found.shape for found in seconds.values()] == [(4,), (4,)]
    assert all((found > 0).all() for found in seconds.values())


def test_a_fast_module_is_run_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleaved, "LEAST_SECONDS", 10.0)
    runs = []
    monkeypatch.setattr(
        interleaved, "timed", lambda call, repeats=1: runs.append(repeats) or Timing(2.0 / repeats, 0.0)
    )
    interleaved_seconds({"a": TimedCall(nn.ReLU(), 1, 1, 2)}, CPU, rounds=3)
    assert runs == [1] * interleaved.WARM_UP_RUNS + [5] * 3


def test_a_call_is_counted_by_hand() -> None:
    call = TimedCall(nn.Conv2d(6, 8, 3, padding=1, bias=False), 5, 6, 10)
    assert call.multiply_adds == 5 * 10 * 10 * 8 * 9 * 6
    assert call.bytes_moved == 4 * (5 * 10 * 10 * (6 + 8) + 8 * 6 * 9)
    depthwise = TimedCall(nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), 5, 6, 10)
    assert depthwise.multiply_adds == 5 * 10 * 10 * 6 * 9
    assert depthwise.bytes_moved == 4 * (5 * 10 * 10 * 12 + 6 * 9)


def test_kinds_share_the_time_of_a_run_and_nothing_stays_hooked() -> None:
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(16, 4, 1), nn.ReLU()))
    found = seconds_by_kind(TimedCall(module, 2, 3, 16), lambda part: type(part).__name__, CPU, rounds=3)
    assert set(found) == {"Conv2d", "ReLU"}
    assert all(seconds.shape == (3,) and (seconds > 0).all() for seconds in found.values())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_hooks_go_after_an_error_too() -> None:
    module = nn.Sequential(nn.ReLU(), Noting("a", []))
    call = TimedCall(module, 1, 1, 2)

    def failing(part: nn.Module) -> str:
        raise KeyError(type(part).__name__)

    with pytest.raises(KeyError):
        seconds_by_kind(call, failing, CPU, rounds=1)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_the_roof_is_memory_first_and_arithmetic_then() -> None:
    limits = MachineLimits(multiply_adds_per_second=100.0, bytes_per_second=10.0)
    assert [limits.at(intensity) for intensity in (1, 5, 10, 1000)] == [10, 50, 100, 100]


def test_a_machine_has_limits() -> None:
    limits = machine_limits(CPU, width=16, megabytes=1, tries=1)
    assert np.isfinite(limits).all()
    assert min(limits) > 0
