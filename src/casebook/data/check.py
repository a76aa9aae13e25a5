"""The data doctor: a source -> findings, each with what training will do about it."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..progress import Advanced, Reporter, silent
from .duplicates import Duplicates, duplicates
from .pictures import SPLITS, Source
from .scan import PictureFacts, Scan, choose_value_range, scan
from .sources import load_source
from .split import Split, groups_of, split_source, straddling

SHOWN = 5  # examples of each finding in the text; the dictionary has all
IMBALANCE = 3.0  # a finding if the largest class has at least this many times the pictures of the smallest


MANY = 0.05  # share of the pictures from which on a central crop is a finding


@dataclass(frozen=True)
class Finding:
    """One kind of problem in a data set."""

    kind: str  # "broken", "exact copies", "near copies", "copies across splits", "groups across splits", ...
    count: int
    examples: tuple[str, ...]  # one line for each case
    action: str  # what training does about it, and what the user can do


@dataclass(frozen=True)
class Check:
    """The result of checking a data set; `to_dict` gives the document that `--json` prints."""

    source: Source
    scan: Scan
    duplicates: Duplicates
    split: Split | None  # the split that training with the same settings makes; None if it fails
    split_error: str | None
    findings: tuple[Finding, ...]
    leaks: int  # sets of copies, and groups, in more than one part of the source's own split

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the keys

        source, pictures, classes: the name, the number of pictures, and {class: {"pictures", "train", "val", "test"}}
        split: {"train", "val", "test", "left_out"}, numbers of pictures; null if no split can be made
        own_split: whether the source has a split of its own; leaks: sets in more than one part of it
        findings: [{"kind", "count", "examples", "action"}]; notes: [text]
        broken: [{"name", "reason"}]
        pairs: [{"first", "second", "first_class", "second_class", "first_split", "second_split", "exact",
            "distance", "likeness"}]; groups: [[name, ...]], the sets of copies that the pairs connect
        sizes: {"width", "height", "shorter_side", "size_bytes"}, each {"least", "median", "greatest"}
        formats, modes: {name: number of pictures}
        values: {"pictures", "least", "greatest", "scaled"} of the pictures of more than 8 bits; "scaled" are the two
            values that training turns into 0 and 255, null where each picture is scaled by itself; null without any
        """
        names = [picture.name for picture in self.source.pictures]
        labels = [self.source.label_text(index) for index in range(len(names))]
        part_of = self._part_of()
        return {
            "source": self.source.name,
            "pictures": len(self.source),
            "classes": self._class_counts(),
            "split": None
            if self.split is None
            else {part: len(indices) for part, indices in self.split.parts().items()}
            | {"left_out": len(self.split.left_out)},
            "own_split": self.own_split,
            "leaks": self.leaks,
            "findings": [asdict(finding) | {"examples": list(finding.examples)} for finding in self.findings],
            "notes": list(self._notes()),
            "broken": [{"name": names[index], "reason": why} for index, why in self.scan.broken.items()],
            "pairs": [
                {
                    "first": names[pair.first],
                    "second": names[pair.second],
                    "first_class": labels[pair.first],
                    "second_class": labels[pair.second],
                    "first_split": part_of.get(pair.first, ""),
                    "second_split": part_of.get(pair.second, ""),
                    "exact": pair.exact,
                    "distance": pair.distance,
                    "likeness": pair.likeness,
                }
                for pair in self.duplicates.pairs
            ],
            "groups": [[names[index] for index in group] for group in self.duplicates.groups],
            "sizes": self._sizes(),
            "formats": self._counted("format"),
            "modes": self._counted("mode"),
            "values": self._values(),
        }

    def text(self) -> str:
        """The report for a reader."""
        counts = self._class_counts()
        sizes = self._sizes()
        lines = [f"{self.source.name}: {len(self.source)} pictures in {len(counts)} classes"]
        ordered = sorted(counts.items(), key=lambda item: -item[1]["pictures"])
        for name, count in ordered if len(ordered) <= 12 else [*ordered[:6], *ordered[-6:]]:
            lines.append(f"  {count['pictures']:>7}  {name}")
        if len(ordered) > 12:
            lines.insert(-6, f"      ...  {len(ordered) - 12} classes in between")
        if sizes:
            lines.append("sizes in pixels (least, median, greatest):")
            for what in ("width", "height"):
                least, median, greatest = (sizes[what][key] for key in ("least", "median", "greatest"))
                lines.append(f"  {what:<7} {least:>6} {median:>6} {greatest:>6}")
        for what, kinds in (("formats", self._counted("format")), ("colour modes", self._counted("mode"))):
            lines.append(f"{what}: " + (", ".join(f"{name} {count}" for name, count in kinds.items()) or "none"))
        if values := self._values():
            scaled = values["scaled"]
            how = f"{scaled[0]:g} to {scaled[1]:g} becomes 0 to 255" if scaled else "each is scaled by itself"
            ends = f"{values['least']:g} to {values['greatest']:g}"
            lines.append(f"more than 8 bits: {values['pictures']} pictures with values from {ends}; in training, {how}")
        if self.split is not None:
            parts = ", ".join(f"{part} {len(indices)}" for part, indices in self.split.parts().items())
            lines.append(f"split: {parts}{', as the data set has it' if self.own_split else ''}")
        for finding in self.findings:
            lines += ["", f"{finding.kind}: {finding.count}. {finding.action}."]
            lines += [f"  {example}" for example in finding.examples[:SHOWN]]
            if len(finding.examples) > SHOWN:
                lines.append(f"  ... and {len(finding.examples) - SHOWN} more (all of them with --json)")
        if not self.findings:
            lines += ["", "no broken pictures, no copies, no leaks"]
        if notes := self._notes():
            lines += ["", *(f"note: {note}" for note in notes)]
        return "\n".join(lines)

    @property
    def own_split(self) -> bool:
        return any(picture.split for picture in self.source.pictures)

    def _part_of(self) -> dict[int, str]:
        if self.split is None:
            return {index: picture.split for index, picture in enumerate(self.source.pictures)}
        return {index: part for part, indices in self.split.parts().items() for index in indices}

    def _notes(self) -> tuple[str, ...]:
        return (*self.source.notes, *(self.split.notes if self.split else ()))

    def _class_counts(self) -> dict[str, dict[str, int]]:
        part_of = self._part_of()
        counts = {name: {"pictures": 0, "train": 0, "val": 0, "test": 0} for name in self.source.classes}
        for index in range(len(self.source)):
            for label in self.source.labels_of(index):
                count = counts[self.source.classes[label]]
                count["pictures"] += 1
                if part := part_of.get(index):
                    count[part] += 1
        return counts

    def _sizes(self) -> dict[str, dict[str, float]]:
        whole = [facts for facts in self.scan.facts if facts.error is None]
        values = {
            "width": [facts.width for facts in whole],
            "height": [facts.height for facts in whole],
            "shorter_side": [min(facts.width, facts.height) for facts in whole],
            "size_bytes": [facts.size_bytes for facts in whole],
        }
        return {
            what: {"least": min(numbers), "median": statistics.median_low(numbers), "greatest": max(numbers)}
            for what, numbers in values.items()
            if numbers
        }

    def _values(self) -> dict[str, Any] | None:
        facts = self.scan.facts
        deep = [(one.low, one.high) for one in facts if one.low is not None and one.high is not None]
        if not deep:
            return None
        trained = range(len(self.source)) if self.split is None else self.split.train
        scaled = choose_value_range(facts[index] for index in trained)
        return {
            "pictures": len(deep),
            "least": min(low for low, _ in deep),
            "greatest": max(high for _, high in deep),
            "scaled": None if scaled is None else list(scaled),
        }

    def _counted(self, field: str) -> dict[str, int]:
        return dict(Counter(getattr(facts, field) for facts in self.scan.facts if not facts.error).most_common())


def check_data(
    data: str | Path | Source,
    *,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
    near: bool = True,
    report: Reporter = silent,
    cache_dir: Path | None = None,
) -> Check:
    """Loads, scans and checks a data set; the fractions and the seed are those of the recipe.

    `report` gets Advanced events. Raises DataError as load_source does.
    """

    def progress(done: int, total: int) -> None:
        report(Advanced("scan", done, total))

    source = load_source(data, many_labels=True)
    seen = scan(source, progress=progress, cache_dir=cache_dir)
    found = duplicates(seen, source, near=near)
    return check(source, seen, found, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)


def check(
    source: Source,
    scan: Scan,
    duplicates: Duplicates,
    *,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
) -> Check:
    """The findings from a scan and its duplicates; this reads no files."""
    split, split_error = None, None
    try:
        split = split_source(
            source,
            scan=scan,
            duplicates=duplicates,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )
    except DataError as error:
        split_error = str(error)
    findings = [
        *_broken(source, scan),
        *_copies(source, duplicates),
        *_mislabelled(source, duplicates),
        *_imbalance(source, scan),
        *_aspects(source, scan),
    ]
    given = {part: [index for index, picture in enumerate(source.pictures) if picture.split == part] for part in SPLITS}
    leaking_copies = straddling(duplicates.groups, given)
    leaking_groups = straddling(groups_of(source), given)
    kept = "Training keeps the data set's own split, so its test results are too good; move or remove them"
    if leaking_copies:
        lines = _set_lines(source, leaking_copies)
        findings.append(Finding("copies across splits", len(leaking_copies), lines, kept))
    if leaking_groups:
        lines = tuple(
            f"{source.pictures[members[0]].group}: {', '.join(sorted({source.pictures[i].split for i in members}))}"
            for members in leaking_groups
        )
        findings.append(Finding("groups across splits", len(leaking_groups), lines, kept))
    if split_error is not None:
        findings.append(Finding("no split", 1, (split_error,), "Training needs this to be fixed first"))
    leaks = len(leaking_copies) + len(leaking_groups)
    return Check(source, scan, duplicates, split, split_error, tuple(findings), leaks)


def _broken(source: Source, scan: Scan) -> Iterable[Finding]:
    if broken := scan.broken:
        lines = tuple(f"{source.pictures[index].name} {reason}" for index, reason in broken.items())
        yield Finding("broken pictures", len(broken), lines, "Training leaves them out, or stops with --strict")


def _copies(source: Source, duplicates: Duplicates) -> Iterable[Finding]:
    action = "A new split keeps each set of copies in one part"
    exact = [pair for pair in duplicates.pairs if pair.exact]
    near = [pair for pair in duplicates.pairs if not pair.exact]
    names = [picture.name for picture in source.pictures]
    if exact:
        lines = tuple(f"{names[pair.first]} = {names[pair.second]}" for pair in exact)
        yield Finding("exact copies", len(exact), lines, action)
    if near:
        lines = tuple(
            f"{names[pair.first]} ~ {names[pair.second]} (likeness {pair.likeness:.3f}, {pair.distance} of 64 bits)"
            for pair in near
        )
        yield Finding("near copies", len(near), lines, action)


def _mislabelled(source: Source, duplicates: Duplicates) -> Iterable[Finding]:
    mixed = [group for group in duplicates.groups if len({source.label_text(index) for index in group}) > 1]
    if mixed:
        action = "Training keeps them; one of the labels is wrong, or the picture shows both classes"
        yield Finding("copies with different classes", len(mixed), _set_lines(source, mixed), action)


def _imbalance(source: Source, scan: Scan) -> Iterable[Finding]:
    broken = scan.broken
    readable = (index for index in range(len(source)) if index not in broken)
    counts = Counter(label for index in readable for label in source.labels_of(index))
    if len(counts) < 2:
        return
    (most, high), *_, (least, low) = counts.most_common()
    if high >= IMBALANCE * low:
        line = f"{source.classes[most]} has {high} pictures, {source.classes[least]} {low}"
        action = "A new split keeps the proportions; --class-weights balanced makes up for them in training"
        yield Finding("imbalance", 1, (line,), action)


def lost_ends(facts: Iterable[PictureFacts]) -> str:
    """What a central crop costs, where at least MANY of the pictures lose half of themselves or more; else ""."""
    shares = [min(one.width, one.height) / max(one.width, one.height) for one in facts if one.error is None]
    halved = sum(share <= 0.5 for share in shares)
    if not shares or halved < MANY * len(shares):
        return ""
    return (
        f"{halved} of {len(shares)} pictures are at least twice as long as wide, and a central crop keeps half of each "
        f"or less ({100 * min(shares):.0f} % of the longest); --resize letterbox or --resize squash keeps all of them"
    )


def _aspects(source: Source, scan: Scan) -> Iterable[Finding]:
    if not (note := lost_ends(scan.facts)):
        return
    ratios = {
        index: max(one.width, one.height) / min(one.width, one.height)
        for index, one in enumerate(scan.facts)
        if one.error is None
    }
    longest = sorted((index for index in ratios if ratios[index] >= 2), key=lambda index: -ratios[index])
    lines = tuple(
        f"{source.pictures[index].name} is {scan.facts[index].width} x {scan.facts[index].height}; "
        f"a central square keeps {100 / ratios[index]:.0f} %"
        for index in longest
    )
    yield Finding("wide or tall pictures", len(longest), lines, note[0].upper() + note[1:])


def _set_lines(source: Source, sets: Iterable[Sequence[int]]) -> tuple[str, ...]:
    return tuple(" = ".join(source.pictures[index].name for index in members) for members in sets)
