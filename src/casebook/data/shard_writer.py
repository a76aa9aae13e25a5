"""A source -> tar shards in the WebDataset layout, with the index that makes them random-access.

A picture is two members with one key: `000000042.jpg`, its file byte for byte, and `000000042.cls`, the number of its
class. Pictures are dealt to the shards in a fixed random order, so that a reader of whole shards sees mixed classes and
a lost shard costs a little of each class. The same data give the same bytes.
"""

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import DataError, PictureError
from ..files import write_atomically
from .pictures import Picture, Source
from .shard_index import INDEX, MANIFEST, MOST_PICTURE_BYTES, Shard, write_index

BLOCK = 512  # bytes, of a tar file
LEAST_SHARD_MB = 1
SUFFIX = re.compile(r"\.([A-Za-z0-9]{1,10})$")

Progress = Callable[[int, int], None]


class Written(NamedTuple):
    """What `write_shards` wrote."""

    shards: tuple[Shard, ...]
    pictures: int
    skipped: dict[str, str]  # pictures that could not be read, with the reason


def write_shards(
    source: Source, out: Path, *, shard_mb: int = 256, progress: Progress = lambda done, total: None
) -> Written:
    """Writes the pictures of a source, with its labels, splits and groups, as shards of about `shard_mb` MB.

    The two files of the index are written last, so an interrupted call leaves no set; calling it again writes the
    shards anew. Raises DataError for a source without files, a folder with a set in it, and a name that comes twice.
    """
    if source.arrays is not None:
        raise DataError(f"{source.name} is held in memory as it is, so it needs no shards; expected a folder or list")
    if shard_mb < LEAST_SHARD_MB:
        raise DataError(f"shard_mb is {shard_mb}, expected {LEAST_SHARD_MB} or more")
    if (out / MANIFEST).exists():
        raise DataError(f"{out} holds a set of shards already; choose another folder, or remove it first")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file, expected the name of a folder")
    if len({picture.name for picture in source.pictures}) < len(source):
        raise DataError(f"{source.name} names a picture twice; a set of shards holds each once. Remove the second row")
    order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(len(source)).tolist()
    found: dict[int, tuple[Any, str]] = {}
    skipped: dict[str, str] = {}
    shards: list[Shard] = []
    contents = _contents(source, order, skipped, progress)
    waiting = next(contents, None)
    while waiting is not None:
        name = f"{len(shards):06d}.tar"
        path = out / name
        digest = hashlib.sha256()
        first = waiting

        def fill(file: BinaryIO, first: tuple[int, bytes] = first, digest: Any = digest) -> None:
            nonlocal waiting
            waiting = first
            while waiting is not None and (file.tell() == 0 or file.tell() + len(waiting[1]) < shard_mb * 1_000_000):
                index, content = waiting
                picture, key = source.pictures[index], f"{index:09d}"
                suffix = SUFFIX.search(picture.name)
                place = _add(file, digest, f"{key}.{suffix[1].lower() if suffix else 'bin'}", content)
                _add(file, digest, f"{key}.cls", str(picture.label).encode())
                found[index] = (len(shards), place, len(content)), hashlib.sha256(content).hexdigest()
                waiting = next(contents, None)
            end = bytes(2 * BLOCK)
            digest.update(end)
            file.write(end)

        write_atomically(path, fill)
        shards.append(Shard(name, path.stat().st_size, digest.hexdigest()))
    if not found:
        raise DataError(f"{source.name}: not one of the {len(source)} pictures can be read")
    rows: list[tuple[Picture, Any, str]] = [(source.pictures[index], *found[index]) for index in sorted(found)]
    manifest, index = write_index(source.classes, shards, rows)
    write_atomically(out / INDEX, index)
    write_atomically(out / MANIFEST, manifest)
    return Written(tuple(shards), len(rows), skipped)


def _contents(
    source: Source, order: list[int], skipped: dict[str, str], progress: Progress
) -> Iterator[tuple[int, bytes]]:
    for done, index in enumerate(order, 1):
        name = source.pictures[index].name
        try:
            content = source.content(index)
            if len(content) > MOST_PICTURE_BYTES:
                raise PictureError(name, f"has {len(content):,} bytes, more than {MOST_PICTURE_BYTES:,}")
            yield index, content
        except PictureError as error:
            skipped[name] = error.reason
        if done % 256 == 0 or done == len(order):
            progress(done, len(order))


def _add(file: BinaryIO, digest: Any, name: str, content: bytes) -> int:
    """Appends a member; the offset of its content."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    place = file.tell() + BLOCK
    for part in (member.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % BLOCK)):
        digest.update(part)
        file.write(part)
    return place
