"""Labelled pictures -> training, validation and test pictures that have no copy and no group in common."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..files import write_atomically
from .duplicates import Duplicates, joined
from .pictures import SPLITS, Source, comparable, same_name
from .scan import Scan

LEFT_OUT = "left out"
PICTURES_A_SET = 2  # on average, of the test part; from here on, intervals over pictures are far too narrow


class Split(NamedTuple):
    """Sorted indices into the source's pictures."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    left_out: dict[int, str] = {}  # noqa: RUF012  # never changed; index -> why the picture is unusable
    notes: tuple[str, ...] = ()  # what the user should know

    def parts(self) -> dict[str, tuple[int, ...]]:
        return {"train": self.train, "val": self.val, "test": self.test}


def split_source(
    source: Source,
    *,
    scan: Scan | None = None,
    duplicates: Duplicates | None = None,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
) -> Split:
    """The source's own split with missing parts added, or a new split, stratified by class and fixed by the seed.

    A new part never shares a copy or a group with another. A source keeps its own split: a missing validation or test
    part comes from its training pictures, and the notes report what its parts have in common. A fraction is a share of
    the pictures to divide; 0 makes no such part. Broken pictures are left out. Raises DataError if a class or a part
    would be empty.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1 or val_fraction + test_fraction >= 1:
            raise DataError(f"{name} is {fraction}; expected both fractions from 0 and their sum below 1")
    left_out = scan.broken if scan else {}
    usable = [index for index in range(len(source)) if index not in left_out]
    given = {name: [index for index in usable if source.pictures[index].split == name] for name in SPLITS}
    presplit = any(picture.split for picture in source.pictures)
    divided = given["train"] if presplit else usable
    notes = [f"{len(left_out)} pictures that cannot be read are left out"] if left_out else []
    if presplit and not divided:
        raise DataError(f"{source.name} has no readable training pictures; expected some in its train part")
    fractions = {"val": val_fraction, "test": test_fraction}
    wanted = {name: share for name, share in fractions.items() if share and not given[name]}
    if presplit:
        notes += [
            f"{source.name} has no {name} part: {share:.0%} of its train part become one"
            for name, share in wanted.items()
        ]
    _check_classes(source, divided, wanted)
    units = tied(source, duplicates, divided)
    parts = _divide(source, units, wanted, seed)
    for name in wanted:
        if not parts[name]:
            raise DataError(
                f"{source.name}: no pictures remain for the {name} part, as {len(units)} groups or sets of copies "
                f"cannot be divided; add pictures, or use another grouping"
            )
    if presplit:
        parts |= {name: given[name] for name in ("val", "test") if given[name]}
    train, val, test = (tuple(sorted(parts[name])) for name in SPLITS)
    split = Split(train, val, test, left_out)
    return split._replace(notes=(*notes, *_remarks(source, split, duplicates, presplit)))


def tied(source: Source, duplicates: Duplicates | None, indices: Sequence[int]) -> list[tuple[int, ...]]:
    """The given pictures in sets that must stay together: copies, groups, and sets that overlap."""
    together = [*(duplicates.groups if duplicates else ()), *groups_of(source)]
    links = ((members[0], other) for members in together for other in members[1:])
    inside = set(indices)
    sets = [tuple(i for i in members if i in inside) for members in joined(len(source), links)]
    linked = {index for members in sets for index in members}
    return [members for members in sets if members] + [(index,) for index in indices if index not in linked]


def numbers_of_tied(source: Source, duplicates: Duplicates | None, indices: Sequence[int]) -> NDArray[np.int64]:
    """(N,) a number for each of the N given pictures; those that must stay together share one."""
    number: dict[int, int] = {}
    for place, members in enumerate(tied(source, duplicates, indices)):
        number |= dict.fromkeys(members, place)
    return np.array([number[index] for index in indices], np.int64)


def groups_of(source: Source) -> list[tuple[int, ...]]:
    """The pictures of each group that the user defined."""
    members: dict[str, list[int]] = {}
    for index, picture in enumerate(source.pictures):
        if picture.group:
            members.setdefault(picture.group, []).append(index)
    return [tuple(indices) for indices in members.values()]


def _check_classes(source: Source, indices: Sequence[int], wanted: dict[str, float]) -> None:
    counts = Counter(label for index in indices for label in source.labels_of(index))
    none = [name for label, name in enumerate(source.classes) if not counts[label]]
    single = [name for label, name in enumerate(source.classes) if counts[label] == 1]
    if none:
        raise DataError(f"{source.name}: no readable training picture of {_names(none)}; add some or remove the class")
    if single and wanted:
        raise DataError(
            f"{source.name}: a single readable picture of {_names(single)}, which cannot be both in "
            "training and in a held-out part; add at least one more of each or remove the class"
        )


def _names(classes: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"class {shown}" if len(classes) == 1 else f"{len(classes)} classes ({shown})"


def _divide(source: Source, units: list[tuple[int, ...]], wanted: dict[str, float], seed: int) -> dict[str, list[int]]:
    """Deals out the units, large ones first, each to the part that it brings closest to its targets."""
    generator = np.random.default_rng(seed)
    units = [units[place] for place in generator.permutation(len(units))]
    units.sort(key=len, reverse=True)  # stable: units of one size keep their random order
    labels = [Counter(label for index in unit for label in _strata(source, index)) for unit in units]
    if source.targets is not None:
        order = sorted(_rarest_first(labels), key=lambda place: -len(units[place]))  # within a size, rare labels first
        units, labels = [units[place] for place in order], [labels[place] for place in order]
    totals, separate = Counter[int](), Counter[int]()
    for counts in labels:
        totals.update(counts)
        separate.update(counts.keys())
    targets = {"train": dict(totals)}
    for place, (name, share) in enumerate(sorted(wanted.items())):  # test before val where a class has only two
        targets[name] = {}
        for label, count in totals.items():
            room = targets["train"][label] - 1
            least = 1 if separate[label] >= place + 2 else 0
            targets[name][label] = min(max(round(count * share), least), room)
            targets["train"][label] -= targets[name][label]
    parts: dict[str, list[int]] = {name: [] for name in SPLITS}
    have = {name: Counter[int]() for name in targets}
    for unit, counts in zip(units, labels, strict=True):
        part = min(targets, key=lambda name: _cost(counts, have[name], targets[name]))
        parts[part] += unit
        have[part].update(counts)
    _give_train_every_class(parts, units, labels, set(totals))
    return parts


def _strata(source: Source, index: int) -> tuple[int, ...]:
    """What a division keeps the shares of: the class; with several labels a picture each of them, the pictures without
    any (K), and the number of pictures (K + 1)."""
    if source.targets is None:
        return source.labels_of(index)
    num_classes = len(source.classes)
    return (*(source.labels_of(index) or (num_classes,)), num_classes + 1)


def _rarest_first(labels: Sequence[Counter[int]]) -> list[int]:
    """The order of iterative stratification (Sechidis et al., "On the Stratification of Multi-Label Data", ECML 2011):
    always the units of the label with the fewest pictures left, as common labels can still be evened out later."""
    left = sum(labels, Counter[int]())
    waiting, order = dict(enumerate(labels)), list[int]()
    while waiting:
        rarest = min((count, label) for label, count in left.items() if count > 0)[1]
        for place in [place for place, counts in waiting.items() if rarest in counts]:
            left.subtract(waiting.pop(place))
            order.append(place)
    return order


def _cost(counts: Counter[int], have: Counter[int], targets: dict[int, int]) -> float:
    """How much a unit with these counts adds to the squared distance from the targets, relative to each target."""
    return sum(k * (2 * (have[c] - targets[c]) + k) / max(targets[c], 0.25) for c, k in counts.items())


def _give_train_every_class(
    parts: dict[str, list[int]], units: list[tuple[int, ...]], labels: list[Counter[int]], classes: set[int]
) -> None:
    """For each class without training pictures, moves its smallest unit to training."""
    place = {index: name for name, part in parts.items() for index in part}
    present = {
        label for unit, counts in zip(units, labels, strict=True) if place[unit[0]] == "train" for label in counts
    }
    for label in sorted(classes - present):
        unit = next(unit for unit, counts in zip(reversed(units), reversed(labels), strict=True) if label in counts)
        if (part := place[unit[0]]) != "train":
            parts[part] = [index for index in parts[part] if index not in unit]
            parts["train"] += unit
            place |= dict.fromkeys(unit, "train")


def straddling(sets: Iterable[Sequence[int]], parts: Mapping[str, Sequence[int]]) -> list[tuple[int, ...]]:
    """The sets with members in more than one part."""
    part_of = {index: name for name, part in parts.items() for index in part}
    return [tuple(members) for members in sets if len({part_of[i] for i in members if i in part_of}) > 1]


def _remarks(source: Source, split: Split, duplicates: Duplicates | None, presplit: bool) -> list[str]:
    notes = []
    if presplit and duplicates and (leaks := straddling(duplicates.groups, split.parts())):
        example = " and ".join(source.pictures[index].name for index in leaks[0][:2])
        notes.append(
            f"{len(leaks)} sets of copies lie in more than one part of {source.name}'s own split, such as "
            f"{example}; they stay where they are"
        )
    if presplit and (leaks := straddling(groups_of(source), split.parts())):
        notes.append(
            f"{len(leaks)} groups lie in more than one part of {source.name}'s own split, such as "
            f"{source.pictures[leaks[0][0]].group!r}; they stay where they are"
        )
    for name, part in split.parts().items():
        missing = set(range(len(source.classes))) - {label for index in part for label in source.labels_of(index)}
        if part and missing:
            notes.append(f"{name} has no picture of {_names([source.classes[label] for label in sorted(missing)])}")
    num_sets = len(tied(source, duplicates, split.test))
    if 0 < num_sets * PICTURES_A_SET <= len(split.test):
        notes.append(
            f"the {len(split.test)} test pictures are {num_sets} sets of near-copies or groups; intervals and "
            "--unsure treat pictures as independent, so intervals are too narrow here and its promise may fail"
        )
    return notes


def write_split(path: Path, source: Source, split: Split, contents: Sequence[str] = ()) -> None:
    """Writes a CSV with name, label, split and reason for every picture, so that a run can be repeated exactly.

    `contents` are digests of all pictures, by which `read_split` notices a file that was swapped.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "label", "split", "reason", *(["sha256"] if contents else [])])
    part_of = {index: name for name, part in split.parts().items() for index in part}
    for index, picture in enumerate(source.pictures):
        reason = split.left_out.get(index, "")
        row = [picture.name, source.label_text(index), part_of.get(index, LEFT_OUT), reason]
        writer.writerow([*row, *([contents[index]] if contents else [])])
    write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_split(path: Path, source: Source, contents: Sequence[str] = ()) -> Split:
    """Reads the split written for this source.

    Raises DataError if the file is damaged or the source has changed: pictures that came, went or changed their class,
    and where `contents` are given and were written, pictures that are other files now.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        header, *cells = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [dict(zip(header, row, strict=True)) for row in cells]
        listed = {row["name"]: (row["label"], row["split"], row["reason"]) for row in rows}
        written = {row["name"]: row.get("sha256", "") for row in rows}
    except (OSError, csv.Error, KeyError, ValueError) as error:
        raise DataError(f"cannot read the split {path}: {error!r}; expected name,label,split,reason") from error
    indices = {picture.name: index for index, picture in enumerate(source.pictures)}
    respelled = {comparable(name): name for name in listed if name not in indices}
    for name in indices:  # a copy to another disk may have changed the Unicode form of the names
        if name not in listed and (alike := respelled.pop(comparable(name), None)):
            listed[name], written[name] = listed.pop(alike), written.pop(alike)
    added = [name for name in indices if name not in listed]
    vanished = [name for name in listed if name not in indices]
    moved = [
        name for name in indices
        if name in listed and not same_name(listed[name][0], source.label_text(indices[name]))
    ]  # fmt: skip
    swapped = [
        name for name, index in indices.items()
        if contents and written.get(name) and contents[index] and written[name] != contents[index]
    ]  # fmt: skip
    changes = {"vanished": vanished, "were added": added, "changed their class": moved, "are other files now": swapped}
    if said := [f"{len(names)} {what}, such as {names[0]}" for what, names in changes.items() if names]:
        raise DataError(
            f"{source.name} has changed since {path} was written: pictures {'; '.join(said)}. "
            "Restore the data, or start a new run with a new split"
        )
    parts: dict[str, list[int]] = {name: [] for name in (*SPLITS, LEFT_OUT)}
    for name, (_, part, _) in listed.items():
        if part not in parts:
            raise DataError(f"{path}: the split of {name} is {part!r}, expected one of {', '.join(parts)}")
        parts[part].append(indices[name])
    left_out = {indices[name]: reason for name, (_, part, reason) in listed.items() if part == LEFT_OUT}
    train, val, test = (tuple(sorted(parts[name])) for name in SPLITS)
    return Split(train, val, test, dict(sorted(left_out.items())))
