"""Time and memory of fine-tuning where a batch passes through the network whole, or in parts one after another.

    python benchmarks/parts.py [--size 224] [--batch 64] [--rounds 3]

MobileNet v2 with fixed batch norms, random pictures, one thread. Each arm is a process of its own, in turns; processor
seconds, since the machine may be shared. Training used to take the whole batch at once.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from interleave import table

STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--parts", type=int, nargs="+", default=[64, 32, 16, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.size, options.batch)
        return
    found: dict[int, list[tuple[float, float]]] = {part: [] for part in options.parts}
    for _ in range(options.rounds):
        for part in options.parts:
            command = [sys.executable, str(Path(__file__)), "--child", str(part), "--size", str(options.size),
                       "--batch", str(options.batch)]  # fmt: skip
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            found[part].append((float(answer[0]), float(answer[1])))
    rows = []
    for part, results in found.items():
        times_ms, peaks_gib = zip(*results, strict=True)
        span = f"{statistics.median(times_ms):.1f} ({min(times_ms):.1f} to {max(times_ms):.1f})"
        rows.append((str(part), span, f"{max(peaks_gib):.2f}"))
    print(table(("pictures at once", "processor ms a picture", "peak GiB"), rows))


def child(part: int, size: int, batch_size: int) -> None:
    import torch

    from casebook.data.loader import Inputs
    from casebook.device import choose_precision, tune_allocator
    from casebook.models import create_model
    from casebook.training import stepper
    from casebook.training.recipe import make_recipe
    from casebook.training.transfer import Frozen, parts

    tune_allocator()
    torch.set_num_threads(1)
    stepper.PICTURES_AT_ONCE = part
    device, recipe = torch.device("cpu"), make_recipe("transfer", model="mobilenet_v2")
    network = create_model("mobilenet_v2", num_classes=10).to(memory_format=torch.channels_last)
    learning = parts(network, "full", recipe)
    start = Frozen(network, learning, folded_norms=True).train
    phase = stepper.Phase(1, "tune", parts=learning, start=start, dtype=choose_precision("auto", device, size))
    learner = stepper.Stepper(network, phase, recipe, device)
    pictures = torch.randn(batch_size, 3, size, size).contiguous(memory_format=torch.channels_last)
    batch = Inputs(pictures, torch.arange(batch_size) % 10)
    with learner.ready():
        learner.start()
        learner.step(iter([batch]), [batch_size], 1e-4)  # the first one allocates
        started = time.process_time()
        for _ in range(STEPS):
            learner.step(iter([batch]), [batch_size], 1e-4)
        seconds = time.process_time() - started
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(1000 * seconds / (STEPS * batch_size), peak_bytes / 2**30)


if __name__ == "__main__":
    main()
