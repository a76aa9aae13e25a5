"""Latency models: operators count as in the trace, made-up times give back their rates, files are checked."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from casebook.cost import latency_model as module
from casebook.cost.count import count
from casebook.cost.latency_model import (
    FEATURES,
    KINDS,
    LANES,
    UNITS,
    cached_latency_model,
    measure_latency_model,
    of_convolution,
    read_latency_model,
    trace,
    traced,
    write_latency_model,
)
from casebook.errors import RunError
from casebook.progress import Advanced, Event


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [("mobilenet_v2", {"width": 0.5}, 96), ("efficientnet_b0", {}, 64), ("resnet50", {"depth": 0.3}, 80),
     ("densenet121", {}, 64), ("googlenet", {}, 64), ("alexnet", {}, 224)],
)  # fmt: skip
def test_a_trace_counts_what_count_counts(name: str, options: dict, side: int) -> None:
    found, counted = traced(name, options, side), count(name, side, **options)
    assert found.multiply_adds == counted.total.multiply_adds
    assert found.parameters == counted.total.parameters
    assert found.memory_bytes == counted.memory.inference_bytes
    amounts = [dict(zip(FEATURES, operator.amounts, strict=True)) for operator in found.operators]
    assert sum(amount["multiply_adds"] for amount in amounts) == counted.total.multiply_adds
    assert all(amount["calls"] == 1 for amount in amounts)
    assert {operator.kind for operator in found.operators} <= set(KINDS)


def test_the_work_of_a_network_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 20, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(20, 20, 3, groups=20, padding=1),
        nn.Conv2d(20, 32, 1), nn.Conv2d(32, 32, 3, groups=4), nn.Conv2d(32, 8, 3), nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    found = trace(network.to("meta"), 16)
    assert [operator.kind for operator in found.operators] == [
        "stem", "relu", "depthwise", "pointwise", "grouped", "dense", "norm", "mean", "linear",
    ]  # fmt: skip
    stem = dict(zip(FEATURES, found.operators[0].amounts, strict=True))
    assert stem == {
        "calls": 1,
        "multiply_adds": 64 * 20 * 3 * 25,
        "padded_outputs": 64 * 32 * 3 * 25,
        "padded": 64 * 32 * 16 * 25,
        "rows": 8 * 32 * 3 * 25,
        "windows": 64 * 3 * 25,
        "input_bytes": 4 * 3 * 256,
        "output_bytes": 4 * 20 * 64,
        "weight_bytes": 4 * 20 * 75,
        "positions": 64,
    }
    grouped = dict(zip(FEATURES, found.operators[4].amounts, strict=True))
    assert grouped["multiply_adds"] == 36 * 32 * 8 * 9
    assert grouped["padded_outputs"] == 36 * 4 * LANES * 8 * 9


def test_rates_come_back_from_made_up_times() -> None:
    """Times that are exactly a sum of rates; the fit must find them, and the prediction must be the times."""
    wanted, generator, pairs = (
        {"calls": 0.01, "padded_outputs": 0.02, "weight_bytes": 0.3},
        np.random.default_rng(0),
        [],
    )
    for _ in range(60):
        channels, out, side = (int(n) for n in generator.integers(8, 200, 3))
        operator = of_convolution((1, channels, side, side), (out, channels, 3, 3), (1, out, side, side), 1)
        amounts = dict(zip(FEATURES, operator.amounts, strict=True))
        pairs.append((operator, sum(rate * amounts[name] * UNITS[name] for name, rate in wanted.items())))
    fit = module._fit(pairs)
    assert fit.rates.keys() >= wanted.keys()
    for name, rate in wanted.items():
        assert fit.rates[name] == pytest.approx(rate, rel=1e-3)
    assert fit.median_error == 0
    assert sum(module.parts([operator for operator, _ in pairs], {"dense": fit.rates})[:2]) == pytest.approx(
        sum(ms for _, ms in pairs), rel=1e-4
    )


def test_a_prediction_by_hand(latency_model) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()).to("meta")
    found = trace(network, 100)
    assert latency_model.predict(found.operators) == pytest.approx(0.05 * 100 * 100 * 8 * 27 / 1e6 + 2 * 0.01)


def test_the_error_is_that_of_networks_left_out(latency_model) -> None:
    assert latency_model.median_error == pytest.approx(0.0909, abs=1e-3)
    assert latency_model.worst_error == pytest.approx(1 / 0.9 - 1)
    assert latency_model.margin == pytest.approx(0.1)  # a time was a tenth above its prediction


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real measurement of a few layers and small networks."""
    monkeypatch.setattr(module, "LAYERS", dict.fromkeys(module.LAYERS, 11))
    monkeypatch.setattr(module, "RUN_SECONDS", 0.002)
    monkeypatch.setattr(module, "NETWORK_SECONDS", 0.02)
    networks = [("mobilenet_v2", {"width": width}, side) for width in (0.1, 0.35) for side in (72, 128)]
    networks += [("resnet18", {"width": width}, 72) for width in (0.1, 0.5)]
    monkeypatch.setattr(module, "NETWORKS", tuple(networks))


def test_this_device_is_measured_and_kept(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path))
    events: list[Event] = []
    state = torch.get_rng_state()
    found = cached_latency_model(threads=1, report=events.append)
    assert torch.equal(torch.get_rng_state(), state)
    assert {event.detail for event in events if isinstance(event, Advanced)} == {"layers", "networks"}
    assert all(fit.measured == 11 for fit in found.layers.values())
    assert [(network.model, network.options, network.input_size) for network in found.networks] == list(module.NETWORKS)
    # Whatever the machine does meanwhile, no rate is negative, so a prediction rises with the work.
    assert (
        found.predict(traced("mobilenet_v2", {}, 224).operators)
        > found.predict(traced("mobilenet_v2", {}, 96).operators)
        > 0
    )
    events.clear()
    assert cached_latency_model(threads=1, report=events.append) == found
    assert not events
    cached_latency_model(threads=1, again=True, report=events.append)
    assert events


def test_a_profile_of_another_number_of_threads_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path))
    cpu = torch.device("cpu")
    assert module._cache_key(cpu, 1) != module._cache_key(cpu, 2)


def test_left_out_networks_are_predicted_without_themselves(quick: None) -> None:
    """The factors of a prediction are fitted to the others: solved again here, in another way."""
    found = measure_latency_model(threads=1)
    rates = {kind: fit.rates for kind, fit in found.layers.items()}
    rows = np.array([module.parts(traced(n.model, n.options, n.input_size).operators, rates) for n in found.networks])
    times = np.array([network.measured_ms for network in found.networks])
    from scipy.optimize import lsq_linear

    for left_out, network in enumerate(found.networks):
        keep = np.arange(len(times)) != left_out
        solved = lsq_linear(rows[keep] / times[keep, None], np.ones(keep.sum()), (0, math.inf), tol=1e-12)
        assert network.predicted_ms == pytest.approx(float(rows[left_out] @ solved.x), rel=0.02)


def test_a_file_reads_back(latency_model, tmp_path: Path) -> None:
    write_latency_model(latency_model, tmp_path / "pi.json")
    assert read_latency_model(tmp_path / "pi.json") == latency_model
    document = json.loads((tmp_path / "pi.json").read_text())
    assert document["error"] == {"median_error": 0.0909, "worst_error": 0.1111, "margin": 0.1}


def without(*keys: str):
    def change(document: dict) -> None:
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "latency model of format 2, but this version reads format 1; update Casebook"),
        (lambda d: d.update(format="one"), "not a complete latency model: format"),
        (without("format"), "has no format"),
        (without("networks"), "not a complete latency model: networks"),
        (lambda d: d.update(networks=[]), "not a complete latency model: networks"),
        (lambda d: d.update(surprise=1), "not a complete latency model: surprise"),
        (lambda d: d.update(threads=0), "not a complete latency model: threads"),
        (without("layers", "stem"), "layers has missing or unknown stem"),
        (lambda d: d["layers"].update(warp=d["layers"]["stem"]), "layers has missing or unknown warp"),
        (lambda d: d["layers"]["stem"]["rates"].update(calls=-1), "calls is -1.0, expected a known name and"),
        (lambda d: d["layers"]["stem"]["rates"].update(luck=1), "luck is 1.0, expected a known name"),
        (lambda d: d["factors"].update(calls=math.nan), "factors.calls"),
        (without("factors", "calls"), "factors has missing or unknown calls"),
        (lambda d: d.update(factors=dict.fromkeys(d["factors"], 0)), "everything would take no time"),
        (lambda d: d["networks"][0].update(measured_ms=0), "networks.0.measured_ms"),
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(latency_model, tmp_path: Path, change, message: str) -> None:
    document = json.loads(json.dumps(latency_model.to_dict()))
    change(document)
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"odd\.json: ") as raised:
        read_latency_model(path)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a JSON document"), (b"\x80\x04\x95", "not a JSON document"), (b"[]", "has no format"),
     (b"[" * 100_000, "not a JSON document"), (b" " * (1 << 20) + b"{}", "larger than")],
)  # fmt: skip
def test_what_is_no_profile_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=message):
        read_latency_model(path)
    with pytest.raises(RunError, match="cannot be read: Is a directory"):
        read_latency_model(tmp_path)
    with pytest.raises(RunError, match=r"gone\.json: cannot be read: No such file"):
        read_latency_model(tmp_path / "gone.json")
