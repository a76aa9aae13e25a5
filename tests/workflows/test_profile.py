"""What the measured speeds mean; tests/cli/test_json.py measures for real."""

import time
from pathlib import Path

import pytest
import torch

from casebook.errors import DataError, ModelError
from casebook.progress import Advanced, Event
from casebook.workflows import profile as module
from casebook.workflows.profile import Speed, _advice, _limit, _rounds, profile_data

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def speeds(**medians: float) -> dict[str, Speed]:
    return {name: Speed(value, value, value) for name, value in medians.items()}


def test_on_a_gpu_the_slower_side_limits() -> None:
    read = dict(decode=1000.0, augment=3000.0, read=750.0)
    assert _limit(speeds(**read, network=2900.0), 16, 4, GPU) == ("network", 0.0)
    assert _limit(speeds(**read, network=3100.0), 16, 4, GPU) == ("decode", 0.0)
    assert _limit(speeds(decode=3000.0, augment=1000.0, read=750.0, network=3100.0), 16, 4, GPU)[0] == "augment"
    # Whole pictures take longer than augmentation, but only crops are decoded.
    assert _limit(speeds(decode=900.0, augment=1000.0, read=600.0, network=3100.0), 16, 4, GPU)[0] == "augment"


def test_on_a_cpu_both_share_the_cores() -> None:
    limit, share = _limit(speeds(decode=150.0, augment=300.0, read=100.0, network=50.0), 2, 1, CPU)
    assert limit == "network"
    assert share == pytest.approx(0.01 / (0.01 + 2 / 50))


@pytest.mark.parametrize(
    ("limit", "share", "network", "fresh", "ready", "has_files", "turbo", "device", "expected"),
    [
        ("network", 0.02, 80, 1000, 5000, True, False, CPU, ["reading takes 2 %", "nothing is to be gained"]),
        ("network", 0.40, 80, 100, 5000, True, False, CPU, ["reading takes 40 %", "read 50.0 times as fast"]),
        ("network", 0.0, 1000, 2000, 5000, True, False, GPU, ["deliver 2.0 times", "nothing is to be gained"]),
        ("network", 0.0, 1000, 1100, 5000, True, False, GPU, ["deliver 1.1 times", "read 4.5 times as fast"]),
        ("decode", 0.0, 1000, 500, 5000, True, False, GPU, ["deliver 50 %", "read 10.0 times as fast"]),
        ("decode", 0.0, 9000, 500, 5000, True, False, GPU, ["deliver 6 %", "read 10.0", "even then 56 %"]),
        ("decode", 0.0, 1000, 500, 550, True, False, GPU, ["deliver 50 %", "would not help; more --workers"]),
        ("decode", 0.0, 1000, 500, 5000, True, True, GPU, ["deliver 50 %", "casebook[turbo]", "read 10.0"]),
        ("augment", 0.0, 1000, 500, 5000, True, False, GPU, ["deliver 50 %", "lighter policy"]),
        ("augment", 0.0, 1000, 500, 500, False, False, GPU, ["deliver 50 %", "in memory already"]),
    ],
)  # fmt: skip
def test_advice(
    limit: str, share: float, network: float, fresh: float, ready: float, has_files: bool, turbo: bool,
    device: torch.device, expected: list[str],
) -> None:  # fmt: skip
    advice = _advice(limit, share, network, fresh, ready, has_files, turbo, device)
    assert len(advice) == len(expected)
    for sentence, part in zip(advice, expected, strict=True):
        assert part in sentence


def test_rounds_count_what_the_work_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work() -> int:
        nonlocal now
        now += 0.1
        return 5

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    speed = _rounds(work)
    assert speed.low <= speed.median <= speed.high
    assert speed.median == pytest.approx(50)


def test_pictures_in_memory_have_no_prepared_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.01)
    monkeypatch.setattr(module, "TOGETHER_SECONDS", 0.05)
    events: list[Event] = []
    found = profile_data("digits", model="lenet5", report=events.append)
    assert set(found.speeds) == {"decode", "augment", "read", "network", "together"}
    assert all(0 < speed.low <= speed.median <= speed.high for speed in found.speeds.values())
    assert found.text().count("\n") > 6
    assert next(event.detail for event in events if isinstance(event, Advanced) and event.task == "profile") == "decode"


def test_what_cannot_be_profiled(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        profile_data(tmp_path / "none")
    with pytest.raises(ModelError, match="unknown network"):
        profile_data("digits", model="resnet51")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fake.jpg").write_text("no picture")
    with pytest.raises(DataError, match="not one of the 2 pictures"):
        profile_data(tmp_path)
