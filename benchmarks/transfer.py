"""A new head on a frozen MobileNet v2, ten epochs: features computed once against features computed every epoch.

    python benchmarks/transfer.py --torchvision-python PYTHON [--data FOLDER --weights FILE] [--json FILE]

Seconds of three trainings on the same split of the same pictures, with the same batch size and number of epochs, each
of which goes once through the training pictures (no augmentation) and once through the validation pictures:

- cached: `casebook.train(..., transfer="head")` itself with an empty cache, from the call until the test set is about
  to be opened: it looks at every picture (whole? copies?), splits, computes the features and trains the head.
- recomputed: what Casebook would do without its feature cache: the same loop, reader (which keeps decoded pictures in
  memory), precision and memory format, but the whole network runs on every picture in every epoch. The look at the
  pictures and the split are given to it.
- torchvision: its network in float32 in the usual loop around a DataLoader, the backbone in evaluation mode and
  without gradients; with as many reading processes as the other two. The split is given to it.

Starting the interpreters, building the network, and the test and its report after the training count for nobody.

Without --data, pictures of about 500x375 pixels are made; without --weights, the weights are random, which changes
the accuracy but not the speed. With them, `cached` and `recomputed` must reach about the same accuracy, which is
shown. Each arm runs in its own process; see interleave.py for how they take turns.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from interleave import (
    Arm,
    command_line,
    found,
    import_torchvision,
    machine,
    spread,
    spread_text,
    table,
    take_turns,
    times_as_fast,
    turns,
)

MODEL = "mobilenet_v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torchvision-python", default="", metavar="PYTHON", help="interpreter with torchvision")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="class folders; default: made-up pictures")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=f"weights for {MODEL}; default: random")
    parser.add_argument("--pictures", type=int, default=400, help="how many to make up (400)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        arm, task = options.worker
        WORKERS[arm](json.loads(Path(task).read_text()))
        return

    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does before torch is loaded
    where = machine()
    arms: list[Arm] = []
    with tempfile.TemporaryDirectory() as folder:
        task = prepare(Path(folder), options)
        path = Path(folder) / "task.json"
        path.write_text(json.dumps(task))
        pythons = {"cached": sys.executable, "recomputed": sys.executable}
        if found(options.torchvision_python, "--torchvision-python", "torchvision"):
            pythons["torchvision"] = options.torchvision_python
        try:
            for name, python in pythons.items():
                arms.append(Arm(name, [python, __file__, "--worker", name, path]))
            take_turns(arms, amount=options.epochs, rounds=options.rounds, warmup=1)
        finally:
            for arm in arms:
                arm.close()
    show(arms, task)
    if options.json:
        document = {
            "benchmark": "frozen-backbone training",
            "command": command_line(),
            "machine": where,
            "settings": {
                "model": MODEL,
                "epochs": options.epochs,
                "batch_size": options.batch_size,
                "data": str(options.data or f"{options.pictures} made-up pictures"),
                "weights": str(options.weights or "random"),
                "train_pictures": len(task["train"]),
                "val_pictures": len(task["val"]),
            },
            "results": [
                {
                    "arm": arm.name,
                    "seconds": spread([answer["seconds"] for answer in arm.answers]),
                    "cached_is": spread(times_as_fast(arms[0], arm)),
                    "answers": arm.answers,
                    "about": arm.about,
                }
                for arm in arms
            ],
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def show(arms: list[Arm], task: dict[str, Any]) -> None:
    print(f"{len(task['train'])} training and {len(task['val'])} validation pictures, {task['epochs']} epochs\n")
    rows = []
    for arm in arms:
        ratio = "" if arm is arms[0] else f"{spread_text(times_as_fast(arms[0], arm), 2)} times as fast"
        seconds = spread_text([answer["seconds"] for answer in arm.answers])
        top1 = arm.answers[-1].get("val_top1")
        rows.append((arm.name, seconds, ratio, "" if top1 is None else f"{top1:.3f}", arm.about["precision"]))
    print(table(("arm", "seconds", "cached is", "validation top-1", "precision"), rows))
    parts = arms[0].answers[-1]["parts"]
    print(f"\ncached, last round: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in parts.items())}")


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What all arms are given: pictures, weights in two layouts, and the split that Casebook makes of the pictures."""
    import torch

    from casebook.device import choose_device, choose_workers
    from casebook.models import create_model
    from casebook.models.weights import resolve, save_weights, to_layout
    from casebook.training.distributed import ALONE
    from casebook.training.plan import prepare_data
    from casebook.training.recipe import make_recipe
    from casebook.training.run import Run

    os.environ["CASEBOOK_CACHE"] = str(folder / "cache")
    data = options.data or make_pictures(folder / "pictures", options.pictures)
    weights = options.weights or folder / "random.safetensors"
    if not options.weights:
        torch.manual_seed(0)
        network = create_model(MODEL, num_classes=2)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network(torch.randn(4, 3, 224, 224))  # statistics that keep the activations in an ordinary range
        save_weights(weights, network.state_dict(), {"architecture": MODEL})
    torch.save(to_layout(resolve(weights, MODEL).state, MODEL, "torchvision"), folder / "torchvision.pt")
    task: dict[str, Any] = {
        "data": str(data.resolve()),
        "weights": str(weights.resolve()),
        "torchvision_weights": str(folder / "torchvision.pt"),
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "workers": choose_workers(-1, choose_device("cpu"), 1),
    }
    recipe = make_recipe("transfer", **settings(task, options.epochs))
    found_data = prepare_data(recipe, Run(folder), ALONE, known_split=False)
    source = found_data.source
    root = source.root or Path()
    for part in ("train", "val"):
        chosen = [source.pictures[i] for i in getattr(found_data.split, part)]
        task[part] = [(str(root / picture.name), picture.label) for picture in chosen]
    task["classes"] = len(source.classes)
    return task


def settings(task: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Of the recipe "transfer", for both of Casebook's arms."""
    return {
        "data": task["data"], "model": MODEL, "weights": task["weights"], "transfer": "head", "epochs": epochs,
        "batch_size": task["batch_size"], "warmup_epochs": 0, "device": "cpu",
    }  # fmt: skip


def make_pictures(folder: Path, count: int) -> Path:
    """Two classes of coloured clouds as JPEG files of about 500x375 pixels, an ordinary camera's smallest."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(count):
        label = number % 2
        clouds = generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        clouds[:, :, 2 * label] //= 2
        width, height = int(generator.integers(450, 550)), int(generator.integers(340, 410))
        pixels = np.asarray(Image.fromarray(clouds).resize((width, height), Image.Resampling.BICUBIC), np.int16)
        pixels = pixels + generator.integers(-12, 13, pixels.shape, dtype=np.int16)  # what JPEG has to work on
        path = folder / ("blue", "red")[label] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=85)
    return folder


# The arms. Each runs in a process of its own; a turn's amount is its number of epochs.


def cached_worker(task: dict[str, Any]) -> None:
    import torch

    import casebook
    import casebook.workflows.train  # the loading of modules is not training
    from casebook.device import choose_precision
    from casebook.progress import Advanced, EpochEnded, Event, ScoringStarted, TrainingStarted

    class Done(Exception):
        pass

    dtype = choose_precision("auto", torch.device("cpu"), 224)
    for turn in turns({**_torch_versions(), "casebook": casebook.__version__, "precision": str(dtype)[6:]}):
        began = time.perf_counter()
        ends: dict[str, float] = {}

        def report(event: Event, turn: Any = turn, ends: dict[str, float] = ends) -> None:
            match event:
                case ScoringStarted():
                    raise Done
                case Advanced("scan"):
                    ends["look"] = time.perf_counter()
                case TrainingStarted():
                    ends["split"] = time.perf_counter()
                case Advanced("features"):
                    ends["features"] = time.perf_counter()
                case EpochEnded():
                    ends["head"] = time.perf_counter()
                    turn.note["val_top1"] = event.val_top1

        with tempfile.TemporaryDirectory() as folder:
            os.environ["CASEBOOK_CACHE"] = str(Path(folder) / "cache")
            with contextlib.suppress(Done):
                chosen = settings(task, turn.amount)
                casebook.train(
                    chosen.pop("data"), recipe="transfer", out=Path(folder) / "run", progress=report, **chosen
                )
            seconds = time.perf_counter() - began
        starts = [began, *ends.values()]
        parts = {name: end - start for (name, end), start in zip(ends.items(), starts, strict=False)}
        turn.note |= {"seconds": seconds, "parts": parts}


def recomputed_worker(task: dict[str, Any]) -> None:
    """`_train` of training/session.py, with the whole network where it has the head on cached features."""
    import torch

    import casebook
    from casebook.data.batch_plan import BatchPlan
    from casebook.data.loader import Batches, PreparedStream
    from casebook.device import choose_precision, tune_allocator
    from casebook.progress import EpochEnded, Event
    from casebook.training.distributed import ALONE
    from casebook.training.plan import make_prepare, prepare_data, set_up_model
    from casebook.training.recipe import make_recipe
    from casebook.training.run import Run
    from casebook.training.stepper import Phase
    from casebook.training.trainer import Trainer
    from casebook.training.transfer import Frozen, parts

    tune_allocator()
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        data = prepare_data(make_recipe("transfer", **settings(task, 1)), Run(Path(folder)), ALONE, known_split=False)
    dtype = choose_precision("auto", device, 224)
    for turn in turns({**_torch_versions(), "casebook": casebook.__version__, "precision": str(dtype)[6:]}):
        recipe = make_recipe("transfer", **settings(task, turn.amount))
        setup = set_up_model(recipe, data)
        network = setup.network.to(memory_format=torch.channels_last)
        learning = parts(network, "head", recipe)
        frozen = Frozen(network, learning)
        prepare = make_prepare(setup.preprocessing, device, True)

        def stream(indices: Any, order: BatchPlan, setup: Any = setup, prepare: Any = prepare) -> PreparedStream:
            batches = Batches(data.source, indices, setup.preprocessing, order, workers=task["workers"])
            return PreparedStream(batches, prepare)

        train = stream(data.split.train, BatchPlan(recipe.batch_size, shuffle=True, seed=recipe.seed))
        validation = stream(data.split.val, BatchPlan(recipe.batch_size))

        def report(event: Event, turn: Any = turn) -> None:
            if isinstance(event, EpochEnded):
                turn.note["val_top1"] = event.val_top1

        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(recipe, run=Run(Path(folder)), device=device, report=report)
            began = time.perf_counter()
            trainer.fit(network, train, validation, Phase(turn.amount, "head", network, learning, frozen.train, dtype))
            turn.note["seconds"] = time.perf_counter() - began


def torchvision_worker(task: dict[str, Any]) -> None:
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    torchvision = import_torchvision()
    transforms = torchvision.transforms
    prepare = transforms.Compose([
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip

    class Pictures(Dataset):
        def __init__(self, items: list):
            self.items = items

        def __len__(self) -> int:
            return len(self.items)

        def __getitem__(self, index: int) -> tuple:
            path, label = self.items[index]
            with Image.open(path) as picture:
                return prepare(picture.convert("RGB")), label

    state = torch.load(task["torchvision_weights"], weights_only=True)
    state = {name: value for name, value in state.items() if not name.startswith("classifier")}
    common = {"batch_size": task["batch_size"], "num_workers": task["workers"]}
    about = {**_torch_versions(), "torchvision": torchvision.__version__, "precision": "float32"}
    for turn in turns(about):
        network = torchvision.models.mobilenet_v2(num_classes=task["classes"])
        network.load_state_dict(state, strict=False)
        began = time.perf_counter()
        train = DataLoader(Pictures(task["train"]), shuffle=True, **common)
        validation = DataLoader(Pictures(task["val"]), **common)
        network.requires_grad_(False).eval()
        network.classifier.requires_grad_(True)
        optimiser = torch.optim.AdamW(network.classifier.parameters(), lr=2e-3, weight_decay=0.05)
        criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
        for _ in range(turn.amount):
            network.classifier.train()
            for images, labels in train:
                optimiser.zero_grad()
                loss = criterion(network(images), labels)
                loss.backward()
                optimiser.step()
            network.classifier.eval()
            correct = 0
            with torch.no_grad():
                for images, labels in validation:
                    correct += (network(images).argmax(1) == labels).sum().item()
            turn.note["val_top1"] = correct / len(task["val"])
        turn.note["seconds"] = time.perf_counter() - began


def _torch_versions() -> dict[str, Any]:
    import torch

    return {"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()}


WORKERS = {"cached": cached_worker, "recomputed": recomputed_worker, "torchvision": torchvision_worker}

if __name__ == "__main__":
    main()
