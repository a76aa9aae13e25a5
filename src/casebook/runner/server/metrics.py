"""Counts and durations in Prometheus's text format. The format is a page long, so no client library is needed."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """A value that is read when the metrics are asked for."""

    name: str
    value: float
    labels: Mapping[str, str] = {}


class Metric(NamedTuple):
    kind: str
    help: str


METRICS = {
    "casebook_requests_total": Metric("counter", "Requests, by route, method and status."),
    "casebook_request_seconds": Metric("histogram", "Duration of requests, by route."),
    "casebook_pictures_total": Metric("counter", "Pictures, by model, version and outcome."),
    "casebook_request_bytes_total": Metric("counter", "Bytes of request bodies."),
    "casebook_queue_pictures": Metric("gauge", "Pictures that were accepted and are not answered yet."),
    "casebook_body_bytes": Metric("gauge", "Bytes of the request bodies in memory."),
    "casebook_engine_seconds_total": Metric("counter", "Seconds in the engine, by model and version."),
    "casebook_engine_calls_total": Metric("counter", "Calls of the engine, by model and version."),
    "casebook_queue_seconds_total": Metric("counter", "Seconds that pictures waited for the engine."),
    "casebook_model_ready": Metric("gauge", "1 for each model that answers."),
    "casebook_ready": Metric("gauge", "1 while the server takes requests."),
    "casebook_start_time_seconds": Metric("gauge", "Unix time of the start of this process."),
}


class _Histogram:
    def __init__(self) -> None:
        self.counts, self.sum, self.count = [0] * len(SECONDS), 0.0, 0

    def observe(self, seconds: float) -> None:
        for index, bound in enumerate(SECONDS):
            self.counts[index] += seconds <= bound
        self.sum, self.count = self.sum + seconds, self.count + 1


class Metrics:
    """`extra` labels every sample, for instance with the worker's number."""

    def __init__(self, extra: Mapping[str, str] | None = None):
        self._extra = dict(extra or {})
        self._counters: dict[tuple[str, Labels], float] = {}
        self._histograms: dict[tuple[str, Labels], _Histogram] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        key = name, tuple(labels.items())
        self._counters[key] = self._counters.get(key, 0) + amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        self._histograms.setdefault((name, tuple(labels.items())), _Histogram()).observe(seconds)

    def text(self, samples: Iterable[Sample] = ()) -> str:
        """All metrics, those of `samples` too."""
        lines: dict[str, list[str]] = {name: [] for name in METRICS}
        for (name, labels), value in self._counters.items():
            lines[name].append(self._line(name, dict(labels), value))
        for sample in samples:
            lines[sample.name].append(self._line(sample.name, sample.labels, sample.value))
        for (name, labels), histogram in self._histograms.items():
            bounds = zip([*map(str, SECONDS), "+Inf"], [*histogram.counts, histogram.count], strict=True)
            lines[name] += [self._line(f"{name}_bucket", dict(labels) | {"le": bound}, n) for bound, n in bounds]
            lines[name].append(self._line(f"{name}_sum", dict(labels), histogram.sum))
            lines[name].append(self._line(f"{name}_count", dict(labels), histogram.count))
        return "".join(
            f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n" + "".join(lines[name])
            for name, metric in METRICS.items()
            if lines[name]
        )

    def _line(self, name: str, labels: Mapping[str, str], value: float) -> str:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in (self._extra | dict(labels)).items())
        return f"{name}{{{shown}}} {value:.15g}\n" if shown else f"{name} {value:.15g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
