"""Where files that can be had again are kept, and how any file is written: whole or not at all."""

import os
import sys
import tempfile
from pathlib import Path

from ..errors import DataError


def cache_folder() -> Path:
    """$CASEBOOK_CACHE, else `casebook` in the platform's folder for caches; it may not exist yet."""
    if given := os.environ.get("CASEBOOK_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "casebook"


def offline() -> bool:
    """Whether the environment forbids the network: CASEBOOK_OFFLINE or HF_HUB_OFFLINE set to a true word."""
    words = (os.environ.get(name, "") for name in ("CASEBOOK_OFFLINE", "HF_HUB_OFFLINE"))
    return any(word.strip().lower() in ("1", "true", "yes", "on") for word in words)


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to the disk, rename: a full disk or a kill leaves the old file as it was.

    Raises DataError where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp makes files that only their owner may read
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; is the disk full or the folder read-only?"
        ) from error
