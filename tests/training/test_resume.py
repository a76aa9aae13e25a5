"""Real processes, really killed: what they leave behind goes on to the same bits.

All but one start Python several times and are slow; test_trainer.py stops and goes on within the process.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import casebook
from casebook.training.checkpoint import read_checkpoint
from casebook.training.run import Run

SETTINGS = [
    "--recipe", "scratch", "--model", "lenet5", "--epochs", "3", "--batch-size", "8", "--lr", "0.02",
    "--set", "mirror=false", "--set", "warmup_epochs=1", "--set", "ema_decay=0.9", "--set", "dropout=0.3",
    "--set", "checkpoint_seconds=0", "--workers", "0", "--device", "cpu",
]  # fmt: skip
TRAINED_BY_TORCHRUN = """
import os, pathlib, sys
from casebook.cli import main
folder = pathlib.Path(sys.argv.pop(1))
(folder / f"{os.environ['RANK']}-{os.environ['TORCHELASTIC_RESTART_COUNT']}").write_text(str(os.getpid()))
main()
"""


def start(*arguments: str) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def checkpointed_step(run: Path) -> int:
    """Optimiser steps in the newest checkpoint."""
    if not (run / "last.ckpt").exists():
        return -1
    return read_checkpoint(run / "last.ckpt")["position"]["step"]


def outcome(run: Path) -> tuple:
    """Everything that a training decides, without times."""
    rows = [
        {key: row[key] for key in ("train_loss", "val_loss", "val_top1", "learning_rate")} for row in Run(run).history
    ]
    last = read_checkpoint(run / "last.ckpt")
    network = {name: value.numpy().tobytes() for name, value in last["network"].items()}
    return rows, network, (run / "model.safetensors").read_bytes(), json.dumps(Run(run).evaluation["test"])


@pytest.fixture(scope="module")
def whole(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing disturbs. Not to be changed: copy it."""
    run = tmp_path_factory.mktemp("whole") / "run"
    finish(start("-m", "casebook", "train", str(digit_folder), *SETTINGS, "--out", str(run)))
    return run


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bits(digit_folder: Path, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    process = start("-m", "casebook", "train", str(digit_folder), *SETTINGS, "--out", str(run))
    wait_until(lambda: checkpointed_step(run) >= 19, process)  # in the second of three epochs of 14 steps
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "evaluation.json").exists()
    assert "going on with" in finish(start("-m", "casebook", "train", "--resume", str(run)))
    assert outcome(run) == outcome(whole)


def test_an_interrupted_training_says_how_to_go_on(digit_folder: Path, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "my run"
    process = start("-m", "casebook", "train", str(digit_folder), *SETTINGS, "--out", str(run))
    wait_until(lambda: checkpointed_step(run) >= 3, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"'casebook train --resume '{run}'' goes on from the last checkpoint" in output
    assert "Traceback" not in output
    casebook.train(resume=run)  # in this process: the bits are the same
    assert outcome(run) == outcome(whole)


def torchrun(
    folder: Path, run: Path, data: Path, *options: str, launcher: Sequence[str] = ("--standalone",), restarts: int = 2
) -> subprocess.Popen:
    """Two processes that train; each attempt of each leaves its number in `folder`."""
    folder.mkdir()
    script = folder / "job.py"
    script.write_text(TRAINED_BY_TORCHRUN)
    command = ["-m", "torch.distributed.run", *launcher, "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    return start(*command, str(script), str(folder), "train", str(data), *SETTINGS, *options, "--out", str(run))


@pytest.fixture(scope="module")
def whole_by_two(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same by two processes. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("whole_by_two")
    finish(torchrun(folder / "pids", folder / "run", digit_folder))
    return folder / "run"


@pytest.mark.slow
def test_a_killed_rank_is_restarted_and_ends_in_the_same_bits(
    digit_folder: Path, tmp_path: Path, whole_by_two: Path
) -> None:
    run, pids = tmp_path / "killed", tmp_path / "pids"
    process = torchrun(pids, run, digit_folder)
    wait_until(lambda: checkpointed_step(run) >= 14, process)
    os.kill(int((pids / "1-0").read_text()), signal.SIGKILL)
    output = finish(process)
    assert (pids / "0-1").exists(), output  # torchrun did start both again
    assert outcome(run) == outcome(whole_by_two)


@pytest.mark.slow
def test_two_phases_under_torchrun(digit_folder: Path, tmp_path: Path, whole: Path) -> None:
    """The second phase starts from what process 0 wrote last, in every process."""
    options = ["--weights", str(whole), "--transfer", "full", "--two-phase", "--set", "head_epochs=1", "--epochs", "2"]
    finish(torchrun(tmp_path / "pids", tmp_path / "run", digit_folder, *options))
    assert [row["phase"] for row in Run(tmp_path / "run").history] == ["head", "tune", "tune"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["--standalone"], ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]])
def test_a_job_leaves_the_run_of_another_job_alone(
    digit_folder: Path, tmp_path: Path, launcher: list[str], whole_by_two: Path
) -> None:
    """Also where both jobs have the id "none", as all have that torchrun is not told to name."""
    run = tmp_path / "run"
    if launcher == ["--standalone"]:
        shutil.copytree(whole_by_two, run)
    else:
        finish(torchrun(tmp_path / "first", run, digit_folder, "--epochs", "2", launcher=launcher))
    before = {entry.name: entry.read_bytes() for entry in run.iterdir()}
    restarts = 0 if launcher == ["--standalone"] else 1
    process = torchrun(tmp_path / "second", run, digit_folder, "--seed", "7", launcher=launcher, restarts=restarts)
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "exists already" in output
    assert {entry.name: entry.read_bytes() for entry in run.iterdir()} == before
