"""Two nodes, as network namespaces of this machine joined by a cable: one is killed as a whole and comes back.

docs/how-to.md has the same commands for real machines.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from casebook.training.checkpoint import read_checkpoint

ADDRESSES = ("10.77.0.1", "10.77.0.2")  # the first node keeps the store, and has the smaller address
EPOCHS = 6
TRAINING = [
    "-m", "casebook", "train", "digits", "--recipe", "scratch", "--model", "lenet5", "--epochs", str(EPOCHS),
    "--batch-size", "32", "--lr", "0.02", "--workers", "0", "--device", "cpu", "--set", "precision=fp32",
    "--set", "checkpoint_seconds=0",
]  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30).stdout


def can_make_nodes() -> bool:
    name = f"cb{os.getpid()}t"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def kill_all_of(node: str) -> None:
    for number in ip("netns", "pids", node).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGKILL)


@pytest.fixture
def nodes() -> Iterator[list[str]]:
    if shutil.which("ip") is None or not can_make_nodes():
        pytest.skip("network namespaces need Linux, iproute2 and root")
    names = [f"cb{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("cable", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in ip("netns", "list").split():
            if name in names:
                kill_all_of(name)
                ip("netns", "del", name)


def start(nodes: list[str], number: int, out: Path) -> subprocess.Popen:
    """torchrun on a node. It must not share its store: nodes that stay do not tell its address to one that returns."""
    environment = os.environ | {
        "GLOO_SOCKET_IFNAME": "cable", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    where = ["ip", "netns", "exec", nodes[number]]
    job = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "job"]
    store = [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"{ADDRESSES[0]}:29500",
        "--rdzv-conf",
        f"is_host={int(number == 0)}",
    ]
    command = [*where, *TORCHRUN, *job, *store, "--local-addr", ADDRESSES[number], *TRAINING, "--out", str(out)]
    with (out.parent / f"node-{number}.log").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_node_that_was_killed_comes_back(nodes: list[str], tmp_path: Path) -> None:
    alone, out = tmp_path / "alone", tmp_path / "run"
    launcher = [*TORCHRUN, "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launcher, *TRAINING, "--out", str(alone)], check=True, capture_output=True, timeout=300)

    def said() -> str:
        return "\n".join(file.read_text()[-3000:] for file in tmp_path.glob("node-*.log"))

    first, second = (start(nodes, number, out) for number in (0, 1))
    rows, deadline = out / "metrics.jsonl", time.monotonic() + 200
    while not (rows.is_file() and rows.read_bytes().count(b"\n")):
        assert first.poll() is None, said()
        assert time.monotonic() < deadline, said()
        time.sleep(0.01)
    kill_all_of(nodes[1])
    second.wait(timeout=60)
    assert read_checkpoint(out / "last.ckpt")["position"]["epoch"] < EPOCHS, "it was over before"
    second = start(nodes, 1, out)
    assert [process.wait(timeout=300) for process in (first, second)] == [0, 0], said()
    found, expected = (read_checkpoint(run / "last.ckpt")["network"] for run in (out, alone))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
