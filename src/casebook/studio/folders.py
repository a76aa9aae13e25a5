"""Folders below the root, as the folder browser lists them. Nothing outside the root is named or followed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.sources import LISTS
from ..data.walk import PICTURE_SUFFIXES
from ..errors import DataError

MOST_ENTRIES = 1000
MOST_LOOKED_AT = 5000  # entries of one subfolder, to count its pictures


def confined(root: Path, relative: str) -> Path:
    """The file or folder at a path below `root`, which has no symbolic links itself.

    Raises DataError for a path that is not there or hidden, or that leaves the root, also by a symbolic link.
    """
    named = f"there is no folder {relative[:200]!r} in the studio's folder"
    is_hidden = any(part.startswith(".") and part != "." for part in relative.split("/"))
    if is_hidden or "\0" in relative or "\\" in relative or relative.startswith(("/", "~")):
        raise DataError(f"{named}; choose one from the list")
    try:
        found = (root / relative).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{named}; choose one from the list") from error
    if not found.is_relative_to(root):
        raise DataError(f"{named}: it is a link to outside; start the studio in a folder that holds both")
    return found


def list_folder(root: Path, relative: str) -> dict[str, Any]:
    """The subfolders and lists of one folder, with the number of pictures directly in each.

    Names that begin with a dot, and links to outside, are not shown. Raises DataError.
    """
    folder = confined(root, relative)
    if not folder.is_dir():
        raise DataError(f"{relative[:200]!r} is a file; choose a folder")
    folders, lists, num_pictures, more = [], [], 0, False
    for entry in _entries(folder):
        if _is_folder(entry, root):
            if len(folders) == MOST_ENTRIES:
                more = True
                continue
            folders.append({"name": entry.name, **_counts(Path(entry.path))})
        elif entry.name.lower().endswith(LISTS):
            lists.append(entry.name)
        elif Path(entry.name).suffix.lower() in PICTURE_SUFFIXES:
            num_pictures += 1
    here = folder.relative_to(root).as_posix()
    return {
        "path": "" if here == "." else here,
        "parent": None if here == "." else ("" if "/" not in here else here.rpartition("/")[0]),
        "folders": sorted(folders, key=lambda found: found["name"].casefold()),
        "lists": sorted(lists[:MOST_ENTRIES]),
        "num_pictures": num_pictures,
        "more": more,
    }


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read {folder.name}: {error.strerror}; choose another folder") from error


def _is_folder(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        if not entry.is_dir():
            return False
        return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def _counts(folder: Path) -> dict[str, int]:
    """The pictures and folders directly in a folder; of a huge one, of its first entries."""
    pictures = folders = looked_at = 0
    try:
        for entry in _entries(folder):
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                break
            if Path(entry.name).suffix.lower() in PICTURE_SUFFIXES:
                pictures += 1
            elif entry.is_dir(follow_symlinks=False):
                folders += 1
    except DataError:
        pass
    return {"num_pictures": pictures, "num_folders": folders}
