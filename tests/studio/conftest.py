"""A studio as its user starts it: the command in a process of its own, and a client that has been let in."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

QUICK = {
    "recipe": "scratch", "model": "lenet5", "batch_size": 16, "mirror": False, "warmup_epochs": 0, "workers": 0,
    "learning_rate": 0.05, "near_duplicates": False,
}  # fmt: skip


class Live:
    """`casebook studio ROOT`, with the cookie and the token of a browser."""

    def __init__(self, root: Path):
        self.root = root
        self.cookie = self.token = ""
        self.start()

    def start(self) -> None:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "casebook", "studio", str(self.root), "--no-browser"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
                self.port, self.launch_token = int(found[1]), found[2]
                break
        else:
            raise AssertionError(said)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """What the command printed; works once."""
        return f"{self.origin}/?token={self.launch_token}"

    def enter(self) -> None:
        """Becomes a browser that has been let in."""
        status, headers, _ = self.request("GET", f"/?token={self.launch_token}", {})
        assert status == 303
        self.cookie = headers["Set-Cookie"].partition(";")[0]
        self.token = self.get("/api/session")["token"]

    def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, Any, bytes]:
        """(status, headers, body) with just the headers that are given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    @property
    def headers(self) -> dict[str, str]:
        """What a page of the studio sends with a change."""
        return {"Cookie": self.cookie, "Origin": self.origin, "X-Casebook-Token": self.token,
                "Content-Type": "application/json"}  # fmt: skip

    def get(self, path: str, status: int = 200) -> Any:
        found, _, body = self.request("GET", path, {"Cookie": self.cookie})
        assert found == status, body
        return json.loads(body)

    def post(self, path: str, document: Any = None, status: int = 200) -> Any:
        body = json.dumps({} if document is None else document).encode()
        found, _, answer = self.request("POST", path, self.headers, body)
        assert found == status, answer
        return json.loads(answer)

    def train(self, folder: str, **settings: Any) -> dict[str, Any]:
        """A job that trains on a folder below the root."""
        project = self.post("/api/projects", {"folder": folder})
        return self.post(
            "/api/jobs", {"task": "train", "project": project["id"], "settings": QUICK | settings}, status=201
        )

    def wait(self, job: str, until: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        """The job with its events, as soon as it is as wanted."""
        deadline = time.monotonic() + seconds
        while not until(found := self.get(f"/api/jobs/{job}")):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        with self.process:  # closes its pipe
            return self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(AssertionError, OSError):
                for job in self.get("/api/jobs")["jobs"]:
                    for _ in range(2):
                        if job["state"] in ("running", "stopping"):
                            self.post(f"/api/jobs/{job['id']}/stop")
            self.kill()


@pytest.fixture(scope="module")
def live_studio() -> Iterator[Callable[[Path], Live]]:
    """`live_studio(root)` starts a studio and lets a client in; it ends with the module."""
    found: list[Live] = []

    def start(root: Path) -> Live:
        found.append(Live(root))
        found[-1].enter()
        return found[-1]

    yield start
    for one in found:
        one.close()


def copy_run(run: Path, copy: Path, data: Path) -> None:
    """A copy of a run whose pictures are in `data`."""
    shutil.copytree(run, copy)
    recipe = copy / "recipe.toml"
    recipe.write_text(re.sub(r"(?m)^data = .*$", f"data = {json.dumps(str(data))}", recipe.read_text()))


@pytest.fixture
def do(root: Path, studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Does a task of the module's `studio` here, as a worker does; its files go to tmp_path/files."""
    from casebook.progress import silent
    from casebook.studio.projects import Projects
    from casebook.studio.settings import StudioSettings
    from casebook.studio.tasks import TASKS, Work

    monkeypatch.chdir(root)
    settings = StudioSettings(root)

    def call(name: str, **given: Any) -> dict[str, Any]:
        task, projects = TASKS[name], Projects(settings)
        work = Work(tmp_path, task.check(given), projects.get(studio.project), settings, silent, 1)
        return json.loads(json.dumps(dict(task.run(work))))

    return call
