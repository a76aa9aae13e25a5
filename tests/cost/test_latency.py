"""Latency: the right thing is timed, the numbers mean what they say, and the network is left as it was."""

import time

import pytest
import torch
from torch import nn

from casebook.cost.latency import interleaved, measure_latency, summary
from casebook.device import Timing, using_threads
from casebook.errors import ModelError
from casebook.models import create_model

CPU = torch.device("cpu")


class Waiting(nn.Module):
    """Sleeps, so that its time is known, and remembers what it was given."""

    def __init__(self, milliseconds: float, log: list[str] | None = None):
        super().__init__()
        self.milliseconds, self.log, self.seen = milliseconds, log if log is not None else [], []
        self.weight = nn.Parameter(torch.zeros(1))
        self.in_channels = 2

    def forward(self, images):
        self.seen.append((tuple(images.shape), images.is_contiguous(memory_format=torch.channels_last), self.training))
        self.seen.append(torch.is_inference_mode_enabled())
        self.log.append(f"{self.milliseconds:g}")
        time.sleep(self.milliseconds / 1000)
        return images


def test_it_times_the_network_in_evaluation_and_inference_mode_on_channels_last_pictures():
    network = Waiting(5).train()
    found = measure_latency(network, (6, 8), batch_size=3, seconds=0, least_runs=5)
    assert set(network.seen) == {((3, 2, 6, 8), True, False), True}
    assert 5 <= found.low_ms <= found.median_ms <= found.median_high_ms
    assert found.median_ms <= found.high_ms
    assert (found.num_runs, found.batch_size) == (5, 3)
    assert network.training


def test_networks_take_turns():
    log: list[str] = []
    times = interleaved([(Waiting(1, log), 4), (Waiting(4, log), 4)], seconds=0, least_runs=6)
    assert log[-12:] == ["1", "4"] * 6
    assert times[1].low_ms > times[0].low_ms
    assert interleaved([]) == []


def test_the_quantiles_are_those_of_the_runs():
    runs = [Timing(n / 1000, n / 2000) for n in range(1, 102)]
    with using_threads(1):
        found = summary(list(reversed(runs)), 1, CPU)
    assert (found.median_ms, found.low_ms, found.high_ms, found.processor_ms) == (51, 6, 96, 25.5)
    assert found.median_high_ms == 62  # the 61st order statistic from 0: half of 101 and 0.98 standard deviations x 2
    with using_threads(2):
        assert summary(runs, 1, CPU).processor_ms is None
        assert summary(runs, 1, CPU).threads == 2


def test_the_bound_of_the_median_covers_it():
    """In 95 % of many samples of a skewed distribution the true median is not above the bound at 97.5 %."""
    generator = torch.Generator().manual_seed(0)
    kept = 0
    for _ in range(400):
        draws = torch.empty(25, dtype=torch.float64).exponential_(generator=generator)
        found = summary([Timing(float(value), 0.0) for value in draws], 1, CPU)
        kept += found.median_high_ms >= 1000 * 0.693147
    assert kept / 400 > 0.95


def test_sleep_is_no_processor_time():
    with using_threads(1):
        found = measure_latency(Waiting(10), 4, seconds=0, least_runs=3)
    assert found.processor_ms is not None
    assert found.processor_ms < found.median_ms / 2


def test_the_number_of_threads_is_put_back_also_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ModelError, match="images are 8x8"):
        measure_latency(create_model("resnet18", num_classes=2), 8, threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"threads": 0}, {"seconds": -1}, {"seconds": float("nan")}, {"least_runs": 0}]
)
def test_impossible_settings(settings):
    with pytest.raises(ModelError, match="expected at least 1"):
        measure_latency(Waiting(1), 4, **settings)


def test_a_larger_network_takes_longer():
    networks = [create_model("mobilenet_v2", width=width, num_classes=2) for width in (0.1, 1.0)]
    small, large = interleaved([(network, 72) for network in networks], seconds=0, least_runs=9)
    assert small.low_ms < large.low_ms
