"""A Ray cluster on this machine: two workers, one of which is killed, and a call that is killed itself.

The calls run in processes of their own: Ray leaves some for later, which pytest would take for a fault.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from casebook.workflows.predict_into import AnswerFiles, predict_into

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the workers in /proc"),
]

START = """
import os, signal, sys, time
from pathlib import Path
from casebook.errors import CasebookError
from casebook.progress import Advanced, Remark
from casebook.workflows.predict_into import AnswerFiles, predict_into
from casebook.workflows.ray_workers import RayWorkers

model, out, *pictures = sys.argv[1:]
os.environ["CASEBOOK_TEST_OF_RAY"] = out
os.environ["RAY_raylet_start_wait_time_s"] = "300"  # the machine may be busy
mine = f"CASEBOOK_TEST_OF_RAY={out}".encode()

def worker_processes():  # only those that inherit the variable from this process
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:  # it has ended
            continue
        if command.startswith(b"ray::Worker") and mine in environment.split(b"\\0"):
            found.append(int(folder.name))
    return found

def ask(progress=False, **more):
    given = {"model": model, "pictures": pictures, "workers": RayWorkers(2)} | more
    return predict_into(AnswerFiles(out), batch_size=2, progress=progress, **given)
"""
KILLED = """
def listen(event):
    if isinstance(event, Remark):
        print(event.text, flush=True)
    if isinstance(event, Advanced) and event.done == 10:
        os.kill(worker_processes()[0], signal.SIGKILL)
    if isinstance(event, Advanced) and event.done == 120:
        os.kill(os.getpid(), signal.SIGKILL)

ask(listen)
"""
RESUMED = """
import ray

ray.init(num_cpus=2, include_dashboard=False)
for wrong in ({"model": "nothing.casebook"}, {"unsure": 0.01}, {"workers": RayWorkers(3)}):
    try:
        ask(**wrong)
    except CasebookError as error:
        print(error)
end = time.monotonic() + 60
while worker_processes():  # Ray ends them when it comes to it
    assert time.monotonic() < end, "workers are left"
    time.sleep(0.1)
found = ask()
print(found.num_earlier, found.num_pictures, found.num_errors)
assert ray.is_initialized()  # it is the caller's
"""


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def test_a_worker_is_killed_then_the_call_and_the_bytes_are_those_of_one_process(
    small_bundle: Path, digit_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pictures = [digit_folder, tmp_path / "broken.png"]
    predict_into(AnswerFiles(tmp_path / "one.csv"), small_bundle, pictures, batch_size=2)
    out = tmp_path / "ray.csv"
    first = run(KILLED, small_bundle, out, *pictures)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert "died and is replaced" in first.stdout
    second = run(RESUMED, small_bundle, out, *pictures)
    assert second.returncode == 0, second.stderr
    missing, promise, room, found = second.stdout.splitlines()[-4:]
    assert "there is no" in missing
    assert "cannot promise" in promise
    assert "do not fit in the cluster" in room
    assert found == "120 161 1"
    assert out.read_bytes() == (tmp_path / "one.csv").read_bytes()
