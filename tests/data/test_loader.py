import dataclasses
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from casebook.augmentation.policy import POLICIES, Policy
from casebook.data.batch_plan import BatchPlan, order
from casebook.data.crops import PictureCache
from casebook.data.loader import AugmentSettings, Batch, Batches, Pictures, make_prepare
from casebook.data.sources import Source, load_source
from casebook.errors import DataError
from casebook.preprocessing import Preprocessing
from casebook.progress import Event, Remark

from .batching import make_batches, scanned_sizes

LARGE = Preprocessing(size=72, crop_fraction=1.0)  # above the size that is held in memory as one array
SMALL = Preprocessing(size=32, crop_fraction=1.0)
RESIZED = Policy("resized", mirror=0.5)
STRONG, ALEXNET = POLICIES["strong"].policy, POLICIES["alexnet"].policy
PADDED = Policy("padded", mirror=0.5)


@pytest.fixture
def source(photo_folder: Path) -> Source:
    return load_source(photo_folder)


def stream(batches: Batches, epoch: int, start: int = 0) -> list[Batch]:
    return list(batches.epoch(epoch, start))


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.indices, b.indices)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    ("preprocessing", "policy"),
    [(LARGE, RESIZED), (LARGE, PADDED), (LARGE, Policy()), (SMALL, PADDED), (LARGE, STRONG), (SMALL, ALEXNET)],
)
def test_the_stream_does_not_depend_on_workers_or_cache(
    source: Source, preprocessing: Preprocessing, policy: Policy
) -> None:
    sizes = scanned_sizes(source)
    streams = []
    for workers, share in ((0, 0.0), (0, 0.25), (1, 0.25), (3, 0.0), (2, 0.25)):
        batches = make_batches(
            source, range(len(source)), preprocessing, policy=policy, batch_size=7, shuffle=True, seed=3,
            workers=workers, sizes=sizes, memory_share=share,
        )  # fmt: skip
        streams.append([stream(batches, 0), stream(batches, 1), stream(batches, 1, start=4)])
        batches.close()
    for other in streams[1:]:
        for first, second in zip(streams[0], other, strict=True):
            assert same(first, second)
    first, second, tail = streams[0]
    assert same(second[4:], tail)
    assert not same(first, second)
    assert sorted(torch.cat([b.indices for b in first]).tolist()) == list(range(48))
    assert first[0].images.shape == (7, preprocessing.size, preprocessing.size, 3)
    assert first[0].images.dtype == torch.uint8


def test_blending_comes_with_the_batch_and_with_any_worker(source: Source) -> None:
    tables = []
    for workers in (0, 2):
        batches = make_batches(
            source, range(48), LARGE, policy=STRONG, batch_size=9, shuffle=True, seed=2, workers=workers
        )
        stream_ = stream(batches, 1)
        batches.close()
        assert all(batch.mixing is not None and batch.mixing.shape == (len(batch.labels), 5) for batch in stream_)
        assert all(batch.parameters is None for batch in stream_)
        tables.append(torch.cat([batch.mixing for batch in stream_ if batch.mixing is not None]))
    assert torch.equal(*tables)
    assert stream(make_batches(source, range(48), LARGE, policy=RESIZED, batch_size=9), 0)[0].mixing is None


def test_small_pictures_may_be_augmented_where_the_network_runs(source: Source) -> None:
    policy = Policy("padded", rotate=20, brightness=0.3, border="fill")
    here = make_batches(source, range(48), SMALL, policy=policy, batch_size=16, shuffle=True, seed=2)
    there = make_batches(source, range(48), SMALL, policy=policy, batch_size=16, shuffle=True, seed=2, on_device=True)
    prepare = make_prepare(SMALL, torch.device("cpu"), True)
    _, scale = SMALL.offset_and_scale
    for first, second in zip(stream(here, 3), stream(there, 3), strict=True):
        assert second.parameters is not None
        assert torch.equal(first.indices, second.indices)
        levels = (prepare(first) - prepare(second)).abs() * torch.from_numpy(scale)[:, None, None]
        assert levels.max() < 2.01  # two roundings, and what brightness makes of the first
        assert not torch.equal(first.images, second.images)


def test_evaluation_sees_what_preprocessing_gives(source: Source) -> None:
    batches = make_batches(source, [5, 2, 30], LARGE, batch_size=2)
    images = torch.cat([batch.images for batch in stream(batches, 0)])
    for row, index in enumerate((5, 2, 30)):
        expected = LARGE.pixels(source.open(index, min_side=LARGE.decode_side))
        assert np.array_equal(images[row].numpy(), expected)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_each_batch_and_count_every_picture_once(source: Source, world_size: int) -> None:
    def parts(shuffle: bool) -> list[list[Batch]]:
        return [
            stream(
                make_batches(source, range(47), SMALL, batch_size=9, shuffle=shuffle, seed=1, rank=rank,
                        world_size=world_size, policy=PADDED if shuffle else Policy()),
                2,
            )
            for rank in range(world_size)
        ]  # fmt: skip

    whole = stream(make_batches(source, range(47), SMALL, batch_size=9, shuffle=True, seed=1, policy=PADDED), 2)
    for number, batches in enumerate(zip(*parts(True), strict=True)):
        assert torch.equal(torch.cat([b.images for b in batches]), whole[number].images)
        sizes = [len(b.labels) for b in batches]
        assert max(sizes) - min(sizes) <= 1
    seen = [index for batches in parts(False) for batch in batches for index in batch.indices.tolist()]
    assert sorted(seen) == list(range(47))


def test_an_unreadable_picture_is_skipped_with_its_reason(photo_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    shutil.copytree(photo_folder, root)
    source = load_source(root)
    (root / "spots" / "03.jpg").unlink()
    (root / "stripes" / "05.jpg").write_bytes(b"no picture")
    for workers in (0, 2):
        for preprocessing in (LARGE, SMALL):
            batches = make_batches(source, range(48), preprocessing, batch_size=10, workers=workers, shuffle=True)
            seen = [index for batch in stream(batches, 0) for index in batch.indices.tolist()]
            batches.close()
            assert len(seen) == 46
            assert set(batches.skipped) == {"spots/03.jpg", "stripes/05.jpg"}
            assert all(batches.skipped.values())


@dataclasses.dataclass(frozen=True)
class Deadly(Source):
    """A source one of whose pictures kills the process that reads it, once."""

    flag: str = ""

    def open(self, index: int, **options: object):
        if index == 20 and not Path(self.flag).exists():
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open(index, **options)  # type: ignore[arg-type]


def test_a_killed_worker_is_replaced_and_the_stream_is_the_same(source: Source, tmp_path: Path) -> None:
    record = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    deadly = Deadly(**record, flag=str(tmp_path / "flag"))
    batches = make_batches(deadly, range(48), LARGE, batch_size=8, workers=2, shuffle=True, seed=4)
    survived = stream(batches, 0)
    batches.close()
    assert (tmp_path / "flag").exists()
    assert same(survived, stream(make_batches(source, range(48), LARGE, batch_size=8, shuffle=True, seed=4), 0))


def test_a_worker_that_dies_during_a_step_does_not_disturb_the_step(source: Source) -> None:
    batches = make_batches(source, range(48), LARGE, batch_size=2, workers=1, shuffle=True, seed=4)
    seen = []
    for number, batch in enumerate(batches.epoch(0)):
        seen.append(batch)
        if number == 1:
            assert batches.workers is not None
            (pid,) = batches.workers.pids
            os.kill(pid, signal.SIGKILL)
            for _ in range(1000):  # the arithmetic of a step, in which a signal handler would raise
                torch.ones(10).sum()
    batches.close()
    assert same(seen, stream(make_batches(source, range(48), LARGE, batch_size=2, shuffle=True, seed=4), 0))


SMALL_SHM = """
set -e
mount -t tmpfs -o size=64k tmpfs /dev/shm
[ "$1" = full ] && head -c 64k /dev/zero > /dev/shm/full
exec "$2" -c "
import sys
from casebook.data.batch_plan import BatchPlan
from casebook.data.loader import Batches
from casebook.data.sources import load_source
from casebook.preprocessing import Preprocessing
from casebook.progress import Remark

batches = Batches(load_source(sys.argv[1]), range(48), Preprocessing(size=72), BatchPlan(16), workers=2)
remarks = []
batches.report = remarks.append
images = [batch.images for batch in batches.epoch(0)]
print(sum(map(len, images)), batches.workers is not None, remarks)
batches.close()
" "$3"
"""


def can_unshare() -> bool:
    unshare = shutil.which("unshare")
    command = [unshare, "-m", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    return unshare is not None and subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("state", ["small", "full"])
def test_a_small_or_full_dev_shm_stops_nothing(photo_folder: Path, state: str) -> None:
    if not can_unshare():
        pytest.skip("no right to make a mount namespace")
    command = ["unshare", "-m", "sh", "-c", SMALL_SHM, "sh", state, sys.executable, str(photo_folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "48 True []", result.stderr


def test_without_shared_memory_the_stream_is_the_same(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebook.data.workers.shared_memory", lambda *sizes: None)
    piped = make_batches(source, range(48), LARGE, batch_size=9, policy=STRONG, shuffle=True, workers=2)
    found = stream(piped, 0)
    assert piped.workers is not None
    assert not piped.workers.shares_memory
    piped.close()
    assert same(found, stream(make_batches(source, range(48), LARGE, batch_size=9, policy=STRONG, shuffle=True), 0))


def test_where_no_process_starts_this_one_reads_and_says_so(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("casebook.data.loader.Workers", refuse)
    batches = make_batches(source, range(48), LARGE, batch_size=9, workers=2)
    events: list[Event] = []
    batches.report = events.append
    found = [stream(batches, epoch) for epoch in (0, 1)]
    assert all(same(batches_, stream(make_batches(source, range(48), LARGE, batch_size=9), 0)) for batches_ in found)
    (remark,) = events  # once, not in each epoch
    assert isinstance(remark, Remark)
    assert "cannot start a process" in remark.text
    assert "Resource temporarily unavailable" in remark.text


def test_an_interrupted_wait_ends_the_workers(source: Source) -> None:
    """The pipe may hold half a batch then; the next epoch starts new ones."""
    batches = make_batches(source, range(48), LARGE, batch_size=9, workers=1)
    iterator = batches.epoch(0)
    next(iterator)
    assert batches.workers is not None
    batches.workers._pipes[0].poll = lambda *_: signal.raise_signal(signal.SIGALRM)  # type: ignore[method-assign]
    before = signal.signal(signal.SIGALRM, lambda *_: 1 // 0)
    try:
        with pytest.raises(ZeroDivisionError):
            next(iterator)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert batches.workers is None
    assert same(stream(batches, 0), stream(make_batches(source, range(48), LARGE, batch_size=9), 0))
    batches.close()


def test_memory_is_pinned_only_for_cuda(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = []
    original = torch.empty

    def empty(*size: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        asked.append(pin_memory)
        return original(*size, **options)

    monkeypatch.setattr(torch, "empty", empty)
    for device, expected in ((None, False), ("cpu", False), ("mps", False), ("cuda:0", True)):
        asked.clear()
        chosen = None if device is None else torch.device(device)
        batches = make_batches(source, range(8), LARGE, batch_size=4, workers=1, device=chosen)
        stream(batches, 0)
        batches.close()
        assert asked == [expected] * 2


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_draws_nothing_from_torchs_own_random_numbers(source: Source, workers: int) -> None:
    """Dropout draws from them; a step's mask must not depend on whether an epoch, or a process, begins with it."""
    batches = make_batches(source, range(48), LARGE, batch_size=16, workers=workers, shuffle=True, policy=STRONG)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for epoch, start in ((0, 0), (1, 0), (1, 2)):
        stream(batches, epoch, start)
    batches.close()
    assert torch.equal(torch.get_rng_state(), before)


def test_spawned_workers_can_be_started(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_start_method", lambda *_: "spawn")
    for policy in (RESIZED, PADDED):
        batches = make_batches(source, range(8), LARGE, batch_size=4, workers=1, policy=policy)
        assert pickle.loads(pickle.dumps(batches.pictures)).seed == 0


def test_the_cache_saves_reading_again(photo_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    shutil.copytree(photo_folder, root)
    source = load_source(root)
    sizes = scanned_sizes(source)
    batches = make_batches(source, range(48), LARGE, batch_size=16, policy=RESIZED, shuffle=True, sizes=sizes)
    first = stream(batches, 0)
    shutil.rmtree(root)
    assert sum(len(batch.labels) for batch in stream(batches, 1)) == sum(len(batch.labels) for batch in first) == 48
    assert not batches.skipped


def test_validation_reads_its_pictures_once(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = Source.open
    monkeypatch.setattr(Source, "open", lambda self, i, **k: (opened.append(i), original(self, i, **k))[1])
    batches = make_batches(source, range(10), LARGE, batch_size=4)
    for epoch in range(3):
        stream(batches, epoch)
    assert len(opened) == 10


def test_the_cache_keeps_to_its_budget_and_to_earlier_epochs() -> None:
    cache = PictureCache([(2, 2, 3)] * 10, budget_bytes=50)
    assert cache.num_slots == 4
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    cache.put(3, 0, picture)
    cache.put(4, 0, picture)
    assert cache.get(3, 0) is None  # another process may still be writing it
    assert np.array_equal(cache.get(3, 1), picture)
    assert cache.get(4, 1) is None


def test_small_rests_are_left_out_of_training() -> None:
    plan = BatchPlan(16, shuffle=True)
    assert plan.bounds(35) == [(0, 16), (16, 32)]
    assert plan.bounds(36) == [(0, 16), (16, 32), (32, 36)]
    assert plan.bounds(1) == [(0, 1)]
    assert BatchPlan(4, shuffle=True).bounds(9) == [(0, 4), (4, 8)]
    assert BatchPlan(16).bounds(35) == [(0, 16), (16, 32), (32, 35)]


def test_order_is_a_permutation_that_changes_with_seed_and_epoch() -> None:
    indices = np.arange(10, 110)
    first = order(indices, 1, 0)
    assert sorted(first) == sorted(indices)
    assert np.array_equal(first, order(indices, 1, 0))
    assert not np.array_equal(first, order(indices, 1, 1))
    assert not np.array_equal(first, order(indices, 2, 0))


def test_no_pictures_is_an_error(source: Source) -> None:
    with pytest.raises(DataError, match="no pictures"):
        make_batches(source, [], LARGE, batch_size=4)


def test_crops_from_files_of_unknown_size_are_an_error(source: Source) -> None:
    settings = AugmentSettings(RESIZED)
    with pytest.raises(DataError, match="their sizes must be known"):
        Batches(source, range(8), LARGE, BatchPlan(4), augmentation=settings)


@pytest.mark.parametrize("policy", [Policy(), PADDED, STRONG], ids=["none", "padded", "strong"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_without_a_readable_picture_says_so(
    photo_folder: Path, tmp_path: Path, policy: Policy, workers: int
) -> None:
    source = load_source(shutil.copytree(photo_folder, tmp_path / "photos"))
    sizes = scanned_sizes(source)
    for index in (4, 5, 6, 7, 9):
        (tmp_path / "photos" / source.pictures[index].name).write_bytes(b"no picture")
    batches = make_batches(source, range(12), LARGE, 4, policy=policy, sizes=sizes, workers=workers)
    first, second, third = stream(batches, 0)
    batches.close()
    assert [batch.is_empty for batch in (first, second, third)] == [False, True, False]
    assert second.images.shape == (0, 72, 72, 3)
    assert second.images.dtype == torch.uint8
    assert second.labels.dtype == second.indices.dtype == torch.int64
    assert second.labels.shape == second.indices.shape == (0,)
    assert second.mixing is None
    assert second.parameters is None
    assert [name for name, _ in second.skipped] == [source.pictures[index].name for index in (4, 5, 6, 7)]
    assert third.indices.tolist() == [8, 10, 11]


OPENCV_THREADS = """
import sys
import cv2, numpy as np
from casebook.augmentation.policy import Policy
from casebook.data.batch_plan import BatchPlan
from casebook.data.crops import CropSettings
from casebook.data.loader import AugmentSettings, Batches
from casebook.data.scan import scan
from casebook.data.sources import load_source
from casebook.preprocessing import Preprocessing

cv2.setNumThreads(3)
cv2.resize(np.zeros((4000, 4000, 3), np.uint8), (2000, 2000), interpolation=cv2.INTER_AREA)  # starts its threads

class Telling:
    def __init__(self, pictures):
        self.pictures = pictures
    def __getattr__(self, name):
        return getattr(self.pictures, name)
    def __len__(self):
        return len(self.pictures)
    def __getitem__(self, key):
        cv2.resize(np.zeros((4000, 4000, 3), np.uint8), (2000, 2000), interpolation=cv2.INTER_AREA)
        name = f"{cv2.getNumThreads()} threads"
        return self.pictures[key]._replace(skipped=((name, ""),))

source = load_source(sys.argv[1])
sizes = [(facts.width, facts.height) for facts in scan(source, workers=1).facts]
batches = Batches(source, range(48), Preprocessing(size=72), BatchPlan(12), workers=2,
                  augmentation=AugmentSettings(Policy("resized")), crops=CropSettings(sizes))
assert cv2.getNumThreads() == 3, "making batches changes no global state"
batches.pictures = Telling(batches.pictures)
assert len(list(batches.epoch(0))) == 4
assert list(batches.skipped) == ["1 threads"], batches.skipped
assert cv2.getNumThreads() == 3
batches.close()
print("done")
"""


def test_workers_have_one_opencv_thread_and_this_process_keeps_its_own(photo_folder: Path) -> None:
    """In a process of its own: if the threads are not ended before the fork, the workers wait for them for ever."""
    found = subprocess.run(
        [sys.executable, "-c", OPENCV_THREADS, str(photo_folder)], capture_output=True, text=True, timeout=60
    )
    assert (found.stdout.strip(), found.stderr) == ("done", "")


def test_reading_in_this_process_uses_one_opencv_thread(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, seen, whole = load_source(photo_folder), [], Pictures.__getitem__

    def read(self: Pictures, key: Any) -> Batch:
        seen.append(cv2.getNumThreads())
        return whole(self, key)

    monkeypatch.setattr(Pictures, "__getitem__", read)
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        list(make_batches(source, range(4), LARGE, 2).epoch(0))
        assert (seen, cv2.getNumThreads()) == ([1, 1], 2)
    finally:
        cv2.setNumThreads(before)


def test_crops_are_cut_from_pictures_scaled_by_the_value_range(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(generator.integers(0, 4096, (90, 80), np.uint16)).save(tmp_path / name / "0.png")
    source = load_source(tmp_path)
    means = []
    for value_range in (None, (0, 4095)):
        preprocessing = dataclasses.replace(LARGE, value_range=value_range)
        batches = make_batches(source, [0, 1], preprocessing, 2, policy=RESIZED)
        means.append(float(next(batches.epoch(0)).images.float().mean()))
    assert means[0] == pytest.approx(2048 / 257, abs=1)
    assert means[1] == pytest.approx(127.5, abs=4)
