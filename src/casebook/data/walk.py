"""Folders on disk -> the pictures in them, without the files that systems and tools leave there."""

import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError

PICTURE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp",
        ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".avifs", ".jp2", ".j2k", ".jpx",
        ".jpf", ".j2c", ".jpc", ".tga", ".icb", ".vda", ".vst", ".ico", ".icns", ".pcx", ".dds", ".sgi",
        ".rgb", ".rgba", ".bw", ".qoi", ".xbm", ".xpm", ".im", ".msp", ".spi", ".psd", ".fli", ".flc",
        ".heic", ".heif", ".jxl",  # Pillow cannot read these: they are reported instead of silently ignored
    }
)  # fmt: skip
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
SYSTEM_FOLDERS = {
    "@eadir", "#recycle", "@recycle", "@recently-snapshot",  # network drives
    "$recycle.bin", "system volume information", "recycler",  # Windows
    "__macosx", "lost+found", "__pycache__",
}  # fmt: skip
OUR_FOLDERS = {"runs": "*/environment.json", "exports": "*.casebook"}  # what a folder of ours has in it
SPECIAL = "FIFO, socket or device"


class Listing(NamedTuple):
    """What one folder holds, without hidden entries, those of the system, and what Casebook wrote there."""

    folders: list[Path]  # sorted
    pictures: list[str]  # paths of the files that have a picture's suffix, sorted; 100,000 Paths would take a second
    others: Counter[str]  # number of other files by suffix


def list_folder(folder: Path) -> Listing:
    """The folders and files directly in a folder. Follows links. Raises DataError if the folder cannot be read."""
    listing = Listing([], [], Counter())
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                _add(listing, entry)
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    return listing


def _add(listing: Listing, entry: os.DirEntry[str]) -> None:
    name = entry.name.lower()
    if name.startswith(".") or name in SYSTEM_FILES:
        return
    kind = _kind(entry)
    if kind == "folder":
        if name not in SYSTEM_FOLDERS and not _is_ours(Path(entry.path)):
            listing.folders.append(Path(entry.path))
        return
    suffix = os.path.splitext(name)[1]  # noqa: PTH122
    if kind == "special":
        listing.others[SPECIAL] += 1
    elif suffix in PICTURE_SUFFIXES:
        listing.pictures.append(entry.path)
    else:
        listing.others[suffix or "without suffix"] += 1


def _is_ours(folder: Path) -> bool:
    """Whether Casebook wrote its runs or bundles into this folder, as it does if it is started among the pictures."""
    pattern = OUR_FOLDERS.get(folder.name)
    return pattern is not None and any(folder.glob(pattern))


def _kind(entry: os.DirEntry[str]) -> str:
    """ "folder", "file", or "special": opening a FIFO waits for a writer that may never come."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or stat.S_ISREG(entry.stat().st_mode) else "special"
    except OSError:
        return "file"  # a broken link: the scan reports it as a picture that cannot be read


def walk(folder: Path) -> tuple[list[str], Counter[str]]:
    """The paths of all pictures below a folder, sorted, and the number of other files by suffix. Follows links."""
    pictures, others = [], Counter[str]()
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        directory = waiting.pop()
        if (real := os.path.realpath(directory)) in seen:  # a link to a folder above
            continue
        seen.add(real)
        listing = list_folder(directory)
        pictures += listing.pictures
        others += listing.others
        waiting += reversed(listing.folders)
    return sorted(pictures, key=_parts), others


def _parts(path: str) -> list[str]:
    """What a Path compares by, so that a folder's pictures stay together."""
    return path.split(os.sep)  # noqa: PTH206


def pictures_below(path: Path) -> list[Path]:
    """The picture itself, or all pictures below a folder, sorted."""
    return [Path(found) for found in walk(path)[0]] if path.is_dir() else [path]


def names_below(root: Path, paths: Iterable[str]) -> list[str]:
    """The paths, which `walk` gave for a folder below the root, from the root on and with forward slashes."""
    start = os.path.join(str(root), "")  # noqa: PTH118
    return [path.removeprefix(start).removeprefix(f".{os.sep}").replace(os.sep, "/") for path in paths]
