"""A data set for anyone's training loop: checked, split without leaks, as torch Datasets."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..files import cache_folder
from ..progress import Advanced, Reporter, reporting, silent
from .duplicates import duplicates
from .scan import Scan, scan
from .sources import PLAIN, Source, SourceFormat, load_source
from .split import Split, split_source

Transform = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class SplitSettings:
    """How a data set without a split of its own is divided. The fields are those of a recipe."""

    val_fraction: float = 0.15
    test_fraction: float = 0.15
    seed: int = 0
    group_by: str = ""
    near_duplicates: bool = True


class PictureDataset(Dataset):
    """Some pictures of a source: item i is (picture, label).

    The picture is an upright PIL image in RGB, or what `transform` makes of it; the label is an index into `classes`.
    A transform that has a `preprocessing`, as `casebook.Augment` has, gets pictures decoded for it: in its mode, and
    large ones at a reduced size. Raises PictureError for a picture that cannot be read any more.
    """

    def __init__(self, source: Source, indices: Sequence[int], transform: Transform | None = None):
        self.source, self.indices, self.transform = source, tuple(indices), transform

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return self.source.classes

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) the label of each picture."""
        return np.array([self.source.pictures[index].label for index in self.indices], np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each picture, such as its path below the folder."""
        return tuple(self.source.pictures[index].name for index in self.indices)

    def with_transform(self, transform: Transform | None) -> "PictureDataset":
        """The same pictures with another transform."""
        return PictureDataset(self.source, self.indices, transform)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple[Any, int]:
        index = self.indices[item]
        preprocessing = getattr(self.transform, "preprocessing", self.transform)
        options = getattr(preprocessing, "decode_options", {})
        picture = self.source.open(index, **options)
        return (picture if self.transform is None else self.transform(picture)), self.source.pictures[index].label

    def __repr__(self) -> str:
        return f"PictureDataset({self.source.name!r}, {len(self)} pictures, {len(self.classes)} classes)"


@dataclasses.dataclass(frozen=True)
class PictureData:
    """A data set: its source, what is known of each picture, and the split that keeps copies and groups on one side."""

    source: Source
    scan: Scan
    split: Split
    settings: SplitSettings = SplitSettings()
    format: SourceFormat = PLAIN

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return self.source.classes

    @property
    def train(self) -> PictureDataset:
        """The pictures to learn from."""
        return PictureDataset(self.source, self.split.train)

    @property
    def val(self) -> PictureDataset:
        """The pictures to choose settings and epochs by."""
        return PictureDataset(self.source, self.split.val)

    @property
    def test(self) -> PictureDataset:
        """The pictures for one final score."""
        return PictureDataset(self.source, self.split.test)

    @functools.cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """The (width, height) of every picture of the source in pixels; (0, 0) of those that cannot be read."""
        return [(facts.width, facts.height) for facts in self.scan.facts]

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(part)} {name}" for name, part in self.split.parts().items())
        return f"PictureData({self.source.name!r}, {len(self.classes)} classes: {parts})"

    def _repr_html_(self) -> str:
        from html import escape

        counts = {name: np.bincount(getattr(self, name).labels, minlength=len(self.classes)) for name in
                  ("train", "val", "test")}  # fmt: skip
        rows = "".join(
            f"<tr><th>{escape(name)}</th>{''.join(f'<td>{count[label]}</td>' for count in counts.values())}</tr>"
            for label, name in enumerate(self.classes[:20])
        )
        more = f"<p>and {len(self.classes) - 20} more classes</p>" if len(self.classes) > 20 else ""
        notes = "".join(f"<li>{escape(note)}</li>" for note in (*self.source.notes, *self.split.notes))
        head = "<tr><th>class</th><th>train</th><th>val</th><th>test</th></tr>"
        return f"<p><b>{escape(self.source.name)}</b></p><table>{head}{rows}</table>{more}<ul>{notes}</ul>"


def load_data(
    data: str | Path,
    settings: SplitSettings = SplitSettings(),
    *,
    format: SourceFormat = PLAIN,
    progress: bool | Reporter = False,
) -> PictureData:
    """A data set, checked and split: `.classes`, and `.train`, `.val`, `.test` as torch Datasets.

    `data` is a folder of class folders, a CSV list or a built-in name such as "digits". A data set that has a split
    keeps it; copies and near-copies of a picture never lie on two sides of a split that is made here. Every picture is
    read once, which the cache remembers.

    Raises DataError when no training can be made of it.
    """
    source = load_source(data, group_by=settings.group_by or None, format=format)
    with reporting(progress) as report:
        seen = scan_source(source, report)
    found = split_data(source, seen, settings)
    return dataclasses.replace(found, format=format)


def scan_source(source: Source, report: Reporter = silent) -> Scan:
    """One look at every picture, from the cache where it has been looked at before."""

    def progress(done: int, total: int) -> None:
        report(Advanced("scan", done, total))

    return scan(source, progress=progress, cache_dir=cache_folder())


def split_data(source: Source, seen: Scan, settings: SplitSettings) -> PictureData:
    """The source's own split, completed, or a new one. Raises DataError where it cannot be divided."""
    split = split_source(
        source,
        scan=seen,
        duplicates=duplicates(seen, source, near=settings.near_duplicates),
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
        seed=settings.seed,
    )
    return PictureData(source, seen, split, settings)
