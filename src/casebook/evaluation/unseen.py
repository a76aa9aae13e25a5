"""Pictures -> those that no run has learnt from, told by their names and by their contents.

Runs with splits of their own may have trained on what another has locked away. A picture counts as seen by a run
where it was in one of its parts under the same name of the same source, or as a file of the same bytes anywhere.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.scan import scan
from ..data.sources import Source, load_source
from ..errors import DataError, PictureError, RunError
from ..files import cache_folder
from ..training.run import Run


class Seen(NamedTuple):
    """What a run has seen of a source."""

    names: frozenset[str]
    """Of pictures of this very source."""
    contents: frozenset[str]
    """SHA-256 of its pictures, wherever they are."""
    note: str = ""
    """What could not be found out."""


def unseen(
    runs: Sequence[Run], source: Source, indices: Sequence[int], parts: Sequence[str] = ("train", "val")
) -> tuple[tuple[int, ...], list[str]]:
    """Those of `indices` that are in none of these parts of any run, and remarks on the others.

    Raises DataError when none is left, RunError for a run without its split.
    """
    contents = {index: content(source, index) for index in indices}
    left, notes = tuple(indices), []
    for run in runs:
        seen = seen_by(run, source, parts)
        if seen.note:
            notes.append(seen.note)
        named = {index for index in indices if source.pictures[index].name in seen.names}
        known = {index for index in indices if contents[index] in seen.contents}
        gone = set(left) & (named | known)
        left = tuple(index for index in left if index not in gone)
        if gone:
            example = source.pictures[min(gone)].name
            notes.append(
                f"{len(gone)} of {len(indices)} pictures of {source.name} are left out, such as {example}, for "
                f"{run.path} has seen them in {' or '.join(parts)} ({len(named)} by name, {len(known)} by content)"
            )
    if not left:
        names = ", ".join(str(run.path) for run in runs)
        raise DataError(
            f"every one of the {len(indices)} pictures of {source.name} was seen in {' or '.join(parts)} by one of "
            f"{names}, so there is no honest score of them together; name other data. {'; '.join(notes)}"
        )
    return left, notes


class SeenAmong(NamedTuple):
    """The pictures of an evaluation that a run has learnt from."""

    indices: tuple[int, ...]
    by_name: int
    by_content: int
    notes: tuple[str, ...]


def seen_among(run: Run, source: Source, indices: Sequence[int], parts: Sequence[str] = ("train", "val")) -> SeenAmong:
    """Which of `indices` the run was trained or validated on, and a sentence about it.

    Raises RunError for a run without its split.
    """
    seen = seen_by(run, source, parts)
    named = {index for index in indices if source.pictures[index].name in seen.names}
    known = {index for index in indices if seen.contents and content(source, index) in seen.contents}
    found = tuple(index for index in indices if index in named | known)
    notes = [seen.note] if seen.note else []
    if found:
        which = "every one" if len(found) == len(indices) else f"{len(found)}"
        figures = (
            "the figures are those of pictures it has learnt from"
            if len(found) == len(indices)
            else f"the figures are of the other {len(indices) - len(found)}"
        )
        notes.append(
            f"{run.path} was trained or validated on {which} of these {len(indices)} pictures ({len(named)} found by "
            f"name, {len(known)} by content): {figures}"
        )
    return SeenAmong(found, len(named), len(known), tuple(notes))


def seen_by(run: Run, source: Source, parts: Sequence[str]) -> Seen:
    """The pictures in these parts of a run's split. Raises RunError where split.csv is missing or damaged."""
    rows = [name for name, part in _split_rows(run) if part in parts]
    data = run.recipe.data
    try:
        layout = run.recipe.source_format
        own = load_source(data, group_by=run.recipe.group_by or None, format=layout, many_labels=True)
    except DataError:
        same = data == source.name or (source.root is not None and data == str(source.root.resolve()))
        note = f"the data that {run.path} was trained on, {data}, is gone: "
        return Seen(
            frozenset(rows) if same else frozenset(),
            frozenset(),
            note
            + ("its pictures are told by name alone" if same else "whether it has seen these pictures is not known"),
        )
    wanted = set(rows)
    members = [index for index, picture in enumerate(own.pictures) if picture.name in wanted]
    return Seen(frozenset(rows) if _same(own, source) else frozenset(), frozenset(_contents(own, members)))


def _split_rows(run: Run) -> list[tuple[str, str]]:
    """(name, part) of every picture that a run divided."""
    path = run.path / "split.csv"
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        return [(row["name"], row["split"]) for row in rows]
    except (OSError, csv.Error, KeyError) as error:
        raise RunError(
            f"cannot read {path}: {error!r}; it says which pictures the run has seen, so restore it from a copy"
        ) from error


def _same(one: Source, other: Source) -> bool:
    if one.root is None or other.root is None:
        return one.root is other.root and one.name == other.name
    return one.root.resolve() == other.root.resolve()


def content(source: Source, index: int) -> str:
    """SHA-256 of a picture's file, or of its pixels in memory; "" where it cannot be read."""
    if source.arrays is not None:
        return hashlib.sha256(np.ascontiguousarray(source.arrays[index]).tobytes()).hexdigest()
    try:
        return hashlib.sha256(source.content(index)).hexdigest()
    except PictureError:
        return ""


def _contents(source: Source, indices: Sequence[int]) -> set[str]:
    """As `content`, from what the training's look at the files has left in the cache."""
    if source.arrays is not None:
        found = {content(source, index) for index in indices}
    else:
        facts = scan(source, cache_dir=cache_folder()).facts
        found = {facts[index].sha256 for index in indices}
    return found - {""}
