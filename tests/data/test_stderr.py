"""What decoders print is kept from the terminal, with the name of the picture; all else gets through."""

import io
import os
import threading

import numpy as np
import pytest
from PIL import Image

from casebook.augmentation.policy import POLICIES
from casebook.data import stderr
from casebook.data.batch_plan import BatchPlan
from casebook.data.crops import CropSettings
from casebook.data.loader import AugmentSettings, Batches
from casebook.data.reduced import decode_reduced
from casebook.data.sources import load_source
from casebook.preprocessing import Preprocessing


def odd_jpeg(seed: int = 0) -> bytes:
    """A JPEG with bytes that belong to nothing, as some cameras and editors write them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()[:-2] + bytes(20) + b"\xff\xd9"


def test_a_warning_of_libjpeg_is_kept_with_its_picture(capfd: pytest.CaptureFixture[str]) -> None:
    stderr.take()
    decode_reduced(odd_jpeg(), name="odd.jpg", mode="RGB", side=100)
    assert capfd.readouterr().err == ""
    ((name, text),) = stderr.take()
    assert name == "odd.jpg"
    assert "extraneous bytes before marker 0xd9" in text
    assert stderr.take() == ()


def test_what_others_print_gets_through(capfd: pytest.CaptureFixture[str]) -> None:
    with stderr.caught("a.jpg"):
        os.write(2, b"half of the work is done\nCorrupt JPEG data: bad Huffman code\nall of it\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "half of the work is done\nall of it\nafter\n"
    assert stderr.take() == (("a.jpg", "Corrupt JPEG data: bad Huffman code"),)


def test_threads_share_it_and_leave_stderr_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    contents = {f"{number}.jpg": odd_jpeg(number) for number in range(24)}
    threads = [
        threading.Thread(target=decode_reduced, args=(content,), kwargs={"name": name, "mode": "RGB", "side": 100})
        for name, content in contents.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    named = {part for name, _ in stderr.take() for part in name.split(" or ")}
    assert named <= contents.keys()
    assert named
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_training_reports_odd_pictures_once(tmp_path, capfd: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "odd.jpg").write_bytes(odd_jpeg(number))
        Image.new("RGB", (50, 40)).save(tmp_path / name / "good.jpg")
    source = load_source(tmp_path)
    said: list[str] = []
    whole = POLICIES["basic"].policy.changed({"area": (1.0, 1.0), "ratio": (1.25, 1.25)})
    batches = Batches(
        source,
        range(4),
        Preprocessing(size=16),
        BatchPlan(4, shuffle=True),
        augmentation=AugmentSettings(whole),
        crops=CropSettings(sizes=[(50, 40)] * 4, memory_share=0),
    )
    batches.report = lambda event: said.append(event.text)  # type: ignore[attr-defined]
    for epoch in range(2):
        list(batches.epoch(epoch))
    assert sorted(line.partition(":")[0] for line in said) == ["a/odd.jpg", "b/odd.jpg"]
    assert all("extraneous bytes" in line for line in said)
    assert "Corrupt" not in capfd.readouterr().err
