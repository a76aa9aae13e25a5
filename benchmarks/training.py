"""Training speed of ResNet-50 and MobileNet v2 at 224x224 beside busy programs: Casebook, torchvision and Keras.

    python benchmarks/training.py --peers FOLDER [--busy 0 1 2] [--json FILE]
    python benchmarks/training.py --digits [--busy 0 1 2]

Images a second of whole training steps (forward, loss, backward, update) on random pictures that are in memory
already, so that no arm reads or decodes anything. Beside `--busy N`, N processes compute in Python without a pause:

- casebook: `training.trainer.Trainer.fit` itself, fed with one batch over and over, on a network and with the settings
  that `training/choosing.py` chooses for this machine, its threads included. A step includes all that a user's step
  does: the gradient is clipped and the losses are watched. Left out are checkpoints, which come by the clock.
- one thread: the same with OMP_NUM_THREADS=1, which Casebook keeps to.
- torchvision: its network in the loop that tutorials show: float32, default memory format, SGD with momentum, torch's
  default threads. The pictures are normalised float32 tensors before the step begins.
- keras: keras.applications on torch, float32, compiled with SGD with momentum, `train_on_batch`, defaults throughout.
  Its ResNet50 is the paper's first form, which strides in a block's first 1x1 convolution and so needs 6 % fewer
  multiply-adds than resnet50 of the others: the same network in Casebook is resnet50_v1, which torchvision lacks.

`--digits` times `casebook train digits` instead, as a whole: alone and beside N busy processes.

Each arm runs in its own process; see interleave.py for how they take turns. The peers lie in a folder:

    pip install --no-deps --target FOLDER torchvision keras h5py optree absl-py namex ml_dtypes
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interleave import (
    Arm,
    command_line,
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
ARMS = ("casebook", "one thread", "torchvision", "keras")
NUM_CLASSES, SIZE = 1000, 224
SPIN = "while True: sum(range(1000))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default="", metavar="FOLDER", help="folder with torchvision and keras")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--busy", nargs="+", type=int, default=[0], metavar="N", help="busy processes beside (0)")
    parser.add_argument("--digits", action="store_true", help="time 'casebook train digits' instead")
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
    where = machine()
    if options.digits:
        results = digits(options)
    else:
        results = [
            result
            for network in options.networks
            for busy in options.busy
            for result in measure(network, busy, options)
        ]
        print(table(
            ("network", "busy", "arm", "images/s", "casebook is"),
            [(r["network"], str(r["busy"]), r["arm"], r["shown"], r["shown_ratio"]) for r in results],
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


@contextlib.contextmanager
def beside(count: int) -> Iterator[None]:
    """Inside, `count` processes compute without a pause."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(network: str, busy: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    arms: list[Arm] = []
    path = os.pathsep.join(part for part in (os.environ.get("PYTHONPATH", ""), options.peers) if part)
    with beside(busy):
        try:
            for name in options.arms:
                if network in NOT_IN.get(name, ()) or (name in ("torchvision", "keras") and not options.peers):
                    continue
                say(f"{network} beside {busy}: starting {name}")
                worker = [__file__, "--worker", name, network, "--batch-size", str(options.batch_size)]
                environment = {"PYTHONPATH": path} | ({"OMP_NUM_THREADS": "1"} if name == "one thread" else {})
                arms.append(Arm(name, [sys.executable, *worker], environment))
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
            "network": network, "busy": busy, "arm": arm.name, "images_per_second": spread(speeds),
            "casebook_is": spread(ratios), "seconds": [answer["seconds"] for answer in arm.answers], "about": arm.about,
            "threads": [answer.get("threads") for answer in arm.answers], "shown": spread_text(speeds),
            "shown_ratio": "" if arm is arms[0] else f"{spread_text(ratios, 2)} times as fast",
        })  # fmt: skip
    return results


def digits(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Wall-clock seconds of `casebook train digits` beside each number of busy processes, in turns."""
    seconds: dict[int, list[float]] = {busy: [] for busy in options.busy}
    for _ in range(options.rounds):
        for busy, found in seconds.items():
            with beside(busy), tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                command = [sys.executable, "-m", "casebook", "train", "digits", "--out", f"{folder}/run"]
                subprocess.run(command, check=True, capture_output=True)
                found.append(time.perf_counter() - began)
            say(f"train digits beside {busy}: {found[-1]:.1f} s")
    quiet = seconds[options.busy[0]]
    results = []
    for busy, found in seconds.items():
        ratios = [one / first for one, first in zip(found, quiet, strict=True)]
        results.append({"busy": busy, "seconds": found, "ratio": spread(ratios), "shown": spread_text(found),
                        "shown_ratio": spread_text(ratios, 2)})  # fmt: skip
    rows = [(str(r["busy"]), r["shown"], r["shown_ratio"]) for r in results]
    print(table(("busy", "seconds", f"times the seconds beside {options.busy[0]}"), rows))
    return results


# The arms. Each runs in a process of its own.


def casebook_worker(name: str, batch_size: int) -> None:
    """The settings of training/choosing.py for a network from scratch, and then the trainer itself."""
    from casebook.device import prepare_environment

    prepare_environment()  # as the command line does before torch is loaded

    import torch

    import casebook
    from casebook.data.loader import Batch, Inputs, make_prepare
    from casebook.device import choose_device, choose_precision, choose_threads, tune_allocator, tuned_threads
    from casebook.models import create_model, model_card
    from casebook.training.recipe import make_recipe
    from casebook.training.stepper import Phase
    from casebook.training.trainer import Trainer

    tune_allocator()
    device, card = choose_device("cpu"), model_card(name)
    recipe = make_recipe("scratch", model=name, batch_size=batch_size, checkpoint_seconds=1e9)
    preprocessing = card.preprocessing
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
    prepare = make_prepare(preprocessing, device, recipe.channels_last)

    class Done(Exception):
        pass

    class Endless:
        """One epoch of the same batch; the trainer asks for a batch when it has done with the one before."""

        skipped: dict[str, str] = {}  # noqa: RUF012 - always empty

        def global_sizes(self) -> list[int]:
            return [batch_size] * 100_000

        def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Inputs]:
            about = {"casebook": casebook.__version__, "torch": torch.__version__, "python": platform.python_version(),
                     "precision": str(dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
                     "parameters": sum(w.numel() for w in network.parameters())}  # fmt: skip
            for turn in turns(about):
                for _ in range(turn.amount):
                    yield Inputs(prepare(batch), batch.labels)
                turn.note["threads"] = torch.get_num_threads()
            raise Done

        def close(self) -> None:
            pass

    endless = Endless()
    threads = choose_threads(0, device, card.multiply_adds * batch_size)
    with tuned_threads(threads) as tuner, contextlib.suppress(Done):
        trainer = Trainer(recipe, device=device)
        trainer.threads = tuner
        trainer.fit(network, endless, endless, Phase(recipe.epochs, dtype=dtype))


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
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np
    import torch

    applications = {"resnet50": "ResNet50", "resnet50_v1": "ResNet50", "mobilenet_v2": "MobileNetV2"}
    network = getattr(keras.applications, applications[name])(
        weights=None, input_shape=(SIZE, SIZE, 3), classes=NUM_CLASSES
    )
    network.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.standard_normal((batch_size, SIZE, SIZE, 3), np.float32))
    labels = torch.from_numpy(generator.integers(0, NUM_CLASSES, batch_size))
    about = {"keras": keras.__version__, "torch": torch.__version__, "python": platform.python_version(),
             "precision": "float32", "threads": torch.get_num_threads(),
             "parameters": sum(int(np.prod(w.shape)) for w in network.trainable_variables)}  # fmt: skip
    for turn in turns(about):
        for _ in range(turn.amount):
            network.train_on_batch(images, labels)


WORKERS = {
    "casebook": casebook_worker,
    "one thread": casebook_worker,
    "torchvision": torchvision_worker,
    "keras": keras_worker,
}

if __name__ == "__main__":
    main()
