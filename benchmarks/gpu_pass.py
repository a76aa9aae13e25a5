"""One pass over what needs a GPU: the gpu tests, training speed beside timm's loop, and a study in full mode.

    python benchmarks/gpu_pass.py --out gpu.json [--minutes 25] [--data CIFAR10] [--timm-python PYTHON]
    python benchmarks/gpu_pass.py --out tiny.json --device cpu --tiny

Each part gets a share of the minutes and stops when that is used up; the next part gets what is left over. The result
file is written again after each part, so an interrupted pass leaves what it has. Nothing needs the network.

- tests: `pytest -m gpu`.
- speed: images a second of whole training steps (forward, loss, backward, update) on one batch of random pictures that
  is on the device already, for ResNet-50 and MobileNet v2 at 224x224. Both arms compute in bfloat16 under autocast,
  channels last, with SGD, Nesterov momentum 0.9 and weight decay 2e-5, once with torch.compile and once without.
  casebook is `Trainer.fit` itself; timm is timm's network and optimiser in the loop of its train.py, which reads the
  loss in every step. Both normalise uint8 pictures in the step, timm as its prefetcher does. The arms are processes
  that take turns (interleave.py). Without timm its arms are left out, and the result says so.
- study: `casebook study degradation --full` with one seed on CIFAR-10, given as a folder with --data, for as long as
  the share lasts; the result says how many epochs each network got and its validation accuracy.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from interleave import Arm, command_line, machine, say, spread, spread_text, take_turns, times_as_fast, turns

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = {"resnet50": "resnet50", "mobilenet_v2": "mobilenetv2_100"}  # Casebook's name: timm's
SHARES = {"tests": 0.15, "speed": 0.45, "study": 0.4}
NUM_CLASSES, WEIGHT_DECAY, RATE = 1000, 2e-5, 0.1
TINY_MINUTES = 1.8
FULL_SIZES = {"side": 224, "batch_size": 256, "steps": 20, "rounds": 7, "warmup": 10}
TINY_SIZES = {"side": 64, "batch_size": 2, "steps": 1, "rounds": 2, "warmup": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu_pass.json"), metavar="FILE")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="seconds instead of minutes; shows that the pass works")
    parser.add_argument("--data", default="", help="CIFAR-10 as a folder with one folder a class, for the study")
    parser.add_argument("--timm-python", default=sys.executable, metavar="PYTHON", help="interpreter with timm")
    parser.add_argument(
        "--batch-size", type=int, default=0, help="pictures a step (256); both arms are in the GPU's memory at once"
    )
    parser.add_argument("--parts", nargs="+", default=list(SHARES), choices=SHARES)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        arm, network, compiled = options.worker
        WORKERS[arm](network, compiled == "compiled", options)
        return

    minutes = min(options.minutes, TINY_MINUTES) if options.tiny else options.minutes
    deadline = time.monotonic() + 60 * minutes
    began = time.monotonic()
    result: dict[str, Any] = {
        "benchmark": "gpu pass", "command": command_line(), "tiny": options.tiny, "minutes": minutes,
        "machine": machine(), "device": device_facts(options.device), "versions": versions(),
        "parts": {}, "skipped": [],
    }  # fmt: skip
    skipped = result["skipped"]

    def skip(what: str, why: str) -> None:
        say(f"{what}: skipped, {why}")
        skipped.append({"what": what, "why": why})

    for part in options.parts:
        later = sum(SHARES[name] for name in options.parts[options.parts.index(part) :])
        seconds = (deadline - time.monotonic()) * SHARES[part] / later
        say(f"{part}: at most {seconds:.0f} s")
        part_began = time.monotonic()
        try:
            found = PARTS[part](seconds, options, skip)
        except Exception as error:  # one part that fails must not lose the others
            found = {"error": f"{type(error).__name__}: {error}"}
        if found is not None:
            result["parts"][part] = {"seconds": round(time.monotonic() - part_began, 1), **found}
        result["seconds"] = round(time.monotonic() - began, 1)
        write(options.out, result)
    say(f"{result['seconds']:.0f} s; written to {options.out}")


def write(path: Path, result: dict[str, Any]) -> None:
    """The whole file or none."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(result, indent=2) + "\n")
    unfinished.replace(path)


def device_facts(device: str) -> dict[str, Any]:
    import torch

    if not device.startswith("cuda"):
        return {"name": device}
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device is visible to torch; '--device cpu --tiny' shows the pass without one")
    facts = torch.cuda.get_device_properties(device)
    return {
        "name": facts.name, "memory_bytes": facts.total_memory, "capability": f"{facts.major}.{facts.minor}",
        "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    }  # fmt: skip


def versions() -> dict[str, str]:
    import numpy as np
    import torch

    import casebook

    found = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return found | {"casebook": casebook.__version__}


# The tests


def run_tests(seconds: float, options: argparse.Namespace, skip: Callable[[str, str], None]) -> dict[str, Any] | None:
    if options.device == "cpu":
        skip("tests", "the gpu tests need a CUDA device")
        return None
    return pytest(["-m", "gpu"], seconds)


def pytest(arguments: list[str], seconds: float) -> dict[str, Any]:
    """Runs pytest at the root of the project; gives the numbers of outcomes and what failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
        code = run_for(command, seconds)
        if code is None or not report.is_file():
            return {"finished": False, "exit_code": code}
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
        cases = list(suite.iter("testcase"))
        failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        num_skipped = sum(case.find("skipped") is not None for case in cases)
        return {
            "finished": True,
            "exit_code": code,
            "passed": len(cases) - len(failed) - num_skipped,
            "skipped": num_skipped,
            "failed": [f"{case.get('classname')}::{case.get('name')}" for case in failed],
        }


def run_for(command: list[str], seconds: float) -> int | None:
    """Runs a command for at most so long, then interrupts it as Ctrl-C would; its exit code, None if it was stopped."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr, start_new_session=True)
    try:
        return process.wait(max(1.0, seconds))
    except subprocess.TimeoutExpired:
        stop(process)
        return None
    except BaseException:
        stop(process)
        raise


def stop(process: subprocess.Popen) -> None:
    """Interrupts the command and its children; kills what does not end in 20 s."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
            return


# Training speed


def measure_speed(
    seconds: float, options: argparse.Namespace, skip: Callable[[str, str], None]
) -> dict[str, Any] | None:
    until = time.monotonic() + seconds
    names = ["casebook"]
    if has_timm(options.timm_python):
        names.append("timm")
    else:
        skip("speed of timm", f"timm is not installed for {options.timm_python}; give another with --timm-python")
    results = []
    for network in NETWORKS:
        for mode in ("eager", "compiled"):
            what = f"speed of {network}, {mode}"
            if options.tiny and (network, mode) != ("mobilenet_v2", "eager"):
                skip(what, "the tiny mode runs MobileNet v2 without torch.compile only")
                continue
            try:
                results += measure(network, mode, names, options, until)
            except (RuntimeError, BrokenPipeError) as error:
                late = time.monotonic() >= until
                skip(what, "the time of this part was used up" if late else str(error))
    return {"settings": sizes(options), "results": results}


def has_timm(python: str) -> bool:
    if python == sys.executable:
        return importlib.util.find_spec("timm") is not None
    return subprocess.run([python, "-c", "import timm"], capture_output=True, check=False).returncode == 0


def sizes(options: argparse.Namespace) -> dict[str, int]:
    found = TINY_SIZES if options.tiny else FULL_SIZES
    return found | {"batch_size": options.batch_size or found["batch_size"]}


def measure(
    network: str, mode: str, names: list[str], options: argparse.Namespace, until: float
) -> list[dict[str, Any]]:
    """One network's arms by turns. Raises RuntimeError when an arm fails or the time is over."""
    size, pythons = sizes(options), {"casebook": sys.executable, "timm": options.timm_python}
    arms: list[Arm] = []
    alarm = threading.Timer(max(0.0, until - time.monotonic()), lambda: [arm.process.kill() for arm in arms])
    alarm.start()
    try:
        for name in names:
            if time.monotonic() >= until:
                raise RuntimeError("no time is left")
            say(f"{network}, {mode}: starting {name}")
            worker = [__file__, "--worker", name, network, mode, "--device", options.device,
                      "--batch-size", str(options.batch_size)]  # fmt: skip
            arms.append(Arm(name, [pythons[name], *worker, *(["--tiny"] if options.tiny else [])]))
        take_turns(arms, amount=size["steps"], rounds=size["rounds"], warmup=size["warmup"])
    finally:
        alarm.cancel()
        for arm in arms:
            with contextlib.suppress(BrokenPipeError):
                arm.close()
    found = []
    for arm in arms:
        speeds = [size["steps"] * size["batch_size"] / answer["seconds"] for answer in arm.answers]
        ratios = times_as_fast(arms[0], arm)
        say(f"{network}, {mode}, {arm.name}: {spread_text(speeds)} images/s")
        found.append(
            {
                "network": network, "mode": mode, "arm": arm.name, "images_per_second": spread(speeds),
                "casebook_is": spread(ratios), "seconds": [answer["seconds"] for answer in arm.answers],
                "about": arm.about,
            }
        )  # fmt: skip
    return found


def casebook_worker(name: str, compiled: bool, options: argparse.Namespace) -> None:
    """`Trainer.fit`, fed with one batch over and over."""
    import torch

    import casebook
    from casebook.data.loader import Inputs
    from casebook.device import choose_device, synchronise, tune_allocator
    from casebook.models import create_model, model_card
    from casebook.training.recipe import make_recipe
    from casebook.training.stepper import Phase
    from casebook.training.trainer import Trainer

    tune_allocator()
    device, size = choose_device(options.device), sizes(options)
    recipe = make_recipe(
        "scratch", model=name, batch_size=size["batch_size"], checkpoint_seconds=1e9, compile=compiled,
        optimiser="sgd", momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY, learning_rate=RATE, clip_norm=0,
        label_smoothing=0, ema_decay=0,
    )  # fmt: skip
    torch.manual_seed(0)
    network = create_model(name, num_classes=NUM_CLASSES).to(device).to(memory_format=torch.channels_last)
    normalise = normaliser(model_card(name).preprocessing, device)
    images, labels = random_batch(size, device)

    class Done(Exception):
        pass

    class Endless:
        """One epoch of the same batch; the trainer asks for the next batch when it has queued a step."""

        skipped: dict[str, str] = {}  # noqa: RUF012 - as the trainer's protocol has it

        def global_sizes(self) -> list[int]:
            return [size["batch_size"]] * 100_000

        def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Inputs]:
            for turn in turns(about({"casebook": casebook.__version__}, network)):
                for _ in range(turn.amount):
                    yield Inputs(normalise(images), labels)
                synchronise(device)
            raise Done

        def close(self) -> None:
            pass

    endless = Endless()
    with contextlib.suppress(Done):
        Trainer(recipe, device=device).fit(network, endless, endless, Phase(recipe.epochs, dtype=torch.bfloat16))


def timm_worker(name: str, compiled: bool, options: argparse.Namespace) -> None:
    """A step as in timm's train.py (train_one_epoch with --amp --amp-dtype bfloat16 --channels-last)."""
    import torch

    define_torchvision_operators()
    import timm
    from timm.optim import create_optimizer_v2

    device, size = torch.device(options.device), sizes(options)
    torch.manual_seed(0)
    network = timm.create_model(NETWORKS[name], num_classes=NUM_CLASSES).to(device, memory_format=torch.channels_last)
    optimiser = create_optimizer_v2(network, opt="sgd", lr=RATE, momentum=0.9, weight_decay=WEIGHT_DECAY)
    call = torch.compile(network) if compiled else network
    loss_of = torch.nn.CrossEntropyLoss().to(device)
    mean, std = (
        torch.tensor([255 * value for value in network.pretrained_cfg[key]], device=device).view(1, 3, 1, 1)
        for key in ("mean", "std")
    )
    images, labels = random_batch(size, device)
    pictures = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    network.train()
    for turn in turns(about({"timm": timm.__version__}, network)):
        for _ in range(turn.amount):
            inputs = pictures.float().sub_(mean).div_(std)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16):
                loss = loss_of(call(inputs), labels)
            loss.item()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()


def random_batch(size: dict[str, int], device: Any) -> tuple[Any, Any]:
    """(B, H, W, 3) uint8 pictures and (B,) labels, on the device."""
    import torch

    shape = (size["batch_size"], size["side"], size["side"], 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    return images, torch.randint(0, NUM_CLASSES, (size["batch_size"],), device=device)


def normaliser(preprocessing: Any, device: Any) -> Callable[[Any], Any]:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, normalised, channels last."""
    import torch

    mean, std = (
        torch.tensor([255 * value for value in values], device=device).view(1, 1, 1, 3)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return lambda images: images.float().sub_(mean).div_(std).permute(0, 3, 1, 2)


def about(library: dict[str, str], network: Any) -> dict[str, Any]:
    import torch

    return library | {
        "torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads(),
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }  # fmt: skip


def define_torchvision_operators() -> None:
    """timm imports torchvision, whose wheel may be built for another torch; interleave.py makes it importable."""
    from interleave import import_torchvision

    with contextlib.suppress(ImportError):
        import_torchvision()


# The study


def run_study(seconds: float, options: argparse.Namespace, skip: Callable[[str, str], None]) -> dict[str, Any] | None:
    data = options.data or ("digits" if options.tiny else "")
    if not data:
        skip("study", "CIFAR-10 is not here; give a folder with one folder a class as --data")
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "casebook", "study", "degradation", "--full", "--seeds", "0,", "--data", data,
                   "--device", options.device, "--out", folder]  # fmt: skip
        code = run_for(command, seconds)
        return {"command": " ".join(command[2:]), "finished": code == 0, "exit_code": code, **progress_of(Path(folder))}


def progress_of(folder: Path) -> dict[str, Any]:
    """How far each network of the study came, and the verdicts if it ended."""
    arms = []
    for path in sorted(folder.glob("*/runs/*"), key=lambda path: path.stat().st_ctime):
        lines = (path / "metrics.jsonl").read_text().splitlines() if (path / "metrics.jsonl").is_file() else []
        rows = [json.loads(line) for line in lines]
        arms.append(
            {
                "network": path.name.rpartition("-")[0],
                "epochs": len(rows),
                "best_val_top1": max((row["val_top1"] for row in rows), default=None),
                "seconds_per_epoch": round(sum(row["seconds"] for row in rows) / len(rows), 2) if rows else None,
            }
        )
    found: dict[str, Any] = {"arms": arms}
    for result in folder.glob("*/result.json"):
        document = json.loads(result.read_text())
        found["caveat"] = document["caveat"]
        found["verdicts"] = [
            {key: verdict[key] for key in ("claim", "outcome", "text")} for verdict in document["verdicts"]
        ]
    return found


PARTS = {"tests": run_tests, "speed": measure_speed, "study": run_study}
WORKERS = {"casebook": casebook_worker, "timm": timm_worker}


if __name__ == "__main__":
    main()
