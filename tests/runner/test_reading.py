"""What a user names as pictures, and what becomes of names that are none."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from casebook.preprocessing import Preprocessing
from casebook.runner.reading import named_pictures, read_ahead


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs there")
def test_nothing_waits_for_a_pipe_or_reads_a_device_for_ever(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    given = [tmp_path / "pipe.png", tmp_path / "zero.png", tmp_path / "loop.png", tmp_path / "*.png", tmp_path, ""]
    readings = list(read_ahead(named_pictures(given), Preprocessing(size=8)))
    errors = {Path(reading.name).name: reading.error for reading in readings}
    assert errors["pipe.png"] == errors["zero.png"] == "is a FIFO, socket or device, expected a file"
    assert errors["good.png"] == ""
    assert errors["loop.png"].startswith("cannot be read: ")
    assert readings[-1].error == "an empty name"  # and not all pictures of the current folder
    assert len(readings) == 3 + 4 + 2 + 1
