"""Exports every network of the casebook and writes a table: seconds, bytes, and how far its answers are from torch's.

    python benchmarks/export_all.py OUT.jsonl [--names resnet50 vgg16] [--page docs/exports.md]

Each network is exported in a process of its own, the one with the fewest multiply-adds first. A line of OUT.jsonl is a
network; what it has already is not done again, so the script can be stopped and started. The weights are random, drawn
with seed 0: their values change nothing about whether a network can be exported. Where they explode, the scales of the
batch norms are halved. Since a random network hardly tells pictures apart, the logits are compared as well, relative to
their own spread.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from casebook.models import list_models, model_card

SECONDS = 3600  # for one network, on a busy machine
MOST_LOGIT = 1000.0  # of random weights that are left as they are
HEAD = """# Every network as a bundle

Written by `benchmarks/export_all.py`. Each network was exported with random weights (seed 0) and asked about the 22
golden pictures at 1, 2, 7 and 32 pictures at a time. "Probability" is the largest difference of any probability between
torch and onnxruntime, both in float32; "logit" is the largest difference of a logit divided by the standard deviation
of all logits. An export fails above 1e-4 of a probability. Where random weights explode, as in `resnet1202`,
`efficientnet_b7` and `senet154`, torch's own answers depend on the batch; there the batch norms' scales are halved
until they do not. The seconds were taken on two cores that were in use by other programs, some of them heavily.
"""


def export_one(name: str) -> dict[str, Any]:
    """What an export of one network took and gave. Runs in a process of its own."""
    import numpy as np
    import torch

    import casebook
    from casebook.device import Stopwatch
    from casebook.runner.answers import Answerer
    from casebook.runner.bundle import Bundle
    from casebook.runner.verify import golden_pixels

    torch.manual_seed(0)
    card = model_card(name)
    network = casebook.create_model(name)
    classes = tuple(map(str, range(card.num_classes)))
    classifier = casebook.Classifier(name, network, card.preprocessing, classes)
    tame(classifier)
    with tempfile.TemporaryDirectory() as folder:
        watch = Stopwatch()
        exported = casebook.export(classifier, Path(folder) / f"{name}.casebook")
        seconds = watch.seconds
        form = exported.manifest["networks"]["float32"]
        bundle = Bundle.open(exported.path)
        _, pixels, _ = golden_pixels(bundle)
        pixels = pixels[:4]
        ours, theirs = Answerer(bundle).infer(pixels).logits, classifier.infer(pixels).logits
        return {
            "seconds": round(seconds, 1),
            "bytes": exported.document["bytes"],
            "differences": form["differences"],
            "logits": float(np.abs(ours - theirs).max() / theirs.std()),
        }


def tame(classifier: Any) -> None:
    """Halves the scales of the batch norms until random weights no longer explode, since nothing is left then but
    rounding: with 1,202 layers they overflow, and EfficientNet-B7 gives a blank picture logits of 20,000."""
    import numpy as np
    import torch

    from casebook.deployment import golden
    from casebook.runner.bundle import open_pixels

    pictures = [open_pixels(classifier.preprocessing, content) for _, content in golden.built_in().values()]
    images, network = classifier.images(np.stack(pictures)), classifier.model.eval()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        while norms and not torch.cat([network(part) for part in images.split(4)]).abs().max() < MOST_LOGIT:  # or NaN
            for norm in norms:
                norm.weight.mul_(0.5)


def in_own_process(name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"name": name, "error": f"took more than {SECONDS} s"}
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"ended with code {result.returncode}"]
        return {"name": name, "error": lines[-1]}
    return {"name": name, **json.loads(result.stdout.splitlines()[-1])}


def page(rows: list[dict[str, Any]], missing: list[str]) -> str:
    lines = [HEAD, "| network | seconds | MiB | probability, 1 | 2 | 7 | 32 | logit |", "| --- |" + " ---: |" * 7]
    for row in sorted((row for row in rows if "error" not in row), key=lambda row: row["name"]):
        cells = [f"{row['seconds']:.0f}", f"{row['bytes'] / 2**20:.1f}"]
        cells += [f"{row['differences'][size]:.0e}" for size in ("1", "2", "7", "32")] + [f"{row['logits']:.0e}"]
        lines.append(f"| `{row['name']}` | " + " | ".join(cells) + " |")
    failed = [row for row in rows if "error" in row]
    lines += ["", f"{len(rows) - len(failed)} networks of {len(list_models())}.", ""]
    if failed:
        lines += ["Failed:", "", *(f"- `{row['name']}`: {row['error']}" for row in failed), ""]
    if missing:
        lines += [f"Not run yet: {', '.join(f'`{name}`' for name in missing)}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", help="a file with a line for each network")
    parser.add_argument("--names", nargs="*", help="these networks alone")
    parser.add_argument("--page", help="write the table to this page")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(export_one(given.one)))
        return
    out = Path(given.out)
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {row["name"] for row in rows}
    ordered = sorted(list_models(), key=lambda name: model_card(name).multiply_adds)
    if not given.page:
        for name in given.names or ordered:
            if name not in done:
                row = in_own_process(name)
                rows.append(row)
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)
        return
    missing = [name for name in ordered if name not in done]
    Path(given.page).write_text(page(rows, missing))


if __name__ == "__main__":
    main()
