"""What it costs to look inside: each method on one picture, beside a forward pass, on one core.

    python benchmarks/explanation.py --weights mobilenet_v2_imagenet.safetensors [--model mobilenet_v2] [--json FILE]

Two times for each method: `numbers` is the array alone, `all` the sheet drawn and both files written too. A round is a
forward pass and then each method once; the factor is the median over the rounds of the time of the numbers by that of
the forward pass of the same round. All times are processor time of the one thread, which a busy machine inflates less
than wall time. Without weights the network is random, which costs the same.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleave import command_line, machine, say, spread, spread_text, table
from PIL import Image

import casebook
from casebook.device import tune_allocator
from casebook.evaluation.classifier import Classifier
from casebook.explanation.deconvnet import class_gradient, project
from casebook.explanation.filters import feature_maps
from casebook.explanation.grad_cam import grad_cam
from casebook.explanation.occlusion import occlusion
from casebook.explanation.sheet import Settings
from casebook.explanation.sheets import BY_PICTURE
from casebook.explanation.views import View, look
from casebook.workflows.explain import Writer

LAYER = "stages.4"


def numbers(classifier: Classifier, view: View) -> dict[str, Callable[[], Any]]:
    network, image, of = classifier.model, view.image, [view.target]
    return {
        "forward pass": lambda: forward(network, image),
        "grad-cam": lambda: grad_cam(network, image, of),
        "gradient": lambda: class_gradient(network, image, of),
        "guided": lambda: class_gradient(network, image, of, rule="guided"),
        "deconvnet": lambda: project(network, image, LAYER, [0]),
        "features": lambda: feature_maps(network, image, LAYER),
        "occlusion": lambda: occlusion(network, image, view.target),
    }


@torch.inference_mode()
def forward(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    return network(image)


def written(classifier: Classifier, view: View, method: str, writer: Writer) -> None:
    settings = Settings(layer=LAYER, channels=(0,)) if method == "deconvnet" else Settings()
    found = BY_PICTURE[method](classifier, view, settings)
    writer.image(method, found.sheet)
    writer.array(method, found.array)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--weights")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    place = machine()
    network = casebook.create_model(options.model, weights=options.weights).eval()
    preprocessing = casebook.model_card(options.model).preprocessing
    classes = tuple(str(i) for i in range(next(iter(network.head.classifier.state_dict().values())).shape[0]))
    classifier = Classifier(options.model, network, preprocessing, classes)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    view = look(classifier, Image.fromarray(pixels).resize((500, 400), Image.Resampling.BICUBIC), "noise")
    methods = numbers(classifier, view)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    whole: dict[str, list[float]] = {name: [] for name in methods if name in BY_PICTURE}
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder))
        for number in range(options.rounds + 1):
            for name, compute in methods.items():
                began = time.process_time()
                compute()
                middle = time.process_time()
                if name in whole:
                    written(classifier, view, name, writer)
                if number:  # the first warms up
                    seconds[name].append(middle - began)
                    if name in whole:
                        whole[name].append(time.process_time() - middle)
            say(f"round {number} of {options.rounds}")
    rows, results = [], {}
    for name, times in seconds.items():
        factors = [mine / theirs for mine, theirs in zip(times, seconds["forward pass"], strict=True)]
        everything = spread_text([1000 * t for t in whole[name]], 0) if name in whole else ""
        rows.append([name, spread_text([1000 * t for t in times], 0), spread_text(factors), everything])
        results[name] = {"seconds": spread(times), "factor": spread(factors)}
        results[name] |= {"all_seconds": spread(whole[name])} if name in whole else {}
    print(table(["method", "numbers, ms", "forward passes", "all, ms"], rows))
    if options.json:
        document = {"command": command_line(), "machine": place, "torch": torch.__version__, "results": results}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
