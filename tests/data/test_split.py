"""Splits share no copy and no group, whatever the data; they repeat exactly; the errors name the class."""

import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from casebook.data.duplicates import Duplicates, duplicates
from casebook.data.pictures import Picture, Source
from casebook.data.scan import PictureFacts, Scan, scan
from casebook.data.sources import load_source
from casebook.data.split import (
    Split,
    _cost,
    _give_train_every_class,
    read_split,
    split_source,
    straddling,
    tied,
    write_split,
)
from casebook.errors import DataError


def source_of(labels: list[int], groups: list[str] | None = None, splits: list[str] | None = None) -> Source:
    classes = tuple(f"class{label}" for label in range(max(labels) + 1))
    pictures = tuple(
        Picture(f"{index:04d}.png", label, splits[index] if splits else "", groups[index] if groups else "")
        for index, label in enumerate(labels)
    )
    return Source("data", Path("data"), classes, pictures)


def copies(*groups: tuple[int, ...]) -> Duplicates:
    return Duplicates(groups, ())


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Source, Duplicates]:
    """Classes of 2 to 60 pictures, some in groups, some copies of each other, across classes too."""
    sizes = draw(st.lists(st.integers(2, 60), min_size=2, max_size=5))
    labels = draw(st.permutations([label for label, size in enumerate(sizes) for _ in range(size)]))
    count = len(labels)
    names = draw(st.lists(st.sampled_from(["", "", "", "p1", "p2", "p3", "p4"]), min_size=count, max_size=count))
    starts = draw(st.lists(st.integers(0, count - 2), max_size=8, unique=True))
    found = [tuple(sorted({start, draw(st.integers(0, count - 1))})) for start in starts]
    return source_of(list(labels), names), copies(*(members for members in found if len(members) > 1))


@settings(deadline=None, max_examples=150)
@given(data_sets(), st.integers(0, 5))
def test_no_leak_whatever_the_data(data: tuple[Source, Duplicates], seed: int) -> None:
    source, found = data
    try:
        split = split_source(source, duplicates=found, seed=seed)
    except DataError as error:
        assert "no pictures remain" in str(error)  # noqa: PT017  # too few separate units for three parts
        assert len(tied(source, found, range(len(source)))) < 12
        return
    assert sorted(split.train + split.val + split.test) == list(range(len(source)))
    assert split.train == tuple(sorted(split.train))
    groups: dict[str, list[int]] = {}
    for index, picture in enumerate(source.pictures):
        if picture.group:
            groups.setdefault(picture.group, []).append(index)
    assert not straddling(found.groups, split.parts())
    assert not straddling(groups.values(), split.parts())
    assert {source.pictures[index].label for index in split.train} == set(range(len(source.classes)))
    assert split.val
    assert split.test
    assert split_source(source, duplicates=found, seed=seed) == split


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(20, 120), min_size=2, max_size=6), st.integers(0, 3), st.sampled_from([0.1, 0.15, 0.25]))
def test_shares_are_right_in_every_class(sizes: list[int], seed: int, share: float) -> None:
    source = source_of([label for label, size in enumerate(sizes) for _ in range(size)])
    split = split_source(source, val_fraction=share, test_fraction=share, seed=seed)
    for part in (split.val, split.test):
        counts = Counter(source.pictures[index].label for index in part)
        assert all(counts[label] == max(1, round(share * size)) for label, size in enumerate(sizes))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=80, max_size=150), st.integers(0, 3))
def test_shares_are_about_right_with_groups(sizes: list[int], seed: int) -> None:
    """Every group has one class, as with photographs of one animal."""
    labels = [number % 3 for number, size in enumerate(sizes) for _ in range(size)]
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    source = source_of(labels, groups)
    split = split_source(source, seed=seed)
    for part in (split.val, split.test):
        for label, total in Counter(labels).items():
            count = sum(source.pictures[index].label == label for index in part)
            assert abs(count - 0.15 * total) <= 3.5


def test_seeds_give_different_splits() -> None:
    source = source_of([0, 1] * 50)
    assert split_source(source, seed=0) == split_source(source, seed=0)
    assert split_source(source, seed=0).test != split_source(source, seed=1).test


def test_digits() -> None:
    source = load_source("digits")
    split = split_source(source, scan=scan(source), duplicates=duplicates(scan(source), source))
    assert len(split.test) >= 250
    assert len(split.train) + len(split.val) + len(split.test) == 1797
    counts = Counter(source.pictures[index].label for index in split.test)
    assert min(counts.values()) >= 25
    assert split.notes == ()


def test_copies_and_groups_join_into_one_unit() -> None:
    source = source_of([0] * 6, ["a", "a", "", "", "b", "b"])
    assert set(tied(source, copies((1, 2), (3, 5)), range(6))) == {(0, 1, 2), (3, 4, 5)}


def test_few_sets_of_test_pictures_are_named() -> None:
    labels = [index // 60 for index in range(120)]
    groups = [f"patient {index // 3}" for index in range(120)]  # three pictures each
    split = split_source(source_of(labels, groups))
    sets = len({groups[index] for index in split.test})
    assert split.notes == (
        f"the {len(split.test)} test pictures are {sets} sets of near-copies or groups; intervals and --unsure treat "
        "pictures as independent, so intervals are too narrow here and its promise may fail",
    )
    pairs = ["" if index % 3 else f"patient {index // 6}" for index in range(120)]  # most pictures stand alone
    assert split_source(source_of(labels, pairs)).notes == ()
    assert split_source(source_of(labels, groups), test_fraction=0).notes == ()


def test_broken_pictures_are_left_out() -> None:
    source = source_of([0, 1] * 20)
    facts = [PictureFacts(8, 8, sha256=str(index)) for index in range(40)]
    facts[3] = PictureFacts(error="is empty (0 bytes)")
    seen = Scan(tuple(facts), np.zeros((40, 32, 32), np.uint8))
    split = split_source(source, scan=seen)
    assert split.left_out == {3: "is empty (0 bytes)"}
    assert 3 not in split.train + split.val + split.test
    assert split.notes[0] == "1 pictures that cannot be read are left out"


def parts_of(train: int, val: int, test: int) -> Source:
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    return source_of([index % 2 for index in range(len(splits))], splits=splits)


def test_own_split_is_kept() -> None:
    split = split_source(parts_of(20, 6, 4), seed=3)
    assert split.train == tuple(range(20))
    assert split.val == tuple(range(20, 26))
    assert split.test == tuple(range(26, 30))
    assert split.notes == ()


def test_missing_parts_are_taken_from_train_and_reported() -> None:
    split = split_source(parts_of(40, 0, 10), val_fraction=0.2)
    assert len(split.val) == 8
    assert set(split.val) < set(range(40))
    assert split.test == tuple(range(40, 50))
    assert split.notes == ("data has no val part: 20% of its train part become one",)
    split = split_source(parts_of(40, 0, 0), val_fraction=0.2, test_fraction=0.1)
    assert (len(split.train), len(split.val), len(split.test)) == (28, 8, 4)
    assert len(split.notes) == 2


def test_copies_inside_train_stay_together_when_val_is_taken() -> None:
    pairs = copies(*((index, index + 20) for index in range(20)))
    split = split_source(parts_of(40, 0, 10), duplicates=pairs)
    assert not straddling(pairs.groups, split.parts())


def test_leaks_of_an_own_split_are_reported_and_not_moved() -> None:
    source = source_of([0, 1] * 10, ["p1" if index in (1, 15) else "" for index in range(20)],
                       ["train"] * 10 + ["val"] * 4 + ["test"] * 6)  # fmt: skip
    split = split_source(source, duplicates=copies((0, 19), (2, 3)))
    assert split.train == tuple(range(10))
    assert split.notes == (
        "1 sets of copies lie in more than one part of data's own split, such as 0000.png and 0019.png; "
        "they stay where they are",
        "1 groups lie in more than one part of data's own split, such as 'p1'; they stay where they are",
    )


def test_two_pictures_go_to_train_and_test() -> None:
    split = split_source(source_of([0] * 20 + [1] * 2))
    assert {20, 21} & set(split.train)
    assert {20, 21} & set(split.test)
    assert split.notes == ("val has no picture of class 'class1'",)


def test_train_gets_every_class_even_from_large_groups() -> None:
    """Group "a" fills the training part alone; the rare class lies in groups that would fill the other parts."""
    labels = [0] * 95 + ([0] * 10 + [1]) * 2 + [0] * 20
    groups = ["a"] * 95 + ["b"] * 11 + ["c"] * 11 + ["d"] * 10 + ["e"] * 10
    source = source_of(labels, groups)
    for seed in range(5):
        split = split_source(source, seed=seed)
        assert 1 in {labels[index] for index in split.train}
        assert split.val
        assert split.test


@pytest.mark.parametrize(
    ("counts", "have", "targets"),
    [
        ({0: 1}, {}, {0: 6}),
        ({0: 3}, {0: 5}, {0: 6}),
        ({0: 3, 1: 2}, {0: 5}, {0: 60, 1: 1}),
        ({1: 2}, {0: 1}, {0: 6, 1: 0}),
        ({0: 1, 2: 4}, {0: 90, 2: 3}, {0: 100, 1: 7, 2: 2}),
    ],
)
def test_a_class_weighs_in_proportion_to_its_target(
    counts: dict[int, int], have: dict[int, int], targets: dict[int, int]
) -> None:
    """The cost is what the units add to the sum of (have - target)^2 / target, with 1/4 for a target of 0."""

    def distance(held: Counter[int]) -> float:
        return sum((held[label] - target) ** 2 / (target or 0.25) for label, target in targets.items())

    expected = distance(Counter(have) + Counter(counts)) - distance(Counter(have))
    assert _cost(Counter(counts), Counter(have), targets) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_groups_of_several_classes_leave_the_rare_class_in_every_part(seed: int) -> None:
    """20 groups have 20 pictures of the common class and one of the rare; 20 have common ones only."""
    labels, groups = [], []
    for group in range(40):
        found = [0] * 20 + [1] * (group % 2)
        labels += found
        groups += [f"g{group}"] * len(found)
    split = split_source(source_of(labels, groups), val_fraction=0.15, test_fraction=0.15, seed=seed)
    counts = {name: Counter(labels[index] for index in part) for name, part in split.parts().items()}
    assert {name: count[1] for name, count in counts.items()} == {"train": 14, "val": 3, "test": 3}
    assert {name: count[0] for name, count in counts.items()} == {"train": 560, "val": 120, "test": 120}


def test_the_smallest_unit_of_a_class_moves_to_training() -> None:
    units = [(0, 1, 2), (3, 4), (5,)]
    parts = {"train": [], "val": [0, 1, 2, 3, 4], "test": [5]}
    _give_train_every_class(parts, units, [Counter({0: 3}), Counter({0: 2}), Counter({0: 1})], {0})
    assert parts == {"train": [5], "val": [0, 1, 2, 3, 4], "test": []}


def test_a_fraction_of_zero_makes_no_part() -> None:
    split = split_source(source_of([0, 1] * 20), val_fraction=0)
    assert split.val == ()
    assert len(split.test) == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (source_of([0] * 10 + [1]), "a single readable picture of class 'class1', which cannot be both"),
        (source_of([0, 1, 2]), r"a single readable picture of 3 classes \('class0', 'class1', 'class2'\)"),
        (source_of([0] * 10 + [2] * 10), "no readable training picture of class 'class1'"),
        (source_of([0, 1] * 5, splits=["test"] * 10), "no readable training pictures"),
        (source_of([0, 1] * 10, ["one"] * 20), "no pictures remain for the val part, as 1 groups"),
    ],
)
def test_impossible_splits_name_the_class(source: Source, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_source(source)


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.1), (0.5, 0.5), (1.0, 0.0)])
def test_bad_fractions(val: float, test: float) -> None:
    with pytest.raises(DataError, match="expected both fractions from 0 and their sum below 1"):
        split_source(source_of([0, 1] * 5), val_fraction=val, test_fraction=test)


def test_written_and_read_again(tmp_path: Path) -> None:
    source = source_of([0, 1] * 20)
    odd = source.pictures[0]._replace(name='a, "quoted" \udcff é.png')
    source = Source(source.name, source.root, source.classes, (odd, *source.pictures[1:]))
    split = split_source(source)._replace(notes=())
    index = split.train[3]
    split = split._replace(train=tuple(i for i in split.train if i != index), left_out={index: 'is "odd", and\nlong'})
    write_split(tmp_path / "split.csv", source, split)
    assert read_split(tmp_path / "split.csv", source) == split
    assert (tmp_path / "split.csv").read_bytes().startswith(b"name,label,split,reason\n")


def test_changed_data_is_refused(tmp_path: Path) -> None:
    source = source_of([0, 1] * 10)
    path = tmp_path / "split.csv"
    write_split(path, source, split_source(source))
    fewer = Source(source.name, source.root, source.classes, source.pictures[1:])
    with pytest.raises(DataError, match=r"1 vanished, such as 0000\.png"):
        read_split(path, fewer)
    write_split(path, fewer, split_source(fewer))
    with pytest.raises(DataError, match=r"1 were added, such as 0000\.png"):
        read_split(path, source)
    write_split(path, source, split_source(source))
    moved = Source("data", source.root, source.classes, (source.pictures[0]._replace(label=1), *source.pictures[1:]))
    with pytest.raises(DataError, match=r"1 changed their class, such as 0000\.png"):
        read_split(path, moved)


def test_a_split_survives_another_unicode_form_of_the_names(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    here, there = (
        Source("data", Path("data"), ("tea", name), tuple(Picture(f"{name}/{i}.png", i % 2) for i in range(20)))
        for name in (composed, decomposed)
    )
    write_split(tmp_path / "split.csv", here, split_source(here))
    assert read_split(tmp_path / "split.csv", there) == read_split(tmp_path / "split.csv", here)


@pytest.mark.parametrize("text", ["", "name,label\na,b\n", "name,label,split,reason\n0000.png,class0,holdout,\n"])
def test_damaged_split_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text)
    source = Source("data", Path("data"), ("class0", "class1"), (Picture("0000.png", 0),))
    with pytest.raises(DataError, match=r"split"):
        read_split(path, source)
    with pytest.raises(DataError, match="cannot read the split"):
        read_split(tmp_path / "none.csv", source)


def test_from_files_to_split(make_folder: Callable[[dict[str, int]], Path], photographs: list[Image.Image]) -> None:
    """The whole way: real files with copies and damage, and no copy on two sides."""
    root = make_folder({})
    for name, pictures in (("a", photographs[:20]), ("b", photographs[20:])):
        (root / name).mkdir(parents=True)
        for index, picture in enumerate(pictures):
            picture.save(root / name / f"{index}.png")
            picture.resize((90, 72)).save(root / name / f"{index}-small.jpg", quality=80)
    (root / "a/broken.jpg").write_bytes(b"")
    source = load_source(root)
    seen = scan(source)
    for seed in range(3):
        split = split_source(source, scan=seen, duplicates=duplicates(seen, source), seed=seed)
        for part in split.parts().values():
            stems = Counter(source.pictures[index].name.replace("-small.jpg", "").replace(".png", "") for index in part)
            assert set(stems.values()) == {2}
        assert len(split.left_out) == 1


def test_split_is_a_plain_record() -> None:
    assert Split((0,), (1,), (2,)).parts() == {"train": (0,), "val": (1,), "test": (2,)}
