"""Measure a device once, then predict how long any network takes there, on this machine or another.

Single layers of many shapes are timed. For each kind of layer the time is fitted as a sum of non-negative rates: per
call, per multiply-add, per byte. A layer that is timed over and over finds its weights and inputs in the caches, and a
network does not; so whole networks are timed as well, and three factors (for convolutions, for everything else, for
each call) are fitted to them. The model's error is what it gets wrong for each of these networks with the factors
fitted to the others.

Times are for one picture, float32, channels-last, on a device that does nothing else: processor time where one thread
does the work, else the lower quartile of the runs.
"""

import contextlib
import json
import math
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from ..device import Stopwatch, device_name, is_alone, settle, synchronise, timed_in_turns, using_threads
from ..errors import RunError
from ..files import write_json
from ..models import create_model
from ..progress import Advanced, Reporter, silent
from ..store import Store
from .trace import MOVES, Frame, Trace

FORMAT = 1
AGAIN = "make one with 'casebook profile-device'"
LARGEST_FILE = 1 << 20  # bytes of a latency model; ours have some thousands
LANES = 16  # numbers in the largest vector register; channels are padded to a multiple
RUN_SECONDS = 0.03  # for each layer
NETWORK_SECONDS = 0.4  # for each network
LAYERS = {"dense": 90, "stem": 20, "pointwise": 80, "depthwise": 50, "grouped": 40, "linear": 12, "other": 12}

# Networks for fitting the factors and estimating the error: name, options, input size.
NETWORKS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("mobilenet_v2", {}, 224),
    ("mobilenet_v2", {"width": 0.5}, 128),
    ("mobilenet_v2", {"width": 0.35, "depth": 0.5}, 96),
    ("mobilenet_v2", {"width": 0.75, "depth": 2.0}, 160),
    ("efficientnet_b0", {}, 160),
    ("efficientnet_b0", {"width": 0.5}, 128),
    ("efficientnet_b0", {"width": 0.35, "depth": 0.5}, 96),
    ("efficientnet_b1", {}, 240),
    ("resnet18", {}, 128),
    ("resnet34", {"width": 0.5}, 128),
    ("resnet50", {}, 128),
    ("resnet50", {"width": 0.25}, 160),
    ("resnet50", {"width": 0.5, "depth": 0.5}, 224),
    ("mobilenet_v3_small", {}, 224),
    ("squeezenet1_1", {}, 160),
    ("densenet121", {}, 96),
    ("googlenet", {}, 128),
)

CONVOLUTIONS = ("dense", "stem", "pointwise", "depthwise", "grouped")
PRODUCTS = (*CONVOLUTIONS, "linear")
# Which kind of layer stands for an operator; any other operator counts as a sum of the same size.
OTHERS = {
    "native_batch_norm": "norm", "relu": "relu", "hardtanh": "relu", "silu": "silu", "sigmoid": "sigmoid",
    "hardsigmoid": "sigmoid", "hardswish": "silu", "max_pool2d_with_indices": "pool", "avg_pool2d": "pool",
    "mean": "mean", "add": "sum", "mul": "sum", "cat": "sum", "constant_pad_nd": "sum",
}  # fmt: skip
KINDS = (*PRODUCTS, *dict.fromkeys(OTHERS.values()))
FEATURES = (
    "calls", "multiply_adds", "padded_outputs", "padded", "rows", "windows", "input_bytes", "output_bytes",
    "weight_bytes", "positions",
)  # fmt: skip

FACTORS = ("products", "others", "calls")


class Operator(NamedTuple):
    """One operator call of a network: its kind, and the amounts that its time depends on (FEATURES)."""

    kind: str
    amounts: tuple[float, ...]


class TracedNetwork(NamedTuple):
    """What a network costs for one picture at one input size."""

    multiply_adds: int
    parameters: int
    memory_bytes: int  # inference memory as `count` defines it: weights, buffers and the peak of the activations
    operators: tuple[Operator, ...]


class OperatorTrace(Trace):
    """A trace that also records each operator call."""

    def __init__(self, network: nn.Module, images: Tensor):
        super().__init__(network, images)
        self.operators: list[Operator] = []

    def _count(self, frame: Frame, operator: str, args: tuple, result: Tensor) -> None:
        super()._count(frame, operator, args, result)
        if operator == "convolution":
            self.operators.append(
                of_convolution(tuple(args[0].shape), tuple(args[1].shape), tuple(result.shape), args[8])
            )
        elif operator in ("addmm", "mm"):
            matrix = args[1 if operator == "addmm" else 0].shape[-1], result.shape[-1]
            self.operators.append(_of("linear", weight_bytes=4 * math.prod(matrix), multiply_adds=math.prod(matrix)))
        elif operator in OTHERS or operator not in MOVES:
            kind = OTHERS.get(operator, "sum")
            largest = max([result.nbytes, *(tensor.nbytes for tensor in args[:1] if isinstance(tensor, Tensor))])
            self.operators.append(_of(kind, output_bytes=largest))


def _of(kind: str, **amounts: float) -> Operator:
    return Operator(kind, tuple(float(({"calls": 1} | amounts).get(feature, 0)) for feature in FEATURES))


def of_convolution(images: tuple[int, ...], weight: tuple[int, ...], result: tuple[int, ...], groups: int) -> Operator:
    """A convolution from its shapes: (B, in, H, W), (out, in / groups, kh, kw), (B, out, H', W')."""
    in_channels, (out_channels, per_group, height, width) = images[1], weight
    kernel, positions = height * width, result[0] * result[2] * result[3]
    if groups == in_channels and groups > 1 and out_channels == in_channels:
        kind, lanes, filled = "depthwise", _filled(out_channels), 1
    else:
        kind = "grouped" if groups > 1 else "pointwise" if kernel == 1 else "stem" if in_channels < 8 else "dense"
        lanes, filled = groups * _filled(out_channels // groups), _filled(per_group)
    return _of(
        kind,
        multiply_adds=positions * out_channels * per_group * kernel,
        padded_outputs=positions * lanes * per_group * kernel,
        padded=positions * lanes * filled * kernel,
        rows=result[0] * result[2] * lanes * per_group * kernel,
        windows=positions * per_group * kernel,
        input_bytes=4 * math.prod(images),
        output_bytes=4 * math.prod(result),
        weight_bytes=4 * math.prod(weight),
        positions=positions,
    )


def _filled(channels: int) -> int:
    return -(-channels // LANES) * LANES


def trace(network: nn.Module, input_size: int, in_channels: int = 3) -> TracedNetwork:
    """Counts a network on the meta device, in evaluation mode. Raises ModelError as `count` does."""
    watched = OperatorTrace(network.eval(), torch.empty(1, in_channels, input_size, input_size, device="meta"))
    with torch.no_grad():
        watched.run()
    held = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    return TracedNetwork(
        multiply_adds=sum(layer.multiplications or 0 for layer in watched.layers),
        parameters=sum(weight.numel() for weight in network.parameters()),
        memory_bytes=held + watched.peak()[0],
        operators=tuple(watched.operators),
    )


class LayerFit(BaseModel):
    """Milliseconds for a million of each amount (for calls: for one), and how well they fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rates: dict[str, float] = Field(description="not negative; rates of 0 are left out")
    measured: int = Field(ge=1, description="number of layers timed")
    median_error: float = Field(ge=0, description="relative error over the layers timed")


class MeasuredNetwork(BaseModel):
    """A network's time, and the prediction with factors fitted to the other networks."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model: str
    options: dict[str, bool | int | float | str]
    input_size: int = Field(ge=1)
    measured_ms: float = Field(gt=0)
    predicted_ms: float = Field(ge=0)

    @property
    def error(self) -> float:
        """Relative error of the prediction; negative where it is too low."""
        return self.predicted_ms / self.measured_ms - 1


class LatencyModel(BaseModel):
    """How fast a device is: JSON-able data from which `predict` computes milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    casebook: str
    device: str
    type: Literal["cpu", "cuda", "mps"]
    threads: int = Field(ge=1)
    torch: str
    made: str
    seconds: float = Field(ge=0)
    layers: dict[str, LayerFit]
    factors: dict[str, float]  # of FACTORS
    networks: list[MeasuredNetwork] = Field(min_length=1)

    @property
    def median_error(self) -> float:
        return statistics.median(abs(network.error) for network in self.networks)

    @property
    def worst_error(self) -> float:
        return max(abs(network.error) for network in self.networks)

    @property
    def margin(self) -> float:
        """The largest share by which a time exceeded its prediction: the headroom of a safe prediction."""
        return max(0.0, *(network.measured_ms / max(network.predicted_ms, 1e-9) - 1 for network in self.networks))

    def predict(self, operators: Sequence[Operator]) -> float:
        """Milliseconds for the operators of a network."""
        return float(np.dot(self._parts(operators), [self.factors[name] for name in FACTORS]))

    def _parts(self, operators: Sequence[Operator]) -> NDArray[np.float64]:
        return parts(operators, {kind: fit.rates for kind, fit in self.layers.items()})

    def to_dict(self) -> dict[str, Any]:
        errors = {"median_error": self.median_error, "worst_error": self.worst_error, "margin": self.margin}
        return self.model_dump() | {"error": {name: round(value, 4) for name, value in errors.items()}}


def parts(operators: Sequence[Operator], rates: Mapping[Any, Mapping[Any, float]]) -> NDArray[np.float64]:
    """(3,): milliseconds of convolutions and linear layers, of all other operators, and thousands of calls."""
    found = np.zeros(3)
    by_kind: dict[str, list[tuple[float, ...]]] = {}
    for kind, amounts in operators:
        by_kind.setdefault(kind, []).append(amounts)
    for kind, amounts in by_kind.items():
        vector = np.array([rates[kind].get(feature, 0.0) * UNITS[feature] for feature in FEATURES])
        found[0 if kind in PRODUCTS else 1] += np.maximum(np.array(amounts) @ vector, 0).sum()
    found[2] = len(operators) / 1000
    return found


UNITS = {feature: 1.0 if feature == "calls" else 1e-6 for feature in FEATURES}


def measure_latency_model(
    device: str | torch.device = "cpu", *, threads: int | None = None, seed: int = 0, report: Reporter = silent
) -> LatencyModel:
    """Measures this device, which takes a minute on one core. `threads` defaults to torch's own number."""
    from casebook import __version__

    device, watch = torch.device(device), Stopwatch()
    with using_threads(threads), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        found: dict[str, list[tuple[Operator, float]]] = {kind: [] for kind in KINDS}
        layers = list(_layers(random.Random(seed)))
        random.Random(seed).shuffle(layers)  # so that a slow minute does not hit one kind only
        for number, layer in enumerate(layers):
            report(Advanced("profile", number, len(layers), "layers"))
            found[layer.operator.kind].append((layer.operator, _undisturbed(layer.build(device), device, RUN_SECONDS)))
        fits = {kind: _fit(pairs) for kind, pairs in found.items()}
        rates = {kind: fit.rates for kind, fit in fits.items()}
        networks: list[tuple[str, dict[str, Any], int]] = list(NETWORKS)
        rows, times = [], []
        for number, (name, options, size) in enumerate(networks):
            report(Advanced("profile", number, len(networks), "networks"))
            rows.append(parts(traced(name, options, size).operators, rates))
            times.append(_network_time(name, options, size, device))
        threads_used = torch.get_num_threads() if device.type == "cpu" else 1
    table, measured = np.array(rows), np.array(times)
    factors = _relative_fit(table, measured)
    others = [_relative_fit(np.delete(table, i, 0), np.delete(measured, i)) for i in range(len(measured))]
    return LatencyModel(
        casebook=__version__,
        device=device_name(device),
        type=device.type,  # type: ignore[arg-type]
        threads=threads_used,
        torch=torch.__version__,
        made=time.strftime("%Y-%m-%d"),
        seconds=round(watch.seconds, 1),
        layers=fits,
        factors=dict(zip(FACTORS, map(float, factors), strict=True)),
        networks=[
            MeasuredNetwork(
                model=name, options=options, input_size=size, measured_ms=round(ms, 4),
                predicted_ms=round(float(row @ fitted), 4),
            )
            for (name, options, size), ms, row, fitted in zip(networks, measured, table, others, strict=True)
        ],
    )  # fmt: skip


def traced(name: str, options: Mapping[str, Any], input_size: int) -> TracedNetwork:
    with torch.device("meta"):
        network = create_model(name, **options)
    return trace(network, input_size, network.in_channels)


class TimedLayer(NamedTuple):
    """A layer to time: its operator, and a function that builds it with its input and returns the call."""

    operator: Operator
    build: Callable[[torch.device], Callable[[], object]]


def _layers(draw: random.Random) -> Iterator[TimedLayer]:
    """Layers with shapes spread evenly over the orders of magnitude found in networks."""
    for kind in CONVOLUTIONS:
        number = 0
        while number < LAYERS[kind]:
            shape = _draw_convolution(kind, draw)
            if shape is not None:
                number += 1
                yield shape
    for _ in range(LAYERS["linear"]):
        sizes = _between(draw, 16, 2048), _between(draw, 4, 1000)
        yield TimedLayer(
            _of("linear", weight_bytes=4 * math.prod(sizes), multiply_adds=math.prod(sizes)), _linear(*sizes)
        )
    for kind in dict.fromkeys(OTHERS.values()):
        number = 0
        while number < LAYERS["other"]:
            side, channels = _between(draw, 4, 112), _between(draw, 8, 1280, 8)
            if side * side * channels <= 2_000_000:
                number += 1
                yield TimedLayer(_of(kind, output_bytes=4 * side * side * channels), _other(kind, channels, side))


def _draw_convolution(kind: str, draw: random.Random) -> TimedLayer | None:
    """None for a shape that is too large, or so small that only the call takes time."""
    side, stride, groups = _between(draw, 3, 112), draw.choice((1, 1, 1, 2)), 1
    in_channels, out_channels = _between(draw, 8, 1280, 8), _between(draw, 8, 1280, 8)
    kernel = {"pointwise": (1,), "depthwise": (3, 3, 5), "stem": (3, 3, 7)}.get(kind, (3, 3, 3, 5))
    if kind == "stem":
        side, in_channels, out_channels = _between(draw, 32, 320), draw.choice((1, 3, 3, 3)), _between(draw, 8, 96, 8)
    elif kind == "grouped":
        groups = draw.choice((2, 4, 8, 32, 32, 64))
        in_channels = out_channels = groups * draw.choice((2, 4, 8, 16, 32))
    elif kind == "depthwise":
        groups = out_channels = in_channels
    size = draw.choice(kernel)
    weight, result = (out_channels, in_channels // groups, size, size), (side + stride - 1) // stride
    operator = of_convolution((1, in_channels, side, side), weight, (1, out_channels, result, result), groups)
    amounts = dict(zip(FEATURES, operator.amounts, strict=True))
    moved = amounts["input_bytes"] + amounts["output_bytes"]
    if not 1e5 <= amounts["multiply_adds"] <= 1.5e8 or amounts["weight_bytes"] > 1.2e7 or moved > 1.2e7:
        return None
    if operator.kind != kind:
        return None

    def build(device: torch.device) -> Callable[[], object]:
        layer = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
        layer.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = _images(in_channels, side, device)
        return lambda: layer(images)

    return TimedLayer(operator, build)


def _linear(inputs: int, outputs: int) -> Callable[[torch.device], Callable[[], object]]:
    def build(device: torch.device) -> Callable[[], object]:
        layer, features = nn.Linear(inputs, outputs).to(device), torch.rand(1, inputs, device=device)
        return lambda: layer(features)

    return build


def _other(kind: str, channels: int, side: int) -> Callable[[torch.device], Callable[[], object]]:
    def build(device: torch.device) -> Callable[[], object]:
        images, norm = _images(channels, side, device), nn.BatchNorm2d(channels).eval().to(device)
        call: dict[str, Callable[[], object]] = {
            "norm": lambda: norm(images),
            "relu": lambda: functional.hardtanh(images, 0.0, 6.0),
            "silu": lambda: functional.silu(images),
            "sigmoid": lambda: torch.sigmoid(images),
            "pool": lambda: functional.max_pool2d(images, 3, 2, 1),
            "mean": lambda: images.mean((2, 3), keepdim=True),
            "sum": lambda: images + images,
        }
        return call[kind]

    return build


def _images(channels: int, side: int, device: torch.device) -> Tensor:
    return torch.rand(1, channels, side, side, device=device).contiguous(memory_format=torch.channels_last)


def _between(draw: random.Random, low: int, high: int, step: int = 1) -> int:
    drawn = math.exp(draw.uniform(math.log(low), math.log(high)))
    return max(low, round(drawn / step) * step)


def _network_time(name: str, options: Mapping[str, Any], size: int, device: torch.device) -> float:
    network = create_model(name, **options).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = _images(network.in_channels, size, device)
    return _undisturbed(lambda: network(images), device, NETWORK_SECONDS)


def _undisturbed(call: Callable[[], object], device: torch.device, seconds: float, least_runs: int = 7) -> float:
    """Milliseconds of a run, as if nothing else ran on the machine."""

    @torch.inference_mode()
    def whole() -> None:
        call()
        synchronise(device)

    settle(whole, most_seconds=seconds, group=3)
    (runs,) = timed_in_turns([whole], seconds=seconds, least_runs=least_runs)
    times = sorted(run.processor if is_alone(device) else run.wall for run in runs)
    return 1000 * (statistics.median(times) if is_alone(device) else times[len(times) // 4])


def _fit(pairs: Sequence[tuple[Operator, float]]) -> LayerFit:
    table = np.array([operator.amounts for operator, _ in pairs]) * [UNITS[feature] for feature in FEATURES]
    times = np.array([ms for _, ms in pairs])
    rates = _relative_fit(table, times)
    return LayerFit(
        rates={feature: float(rate) for feature, rate in zip(FEATURES, rates, strict=True) if rate > 0},
        measured=len(pairs),
        median_error=round(float(np.median(np.abs(table @ rates / times - 1))), 4),
    )


def _relative_fit(table: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Non-negative rates that minimise the sum of squared relative errors."""
    from scipy.optimize import nnls

    return nnls(table / times[:, None], np.ones(len(times)))[0]


def read_latency_model(path: str | Path) -> LatencyModel:
    """Raises RunError for a file that is missing or that this version cannot read."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _parsed(file.read(LARGEST_FILE + 1), path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}; {AGAIN}") from error


def _parsed(content: bytes, path: Path | str) -> LatencyModel:
    """The latency model in a file or in the cache, of which `path` is the name for messages. Raises RunError."""
    again = AGAIN
    if len(content) > LARGEST_FILE:
        raise RunError(f"{path}: larger than {LARGEST_FILE} bytes, expected a latency model; {again}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not a JSON document, expected a latency model; {again}") from error
    if not isinstance(document, dict) or "format" not in document:
        raise RunError(f"{path}: not a latency model: it has no format; {again}")
    if isinstance(document["format"], int) and document["format"] > FORMAT:
        raise RunError(
            f"{path}: a latency model of format {document['format']}, but this version reads format {FORMAT}; "
            f"update Casebook, or {again}"
        )
    document.pop("error", None)  # computed from the networks
    try:
        model = LatencyModel.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RunError(f"{path}: not a complete latency model: {place}: {first['msg']}; {again}") from error
    _check(path, model, again)
    return model


def _check(path: Path | str, model: LatencyModel, again: str) -> None:
    """Raises RunError for names that this format lacks, or numbers that cannot be rates."""
    known = {"layers": (set(model.layers), set(KINDS)), "factors": (set(model.factors), set(FACTORS))}
    for what, (came, expected) in known.items():
        if came != expected:
            odd = ", ".join(sorted(came ^ expected))
            raise RunError(f"{path}: not a complete latency model: {what} has missing or unknown {odd}; {again}")
    rates = [pair for fit in model.layers.values() for pair in fit.rates.items()] + list(model.factors.items())
    for name, rate in rates:
        if rate < 0 or name not in (*FEATURES, *FACTORS):
            raise RunError(
                f"{path}: not a latency model: {name} is {rate}, expected a known name and at least 0; {again}"
            )
    if not any(model.factors.values()):
        raise RunError(f"{path}: not a latency model: all its factors are 0, so everything would take no time; {again}")


def write_latency_model(model: LatencyModel, path: str | Path) -> None:
    write_json(Path(path), model.to_dict())


def cached_latency_model(
    device: str | torch.device = "cpu",
    *,
    threads: int | None = None,
    again: bool = False,
    report: Reporter = silent,
) -> LatencyModel:
    """This device's latency model: measured the first time or `again`, else read from the cache."""
    store, key = Store("devices"), _cache_key(torch.device(device), threads)
    content = None if again else store.get(key)
    if content is not None:
        with contextlib.suppress(RunError):  # another version wrote it
            return _parsed(content, store.path)
    model = measure_latency_model(device, threads=threads, report=report)
    store.put(key, json.dumps(model.to_dict()).encode())
    store.close()
    return model


def _cache_key(device: torch.device, threads: int | None) -> str:
    """Tells processors, numbers of threads and torch versions apart, which all change the times."""
    from casebook import __version__

    threads = threads or torch.get_num_threads()
    return repr((device_name(device), device.type, threads, torch.__version__, __version__, platform.machine(), FORMAT))
