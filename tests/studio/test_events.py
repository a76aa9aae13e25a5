"""Events have numbers without gaps, over restarts, torn files and full disks."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from casebook.studio import events
from casebook.studio.api.jobs import _stream
from casebook.studio.events import EventLog, LineLog, to_json


def numbers(log: EventLog, after: int = 0) -> list[int]:
    return [one.number for one in log.after(after)]


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for line in range(3):
        log.add("a", {"event": "Remark", "text": "ü"}, line)
    log.add("b", {"event": "JobState", "state": "running"})
    again = EventLog(tmp_path / "events.jsonl")
    assert (again.number, again.taken) == (4, {"a": 3})
    again.add("b", {"event": "Remark"}, 0)
    assert numbers(again) == [1, 2, 3, 4, 5]
    found = json.loads(again.after(2)[0].text)
    assert found == {"number": 3, "job": "a", "line": 2, "event": {"event": "Remark", "text": "ü"}}
    assert numbers(again, 5) == []


def test_half_a_line_of_a_killed_writer_is_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.add("a", {"event": "Remark"}, 0)
    with path.open("ab") as file:
        file.write(b'{"number": 2, "job": "a", "li')
    again = EventLog(path)
    again.add("a", {"event": "Other"}, 1)
    assert numbers(again) == [1, 2]
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_file_of_half_a_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 200_000)
    log = LineLog(path)
    log.append(b"whole")
    assert path.read_bytes() == b"whole\n"


def test_a_long_log_drops_its_oldest_and_keeps_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_BYTES", 4000)
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for line in range(100):
        log.add("old" if line < 50 else "new", {"event": "Remark", "text": "x" * 20}, line % 50)
    again = log
    for _ in range(3):
        again = EventLog(path)
        assert again.number == 100
        assert again.taken == {"old": 50, "new": 50}
        assert path.stat().st_size < 4000
        assert again.misses(10)
        kept = numbers(again, 90)
        assert kept == list(range(91, 101))
        assert json.loads(again.after(99)[0].text)["line"] == 49
    again.add("new", {"event": "Remark"}, 50)
    assert numbers(again, 99) == [100, 101]


def test_what_a_full_disk_refuses_is_kept_and_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.add("a", {"event": "Remark"}, 0)
    write = LineLog._write
    monkeypatch.setattr(LineLog, "_write", lambda self, line: write(self, line[:10]))  # some bytes still fit
    for line in (1, 2):
        log.add("a", {"event": "Remark", "text": "ü"}, line)
    assert log.disk_is_full
    assert numbers(log) == [1, 2, 3]
    monkeypatch.undo()
    log.flush()
    assert not log.disk_is_full
    assert numbers(log) == [1, 2, 3]
    log.add("a", {"event": "Remark"}, 3)
    assert numbers(EventLog(tmp_path / "events.jsonl")) == [1, 2, 3, 4]


def test_answers_come_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "AT_ONCE", 2)
    log = EventLog(tmp_path / "events.jsonl")
    for line in range(5):
        log.add("a", {"event": "Remark"}, line)
    assert (numbers(log), numbers(log, 2), numbers(log, 4)) == ([1, 2], [3, 4], [5])


def test_one_who_waits_is_told_at_once(tmp_path: Path) -> None:
    async def wait() -> list[bool]:
        log = EventLog(tmp_path / "events.jsonl")
        waiting = [asyncio.create_task(log.news(0, 5)) for _ in range(3)]
        await asyncio.sleep(0)
        log.add("a", {"event": "Remark"}, 0)
        found = [await one for one in waiting]
        found.append(await log.news(1, 0.01))
        ending = asyncio.create_task(log.news(1, 5))
        await asyncio.sleep(0)
        log.close()
        return [*found, await ending]

    assert asyncio.run(wait()) == [True, True, True, False, False]


def test_json_has_no_numbers_that_json_does_not_have() -> None:
    assert to_json({"loss": float("nan"), "all": (1.5, float("inf"))}) == '{"loss":null,"all":[1.5,null]}'


def test_a_log_that_somebody_empties_holds_up_nobody(tmp_path: Path) -> None:
    """Without a wait, a stream that finds nothing where there should be something would stop the whole server."""
    path = tmp_path / "events.jsonl"

    async def read() -> list[str]:
        log = EventLog(path)
        log.add("a", {"event": "Remark"}, 0)
        path.write_bytes(b"")
        told = [text async for text in _until_quiet(log)]
        return [text.partition("\n")[0] for text in told]

    async def _until_quiet(log: EventLog) -> AsyncIterator[str]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                async for text in _stream(log, 0):
                    yield text

    assert asyncio.run(read()) == ["retry: 1000", "event: reset"]
