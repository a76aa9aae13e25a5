"""How much memory this process and its child processes held at most, and how to hold less.

Linux counts the pages of each process; a page that several processes share counts in each of them as its share
(https://docs.kernel.org/filesystems/proc.html, "smaps_rollup"). A container's own counter would not do: it contains
cached files and whatever else runs there.
"""

import contextlib
import ctypes
import multiprocessing
import sys
from pathlib import Path

from .limits import ROOT, row_bytes

_most_children_bytes = 0


def forget_peak() -> None:
    """The peak from now on is that of a new piece of work, where the system lets a process say so."""
    global _most_children_bytes
    _most_children_bytes = 0
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def look_at_children(root: Path = ROOT) -> None:
    """Takes note of what the child processes hold now; for when it is much, such as before they end."""
    global _most_children_bytes
    # Pss: the memory of a process, with its share of what it shares.
    held = sum(row_bytes(root / f"proc/{child.pid}/smaps_rollup", "Pss") for child in multiprocessing.active_children())
    _most_children_bytes = max(_most_children_bytes, held)


def peak_memory_bytes(root: Path = ROOT) -> int:
    """The most memory that this process has held, and its children as far as `look_at_children` saw; 0 if unknown.

    Memory that others share with this process, such as libraries, counts once, and a part of it again for the children.
    """
    if own := row_bytes(root / "proc/self/status", "VmHWM"):
        return own + _most_children_bytes
    try:
        import resource
    except ImportError:  # Windows
        return 0
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return own * (1 if sys.platform == "darwin" else 1024) + _most_children_bytes


def release_memory() -> None:
    """Gives memory that this process has freed back to the system: `tune_allocator` makes glibc keep it.

    For the end of a piece of work that held much, and before a fork, whose child would count all of it as its own.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
