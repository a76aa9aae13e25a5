"""A data set for anyone's loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import casebook
from casebook.data.split import read_split, write_split
from casebook.errors import DataError
from casebook.preprocessing import Preprocessing
from casebook.progress import Advanced, Event

SIZE = Preprocessing(size=20)


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(SIZE(picture))


def test_the_parts_are_those_of_a_training(photo_folder: Path, tmp_path: Path) -> None:
    data = casebook.load_data(photo_folder, casebook.SplitSettings(seed=3, val_fraction=0.2))
    run = casebook.train(data, out=tmp_path / "run", model="lenet5", recipe="scratch", epochs=1, workers=0)
    assert (run.recipe.seed, run.recipe.val_fraction) == (3, 0.2)
    assert read_split(run.path / "split.csv", data.source).parts() == data.split.parts()
    write_split(tmp_path / "again.csv", data.source, data.split, data.scan.contents)
    assert (tmp_path / "again.csv").read_bytes() == (run.path / "split.csv").read_bytes()


def test_items_are_pictures_and_labels(photo_folder: Path) -> None:
    data = casebook.load_data(photo_folder)
    assert data.classes == ("spots", "stripes")
    assert len(data.train) + len(data.val) + len(data.test) == 48
    picture, label = data.train[0]
    assert isinstance(picture, Image.Image)
    assert (picture.mode, picture.size) == ("RGB", (96, 80))
    assert data.train.names[0].startswith(data.classes[label])
    assert data.train.labels.tolist() == [data.train[i][1] for i in range(len(data.train))]
    assert set(data.train.names).isdisjoint({*data.val.names, *data.test.names})


@pytest.mark.parametrize("workers", [0, 2])
def test_they_work_in_a_data_loader(photo_folder: Path, workers: int) -> None:
    data = casebook.load_data(photo_folder)
    loader = DataLoader(data.val.with_transform(as_tensor), 4, num_workers=workers)
    images, labels = zip(*loader, strict=True)
    assert torch.cat(images).shape == (len(data.val), 3, 20, 20)
    assert torch.cat(labels).tolist() == data.val.labels.tolist()


def test_a_preprocessing_is_a_transform_and_says_how_to_decode(photo_folder: Path) -> None:
    grey = Preprocessing(size=20, mode="L", mean=(0.5,), std=(0.5,))
    data = casebook.load_data(photo_folder)
    image, _ = data.test.with_transform(grey)[0]
    expected = grey(data.source.open(data.split.test[0], **grey.decode_options))
    assert np.array_equal(image, expected)
    assert image.shape == (1, 20, 20)


def test_it_prints_itself(photo_folder: Path) -> None:
    data = casebook.load_data(photo_folder)
    assert repr(data).startswith(f"PictureData({str(photo_folder)!r}, 2 classes: {len(data.train)} train, ")
    assert "<th>stripes</th>" in data._repr_html_()
    assert repr(data.val).endswith(f"{len(data.val)} pictures, 2 classes)")


def test_progress_is_reported_and_mistakes_are_named(photo_folder: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    casebook.load_data("digits", progress=events.append)
    assert events[-1] == Advanced("scan", 1797, 1797)
    with pytest.raises(DataError):
        casebook.load_data(tmp_path / "nothing")
