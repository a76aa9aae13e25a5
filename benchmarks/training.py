"""Training speed of ResNet-50 and MobileNet v2 at 224x224: Casebook, torchvision and Keras side by side.

    python benchmarks/training.py --torchvision-python PYTHON --keras-python PYTHON [--json FILE]

Images a second of whole training steps (forward, loss, backward, update) on random pictures that are in memory
already, so that no arm reads or decodes anything:

- casebook: `training.loop.Loop.fit` itself, fed with one batch over and over, on a network and with the settings that
  `training/session.py` chooses for this machine. A step includes all that a user's step does: uint8 pictures are
  normalised, the gradient is clipped and the losses are watched. Left out are checkpoints, which come by the clock.
- torchvision: its network in the loop that tutorials show: float32, default memory format, SGD with momentum, torch's
  default threads. The pictures are normalised float32 tensors before the step begins.
- keras: keras.applications on TensorFlow, float32, compiled with SGD with momentum, `train_on_batch`, defaults
  throughout. Its ResNet50 is the paper's first form, which strides in a block's first 1x1 convolution and so needs
  6 % fewer multiply-adds than resnet50 of the other two: the same network in Casebook is resnet50_v1, which torchvision
  lacks.

Each arm runs in its own process and interpreter, an arm without one is left out; see interleave.py for how they take
turns. PYTHON for Casebook is the one that runs this file. The peers' environments:

    python -m venv peer && peer/bin/pip install torch torchvision
    python -m venv keras && keras/bin/pip install tensorflow-cpu keras
"""

import argparse
import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interleave import (
    Arm,
    command_line,
    found,
    import_torchvision,
    machine,
    say,
    spread,
    spread_text,
    table,
    take_turns,
    times_as_fast,
    turns,
)

NETWORKS = ("resnet50", "resnet50_v1", "mobilenet_v2")
NOT_IN = {"torchvision": ("resnet50_v1",)}
NUM_CLASSES, SIZE = 1000, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torchvision-python", default="", metavar="PYTHON", help="interpreter with torchvision")
    parser.add_argument("--keras-python", default="", metavar="PYTHON", help="interpreter with tensorflow and keras")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="steps in a round (4)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first round (3)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        arm, network = options.worker
        WORKERS[arm](network, options.batch_size)
        return

    pythons = {"casebook": sys.executable}
    for arm in ("torchvision", "keras"):
        python = getattr(options, f"{arm}_python")
        if found(python, f"--{arm}-python", arm):
            pythons[arm] = python
    where = machine()
    results = [result for network in options.networks for result in measure(network, pythons, options)]
    print(table(
        ("network", "arm", "images/s", "casebook is", "precision"),
        [(r["network"], r["arm"], r["shown"], r["shown_ratio"], r["about"]["precision"]) for r in results],
    ))  # fmt: skip
    if options.json:
        document = {
            "benchmark": "training speed",
            "command": command_line(),
            "machine": where,
            "settings": {"size": SIZE, "batch_size": options.batch_size, "steps_per_round": options.steps,
                         "rounds": options.rounds, "warmup_steps": options.warmup},
            "results": [{k: v for k, v in r.items() if not k.startswith("shown")} for r in results],
        }  # fmt: skip
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def measure(network: str, pythons: dict[str, str], options: argparse.Namespace) -> list[dict[str, Any]]:
    arms = []
    try:
        for name, python in pythons.items():
            if network in NOT_IN.get(name, ()):
                continue
            say(f"{network}: starting {name}")
            worker = [__file__, "--worker", name, network, "--batch-size", str(options.batch_size)]
            arms.append(Arm(name, [python, *worker]))
        take_turns(arms, amount=options.steps, rounds=options.rounds, warmup=options.warmup)
    finally:
        for arm in arms:
            arm.close()
    results = []
    for arm in arms:
        pictures = options.steps * options.batch_size
        speeds = [pictures / answer["seconds"] for answer in arm.answers]
        ratios = times_as_fast(arms[0], arm)
        results.append({
            "network": network, "arm": arm.name, "images_per_second": spread(speeds), "casebook_is": spread(ratios),
            "seconds": [answer["seconds"] for answer in arm.answers], "about": arm.about,
            "shown": spread_text(speeds),
            "shown_ratio": "" if arm is arms[0] else f"{spread_text(ratios, 2)} times as fast",
        })  # fmt: skip
    return results


# The arms. Each runs in a process of its own.


def casebook_worker(name: str, batch_size: int) -> None:
    """The steps of training/session.py for a network from scratch, and then the loop itself."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as cli/train.py does before torch is loaded
    import tempfile

    import torch

    import casebook
    from casebook.data.loader import Batch
    from casebook.device import choose_device, choose_precision, tune_allocator
    from casebook.models import create_model, model_card
    from casebook.training.distributed import World
    from casebook.training.plan import make_prepare
    from casebook.training.recipe import make_recipe
    from casebook.training.run import Run
    from casebook.training.trainer import Loop, Phase
    from casebook.training.transfer import Frozen, parts

    tune_allocator()
    device = choose_device("cpu")
    recipe = make_recipe("scratch", model=name, batch_size=batch_size, checkpoint_seconds=1e9)
    preprocessing = model_card(name).preprocessing
    torch.manual_seed(recipe.seed)
    network = create_model(name, num_classes=NUM_CLASSES)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    dtype = choose_precision(recipe.precision, device, preprocessing.size)
    batch = Batch(
        torch.randint(0, 256, (batch_size, SIZE, SIZE, 3), dtype=torch.uint8),
        torch.randint(0, NUM_CLASSES, (batch_size,)),
        torch.arange(batch_size),
    )

    class Done(Exception):
        pass

    class Endless:
        """One epoch of the same batch; the loop asks for a batch when it has done with the one before."""

        num_pictures, skipped = batch_size * 100_000, {}

        def __len__(self) -> int:
            return 100_000

        def global_sizes(self) -> list[int]:
            return [batch_size] * len(self)

        def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
            about = {"casebook": casebook.__version__, "torch": torch.__version__, "python": platform.python_version(),
                     "precision": str(dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
                     "parameters": sum(w.numel() for w in network.parameters())}  # fmt: skip
            for turn in turns(about):
                for _ in range(turn.amount):
                    yield batch
            raise Done

        def close(self) -> None:
            pass

    learning = parts(network, "none", recipe)
    endless = Endless()
    phase = Phase(
        "train", network, Frozen(network, learning).train, learning, endless, endless,
        make_prepare(preprocessing, device, recipe.channels_last), recipe.epochs, dtype,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Done):
        Loop(Run(Path(folder)), recipe, network, device=device, place=World()).fit(phase, 0)


def torchvision_worker(name: str, batch_size: int) -> None:
    import torch
    from torch import nn

    torchvision = import_torchvision()
    network = torchvision.models.get_model(name, weights=None)
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    images = torch.randn(batch_size, 3, SIZE, SIZE)
    labels = torch.randint(0, NUM_CLASSES, (batch_size,))
    about = {"torchvision": torchvision.__version__, "torch": torch.__version__, "python": platform.python_version(),
             "precision": "float32", "threads": torch.get_num_threads(),
             "parameters": sum(w.numel() for w in network.parameters())}  # fmt: skip
    for turn in turns(about):
        for _ in range(turn.amount):
            optimiser.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimiser.step()


def keras_worker(name: str, batch_size: int) -> None:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import numpy as np
    import tensorflow

    applications = {"resnet50": "ResNet50", "resnet50_v1": "ResNet50", "mobilenet_v2": "MobileNetV2"}
    network = getattr(keras.applications, applications[name])(
        weights=None, input_shape=(SIZE, SIZE, 3), classes=NUM_CLASSES
    )
    network.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    images = tensorflow.constant(generator.standard_normal((batch_size, SIZE, SIZE, 3), np.float32))
    labels = tensorflow.constant(generator.integers(0, NUM_CLASSES, batch_size))
    about = {"keras": keras.__version__, "tensorflow": tensorflow.__version__, "python": platform.python_version(),
             "precision": "float32", "compiled_by_xla": network.jit_compile,
             "parameters": sum(int(np.prod(w.shape)) for w in network.trainable_variables)}  # fmt: skip
    for turn in turns(about):
        for _ in range(turn.amount):
            network.train_on_batch(images, labels)


WORKERS = {"casebook": casebook_worker, "torchvision": torchvision_worker, "keras": keras_worker}

if __name__ == "__main__":
    main()
