"""Networks for three budgets on this machine: predicted against measured time, size and memory.

    python benchmarks/scale.py [--threads 1] [--json FILE]

The device is measured first; then `casebook.scale` finds networks for each budget and measures them in turns. The
ratio is the measured median over the prediction; the column beside it has the same for the processor's time, which a
busy machine inflates less. No network may be over its budget; if one is, the benchmark exits with code 1.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from interleave import command_line, machine, say, table

from casebook.cost.latency_model import LatencyModel, traced
from casebook.cost.scaling import Budget
from casebook.workflows.scale import TargetDevice, profile_device, scale
from casebook.workflows.scale_result import ScaledNetwork, Scaling

BUDGETS = (
    ("mobilenet_v2", Budget(latency_ms=10, size_bytes=5e6)),
    ("efficientnet", Budget(latency_ms=20, memory_bytes=60e6)),
    ("resnet", Budget(multiply_adds=500e6, size_bytes=10e6)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    where = machine()
    model = profile_device("cpu", threads=options.threads)
    say(
        f"latency model in {model.seconds:.0f} s: error {100 * model.median_error:.1f} % at the median, "
        f"{100 * model.worst_error:.1f} % at worst, over {len(model.networks)} networks, each left out in turn"
    )
    rows, results, over, ratios = [], [], 0, []
    for family, budget in BUDGETS:
        began = time.monotonic()
        target = TargetDevice("cpu", options.threads)
        found = scale(family, budget, num_classes=options.num_classes, target=target)
        seconds = time.monotonic() - began
        say(f"{found.network} within {found.budget}: {seconds:.0f} s")
        for note in (*found.notes, *(f"left out: {kind}: {reason}" for kind, reason in found.dropped.items())):
            say(f"  {note}")
        results.append(found.to_dict() | {"seconds": round(seconds, 1)})
        for point in found.points:
            predicted_ms = point.predicted.latency_ms
            if predicted_ms is None:  # the budget does not limit it
                predicted_ms = predicted(found, point, model)
            over += bool(found.budget.overruns(point.measured))
            rows.append(row(found, point, predicted_ms))
            ratios.append((point.latency.processor_ms or point.latency.median_ms) / predicted_ms)
    head = ("budget", "kind", "width, depth, input", "multiply-adds", "file MB", "memory MB", "ms predicted",
            "measured (5 to 95 %)", "ratio", "processor's")  # fmt: skip
    print(table(head, rows))
    errors = [abs(ratio - 1) for ratio in ratios]
    print(
        f"processor's time against prediction: error {100 * statistics.median(errors):.1f} % at the median, "
        f"{100 * max(errors):.1f} % at worst, over {len(errors)} networks; {over} over their budget"
    )
    if options.json:
        document = {
            "benchmark": "scale",
            "command": command_line(),
            "machine": where,
            "latency_model": model.to_dict(),
            "results": results,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    sys.exit(1 if over else 0)


def predicted(found: Scaling, point: ScaledNetwork, model: LatencyModel) -> float:
    options = {"width": point.point.width, "depth": point.point.depth, "num_classes": found.num_classes}
    return model.predict(traced(found.network, options, point.point.resolution).operators)


def row(found: Scaling, point: ScaledNetwork, predicted_ms: float) -> tuple[str, ...]:
    latency, costs = point.latency, point.predicted
    share = latency.processor_ms / predicted_ms if latency.processor_ms else None
    return (
        f"{found.network}, {found.budget}",
        point.kind,
        f"{point.point.width:g}, {point.point.depth:g}, {point.point.resolution}",
        f"{costs.multiply_adds:,}",
        f"{costs.size_bytes / 1e6:.2f} / {point.size_bytes / 1e6:.2f}",
        f"{costs.memory_bytes / 1e6:.1f} / {point.memory_bytes / 1e6:.1f}",
        f"{predicted_ms:.2f}",
        f"{latency.median_ms:.2f} ({latency.low_ms:.2f} to {latency.high_ms:.2f})",
        f"{latency.median_ms / predicted_ms:.2f}",
        "" if share is None else f"{share:.2f}",
    )


if __name__ == "__main__":
    main()
