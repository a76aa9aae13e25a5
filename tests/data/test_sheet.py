"""Contact sheets: real pictures, what is under them, and that the file is what it says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.data.draws import replayed
from casebook.data.policy import POLICIES, Policy
from casebook.data.sheet import OPERATIONS, draw_operations, draw_sheet, told
from casebook.errors import DataError, PictureError

from .augmenting import parameters


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
    from casebook.data.augment import augment, fill_colour
    from casebook.preprocessing import Preprocessing

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
    assert told(parameters(20, 10)[0]) == ["window 20 x 10 at 0, 0"]
    lines = told(parameters(20, 10, mirror=True, angle=-0.2, hue=12.0, pca=(3, -0.1, -2), posterize=3)[0])
    assert lines[1:] == ["mirrored, turned 0°", "hue +12°, pca +3, 0, -2", "3 bits"]


def test_nothing_to_show_is_an_error(photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 pictures are asked for, expected 1 to 200"):
        draw_sheet(photo_folder, Policy(), tmp_path / "a.png", count=0)
    (tmp_path / "fake.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"fake\.jpg"):
        draw_sheet(tmp_path / "fake.jpg", Policy(), tmp_path / "a.png")
    with pytest.raises(DataError, match="there is no folder"):
        draw_sheet(tmp_path / "nowhere", Policy(), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
