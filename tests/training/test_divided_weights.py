"""Weights that are divided among two processes learn what whole ones learn, and what they leave fits both."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import casebook
from casebook.models import create_model
from casebook.training.checkpoint import read_checkpoint
from casebook.training.distributed import World
from casebook.training.divided_weights import blocks_of, divides_weights, state_bytes
from casebook.training.recipe import make_recipe

TOLERANCE = 1e-5  # of weights, between divided and whole: sums are taken in another order
SETTINGS = {
    "recipe": "scratch", "model": "lenet5", "epochs": 3, "batch_size": 10, "learning_rate": 0.02, "mirror": False,
    "class_weights": "balanced", "workers": 0, "device": "cpu", "warmup_epochs": 0, "checkpoint_seconds": 0,
    "precision": "fp32", "ema_decay": 0.9, "accumulate": 2, "clip_norm": 1.0, "val_fraction": 0.21,
}  # fmt: skip
JOB = """
import json, os, pathlib, sys, torch, casebook
torch.set_num_threads(1)
job = json.loads(sys.argv[1])
pathlib.Path(job["pids"], os.environ["RANK"]).write_text(str(os.getpid()))
def listen(event):
    if "are divided" in str(event):
        print(event, flush=True)
casebook.train(progress=listen, **job["arguments"])
"""
UNEQUAL = """
import sys, torch
from torch import nn
from casebook.preprocessing import Preprocessing
from casebook.training.distributed import joined
from casebook.training.divided_weights import divide
from casebook.training.recipe import Recipe
from casebook.training.trainer import Trainer
torch.set_num_threads(1)
with joined(torch.device("cpu")) as world:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(4 * 36, 2)
    )
    if "divided" in sys.argv:
        divide(network, Preprocessing(size=8), torch.device("cpu"), world)
    torch.manual_seed(1 + world.rank)
    def batches(count):
        return [(torch.randn(4, 3, 8, 8), torch.randint(2, (4,))) for _ in range(count)]
    trainer = Trainer(Recipe(epochs=3, batch_size=8, device="cpu", precision="fp32"), world=world)
    history = trainer.fit(network, batches(2), batches(3 - 2 * world.rank))
    parts = sum(getattr(w, "to_local", lambda w=w: w)().numel() for w in network.parameters())
    if world.is_first:
        torch.save((trainer.best_state, [(row["val_loss"], row["val_top1"]) for row in history], parts), sys.argv[1])
"""


def torchrun(processes: int, script: Path, text: str, *arguments: str) -> Any:
    script.write_text(text)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [*launcher, str(script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def start(processes: int, folder: Path, arguments: dict[str, Any]) -> Any:
    """`casebook.train` under torchrun, which leaves the numbers of its processes in the folder."""
    (folder / "pids").mkdir(exist_ok=True)
    job = json.dumps({"pids": str(folder / "pids"), "arguments": arguments})
    return torchrun(processes, folder / "job.py", JOB, job)


def finish(process: Any) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def weights(out: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(out / "last.ckpt")["network"]


def assert_alike(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=TOLERANCE, msg=lambda m, n=name: f"{n}: {m}")


@pytest.fixture(scope="module")
def whole(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes with whole weights."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = {"data": str(digit_folder), "out": str(folder / "run"), **SETTINGS}
    assert "are divided" not in finish(start(2, folder, arguments))
    return folder / "run"


@pytest.mark.slow
def test_divided_weights_learn_what_whole_ones_learn(whole: Path, digit_folder: Path, tmp_path: Path) -> None:
    """With an average of the weights, batches that make one step together, and clipped gradients."""
    out = tmp_path / "run"
    arguments = {"data": str(digit_folder), "out": str(out), **SETTINGS, "shard_weights": "on"}
    said = finish(start(2, tmp_path, arguments))
    assert "divided among 2 processes" in said
    assert_alike(weights(out), weights(whole))
    first, second = casebook.open_run(out), casebook.open_run(whole)
    assert first.test.top1 == second.test.top1
    assert [row["val_top1"] for row in first.history] == [row["val_top1"] for row in second.history]
    pictures = sorted(digit_folder.rglob("*.png"))[::16]
    found, expected = (casebook.load(run).probabilities(pictures) for run in (out, whole))
    assert abs(found - expected).max() < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after", "processes"), [("on", "off", 1), ("off", "on", 2), ("on", "on", 2)])
def test_a_killed_training_goes_on_divided_or_whole(
    before: str, after: str, processes: int, whole: Path, digit_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(2, tmp_path, {"data": str(digit_folder), "out": str(out), **SETTINGS, "shard_weights": before})
    rows, deadline = out / "metrics.jsonl", time.monotonic() + 200
    while not (rows.is_file() and rows.read_bytes().count(b"\n")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    for file in (tmp_path / "pids").iterdir():
        os.kill(int(file.read_text()), signal.SIGKILL)
    process.communicate(timeout=60)
    assert read_checkpoint(out / "last.ckpt")["position"]["epoch"] < SETTINGS["epochs"], "it was over before"
    finish(start(processes, tmp_path, {"resume": str(out), "shard_weights": after}))
    assert_alike(weights(out), weights(whole))


@pytest.mark.slow
def test_batch_norm_and_processes_with_unequal_numbers_of_validation_batches(tmp_path: Path) -> None:
    """Process 0 validates three batches and process 1 one; both must gather each block as often."""
    found = []
    for arm in ("divided", "whole"):
        finish(torchrun(2, tmp_path / "unequal.py", UNEQUAL, str(tmp_path / arm), arm))
        found.append(torch.load(tmp_path / arm))
    (divided, history, part), (undivided, expected, all_weights) = found
    assert_alike(divided, undivided)
    assert history == [pytest.approx(row, abs=TOLERANCE) for row in expected]
    assert part < 0.6 * all_weights


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "mobilenet_v2", "googlenet"])
def test_blocks_are_small_and_hold_nearly_all_weights(name: str) -> None:
    with torch.device("meta"):
        network = create_model(name, num_classes=10)
        found = blocks_of(network, torch.zeros(1, 3, 224, 224))
    numbers = [sum(weight.numel() for weight in block.parameters()) for block in found]
    total = sum(weight.numel() for weight in network.parameters())
    within = [weight for block in found for weight in block.parameters()]
    assert len(within) == len(set(within)), "no weight is in two blocks"
    large = [block for block, number in zip(found, numbers, strict=True) if number > total / 8]
    assert not any(list(block.children()) for block in large)  # single layers, such as VGG's, cannot be cut further
    assert sum(numbers) > 0.6 * total  # auxiliary heads, which evaluation does not call, are outside
    assert network.training


def test_weights_are_divided_where_one_gpu_cannot_hold_them(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Linear(1000, 999)  # 999,999 weights with the biases
    recipe = make_recipe("scratch", model="lenet5", optimiser="sgd")
    of_all = 4 * 999_999
    assert state_bytes(recipe, network) == 3 * of_all  # weights, gradients, momentum
    assert state_bytes(make_recipe("scratch", optimiser="adamw", ema_decay=0.9), network) == 5 * of_all
    network.bias.requires_grad_(False)
    assert state_bytes(recipe, network) == of_all + 2 * 4 * 999_000
    memory = SimpleNamespace(total_memory=0.0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    cuda, cpu, two = torch.device("cuda", 0), torch.device("cpu"), World(0, 2)
    need = state_bytes(recipe, network)
    for total, expected in ((need / 0.79, False), (need / 0.81, True)):
        memory.total_memory = total
        assert divides_weights(recipe, network, cuda, two) == expected
        assert not divides_weights(recipe, network, cpu, two)
        assert not divides_weights(recipe, network, cuda, World())
        for word in ("on", "off"):
            forced = make_recipe("scratch", model="lenet5", shard_weights=word)
            assert divides_weights(forced, network, cpu, two) == (word == "on")
            assert not divides_weights(forced, network, cpu, World())
