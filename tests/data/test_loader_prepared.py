"""Batches from prepared pictures are the batches that decoding gives, whatever happens to the file."""

import dataclasses
import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from casebook.augmentation.policy import Policy
from casebook.data.loader import Batch, Batches
from casebook.data.prepared import PreparedFile, StoredFormat, fill, list_prepared, open_prepared
from casebook.data.scan import PictureFacts, scan
from casebook.data.sources import Picture, Source, load_source
from casebook.preprocessing import Preprocessing

from .batching import make_batches

SIZE = Preprocessing(size=40, crop_fraction=1.0)
RESIZED = Policy("resized", mirror=0.5)
SMALLER, LOSSY = StoredFormat(48), StoredFormat(48, format="jpeg")
DEFAULT = StoredFormat(SIZE.decode_side, SIZE.mode)


@pytest.fixture(scope="module")
def facts(photo_folder: Path) -> tuple[PictureFacts, ...]:
    return scan(load_source(photo_folder), workers=1).facts


@pytest.fixture
def source(photo_folder: Path) -> Source:
    return load_source(photo_folder)


def opened(source: Source, facts: tuple[PictureFacts, ...], form: StoredFormat, folder: Path) -> PreparedFile:
    return open_prepared(source, facts, form, budget_bytes=1e12, disk_share=1, folder=folder)


def batches(source: Source, facts: tuple[PictureFacts, ...], **options: object) -> Batches:
    settings: dict = dict(batch_size=7, policy=RESIZED, shuffle=True, seed=3, memory_share=0.0) | options
    return make_batches(source, range(len(source)), SIZE, sizes=[(f.width, f.height) for f in facts], **settings)


def images(stream: Batches, *epochs: int) -> list[torch.Tensor]:
    try:
        return [torch.cat([batch.images for batch in stream.epoch(epoch)]) for epoch in epochs]
    finally:
        stream.close()


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


@pytest.mark.parametrize("form", [DEFAULT, SMALLER, LOSSY, StoredFormat(48, "L")], ids=str)
def test_the_stream_does_not_depend_on_what_is_prepared(
    source: Source, facts: tuple[PictureFacts, ...], form: StoredFormat, tmp_path: Path
) -> None:
    grey = dataclasses.replace(SIZE, mode="L", mean=(0.5,), std=(0.5,))
    preprocessing = grey if form.mode == "L" else SIZE

    def stream(workers: int, share: float, prepared: PreparedFile | None) -> list[torch.Tensor]:
        made = make_batches(
            source, range(len(source)), preprocessing, batch_size=7, policy=RESIZED, shuffle=True, seed=3,
            workers=workers, memory_share=share, format=form, prepared=prepared,
            sizes=[(f.width, f.height) for f in facts],
        )  # fmt: skip
        return images(made, 0, 1)

    plain = stream(0, 0.0, None)
    empty = opened(source, facts, form, tmp_path / "empty")
    half = opened(source, facts, form, tmp_path / "half")
    fill(source, half, workers=1)
    for index in range(12, 36):  # half of it was never written
        half._write(bytes(16), half.layout.header_bytes + 16 * index)
    assert half.num_complete() == 24
    for workers, share, prepared in (
        (0, 0.25, None), (2, 0.0, None), (0, 0.0, empty), (0, 0.25, empty), (2, 0.25, empty), (2, 0.0, half),
    ):  # fmt: skip
        assert same(stream(workers, share, prepared), plain)
    assert empty.num_complete() == half.num_complete() == 48


def test_the_default_form_is_what_training_cut_its_crops_from(
    source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path
) -> None:
    plain = images(batches(source, facts), 0)
    assert same(plain, images(batches(source, facts, format=DEFAULT), 0))
    prepared = opened(source, facts, DEFAULT, tmp_path)
    assert same(plain, images(batches(source, facts, format=DEFAULT, prepared=prepared), 0))
    assert not same(plain, images(batches(source, facts, format=SMALLER), 0))
    assert not same(images(batches(source, facts, format=LOSSY), 0), images(batches(source, facts, format=SMALLER), 0))


@pytest.mark.parametrize("form", [SMALLER, LOSSY], ids=str)
def test_the_workers_prepare_in_the_first_epoch_and_nobody_decodes_after_it(
    photo_folder: Path, tmp_path: Path, form: StoredFormat
) -> None:
    root = tmp_path / "photos"
    shutil.copytree(photo_folder, root)
    source = load_source(root)
    facts = scan(source, workers=1).facts
    expected = images(batches(source, facts, format=form), 0, 1)
    stream = batches(source, facts, format=form, prepared=opened(source, facts, form, tmp_path), workers=2)
    first = torch.cat([batch.images for batch in stream.epoch(0)])
    shutil.rmtree(root)
    second = torch.cat([batch.images for batch in stream.epoch(1)])
    stream.close()
    assert same([first, second], expected)
    assert not stream.skipped
    later = batches(source, facts, format=form, prepared=opened(source, facts, form, tmp_path))  # another run
    assert same(images(later, 0), expected[:1])


def test_other_parts_of_the_source_share_the_file(
    source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path
) -> None:
    prepared = opened(source, facts, SMALLER, tmp_path)
    for indices in (range(0, 30), range(20, 48)):
        stream = make_batches(
            source, indices, SIZE, batch_size=10, policy=RESIZED, shuffle=True, format=SMALLER, prepared=prepared
        )
        images(stream, 0)
    assert prepared.num_complete() == 48
    assert len(list_prepared(tmp_path)) == 1


@pytest.mark.parametrize("policy", [Policy(), Policy("padded", mirror=0.5)], ids=["evaluation", "padded"])
def test_what_evaluation_sees_never_comes_from_prepared_pictures(
    source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path, policy: Policy
) -> None:
    prepared = opened(source, facts, LOSSY, tmp_path)
    fill(source, prepared, workers=1)
    plain = batches(source, facts, policy=policy, shuffle=False)
    given = batches(source, facts, policy=policy, shuffle=False, format=LOSSY, prepared=prepared)
    assert given.crops.prepared is None
    assert same(images(plain, 0), images(given, 0))
    if policy == Policy():
        expected = np.stack([SIZE.pixels(source.open(i, min_side=SIZE.decode_side)) for i in range(48)])
        assert np.array_equal(images(given, 0)[0].numpy(), expected)


def test_going_on_in_the_middle_of_an_epoch(source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path) -> None:
    whole = list(batches(source, facts, format=SMALLER).epoch(2))
    prepared = opened(source, facts, SMALLER, tmp_path)
    list(batches(source, facts, format=SMALLER, prepared=prepared).epoch(0))
    resumed = list(batches(source, facts, format=SMALLER, prepared=prepared).epoch(2, start=3))

    def bits(stream: list[Batch]) -> list[bytes]:
        return [batch.images.numpy().tobytes() for batch in stream]

    assert bits(resumed) == bits(whole[3:])


@dataclasses.dataclass(frozen=True)
class Deadly(Source):
    """A source one of whose pictures kills the process that reads it, once."""

    flag: str = ""

    def path(self, index: int) -> Path | None:
        if index == 20 and not Path(self.flag).exists():
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().path(index)


def test_a_killed_worker_is_replaced(source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path) -> None:
    record = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    deadly = Deadly(**record, flag=str(tmp_path / "flag"))
    prepared = opened(source, facts, SMALLER, tmp_path)
    survived = images(batches(deadly, facts, format=SMALLER, prepared=prepared, workers=2), 0, 1)
    assert (tmp_path / "flag").exists()
    assert same(survived, images(batches(source, facts, format=SMALLER), 0, 1))
    assert prepared.num_complete() == 48


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_does_not_stop_the_training_and_is_reported_once(
    source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = images(batches(source, facts, format=SMALLER), 0, 1)
    prepared, said = opened(source, facts, SMALLER, tmp_path), []
    prepared.say = said.append
    original = os.pwrite

    def pwrite(descriptor: int, content: bytes, start: int) -> int:
        if start > int(prepared.layout.starts[30]):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(descriptor, content, start)

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert same(images(batches(source, facts, format=SMALLER, prepared=prepared, workers=workers), 0, 1), expected)
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert list(tmp_path.iterdir()) == []
    assert prepared.bytes is None  # let go of, so that the disk has its room back


def test_flipped_bits_change_no_picture_and_are_reported(
    source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path
) -> None:
    expected = images(batches(source, facts, format=SMALLER), 0, 1)
    prepared = opened(source, facts, SMALLER, tmp_path)
    fill(source, prepared, workers=1)
    content = bytearray(prepared.path.read_bytes())
    for index in (2, 17, 40):
        content[int(prepared.layout.starts[index]) + 500] ^= 1
    prepared.path.write_bytes(content)
    again, said = opened(source, facts, SMALLER, tmp_path), []
    again.say = said.append
    assert same(images(batches(source, facts, format=SMALLER, prepared=again, workers=1), 0, 1), expected)
    assert len(said) == 1
    assert "damaged" in said[0]
    assert prepared.path.read_bytes() != content  # mended


def test_processes_of_one_training_share_the_file(
    source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path
) -> None:
    whole = images(batches(source, facts, format=SMALLER, batch_size=8), 1)[0]
    parts = []
    for rank in range(2):
        prepared = opened(source, facts, SMALLER, tmp_path)
        stream = batches(source, facts, format=SMALLER, prepared=prepared, batch_size=8, rank=rank, world_size=2)
        parts.append([batch.images for batch in stream.epoch(1)])
    assert torch.equal(torch.cat([torch.cat(pair) for pair in zip(*parts, strict=True)]), whole)
    assert len(list_prepared(tmp_path)) == 1


def test_pictures_in_memory_need_none() -> None:
    arrays = np.random.default_rng(0).integers(0, 256, (8, 90, 70, 3), np.uint8)
    pictures = tuple(Picture(f"{index}", index % 2) for index in range(8))
    source = Source("arrays", None, ("a", "b"), pictures, arrays=arrays)
    stream = make_batches(source, range(8), SIZE, batch_size=4, policy=RESIZED, shuffle=True, format=LOSSY)
    assert images(stream, 0)[0].shape == (8, 40, 40, 3)
