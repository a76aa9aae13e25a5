"""Folders: ROOT/CLASS/* and ROOT/{train,val,test}/CLASS/* -> `Source`."""

import os
from collections import Counter
from pathlib import Path

from ..errors import DataError
from .pictures import SPLIT_WORDS, SPLITS, Picture, Source, checked_classes

PICTURE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp",
        ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".avifs", ".jp2", ".j2k", ".jpx",
        ".jpf", ".j2c", ".jpc", ".tga", ".icb", ".vda", ".vst", ".ico", ".icns", ".pcx", ".dds", ".sgi",
        ".rgb", ".rgba", ".bw", ".qoi", ".xbm", ".xpm", ".im", ".msp", ".spi", ".psd", ".fli", ".flc",
        ".heic", ".heif", ".jxl",  # not readable by Pillow: so they are reported, not silently ignored
    }
)  # fmt: skip
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


def pictures_below(path: Path) -> list[Path]:
    """The picture itself, or all pictures in a folder and its folders, sorted; hidden ones are left out."""
    return list(_walk(path)[0]) if path.is_dir() else [path]


def _walk(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The pictures below a folder, sorted, and the number of other files by suffix. Links are followed."""
    pictures, others = [], Counter[str]()
    seen: set[str] = set()
    for directory, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(directory)) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in files:
            suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122  # Path is slow for 100,000 files
            if file.startswith(".") or file.lower() in SYSTEM_FILES:
                continue
            if suffix in PICTURE_SUFFIXES:
                pictures.append(Path(directory, file))
            else:
                others[suffix or "no suffix"] += 1
    return sorted(pictures), others


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _loose(folder: Path) -> int:
    """How many pictures lie in the folder itself."""
    return sum(
        entry.suffix.lower() in PICTURE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        for entry in folder.iterdir()
    )


def read_folder(given: str, root: Path) -> Source:
    notes: list[str] = []
    folders = _folders(root)
    while len(folders) == 1 and not _is_split(folders[0]) and not _loose(folders[0]) and len(_folders(folders[0])) > 0:
        root = folders[0]  # an archive unpacked one level too high
        notes.append(f"{given} holds nothing but the folder {root.name}; its folders are taken as the classes")
        folders = _folders(root)
    if not folders:
        raise DataError(
            f"{given} has no folders in it{f', only {loose} pictures' if (loose := _loose(root)) else ''}; "
            "expected one folder per class, named after the class, with its pictures"
        )
    if loose := _loose(root):
        notes.append(f"{loose} pictures beside the class folders have no label: ignored")
    splits = [folder for folder in folders if _is_split(folder)]
    named = sum(_split_of(folder) is not None for folder in folders)  # test may hold unlabelled pictures
    has_train = any(_split_of(folder) == "train" for folder in splits)
    if splits and (len(splits) == len(folders) or (has_train and named > 1)):
        return _from_split_folders(given, root, folders, notes)
    found = {folder.name: _pictures_of(folder, notes) for folder in folders}
    for empty in [name for name, pictures in found.items() if not pictures]:
        notes.append(f"class {empty!r} holds no pictures: left out")
        del found[empty]
    classes = checked_classes(given, tuple(sorted(found)))
    pictures = (
        Picture(path.relative_to(root).as_posix(), label) for label, name in enumerate(classes) for path in found[name]
    )
    return Source(given, root, classes, tuple(pictures), tuple(notes))


def _split_of(folder: Path) -> str | None:
    return SPLIT_WORDS.get(folder.name.lower())


def _is_split(folder: Path) -> bool:
    """Whether a folder is one of train, val, test with class folders inside, not a class called "train"."""
    return _split_of(folder) is not None and not _loose(folder) and bool(_folders(folder))


def _from_split_folders(given: str, root: Path, folders: list[Path], notes: list[str]) -> Source:
    parts: dict[str, Path] = {}
    for folder in folders:
        split = _split_of(folder)
        if split is None or not _is_split(folder):
            why = "has no class folders" if split else "is neither train, val nor test"
            notes.append(f"the folder {folder.name} {why}: ignored")
        elif split in parts:
            raise DataError(f"{given} has both {parts[split].name} and {folder.name}; expected one folder for {split}")
        else:
            parts[split] = folder
    found = {
        split: {folder.name: _pictures_of(folder, notes) for folder in _folders(parts[split])}
        for split in SPLITS
        if split in parts
    }
    leading = "train" if "train" in found else " and ".join(found)
    named = found["train"] if "train" in found else {name: [0] for part in found.values() for name in part}
    for empty in sorted(name for name, pictures in named.items() if not pictures):
        notes.append(f"class {empty!r} holds no pictures in {leading}: left out everywhere")
    classes = checked_classes(given, tuple(sorted(name for name, pictures in named.items() if pictures)))
    pictures = []
    for split, part in found.items():
        for name in sorted(set(part) - set(named)):
            notes.append(
                f"class {name!r} is in {split} and not in {leading}: its {len(part[name])} pictures are left out"
            )
        for label, name in enumerate(classes):
            if not part.get(name):
                notes.append(f"class {name!r} of {leading} has no pictures in {split}")
            pictures += [Picture(path.relative_to(root).as_posix(), label, split) for path in part.get(name, ())]
    return Source(given, root, classes, tuple(pictures), tuple(notes))


def _pictures_of(folder: Path, notes: list[str]) -> list[Path]:
    pictures, others = _walk(folder)
    if others:
        kinds = ", ".join(
            f"{count} {suffix}" for suffix, count in sorted(others.items(), key=lambda kind: (-kind[1], kind[0]))[:4]
        )
        notes.append(f"{folder.name}: {others.total()} files that are no pictures are ignored ({kinds})")
    return pictures
