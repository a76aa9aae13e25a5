"""Images a second of torch, onnxruntime and OpenVINO on the network of a bundle, taking turns.

    python benchmarks/engines.py mobilenet_v2 --weights FILE --data FOLDER --classes CSV [--rounds 7] [--batch 16]
    python benchmarks/engines.py resnet50 efficientnet_b0      # random weights: speed alone

All compute on one thread, or on as many as `--threads` says, a batch each in turn. "torch" is `model(images)` in
inference mode in a process of its own, as a plain script runs it; "Casebook's torch" is `Classifier`, whose process
keeps freed memory where others give it back to the system after every layer. On one thread processor time counts,
because other programs may use the cores; on more it is wall time, which wants a quiet machine. The ratio to torch is
taken within each round, and the median and the range of these ratios are shown. With labelled pictures, 64 of them give
the ranges of the 8-bit network, 64 more choose its setting, and the others say how many each engine has right, with the
paired interval of the difference from float32 on onnxruntime.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from interleave import machine

import casebook
from casebook.data.sources import load_source
from casebook.deployment.graph import export_graph
from casebook.deployment.quantise import NUM_CHOOSING, NUM_PICTURES, quantise
from casebook.evaluation.labelled import with_classes_of
from casebook.evaluation.paired import paired_error
from casebook.runner.engine import open_engine

CALIBRATION = NUM_PICTURES + NUM_CHOOSING
Ask = Callable[[np.ndarray], np.ndarray]  # (B, H, W, C) uint8 -> (B, K) probabilities
PLAIN = """
import sys, time, torch, casebook
threads = int(sys.argv[2])
clock = time.process_time if threads == 1 else time.perf_counter
torch.set_num_threads(threads)
model = casebook.create_model(sys.argv[1]).eval()
images = torch.randn(*map(int, sys.argv[3:]))
with torch.inference_mode():
    for _ in sys.stdin:
        began = clock()
        model(images)
        print(clock() - began, flush=True)
"""


@contextlib.contextmanager
def plain_torch(name: str, shape: tuple[int, ...], threads: int) -> Iterator[Callable[[], float]]:
    """Gives the seconds of a batch, with each call of another."""
    command = [sys.executable, "-c", PLAIN, name, *map(str, (threads, *shape))]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert child.stdin is not None
    assert child.stdout is not None
    sent, received = child.stdin, child.stdout

    def ask() -> float:
        sent.write("\n")
        return float(received.readline())

    try:
        yield ask
    finally:
        sent.close()
        child.wait()


def arms_of(classifier: casebook.Classifier, pixels: np.ndarray, threads: int) -> dict[str, Ask]:
    network = export_graph(classifier)
    small = quantise(network, pixels[:NUM_PICTURES], pixels[NUM_PICTURES:CALIBRATION])
    print(f"{classifier.name}: 8 bits by {small.setting}, {small.divergences}")
    ways = {"Casebook's torch": None, "onnxruntime float32": ("onnxruntime", network, True)}
    ways |= {"onnxruntime int8": ("onnxruntime", small.network, True)}
    if find_spec("openvino"):
        ways |= {"openvino float32": ("openvino", network, True), "openvino bfloat16": ("openvino", network, False)}
        ways |= {"openvino int8": ("openvino", small.network, True)}

    def arm(way: Any) -> Ask:
        if way is None:
            return lambda batch: classifier.answers(classifier.images(batch))
        engine = open_engine(way[0], way[1], threads=threads, exact=way[2])
        return lambda batch: engine(batch).probabilities

    return {name: arm(way) for name, way in ways.items()}


def measure(
    arms: dict[str, Ask], plain: Callable[[], float], batch: np.ndarray, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Images a second, for each round."""
    speeds: dict[str, list[float]] = {name: [] for name in ("torch", *arms)}
    for number in range(rounds + 1):
        seconds = {"torch": plain()}
        for name, ask in arms.items():
            began = clock()
            ask(batch)
            seconds[name] = clock() - began
        if number:  # the first round warms up
            for name, taken in seconds.items():
                speeds[name].append(len(batch) / taken)
    return speeds


def pictures_of(classifier: casebook.Classifier, data: str) -> tuple[np.ndarray, np.ndarray]:
    source, _ = with_classes_of(load_source(data), classifier)
    preprocessing = classifier.preprocessing
    order = np.random.default_rng(0).permutation(len(source)).tolist()
    pixels = np.stack([preprocessing.pixels(source.open(i, **preprocessing.decode_options)) for i in order])
    return pixels, np.array([source.pictures[i].label for i in order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--weights")
    parser.add_argument("--classes")
    parser.add_argument("--data")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock, of_time = (time.process_time, " of processor time") if given.threads == 1 else (time.perf_counter, "")
    print(machine())
    for name in given.networks:
        if given.weights:
            classifier = casebook.load(name, weights=given.weights, classes=given.classes, device="cpu")
        else:
            torch.manual_seed(0)
            card = casebook.model_card(name)
            classes = tuple(map(str, range(card.num_classes)))
            classifier = casebook.Classifier(name, casebook.create_model(name), card.preprocessing, classes)
        labels = None
        if given.data:
            pixels, labels = pictures_of(classifier, given.data)
        else:
            side = classifier.preprocessing.size
            pixels = np.random.default_rng(0).integers(0, 256, (CALIBRATION, side, side, 3), np.uint8)
        arms = arms_of(classifier, pixels, given.threads)
        with plain_torch(name, (given.batch, *classifier.image_shape), given.threads) as plain:
            speeds = measure(arms, plain, pixels[: given.batch], given.rounds, clock)
        print(f"| way | images/s{of_time} | times torch, median (range) |" + (" right |" if given.data else ""))
        wrong = {}
        for way, found in speeds.items():
            ratios = [one / base for one, base in zip(found, speeds["torch"], strict=True)]
            row = f"| {way} | {statistics.median(found):.1f} | {statistics.median(ratios):.2f} "
            row += f"({min(ratios):.2f} to {max(ratios):.2f}) |"
            if labels is not None and way in arms:
                rest = range(CALIBRATION, len(pixels), given.batch)
                said = np.concatenate([arms[way](pixels[i : i + given.batch]).argmax(1) for i in rest])
                wrong[way] = said != labels[CALIBRATION:]
                row += f" {int((~wrong[way]).sum())} of {len(said)} |"
            print(row, flush=True)
        for way in wrong:
            if way not in ("Casebook's torch", "onnxruntime float32"):
                paired = paired_error(wrong[way], wrong["onnxruntime float32"])
                print(f"{way}: costs {100 * paired['difference']:.2f} points, 95 % interval {paired['interval']}")


if __name__ == "__main__":
    main()
