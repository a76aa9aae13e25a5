"""The store keeps values for many processes, and never stops a job."""

import multiprocessing
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from casebook.store import HOUR, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store("things", tmp_path)


def test_values_are_kept_and_replaced(store: Store, tmp_path: Path) -> None:
    assert store.get("a") is None
    store.put("a", b"one")
    store.put_many({"b": b"", "a": b"two"})
    assert store.get_many(["a", "b", "c"]) == {"a": b"two", "b": b""}
    store.close()
    assert Store("things", tmp_path).get("a") == b"two"
    assert Store("others", tmp_path).get("a") is None


def test_more_keys_than_one_query_takes(store: Store) -> None:
    values = {f"key {number}": str(number).encode() for number in range(1203)}
    store.put_many(values)
    assert store.get_many(values) == values


@pytest.mark.parametrize("column", ["value", "checksum"])
def test_a_damaged_value_counts_as_unknown_and_is_replaced(store: Store, column: str) -> None:
    store.put_many({"a": b"first", "b": b"second"})
    store.close()
    with sqlite3.connect(store.path) as database:
        damaged = b"fIrst" if column == "value" else 1
        database.execute(f"UPDATE entries SET {column} = ? WHERE key = 'a'", [damaged])
    database.close()
    assert store.get_many(["a", "b"]) == {"b": b"second"}
    store.put("a", b"first")
    assert store.get("a") == b"first"


def test_a_value_under_another_key_counts_as_damaged(store: Store) -> None:
    store.put("a", b"first")
    store.close()
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE entries SET key = 'b'")
    database.close()
    assert store.get("b") is None


@pytest.mark.parametrize("content", [b"no database, but longer than a header" * 300, b"short", None])
def test_a_damaged_file_is_replaced(store: Store, content: bytes | None) -> None:
    store.put_many({str(number): bytes(3000) for number in range(100)})
    store.close()
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    store.get_many(map(str, range(100)))
    store.put("a", b"one")
    store.put("a", b"one")
    assert store.get("a") == b"one"
    assert store.trouble == ""


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store("things", tmp_path / "file" / "folder")
    store.put("a", b"one")
    assert store.get("a") is None
    assert store.trouble


def test_a_full_disk_stops_nothing(store: Store) -> None:
    store.put("a", b"one")
    assert store._database is not None
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    store.put("b", bytes(1 << 20))
    assert store.get_many(["a", "b"]) == {"a": b"one"}
    assert "full" in store.trouble
    store.put("c", b"three")
    assert store.get("a") == b"one"


def test_what_only_may_be_read_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"one")
    store.close()

    def refuse(database: sqlite3.Connection) -> None:
        database.close()
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("casebook.store._set_up", refuse)
    assert store.get("a") == b"one"
    store.put("b", b"two")
    assert store.get("b") is None
    assert "readonly" in store.trouble


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1e9]
    monkeypatch.setattr("time.time", lambda: now[0])
    store = Store("things", tmp_path, budget_bytes=1_000_000)
    for number in range(8):
        store.put(f"old {number}", bytes(100_000))
        now[0] += 1
    now[0] += HOUR + 10
    assert store.get("old 0") is not None
    now[0] += 1
    for number in range(6):
        store.put(f"new {number}", bytes(100_000))
    assert store.get("old 0") is not None
    assert store.get("old 1") is None
    assert all(store.get(f"new {number}") for number in range(6))
    database = store._database
    assert database is not None
    assert store._used_bytes(database) <= 1_000_000


def write(store: Store, name: str, start: Any) -> None:
    start.wait()
    for number in range(40):
        store.put(f"{name} {number}", f"{name} {number}".encode())
        assert store.get("first") == b"one"


def test_processes_share_a_file(store: Store) -> None:
    store.put("first", b"one")  # so a forked process takes over an open connection
    context: Any = multiprocessing.get_context("fork")
    start = context.Event()
    processes = [context.Process(target=write, args=(store, str(number), start)) for number in range(3)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    keys = [f"{name} {number}" for name in range(3) for number in range(40)]
    assert store.get_many(keys) == {key: key.encode() for key in keys}


def test_it_can_be_pickled(store: Store) -> None:
    store.put("a", b"one")
    assert pickle.loads(pickle.dumps(store)).get("a") == b"one"
