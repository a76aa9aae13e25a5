"""How many cores and how much memory this process may use, also inside a container, and what others use of them.

Containers limit a process through control groups: https://docs.kernel.org/admin-guide/cgroup-v2.html, and for version
1 https://docs.kernel.org/admin-guide/cgroup-v1/memory.html. A limit holds for a group and for all groups below it, so
each function looks at the process's own group and at those above it. `root` is where the kernel's tables lie.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .timing import Stopwatch

ROOT = Path("/")
UNKNOWN_MEMORY_BYTES = 1 << 30  # assumed where the system does not tell


class _MemoryFiles(NamedTuple):
    limits: tuple[str, ...]
    usage: str
    reclaimable: str  # the row of memory.stat that counts file pages which the kernel drops first


MEMORY_FILES = {
    1: _MemoryFiles(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    2: _MemoryFiles(("memory.max", "memory.high"), "memory.current", "inactive_file"),
}


def available_cores(root: Path = ROOT) -> int:
    """The cores that this process may use: those it may run on, or fewer where a container has a quota; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for version, folder in _groups("cpu", root):
        if version == 2:
            quota, _, period = read_text(folder / "cpu.max").partition(" ")
        else:
            quota, period = read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # "max" or "-1" is no limit
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def total_memory_bytes(root: Path = ROOT) -> int:
    """The memory of this machine, or less where a container has a limit."""
    limits = [row_bytes(root / "proc/meminfo", "MemTotal") or UNKNOWN_MEMORY_BYTES]
    for version, folder in _groups("memory", root):
        limits += _limits(folder, MEMORY_FILES[version])
    return min(limits)


def free_memory_bytes(root: Path = ROOT) -> int:
    """The memory that this process can take without swapping and within its container's limit."""
    free = [row_bytes(root / "proc/meminfo", "MemAvailable") or UNKNOWN_MEMORY_BYTES]
    for version, folder in _groups("memory", root):
        files = MEMORY_FILES[version]
        usage = read_text(folder / files.usage)
        if not usage.isdigit():
            continue
        used = int(usage) - _reclaimable_bytes(folder, files)
        free += [limit - used for limit in _limits(folder, files)]
    return max(0, min(free))


def _limits(folder: Path, files: _MemoryFiles) -> list[int]:
    return [int(text) for name in files.limits if (text := read_text(folder / name)).isdigit()]


def _reclaimable_bytes(folder: Path, files: _MemoryFiles) -> int:
    rows = (line.split() for line in read_text(folder / "memory.stat").splitlines())
    return next((int(row[1]) for row in rows if row[0] == files.reclaimable), 0)


def _groups(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """(version, folder) of each control group that limits this process, from its own group up to the mounted root."""
    mounts = dict(_mounts(controller, root))
    for line in read_text(root / "proc/self/cgroup").splitlines():
        hierarchy, controllers, path = line.split(":", 2)
        version = 2 if hierarchy == "0" and not controllers else 1
        if version not in mounts or (version == 1 and controller not in controllers.split(",")):
            continue
        mounted, point = mounts[version]
        # Inside a container the mounted root may be the container's own group, or one that a namespace hides.
        inner = path.removeprefix(mounted) if mounted != "/" else path
        top = root / point.lstrip("/")
        folder = top / inner.strip("/") if (top / inner.strip("/")).is_dir() else top
        while True:
            yield version, folder
            if folder == top:
                break
            folder = folder.parent


def _mounts(controller: str, root: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """(version, (group at the mount's root, mount point)) of the mounted hierarchies that know the controller."""
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        fields, _, kind = line.partition(" - ")
        mounted, point = fields.split()[3:5]
        kind, _, *options = kind.split()[:3]
        if kind == "cgroup2":
            yield 2, (mounted, point)
        elif kind == "cgroup" and options and controller in options[0].split(","):
            yield 1, (mounted, point)


def row_bytes(table: Path, row: str) -> int:
    """The bytes in a row of a kernel's table such as "MemTotal:  16384 kB"; 0 where there is no such row."""
    for line in read_text(table).splitlines():
        name, _, value = line.partition(":")
        if name == row:
            return int(value.split()[0]) * 1024
    return 0


def read_text(path: Path) -> str:
    """The stripped content of a kernel's table; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


class LoadMeter:
    """How many cores other programs keep busy, on average since the last look."""

    def __init__(self, root: Path = ROOT):
        self.root, self.watch = root, Stopwatch()
        self.before = self._read()

    def others(self) -> float | None:
        """The mean number of busy cores since the last call, without those that this process and its child processes
        kept busy; None where the system does not tell."""
        before, self.before = self.before, self._read()
        seconds = self.watch.restart()
        if before is None or self.before is None or not seconds:
            return None
        busy = self.before.busy_seconds - before.busy_seconds
        own = max(0.0, self.before.own_seconds - before.own_seconds)
        return max(0.0, (busy - own) / seconds)

    def _read(self) -> "_Load | None":
        mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        busy_ticks = 0
        for line in read_text(self.root / "proc/stat").splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in mine:
                user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, ticks)
                busy_ticks += user + nice + system + irq + softirq
        if not busy_ticks:
            return None
        return _Load(busy_ticks / os.sysconf("SC_CLK_TCK"), time.process_time() + self._children_seconds())

    def _children_seconds(self) -> float:
        """Of the child processes that run, and of those that have ended."""
        ticks = 0
        for child in multiprocessing.active_children():  # waits for those that have ended, so os.times() counts them
            fields = read_text(self.root / f"proc/{child.pid}/stat").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:13]))  # utime and stime, proc(5)
        ended = os.times()
        return ticks / os.sysconf("SC_CLK_TCK") + ended.children_user + ended.children_system


class _Load(NamedTuple):
    """Processor time since the machine, or this process, started."""

    busy_seconds: float
    own_seconds: float
