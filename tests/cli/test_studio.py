"""`casebook studio` says what it cannot do; the server itself is tested in tests/studio."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "example.org"])
def test_another_host_is_refused_with_the_way_that_works(command: Any, tmp_path: Path, host: str) -> None:
    result = command("studio", tmp_path, "--host", host, "--no-browser")
    assert result.code == 1
    assert "this machine alone" in result.err
    assert "ssh -L" in result.err


def test_what_is_no_folder_is_refused(command: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "there is no folder" in command("studio", tmp_path / "none", "--no-browser").err
    assert "is a file" in command("studio", tmp_path / "file", "--no-browser").err


def test_two_studios_of_one_folder_would_start_each_others_jobs(command: Any, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    state = tmp_path / ".casebook-studio"
    state.mkdir()
    with (state / "server.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = command("studio", tmp_path, "--no-browser")
    assert result.code == 1
    assert "runs already" in result.err


def test_a_port_that_is_taken_is_said(command: Any, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = command("studio", tmp_path, "--port", taken.getsockname()[1], "--no-browser")
    assert result.code == 1
    assert "try another --port" in result.err
