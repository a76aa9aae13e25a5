"""Contact sheets: real pictures, what is under them, and that the file is what it says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.augmentation.policy import POLICIES, Policy
from casebook.augmentation.sampling import replayed
from casebook.data.sources import load_source
from casebook.errors import DataError, PictureError
from casebook.preprocessing import Preprocessing
from casebook.workflows.augment import OPERATIONS, caption, draw_operations, draw_sheet

from ..augmentation.augmenting import parameters
from ..data.batching import make_batches


def test_a_picture_is_shown_in_every_epoch(photo_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    shown = draw_sheet(photo_folder / "spots" / "00.jpg", POLICIES["strong"].policy, out, count=6, size=64, columns=3)
    assert [entry["picture"] for entry in shown] == [f"epoch {epoch}" for epoch in range(6)]
    assert len({str(entry["parameters"]["window"]) for entry in shown}) == 6
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width == 2 * 18 + 3 * 64 + 2 * 14
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels[18 : 18 + 64, 18 : 18 + 64].std() > 10


def test_a_data_set_is_shown_evenly(photo_folder: Path, tmp_path: Path) -> None:
    shown = draw_sheet(photo_folder, Policy(mirror=1.0), tmp_path / "sheet.png", count=4, size=32)
    assert [entry["picture"].partition(":")[0] for entry in shown] == ["spots", "spots", "stripes", "stripes"]
    assert all(entry["parameters"]["mirror"] for entry in shown)


def test_what_is_drawn_is_what_the_parameters_give(photo_folder: Path, tmp_path: Path) -> None:
    from casebook.augmentation.augment import augment, fill_colour

    path, policy = photo_folder / "spots" / "01.jpg", POLICIES["light"].policy
    shown = draw_sheet(path, policy, tmp_path / "sheet.png", count=2, size=48)
    picture = np.asarray(Image.open(path).convert("RGB"))
    again = augment([picture] * 2, replayed([e["parameters"] for e in shown]), 48, fill_colour(Preprocessing(size=48)))
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert np.array_equal(pixels[18 : 18 + 48, 18 : 18 + 48], again[0])


def test_every_operation_changes_the_picture(photo_folder: Path, tmp_path: Path) -> None:
    shown = draw_operations(photo_folder / "spots" / "00.jpg", tmp_path / "sheet.png", size=64, columns=len(OPERATIONS))
    assert [entry["picture"] for entry in shown] == list(OPERATIONS)
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    tiles = [pixels[18 : 18 + 64, 18 + place * 78 : 18 + place * 78 + 64] for place in range(len(OPERATIONS))]
    assert len({tile.tobytes() for tile in tiles}) == len(OPERATIONS)


def test_captions_tell_what_changed_and_nothing_else() -> None:
    assert caption(parameters(20, 10)[0]) == ["window 20 x 10 at 0, 0"]
    lines = caption(parameters(20, 10, mirror=True, angle=-0.2, hue=12.0, pca=(3, -0.1, -2), posterize=3)[0])
    assert lines[1:] == ["mirrored, turned 0°", "hue +12°, pca +3, 0, -2", "3 bits"]


@pytest.mark.parametrize("name", ["basic", "alexnet", "cifar"])
def test_a_data_set_is_shown_as_a_training_has_it(tmp_path: Path, name: str) -> None:
    """Also where pictures are reduced before crops are cut from them."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (150, 210, 3), np.uint8)
        Image.fromarray(pixels).resize((840, 600)).save(tmp_path / label / "large.png")
    policy, preprocessing = POLICIES[name].policy, Preprocessing(size=64)
    draw_sheet(tmp_path, policy, tmp_path / "sheet.png", count=2, size=64, seed=5, columns=2)
    batch = next(make_batches(load_source(tmp_path), [0, 1], preprocessing, 2, policy=policy, seed=5).epoch(0))
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    for place, image in enumerate(batch.images.numpy()):
        left = 18 + place * 78
        assert np.array_equal(pixels[18 : 18 + 64, left : left + 64], image)


def test_pictures_that_cannot_be_read_are_passed_over(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "photos")
    (tmp_path / "photos" / "spots" / "00.jpg").write_bytes(b"no picture")
    shown = draw_sheet(tmp_path / "photos", Policy(), tmp_path / "sheet.jpg", count=3, size=32)
    assert len(shown) == 2
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_nothing_to_show_is_an_error(photo_folder: Path, tmp_path: Path) -> None:
    for wrong in ({"count": 0}, {"columns": 0}, {"seed": -1}):
        with pytest.raises(DataError, match="expected 1 to 200 pictures, at least one column and a seed of at least 0"):
            draw_sheet(photo_folder, Policy(), tmp_path / "a.png", **wrong)
    with pytest.raises(DataError, match="is a single picture, and pca_of=data needs a data set"):
        draw_sheet(photo_folder / "spots" / "00.jpg", Policy(pca=0.1, pca_of="data"), tmp_path / "a.png")
    (tmp_path / "fake.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot write .*/fake.jpg/a.png"):
        draw_sheet(photo_folder, Policy(), tmp_path / "fake.jpg" / "a.png", size=16)
    with pytest.raises(PictureError, match=r"fake\.jpg"):
        draw_sheet(tmp_path / "fake.jpg", Policy(), tmp_path / "a.png")
    with pytest.raises(DataError, match="there is no folder"):
        draw_sheet(tmp_path / "nowhere", Policy(), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
