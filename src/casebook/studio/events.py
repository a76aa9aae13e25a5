"""Events of all jobs in one order: each gets a number that outlives the server and never means another event."""

import asyncio
import json
import math
import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RunError
from ..files import write_atomically

MOST_BYTES = 4 * 2**20  # of the log when the server starts; older events are dropped
AT_ONCE = 500  # events in one answer


class Numbered(NamedTuple):
    number: int
    text: str
    """The event as JSON: {"number", "job", "line", "event"}."""


class LineLog:
    """A file of lines, each whole or not there. A line that cannot be written waits for the next try.

    A full disk must not end what only wants to tell how far it is.
    """

    def __init__(self, path: Path):
        self.path = path
        self._waiting: list[bytes] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.size = self._whole_bytes()
        os.truncate(path, self.size)  # a writer that was killed may have left half a line

    @property
    def is_behind(self) -> bool:
        """Whether lines wait, because the disk is full."""
        return bool(self._waiting)

    def append(self, line: bytes) -> None:
        self._waiting.append(line + b"\n")
        self.flush()

    def flush(self) -> None:
        while self._waiting:
            line = self._waiting[0]
            try:
                if self._write(line) != len(line):
                    os.truncate(self.path, self.size)
                    return
            except OSError:
                return
            self.size += len(line)
            self._waiting.pop(0)

    def _write(self, line: bytes) -> int:
        with self.path.open("ab", buffering=0) as file:
            return file.write(line)

    def _whole_bytes(self) -> int:
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - 65536)
                file.seek(start)
                found = file.read(end - start).rfind(b"\n")
                if found >= 0:
                    return start + found + 1
                end = start
            return 0


class EventLog:
    """The events that the pages see. Used on the event loop only."""

    def __init__(self, path: Path):
        self._path = path
        self.taken: dict[str, int] = {}
        """Job -> how many lines of its own events were taken over."""
        self._first = 1
        self._offsets = array("Q")
        self._load()
        self._log = LineLog(path)
        self._unwritten: dict[int, str] = {}
        self._changed = asyncio.Event()
        self.closed = False

    @property
    def number(self) -> int:
        """Of the last event; 0 before the first."""
        return self._first + len(self._offsets) - 1

    @property
    def disk_is_full(self) -> bool:
        return self._log.is_behind

    def add(self, job: str, event: Mapping[str, Any], line: int | None = None) -> None:
        """`line` counts the job's own events from 0; None is an event that the server makes."""
        number = self.number + 1
        text = to_json({"number": number, "job": job, "line": line, "event": dict(event)})
        if line is not None:
            self.taken[job] = line + 1
        pending = sum(len(other.encode()) + 1 for other in self._unwritten.values())
        self._offsets.append(self._log.size + pending)
        self._unwritten[number] = text
        self._log.append(text.encode())
        if not self._log.is_behind:
            self._unwritten.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    def flush(self) -> None:
        """Tries again to write what a full disk refused."""
        if self._unwritten:
            self._log.flush()
            if not self._log.is_behind:
                self._unwritten.clear()

    def after(self, number: int) -> list[Numbered]:
        """The next events, at most AT_ONCE; fewer than were asked for where the oldest are dropped."""
        start = max(number + 1, self._first)
        end = min(self.number, start + AT_ONCE - 1)
        if start > end:
            return []
        found: list[Numbered] = []
        written = [n for n in range(start, end + 1) if n not in self._unwritten]
        if written:
            first, last = written[0] - self._first, written[-1] - self._first
            stop = self._offsets[last + 1] if last + 1 < len(self._offsets) else self._log.size
            with self._path.open("rb") as file:
                file.seek(self._offsets[first])
                lines = file.read(stop - self._offsets[first]).decode().splitlines()
            found = [Numbered(n, line) for n, line in zip(written, lines, strict=False)]
        found += [Numbered(n, self._unwritten[n]) for n in range(start, end + 1) if n in self._unwritten]
        return found

    def misses(self, number: int) -> bool:
        """Whether events after this number were dropped, or the number is not of this log."""
        return number + 1 < self._first or number > self.number

    async def news(self, number: int, seconds: float) -> bool:
        """Waits until there is an event after this number; False after `seconds` without one, or at the end."""
        if self.number > number or self.closed:
            return not self.closed
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return not self.closed

    def close(self) -> None:
        """Ends all streams."""
        self.closed = True
        self._changed.set()

    def _load(self) -> None:
        """Drops the oldest events of a long log; its first line then says what they were."""
        if not self._path.is_file():
            return
        lines = self._path.read_bytes().split(b"\n")[:-1]
        size, kept = 0, []
        head: dict[str, Any] = {"first": 1, "taken": {}}
        if lines and b'"first"' in lines[0][:12]:
            head = json.loads(lines.pop(0))
        too_long = sum(len(line) + 1 for line in lines) > MOST_BYTES
        for line in reversed(lines):
            size += len(line) + 1
            if too_long and size > MOST_BYTES // 2:
                break
            kept.append(line)
        kept.reverse()
        self._first = int(head["first"]) + len(lines) - len(kept)
        self.taken = {str(job): int(count) for job, count in head["taken"].items()}
        for line in lines:
            record = json.loads(line)
            if record["line"] is not None:
                self.taken[record["job"]] = record["line"] + 1
        first_line = b""
        if too_long or head["first"] > 1:
            first_line = to_json({"first": self._first, "taken": self.taken}).encode() + b"\n"
        if too_long:
            try:
                write_atomically(self._path, first_line + b"".join(line + b"\n" for line in kept))
            except RunError:  # no room to make room: go on with the long log
                kept, first_line = lines, b""
                self._first = int(head["first"])
        elif first_line:
            first_line = self._path.read_bytes().split(b"\n", 1)[0] + b"\n"
        offset = len(first_line)
        for line in kept:
            self._offsets.append(offset)
            offset += len(line) + 1


def to_json(document: Any) -> str:
    """One line; numbers that JSON does not have become null."""
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(document), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
