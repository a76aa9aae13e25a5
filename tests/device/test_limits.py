import multiprocessing
import os
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from casebook.device import LoadMeter, available_cores, free_memory_bytes, total_memory_bytes
from casebook.device.limits import UNKNOWN_MEMORY_BYTES

MEMINFO = "MemTotal: 16000000 kB\nMemFree: 1000 kB\nMemAvailable: 8000000 kB\n"
SYSTEM_FREE_BYTES = 8_000_000 * 1024
V2_MOUNT = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1_MOUNT = "33 31 0:30 {root} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    """A folder that looks like the root of a machine with these kernel tables."""
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


def container(version: int, memory: str, used: str, cpu: tuple[str, str], inside: str = "/") -> dict[str, str]:
    """The tables of a container, 300 of whose used bytes are file pages that can be dropped."""
    if version == 2:
        folder = "sys/fs/cgroup" + inside.rstrip("/")
        return {
            "proc/self/cgroup": f"0::{inside}\n",
            "proc/self/mountinfo": V2_MOUNT.format(root="/"),
            f"{folder}/memory.max": memory, f"{folder}/memory.high": "max", f"{folder}/memory.current": used,
            f"{folder}/memory.stat": "anon 5\ninactive_file 300\n", f"{folder}/cpu.max": " ".join(cpu),
        }  # fmt: skip
    of_memory, of_cpu = f"sys/fs/cgroup/memory{inside}".rstrip("/"), f"sys/fs/cgroup/cpu{inside}".rstrip("/")
    return {
        "proc/self/cgroup": f"4:memory:{inside}\n1:cpu,cpuacct:{inside}\n0::/\n",
        "proc/self/mountinfo": V1_MOUNT.format(root="/", name="memory") + V1_MOUNT.format(root="/", name="cpu"),
        f"{of_memory}/memory.limit_in_bytes": memory, f"{of_memory}/memory.usage_in_bytes": used,
        f"{of_memory}/memory.stat": "inactive_file 7\ntotal_inactive_file 300\n",
        f"{of_cpu}/cpu.cfs_quota_us": "-1" if cpu[0] == "max" else cpu[0], f"{of_cpu}/cpu.cfs_period_us": cpu[1],
    }  # fmt: skip


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("inside", ["/", "/user.slice/app"])
def test_the_limits_of_a_container_hold(version: int, inside: str, tmp_path: Path) -> None:
    root = machine(tmp_path, container(version, "1000000", "600300", ("350000", "100000"), inside))
    assert free_memory_bytes(root) == 400_000
    assert total_memory_bytes(root) == 1_000_000
    assert available_cores(root) == 3


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize("version", [1, 2])
def test_without_limits_the_machine_decides(version: int, tmp_path: Path) -> None:
    limit = "max" if version == 2 else str(2**63 - 4096)
    root = machine(tmp_path, container(version, limit, "600300", ("max", "100000")))
    assert free_memory_bytes(root) == SYSTEM_FREE_BYTES
    assert available_cores(root) == 16


@pytest.mark.usefixtures("sixteen_cores")
def test_the_limit_of_a_group_above_holds_too(tmp_path: Path) -> None:
    tables = container(2, "max", "10", ("max", "100000"), "/user.slice/app")
    above = {"memory.max": "max", "memory.high": "5000", "memory.current": "4000", "cpu.max": "50000 100000"}
    root = machine(tmp_path, tables | {f"sys/fs/cgroup/user.slice/{name}": text for name, text in above.items()})
    assert free_memory_bytes(root) == 1000
    assert available_cores(root) == 1  # half a core; one thread is the least


def test_a_container_over_its_limit_has_nothing_free(tmp_path: Path) -> None:
    assert free_memory_bytes(machine(tmp_path, container(2, "1000", "5000", ("max", "100000")))) == 0


def test_a_version_1_container_without_a_namespace_finds_its_own_group(tmp_path: Path) -> None:
    """Docker mounts the container's group where the root would be, while /proc names it from the host's root."""
    tables = {
        "proc/self/cgroup": "4:memory:/docker/abc\n",
        "proc/self/mountinfo": V1_MOUNT.format(root="/docker/abc", name="memory"),
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000", "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000",
    }  # fmt: skip
    assert free_memory_bytes(machine(tmp_path, tables)) == 7000


def test_a_system_without_these_tables_is_assumed_small(tmp_path: Path) -> None:
    assert free_memory_bytes(tmp_path) == UNKNOWN_MEMORY_BYTES
    assert available_cores(tmp_path) >= 1
    assert LoadMeter(tmp_path).others() is None


class Kernel:
    """/proc/stat and this process's processor time, in seconds, with 100 ticks a second."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.now, self.own = root, 100.0, 0.0
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
        monkeypatch.setattr(os, "sysconf", lambda name: 100)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: self.own)
        self.show(0, 0, 0)

    def show(self, *busy: float) -> None:
        rows = [f"cpu{n} {int(70 * s)} 0 {int(30 * s)} 5000 9 0 0 0 0 0\n" for n, s in enumerate(busy)]
        machine(self.root, {"proc/stat": "cpu  1 2 3 4 5 6 7 8 9 0\n" + "".join(rows) + "intr 5\n"})


def test_the_load_is_that_of_other_programs_on_our_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch)
    kernel.show(1, 1, 1)
    meter = LoadMeter(tmp_path)
    kernel.now, kernel.own = 110.0, 5.0
    kernel.show(11, 4, 11)  # 10 s and 3 s of the cores that are ours; the third is not ours
    assert meter.others() == pytest.approx((10 + 3 - 5) / 10)
    kernel.now = 120.0
    assert meter.others() == 0.0


def work(done: Event) -> None:
    """Uses 0.3 s of processor time, says so and waits."""
    while time.process_time() < 0.3:
        pass
    done.set()
    time.sleep(60)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat")
def test_the_work_of_child_processes_is_our_own() -> None:
    context = multiprocessing.get_context("fork")
    done = context.Event()
    child = context.Process(target=work, args=(done,))
    before = LoadMeter()._children_seconds()
    child.start()
    assert done.wait(60)
    assert LoadMeter()._children_seconds() - before >= 0.25
    child.terminate()
    child.join()
    assert LoadMeter()._children_seconds() - before >= 0.25, "also when it has ended: its work was no other program's"
