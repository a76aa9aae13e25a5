"""Lists with several labels a picture: what they say, votes, and splits that keep shares, copies and groups."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from casebook.data.duplicates import Duplicates
from casebook.data.many_labels import krippendorff_alpha
from casebook.data.pictures import Picture, Source
from casebook.data.sources import load_source
from casebook.data.split import read_split, split_source, straddling, tied, write_split
from casebook.errors import DataError

UNKNOWN = float("nan")


def written(folder, text, pictures=4):
    for number in range(pictures):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    path = folder / "list.csv"
    path.write_text(text)
    return load_source(path, many_labels=True)


def test_a_separator_gives_several_labels(tmp_path):
    source = written(tmp_path, "path,label\n0.png,cat|dog\n1.png,dog\n2.png,cat\n3.png,bird | dog\n")
    assert source.task == "multilabel"
    assert source.classes == ("bird", "cat", "dog")
    assert source.targets is not None
    assert source.targets.tolist() == [[0, 1, 1], [0, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert any("multilabel" in note for note in source.notes)


def test_a_column_a_class_holds_votes_and_unknowns(tmp_path):
    source = written(
        tmp_path, "path,cat,dog,split\n0.png,1,0,train\n1.png,,1,train\n2.png,0.25,0,val\n3.png,0,0,test\n"
    )
    assert source.classes == ("cat", "dog")
    assert_allclose(source.targets, [[1, 0], [UNKNOWN, 1], [0.25, 0], [0, 0]])
    assert [picture.split for picture in source.pictures] == ["train", "train", "val", "test"]
    assert source.labels_of(2) == ()
    assert [source.label_text(index) for index in range(4)] == ["cat", "cat=?|dog", "cat=0.25", ""]


def test_rows_of_several_people_become_shares(tmp_path):
    rows = ["0.png,ann,1,0", "0.png,bob,1,1", "0.png,cid,0,", "1.png,ann,0,1", "1.png,bob,0,1"]
    source = written(tmp_path, "path,annotator,cat,dog\n" + "\n".join(rows) + "\n")
    assert_allclose(source.targets, [[2 / 3, 0.5], [0, 1]], rtol=1e-6)
    assert source.agreement is not None
    assert source.agreement.keys() == {"cat", "dog"}
    with pytest.raises(DataError, match="two different rows of 'ann'"):
        written(tmp_path, "path,annotator,cat,dog\n0.png,ann,1,0\n0.png,ann,0,0\n")


def test_one_label_a_picture_stays_so_and_others_refuse_several(tmp_path):
    assert written(tmp_path, "path,label\n0.png,great white shark\n1.png,tiger shark\n").task == "singlelabel"
    written(tmp_path, "path,cat,dog\n0.png,1,0\n1.png,0,1\n")
    with pytest.raises(DataError, match="column of 0 and 1 for each class"):
        load_source(tmp_path / "list.csv")


def test_alpha_of_a_published_table():
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), part C: 4 observers, 12 units, nominal 0.743.
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, UNKNOWN, UNKNOWN, UNKNOWN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, UNKNOWN, 3],
        [UNKNOWN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, UNKNOWN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, UNKNOWN],
    ]
    assert krippendorff_alpha(np.array(table, float).T) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(np.array([[1.0, 1.0], [0.0, 0.0]])) == 1
    assert krippendorff_alpha(np.array([[1.0, UNKNOWN], [0.0, UNKNOWN]])) is None


def random_source(seed):
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.02, 0.4, 8)
    targets = (rng.random((400, 8)) < shares).astype(np.float32)
    targets[:16] = np.tile(np.eye(8, dtype=np.float32), (2, 1))
    pictures = tuple(Picture(f"{i}.png", 0, "", f"g{rng.integers(60)}" if i % 3 == 0 else "") for i in range(400))
    copies = tuple(tuple(sorted(rng.choice(400, 3, replace=False).tolist())) for _ in range(20))
    return Source("made", None, tuple("abcdefgh"), pictures, targets=targets), Duplicates(copies, ())


@pytest.mark.parametrize("seed", range(4))
def test_a_split_keeps_shares_and_divides_no_copies_or_groups(seed):
    source, copies = random_source(seed)
    split = split_source(source, duplicates=copies, seed=seed)
    parts = split.parts()
    units = tied(source, copies, range(len(source)))
    assert not straddling(units, parts)
    assert sorted(index for part in parts.values() for index in part) == list(range(len(source)))

    def unevenness(test):
        targets = source.targets
        assert targets is not None
        return np.abs(targets[list(test)].sum(0) / targets.sum(0) - 0.15).mean()

    rng = np.random.default_rng(seed)
    chance = np.median([unevenness(rng.permutation(len(source))[: len(split.test)]) for _ in range(50)])
    assert unevenness(split.test) < chance


def test_a_written_split_notices_changed_labels(tmp_path):
    source, copies = random_source(0)
    split = split_source(source, duplicates=copies)
    write_split(tmp_path / "split.csv", source, split)
    assert read_split(tmp_path / "split.csv", source).parts() == split.parts()
    assert source.targets is not None
    source.targets[3] = 1 - source.targets[3]
    with pytest.raises(DataError, match="changed their class"):
        read_split(tmp_path / "split.csv", source)
