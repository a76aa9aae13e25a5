"""Head-only transfer with and without augmented views of each picture, paired over each seed's locked test pictures.

    python benchmarks/views.py --data FOLDER --weights FILE [--seeds 1 2 3] [--views 8] [--policy basic] [--json FILE]

For each seed, the same split, network, recipe and number of epochs; one arm trains the head on the one view that
evaluation sees, the other on several views of each training picture that the policy draws, one an epoch in turn. Both
score the locked test pictures, so each pair of answers is to the same question; for the joint interval the seeds' pairs
are put together. A picture may be in the test sets of two seeds and then counts in both, so the joint interval is a
little too narrow; those of the single seeds are not.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from interleave import command_line, machine, say, table

import casebook
from casebook.evaluation.metrics import wilson_interval
from casebook.evaluation.paired import paired_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--policy", default="basic")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    where = machine()
    rows, results, wrong = [], [], {1: [], options.views: []}
    for seed in options.seeds:
        for views in wrong:
            errors, seconds = trained(options, seed, views)
            wrong[views].append(errors)
            say(f"seed {seed}, {views} views: {errors.sum()} of {len(errors)} wrong, {seconds:.0f} s")
            results.append(
                {"seed": seed, "views": views, "wrong": int(errors.sum()), "n": len(errors), "seconds": seconds}
            )
            rows.append((str(seed), str(views), share(errors), f"{seconds:.0f}", ""))
        difference = paired_error(wrong[options.views][-1], wrong[1][-1])
        rows[-1] = (*rows[-1][:-1], told(difference))
        results[-1]["paired"] = difference
    joint = paired_error(np.concatenate(wrong[options.views]), np.concatenate(wrong[1]))
    for views, parts in wrong.items():
        errors = np.concatenate(parts)
        rows.append(("all", str(views), share(errors), "", told(joint) if views != 1 else ""))
    print(table(("seed", "views", "test error", "seconds", "difference to one view"), rows))
    low, high = joint["interval"]
    print("verdict:", "augmented views are better" if high < 0 else "worse" if low > 0 else "no detectable difference")
    if options.json:
        document = {
            "benchmark": "views",
            "command": command_line(),
            "machine": where,
            "results": results,
            "joint": joint,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def trained(options: argparse.Namespace, seed: int, views: int) -> tuple[np.ndarray, float]:
    """(N,) which of the locked test pictures a training gets wrong, and its time in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run = casebook.train(
            options.data, out=Path(folder) / "run", model=options.model, weights=options.weights, transfer="head",
            seed=seed, feature_views=views, policy=options.policy, epochs=options.epochs,
        )  # fmt: skip
        seconds = time.monotonic() - began
        predictions = casebook.evaluate(run.path).predictions
    return predictions.predicted() != predictions.labels, seconds


def share(errors: np.ndarray) -> str:
    low, high = wilson_interval(int(errors.sum()), len(errors))
    return f"{errors.sum()} of {len(errors)} = {100 * errors.mean():.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def told(difference: dict) -> str:
    low, high = (100 * end for end in difference["interval"])
    return f"{100 * difference['difference']:+.2f} points ({low:+.2f} to {high:+.2f}), p = {difference['p_value']:.2f}"


if __name__ == "__main__":
    main()
