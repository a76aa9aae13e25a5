"""Two processes with half the batch each are one process with the whole batch."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file

import casebook
from casebook.training.checkpoint import read_checkpoint
from casebook.training.distributed import agreed_name

SETTINGS = {
    "recipe": "scratch", "model": "lenet5", "epochs": 2, "batch_size": 10, "learning_rate": 0.02, "mirror": False,
    "label_smoothing": 0.1, "class_weights": "balanced", "workers": 0, "device": "cpu", "warmup_epochs": 0,
    "checkpoint_seconds": 0, "precision": "fp32",
}  # fmt: skip
SCRIPT = """
import sys, torch, casebook
torch.set_num_threads(1)
casebook.train({data!r}, out={out!r}, **{settings!r})
"""


def train_with_two_processes(data: Path, out: Path, settings: dict[str, Any]) -> None:
    script = out.parent / "job.py"
    script.write_text(SCRIPT.format(data=str(data), out=str(out), settings=settings))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, str(script)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_two_processes_equal_one(digit_folder: Path, tmp_path: Path) -> None:
    train_with_two_processes(digit_folder, tmp_path / "two", SETTINGS)
    one = casebook.train(digit_folder, out=tmp_path / "one", **SETTINGS)
    two = casebook.open_run(tmp_path / "two")
    first, second = (read_checkpoint(run.path / "last.ckpt")["network"] for run in (one, two))
    assert len(first) == 10  # LeNet-5: no batch norm, no dropout
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=1e-5)
    assert two.test.n == one.test.n  # the sharded evaluation counts every picture once
    assert two.test.top1 == one.test.top1
    assert [row["val_top1"] for row in two.history] == [row["val_top1"] for row in one.history]
    assert two.environment["processes"] == 2


def test_two_processes_solve_the_same_head(digit_folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"recipe": "transfer", "model": "resnet20", "weights": "cifar10", "transfer": "head",
                                "head_fit": "logistic", "workers": 0, "device": "cpu", "precision": "fp32"}  # fmt: skip
    train_with_two_processes(digit_folder, tmp_path / "two", settings)
    one = casebook.train(digit_folder, out=tmp_path / "one", **settings)
    first, second = (load_file(path / "model.safetensors") for path in (one.path, tmp_path / "two"))
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=1e-5)


def test_processes_agree_on_a_name_whatever_the_dead_have_left(tmp_path: Path) -> None:
    """Three attempts on one store. In the second, process 1 comes late: process 0 first reads what the dead left."""

    def attempt(delays: tuple[float, ...]) -> list[str]:
        def join(rank: int) -> str:
            time.sleep(delays[rank])
            store = dist.FileStore(str(tmp_path / "store"), -1)
            return agreed_name(store, rank, len(delays))

        with ThreadPoolExecutor(len(delays)) as pool:
            return list(pool.map(join, range(len(delays))))

    attempts = [attempt(delays) for delays in ((0, 0, 0), (0, 0.4, 0.1), (0.3, 0, 0))]
    assert all(len(set(names)) == 1 for names in attempts)
    assert len({names[0] for names in attempts}) == 3
