"""Servers as processes of their own: real bundles, signals, workers."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import numpy as np
import pytest
from PIL import Image

from casebook.runner.answers import open_answerer
from casebook.runner.server.models import Source
from casebook.runner.server.settings import ServerSettings

WITHOUT = ("torch", "cv2", "rich", "typer", "pydantic", "scipy")


class Started(NamedTuple):
    process: subprocess.Popen
    url: str
    log: Path  # its stdout: a pipe that nobody reads would fill and stop the server

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Exit code, stdout and stderr after a signal."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, self.log.read_text(), err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """`start(*command)` -> the process, when it says where it listens and is ready."""
    processes: list[subprocess.Popen] = []

    def run(*command: object, token: str | None = None) -> Started:
        given = {"CASEBOOK_TOKEN": token} if token else {}
        log = tmp_path / f"server-{len(processes)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, *map(str, command), "--port", "0", "--threads", "1"],
                stdout=out, stderr=subprocess.PIPE, text=True, env=os.environ | given, cwd=tmp_path,
            )  # fmt: skip
        processes.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.fullmatch(r"serving on (http://\S+)\n", line)
        assert found, line + process.stderr.read()
        for _ in range(600):
            if httpx2.get(f"{found[1]}/v2/health/ready").status_code == 200:
                return Started(process, found[1], log)
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        raise AssertionError("the server does not become ready")

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_a_bundle_serves_itself_without_torch(
    start, small_bundle: Path, digit_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r}))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = start(small_bundle, "serve")
    content = (digit_folder / "digit_1" / "001.png").read_bytes()
    answer = httpx2.post(f"{server.url}/v1/classify", content=content).raise_for_status().json()
    answerer = open_answerer(small_bundle, threads=1)
    expected = answerer.infer(answerer.pixels(content)[None]).probabilities[0]
    best = answer["pictures"][0]["classes"][0]
    assert best["class"] == answerer.classes[int(np.argmax(expected))]
    assert best["probability"] == pytest.approx(float(expected.max()), abs=1e-6)
    assert (answer["model"], answer["version"]) == ("small", answerer.bundle.sha256[:12])
    assert "page.js" in httpx2.get(server.url).text
    code, out, err = server.end()
    assert (code, err) == (0, f"INFO: loaded small version {answer['version']} from {small_bundle}\n")
    lines = [json.loads(line) for line in out.splitlines()]
    assert ("POST", "/v1/classify", 200) in [(line["method"], line["path"], line["status"]) for line in lines]


def test_a_damaged_bundle_ends_the_server_with_the_reason(small_bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.casebook"
    content = bytearray(small_bundle.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    command = [sys.executable, "-m", "casebook", "serve", str(damaged), "--port", "0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "Error:" in result.stderr
    assert "damaged" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_for_other_machines_needs_a_token(small_bundle: Path) -> None:
    command = [sys.executable, "-m", "casebook", "serve", str(small_bundle), "--host", "0.0.0.0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "a token is needed" in result.stderr


@pytest.mark.slow
def test_workers_share_a_port_start_again_and_stop_together(start, small_bundle: Path, digit_folder: Path) -> None:
    server = start("-m", "casebook", "serve", small_bundle, "--workers", "2")
    content = (digit_folder / "digit_1" / "001.png").read_bytes()

    def workers() -> set[str]:
        with httpx2.Client(headers={"Connection": "close"}) as client:
            texts = [client.get(f"{server.url}/metrics").text for _ in range(60)]
        return {found[1] for text in texts if (found := re.search(r'worker="(\d)"', text))}

    assert workers() == {"0", "1"}
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    time.sleep(2)
    for _ in range(20):
        try:
            assert httpx2.post(f"{server.url}/v1/classify", content=content).status_code in (200, 503)
        except httpx2.TransportError:  # a connection that the killed worker had accepted
            continue
    code, _, err = server.end()
    assert code == 0
    assert "ended unexpectedly; starting it again" in err


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_by_signal_drops_no_request(
    start, small_bundle: Path, digit_folder: Path, tmp_path: Path, workers
) -> None:
    from casebook.runner.bundle import Bundle

    served = tmp_path / "served.casebook"
    shutil.copy(small_bundle, served)
    server = start("-m", "casebook", "serve", served, "--workers", workers)
    for _ in range(int(workers)):  # one that just starts would have nothing to load again
        assert "loaded" in server.process.stderr.readline()
    content = (digit_folder / "digit_1" / "001.png").read_bytes()
    statuses: list[int] = []
    ended = threading.Event()

    def client() -> None:
        with httpx2.Client() as session:
            while not ended.is_set():
                statuses.append(session.post(f"{server.url}/v1/classify", content=content).status_code)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    said: list[str] = []
    deadline = time.monotonic() + 120
    for _ in range(3):
        server.process.send_signal(signal.SIGHUP)
        said += [server.process.stderr.readline() for _ in range(int(workers))]
        enough = len(statuses) + 20
        while len(statuses) < enough:
            assert time.monotonic() < deadline, statuses
            time.sleep(0.01)
    ended.set()
    for thread in threads:
        thread.join()
    code, _, err = server.end()
    assert set(statuses) == {200}
    assert (code, err) == (0, "")
    assert all("loaded served" in line or "loaded small" in line for line in said), said
    assert Bundle.open(served).name in "".join(said)


def test_what_bench_chose_is_served_unless_something_else_is_asked_for(small_bundle: Path) -> None:
    from casebook.device.limits import available_cores
    from casebook.runner.bundle import Bundle
    from casebook.runner.choice import Choice, remember
    from casebook.runner.server.opening import _chosen

    bundle, cores = Bundle.open(small_bundle), available_cores()
    remember(bundle, Choice()).unlink()  # what another test measured with this bundle
    assert _chosen(bundle, ServerSettings()) == Choice(threads=cores)
    path = remember(bundle, Choice("openvino", "float32", 1, exact=False))
    try:
        assert _chosen(bundle, ServerSettings()) == Choice("openvino", "float32", 1, exact=False)
        assert _chosen(bundle, ServerSettings(engine="onnxruntime")) == Choice(threads=cores)
        assert _chosen(bundle, ServerSettings(threads=3)) == Choice(threads=3)
        assert _chosen(bundle, ServerSettings(workers=64)).threads == 1
    finally:
        path.unlink()


def test_a_choice_of_bench_that_fails_here_gives_way_to_float32(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from casebook.errors import BundleError
    from casebook.runner.choice import Choice
    from casebook.runner.server import opening

    monkeypatch.setattr(opening, "remembered", lambda bundle: Choice("onnxruntime", "float32", 1, exact=False))
    monkeypatch.setattr(opening, "difference_from", lambda *given, mean: 1.0 if mean else 0.0)
    assert opening.bundle_opener(ServerSettings())(Source(small_bundle)).name == "small"
    assert "differs by 1.0e+00" in caplog.text
    assert "float32 by onnxruntime" in caplog.text
    assert "is served instead" in caplog.text
    monkeypatch.setattr(opening, "difference_from", lambda *given, mean: 1.0)
    with pytest.raises(BundleError, match="is not served, because"):
        opening.bundle_opener(ServerSettings())(Source(small_bundle))


def rewritten(bundle: Path, path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A whole bundle, with members that a change made others."""
    from casebook.deployment.writer import write_bundle
    from casebook.runner.bundle import Bundle

    opened = Bundle.open(bundle)
    members = {name: change(name, opened.read(name)) for name in opened.manifest["members"]}
    write_bundle(path, {key: value for key, value in opened.manifest.items() if key != "members"}, members)
    return path


@pytest.mark.parametrize("part", ["pixels", "probabilities"])
def test_a_bundle_that_answers_otherwise_is_not_served(small_bundle: Path, tmp_path: Path, part: str) -> None:
    from casebook.errors import BundleError
    from casebook.runner.server.opening import bundle_opener

    def change(name: str, content: bytes) -> bytes:
        if part == "pixels" and name.endswith(".png"):
            file = io.BytesIO()
            Image.new("RGB", (40, 40), "red").save(file, "PNG")
            return file.getvalue()
        if part == "probabilities" and name.endswith(".npy"):
            expected = np.load(io.BytesIO(content))
            file = io.BytesIO()
            np.save(file, np.roll(expected, 1, axis=1))
            return file.getvalue()
        return content

    open_source = bundle_opener(ServerSettings(threads=1))
    assert open_source(Source(small_bundle)).name == "small"
    with pytest.raises(BundleError, match="is not served, because"):
        open_source(Source(rewritten(small_bundle, tmp_path / "other.casebook", change)))
