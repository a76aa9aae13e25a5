import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from casebook.device import forget_peak, peak_memory_bytes, release_memory, tune_allocator

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the tables of Linux")
MIB = 1 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def in_a_fresh_process(code: str) -> None:
    """Runs lines that look at their own memory: that of a long test session is full of holes, which new blocks fill."""
    run = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stderr


START = """
import multiprocessing, time, torch
from casebook.device import forget_peak, look_at_children, peak_memory_bytes, release_memory
MIB = 1 << 20

def hold(size_bytes, ready):
    held = b"x" * size_bytes
    ready.set()
    time.sleep(60 + len(held) * 0)

forget_peak()
before = peak_memory_bytes()
"""


@linux
def test_the_peak_outlasts_the_memory_and_is_forgotten_for_new_work() -> None:
    in_a_fresh_process("""
block = torch.ones(64 * MIB)  # 256 MiB
del block
assert before + 200 * MIB < peak_memory_bytes() < before + 320 * MIB
release_memory()
forget_peak()
assert peak_memory_bytes() < before + 100 * MIB
""")


@linux
def test_the_peak_holds_what_children_held() -> None:
    in_a_fresh_process("""
ready = multiprocessing.get_context("fork").Event()
child = multiprocessing.get_context("fork").Process(target=hold, args=(100 * MIB, ready), daemon=True)
child.start()
try:
    assert ready.wait(30)
    look_at_children()
finally:
    child.kill()
    child.join()
look_at_children()  # a later, smaller sum is no peak
assert before + 100 * MIB <= peak_memory_bytes() < before + 400 * MIB, peak_memory_bytes() - before
""")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
@linux
def test_what_the_tuned_allocator_keeps_can_be_released() -> None:
    tune_allocator()
    blocks = [torch.ones(4 * MIB) for _ in range(16)]  # 256 MiB
    del blocks
    kept = resident_bytes()
    release_memory()
    assert resident_bytes() < kept - 200 * MIB


def test_an_unknown_system_has_no_peak_in_its_tables(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\tpython\nVmHWM:\t    1000 kB\n")
    forget_peak()
    assert peak_memory_bytes(tmp_path) == 1000 * 1024
    assert peak_memory_bytes(tmp_path / "nothing") > 10 * MIB  # what getrusage says
