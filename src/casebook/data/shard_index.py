"""The index of a set of tar shards: where each picture lies, and what it is.

A set is a folder, or an address, with `shards.json`, `index.csv` and the shards. `shards.json` names the classes, and
size and SHA-256 of every other file. `index.csv` has one row for each picture, in the order of the source that was
sharded. Both may come from a stranger, so every name, place and size in them is checked before it is used.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .pictures import SPLITS, Picture

MANIFEST, INDEX = "shards.json", "index.csv"
FORMAT = "casebook-shards-1"
COLUMNS = ["name", "label", "split", "group", "shard", "offset", "size", "sha256"]
SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.tar")
MOST_MANIFEST_BYTES = 64 << 20
MOST_INDEX_BYTES = 8 << 30
MOST_PICTURE_BYTES = 256 << 20
MOST_NAME = 4096  # characters
MOST_CLASSES = 1_000_000


class Shard(NamedTuple):
    """One tar file of a set."""

    name: str
    size_bytes: int
    sha256: str


class ShardIndex(NamedTuple):
    """What the two files of a set say; row i is picture i."""

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    shards: tuple[Shard, ...]
    places: NDArray[np.int64]  # (N, 3): shard, offset of the content in it, its size in bytes
    sha256: NDArray[np.uint8]  # (N, 32)


def write_index(
    classes: Iterable[str], shards: Iterable[Shard], rows: Iterable[tuple[Picture, Any, str]]
) -> tuple[bytes, bytes]:
    """The contents of `shards.json` and `index.csv`; a row is a picture, its (shard, offset, size) and its SHA-256."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for picture, place, sha256 in rows:
        writer.writerow([*picture, *place, sha256])
        count += 1
    index = text.getvalue().encode("utf-8", "surrogateescape")
    manifest = {
        "format": FORMAT,
        "classes": list(classes),
        "pictures": count,
        "index": {"name": INDEX, "size_bytes": len(index), "sha256": hashlib.sha256(index).hexdigest()},
        "shards": [shard._asdict() for shard in shards],
    }
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"), index


def read_index(given: str, manifest: bytes, get: Callable[[int], bytes]) -> ShardIndex:
    """The checked index. `get(size_bytes)` reads `index.csv`. Raises DataError for anything that does not fit."""
    wrong = f"{given}: {MANIFEST} is damaged, or not written by 'casebook data shard'"
    try:
        document = json.loads(manifest)
        if document["format"] != FORMAT:
            raise DataError(f"{given}: {MANIFEST} has the format {document['format']!r}, expected {FORMAT!r}")
        classes = tuple(document["classes"])
        shards = tuple(Shard(one["name"], one["size_bytes"], one["sha256"]) for one in document["shards"])
        size_bytes, sha256 = document["index"]["size_bytes"], document["index"]["sha256"]
        _check_manifest(classes, shards, size_bytes)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{wrong}: {error!r}") from error
    content = get(size_bytes)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{given}: {INDEX} does not belong to {MANIFEST}, or is damaged; restore both from one copy")
    pictures, places, digests = [], [], bytearray()
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""), strict=True)
        if next(rows, None) != COLUMNS:
            raise ValueError(f"expected the columns {','.join(COLUMNS)}")
        for name, label, split, group, shard, offset, size, digest in rows:
            pictures.append(Picture(_checked_name(name), int(label), _SPLIT[split], group))
            places.append((int(shard), int(offset), int(size)))
            digests += bytes.fromhex(digest)
        table = np.array(places, np.int64).reshape(-1, 3)
        _check_places(pictures, table, shards, len(classes))
        sums = np.frombuffer(bytes(digests), np.uint8).reshape(len(pictures), 32)
    except (ValueError, KeyError, OverflowError, csv.Error) as error:
        raise DataError(f"{given}: {INDEX} has a row that cannot be right: {error}") from error
    return ShardIndex(classes, tuple(pictures), shards, table, sums)


_SPLIT = {"": "", **{name: name for name in SPLITS}}


def _check_manifest(classes: tuple[Any, ...], shards: tuple[Shard, ...], index_bytes: Any) -> None:
    """Raises ValueError."""
    if not 2 <= len(classes) <= MOST_CLASSES or not all(isinstance(name, str) and name for name in classes):
        raise ValueError("expected the names of at least two classes")
    if not isinstance(index_bytes, int) or not 0 < index_bytes <= MOST_INDEX_BYTES:
        raise ValueError(f"the index has {index_bytes!r} bytes, expected at most {MOST_INDEX_BYTES}")
    for shard in shards:
        if not isinstance(shard.name, str) or not SHARD_NAME.fullmatch(shard.name):
            raise ValueError(f"the shard {shard.name!r} has no plain name that ends in .tar")
        if not isinstance(shard.size_bytes, int) or shard.size_bytes < 0:
            raise ValueError(f"{shard.name} has {shard.size_bytes!r} bytes")
        if not isinstance(shard.sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", shard.sha256):
            raise ValueError(f"{shard.name} has no SHA-256")


def _check_places(
    pictures: list[Picture], places: NDArray[np.int64], shards: tuple[Shard, ...], num_classes: int
) -> None:
    """Raises ValueError."""
    if not len(pictures):
        raise ValueError("there is none")
    labels = np.array([picture.label for picture in pictures], np.int64)
    shard, offset, size = places.T
    if (labels < 0).any() or (labels >= num_classes).any():
        raise ValueError(f"a label is no number below {num_classes}, the number of classes")
    if (shard < 0).any() or (shard >= len(shards)).any():
        raise ValueError(f"a shard is no number below {len(shards)}, the number of shards")
    ends = np.array([one.size_bytes for one in shards], np.int64)[shard]
    if (size < 0).any() or (size > MOST_PICTURE_BYTES).any() or (offset < 0).any() or (offset > ends - size).any():
        raise ValueError("a picture does not lie inside its shard")


def _checked_name(name: str) -> str:
    """Raises ValueError for a name that could lead out of a folder."""
    parts = name.split("/")
    if not name or len(name) > MOST_NAME or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"the name {name[:80]!r} is no path below a folder")
    return name
