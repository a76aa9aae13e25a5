"""The cache on disk: keys -> bytes, in one SQLite file for each kind of value.

A store only saves time, so nothing about it stops a job: what is missing, damaged or cannot be read counts as unknown,
and what cannot be written is not kept. Many processes may use one file at once.
"""

import contextlib
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .files import cache_folder

GIB = 1 << 30
HOUR = 3600  # seconds; a use is recorded at most this often
DAMAGED = ("SQLITE_IOERR_SHORT_READ", "SQLITE_CANTOPEN")  # OperationalErrors of a file that is cut off or gone
MOST_KEYS = 500  # in one query
# Connections of the parent process. A forked child must not touch them, not even to close them.
_abandoned: list[Any] = []


class Store:
    """The values of one `namespace`, such as "scans", in a file of that name below `folder` (the cache by default).

    Above `budget_bytes` the values that were used longest ago are removed. The file is opened at the first use, and
    again in a forked or spawned process.
    """

    def __init__(self, namespace: str, folder: Path | None = None, *, budget_bytes: int = GIB):
        self.path = (folder or cache_folder()) / f"{namespace}.sqlite"
        self.budget_bytes = budget_bytes
        self.trouble = ""
        """Why values are not kept; empty as long as they are."""
        self._forget()

    def _forget(self) -> None:
        self._database: sqlite3.Connection | None = None
        self._pid, self._lock = 0, threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "budget_bytes": self.budget_bytes, "trouble": self.trouble}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def get(self, key: str) -> bytes | None:
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The values that are known and whole."""
        keys, known = list(keys), dict[str, bytes]()
        with self._using() as database:
            if database is not None:
                for start in range(0, len(keys), MOST_KEYS):
                    known |= self._some(database, keys[start : start + MOST_KEYS])
        return known

    def _some(self, database: sqlite3.Connection, keys: list[str]) -> dict[str, bytes]:
        marks, now = ",".join("?" * len(keys)), int(time.time())
        rows = database.execute(f"SELECT key, checksum, used, value FROM entries WHERE key IN ({marks})", keys)
        known, stale = {}, []
        for key, checksum, used, value in rows:
            if _checksum(key, value) == checksum:
                known[key] = value
                if used < now - HOUR:
                    stale.append((now, key))
        if stale and not self.trouble:
            with contextlib.suppress(sqlite3.OperationalError), database:
                database.executemany("UPDATE entries SET used = ? WHERE key = ?", stale)
        return known

    def put(self, key: str, value: bytes) -> None:
        self.put_many({key: value})

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Keeps values, in place of earlier ones of the same keys."""
        now = int(time.time())
        rows = [(key, now, _checksum(key, value), value) for key, value in values.items()]
        with self._using() as database:
            if database is None or self.trouble:
                return
            try:
                with database:
                    database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)
                    self._keep_to_budget(database)
            except sqlite3.OperationalError as error:  # the disk is full, or another process holds the lock too long
                self.trouble = str(error)

    def _keep_to_budget(self, database: sqlite3.Connection) -> None:
        while self._used_bytes(database) > self.budget_bytes:
            (count,) = database.execute("SELECT count(*) FROM entries").fetchone()
            if count <= 1:
                return
            oldest = "SELECT key FROM entries ORDER BY used, rowid LIMIT ?"
            database.execute(f"DELETE FROM entries WHERE key IN ({oldest})", [max(1, count // 10)])

    def _used_bytes(self, database: sqlite3.Connection) -> int:
        page_size, pages, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        return page_size * (pages - free)

    def close(self) -> None:
        with self._lock:
            if self._database is not None and self._pid == os.getpid():
                self._database.close()
            self._database, self._pid = None, 0

    @contextlib.contextmanager
    def _using(self) -> Any:
        """The open database, or None where there is none; a damaged file is replaced by an empty one."""
        if self._pid not in (0, os.getpid()):  # the lock may have been held when this process was forked
            _abandoned.append(self._database)
            self._forget()
        with self._lock:
            if self._pid == 0:
                self._database, self._pid = self._opened(), os.getpid()
            try:
                yield self._database
            except sqlite3.DatabaseError as error:
                if not isinstance(error, sqlite3.OperationalError) or error.sqlite_errorname in DAMAGED:
                    self.close()
                    self._remove()  # other errors are such as a lock that another process holds for long

    def _opened(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return _set_up(sqlite3.connect(self.path, timeout=60, check_same_thread=False))
            except (OSError, sqlite3.OperationalError) as error:
                if getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHORT_READ":
                    self._remove()
                    continue
                self.trouble = str(error)
                return _opened_to_read(self.path)
            except sqlite3.DatabaseError:
                self._remove()
        return None

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink()


def _checksum(key: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode("utf-8", "surrogateescape")))


def _set_up(database: sqlite3.Connection) -> sqlite3.Connection:
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may lose the last values
        with database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, used INTEGER, checksum INTEGER, value BLOB)"
            )
            database.execute("CREATE INDEX IF NOT EXISTS by_use ON entries (used)")
    except BaseException:
        database.close()
        raise
    return database


def _opened_to_read(path: Path) -> sqlite3.Connection | None:
    """A file that another user has made, or that lies on a disk where nothing can be written."""
    database = None
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        database.execute("SELECT key FROM entries LIMIT 1")
        return database
    except sqlite3.Error:
        if database is not None:
            database.close()
        return None
