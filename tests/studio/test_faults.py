"""A real training loses nothing: not to a reload, a stop, a killed server, a killed worker or a full disk."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from casebook.studio.processes import lives

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
EPOCHS = 150  # long enough that each fault meets a training that is under way; an epoch takes 0.05 s


def weights(root: Path, run: str) -> str:
    return hashlib.sha256((root / "runs" / run / "model.safetensors").read_bytes()).hexdigest()


def epochs(job: dict[str, Any]) -> list[int]:
    return [record["event"]["epoch"] for record in job["events"] if record["event"]["event"] == "EpochEnded"]


def is_over(job: dict[str, Any]) -> bool:
    return job["job"]["state"] in ("done", "stopped", "failed")


def worker(root: Path, job: dict[str, Any]) -> dict[str, Any]:
    import json

    return json.loads((root / ".casebook-studio" / "jobs" / job["id"] / "worker.json").read_text())


@pytest.fixture(scope="module")
def root(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    shutil.copytree(digit_folder, folder / "digits")
    return folder


def test_whatever_happens_the_weights_are_those_of_an_undisturbed_training(live_studio: Callable, root: Path) -> None:
    studio = live_studio(root)
    plain = studio.train("digits", epochs=EPOCHS, name="plain")
    disturbed = studio.train("digits", epochs=EPOCHS, name="disturbed", checkpoint_seconds=0)
    assert studio.get(f"/api/jobs/{disturbed['id']}")["job"]["state"] == "waiting"
    assert studio.wait(plain["id"], is_over)["job"]["state"] == "done"

    # The server is killed; the training goes on, and the next server takes it up.
    studio.wait(disturbed["id"], lambda job: len(epochs(job)) >= 1)
    number = studio.get("/api/jobs")["number"]
    studio.kill()
    process = worker(root, disturbed)
    assert lives(process["pid"], process["started"])
    port = studio.port
    studio.start()
    assert studio.port == port  # and the cookie still lets in
    found = studio.wait(disturbed["id"], lambda job: len(epochs(job)) >= 3)
    assert found["job"]["state"] == "running"
    assert found["job"]["attempts"] == 1
    assert found["number"] > number

    # The worker is killed.
    os.killpg(process["pid"], signal.SIGKILL)
    found = studio.wait(disturbed["id"], is_over)
    assert found["job"]["state"] == "stopped"
    assert "resume" in found["job"]["message"]
    studio.post(f"/api/jobs/{disturbed['id']}/resume")

    # Stop keeps a checkpoint.
    studio.wait(disturbed["id"], lambda job: len(epochs(job)) > len(epochs(found)) + 1)
    studio.post(f"/api/jobs/{disturbed['id']}/stop")
    found = studio.wait(disturbed["id"], is_over)
    assert (found["job"]["state"], found["job"]["message"]) == ("stopped", "stopped on request")
    studio.post(f"/api/jobs/{disturbed['id']}/resume")

    # The worker is killed while no server looks.
    studio.wait(disturbed["id"], lambda job: len(epochs(job)) > len(epochs(found)) and not is_over(job))
    studio.kill()
    process = worker(root, disturbed)
    os.killpg(process["pid"], signal.SIGKILL)
    studio.start()
    assert studio.wait(disturbed["id"], is_over)["job"]["state"] == "stopped"
    studio.post(f"/api/jobs/{disturbed['id']}/resume")

    found = studio.wait(disturbed["id"], is_over)
    assert (found["job"]["state"], found["job"]["attempts"]) == ("done", 4)
    assert found["result"] == {"run": "disturbed"}
    assert [record["line"] for record in found["events"]] == sorted({record["line"] for record in found["events"]})
    assert weights(root, "disturbed") == weights(root, "plain")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    given = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False)
    if given.returncode:
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_leaves_a_clear_state_and_the_training_goes_on_once_there_is_room(
    live_studio: Callable, root: Path, small_disk: Path
) -> None:
    shutil.copytree(root / "digits", small_disk / "digits")
    studio = live_studio(small_disk)
    job = studio.train("digits", epochs=EPOCHS, name="cramped", checkpoint_seconds=0)
    studio.wait(job["id"], lambda job: len(epochs(job)) >= 2)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    found = studio.wait(job["id"], is_over)
    assert found["job"]["state"] == "failed", (found["job"], studio.get(f"/api/jobs/{job['id']}/log"))
    assert "No space left" in found["job"]["message"]
    assert any("disk" in text for text in studio.get("/api/home")["warnings"])
    filler.unlink()
    studio.post(f"/api/jobs/{job['id']}/resume")
    found = studio.wait(job["id"], is_over)
    assert found["job"]["state"] == "done"
    assert weights(small_disk, "cramped") == weights(root, "plain")
    studio.close()
