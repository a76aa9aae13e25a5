"""Processes that the studio started, perhaps by an earlier server: a pid counts only with its start time."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


def started_at(pid: int) -> str | None:
    """When the process started, in the system's own form; None where it does not live. A zombie does not."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in ("Z", "X") else fields[19]
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def lives(pid: int | None, started: str | None) -> bool:
    """Whether the process of this pid is the one that started then."""
    return pid is not None and pid > 1 and started is not None and started_at(pid) == started


def ask_to_stop(pid: int, started: str) -> None:
    if lives(pid, started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def kill(pid: int, started: str) -> None:
    """Kills the process and those that it started; it leads a session of its own."""
    if lives(pid, started):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
