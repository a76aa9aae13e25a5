"""A training of ResNet-20 on CIFAR-10 -> the half-precision file that comes with Casebook, and its accuracy.

    python benchmarks/cifar10_weights.py RUN DATA [--out FILE]

RUN is a run folder of resnet20, DATA the folder with CIFAR-10 (train/CLASS, test/CLASS). Scores the 10,000 test
pictures with the run's own weights and with the file's, and writes the file; its SHA-256 belongs into the card.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch

from casebook import evaluate, open_run
from casebook.models.weights import read_weights, save_weights

ARCHITECTURE = "resnet20"
OUT = Path(__file__).parents[1] / "src" / "casebook" / "models" / "packaged" / "resnet20_cifar10.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    run = open_run(options.run)
    if run.model["architecture"] != ARCHITECTURE:
        raise SystemExit(f"{options.run} has {run.model['architecture']}, expected {ARCHITECTURE}")
    state, _ = read_weights(run.path / "model.safetensors")
    halves = {
        key: value.half() if value.is_floating_point() else value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    worst = max(float((state[key] - value.float()).abs().max()) for key, value in halves.items())
    metadata = {
        "architecture": ARCHITECTURE,
        "layout": "casebook",
        "classes": json.dumps(list(run.classes)),
        "preprocessing": json.dumps(run.preprocessing.to_dict()),
        "data": "CIFAR-10",
    }
    save_weights(options.out, halves, metadata)
    content = options.out.read_bytes()
    print(f"{options.out}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    print(f"largest change of a number by half precision: {worst:.2g}")
    with torch.inference_mode():
        for name, arguments in {
            "run": {"model": run.path},
            "file": {"model": ARCHITECTURE, "weights": options.out},
        }.items():
            test = evaluate(**arguments, data=options.data, split="test").metrics
            low, high = (100 * (1 - end) for end in reversed(test["top1_interval"]))
            error = f"{100 * test['top1_error']:.2f} % ({low:.2f} to {high:.2f})"
            print(f"{name}: test error {error}, top-5 accuracy {100 * test['top5']:.2f} %, {test['n']} pictures")


if __name__ == "__main__":
    main()
