"""Batches: a source, some of its pictures and a preprocessing -> uint8 batches, the same for any number of workers.

The stream is a pure function of (seed, epoch): which pictures make up a batch, in which order, and how each is
augmented. So a training can be taken up at any batch, by any number of processes, without any loader state.
"""

import itertools
import math
import mmap
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import DataError, PictureError, RunError
from ..preprocessing import Preprocessing
from .augment import (
    Augmentation,
    apply_resized_crop,
    draw,
    fill_colour,
    padded_crops,
    resized_crop,
)
from .sources import Source

NO_AUGMENTATION = Augmentation()
WHOLE_SIDE = 64  # pictures up to this side are preprocessed once and held in memory as one array
MEMORY_SHARE = 0.25  # of the free memory may be used for pictures
WORKER_RESTARTS = 3


class Batch(NamedTuple):
    """images (B, size, size, channels) uint8; labels and indices (B,) int64; pictures that could not be read."""

    images: Tensor
    labels: Tensor
    indices: Tensor
    skipped: tuple[tuple[str, str], ...] = ()


def order(indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """The pictures of an epoch in their random order, a pure function of its arguments."""
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(indices)


def plan(count: int, batch_size: int) -> list[tuple[int, int]]:
    """First and past-the-last place in the epoch's order of each training batch, all processes together.

    A last batch of less than a quarter of the size is left out, unless it is the only one: it would move the
    weights as much as a whole one, and batch norm needs at least two pictures. Which ones differs by epoch.
    """
    bounds = [(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] < max(2, batch_size / 4):
        bounds.pop()
    return bounds


def free_memory_bytes() -> int:
    """Memory that can be taken without swapping; 1 GiB where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:  # noqa: PTH123 - a kernel table, not a file
            available = next(line for line in lines if line.startswith("MemAvailable"))
        return int(available.split()[1]) * 1024
    except (OSError, StopIteration):
        return 1 << 30


class PictureCache:
    """Decoded pictures in memory that forked worker processes share, one slot a picture.

    A slot is read only in epochs after the one that wrote it: an epoch's end orders the processes, so no reader
    sees a half-written picture. Pictures beyond the budget have no slot and are decoded each time.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], budget_bytes: int):
        sizes = np.array([math.prod(shape) for shape in shapes], np.int64)
        self.shapes = list(shapes)
        self.ends = np.cumsum(sizes)
        self.num_slots = int(np.searchsorted(self.ends, budget_bytes, side="right"))
        size_bytes = int(self.ends[self.num_slots - 1]) if self.num_slots else 0
        size_bytes_in_all = max(1, size_bytes + self.num_slots * 8)
        self.memory = mmap.mmap(-1, size_bytes_in_all)  # shared, anonymous, zero
        self.written = np.frombuffer(self.memory, np.int64, self.num_slots)  # 1 + epoch of writing
        self.bytes = np.frombuffer(self.memory, np.uint8, size_bytes, offset=self.num_slots * 8)

    def _slot(self, place: int) -> NDArray[np.uint8]:
        start = int(self.ends[place - 1]) if place else 0
        return self.bytes[start : int(self.ends[place])].reshape(self.shapes[place])

    def get(self, place: int, epoch: int) -> NDArray[np.uint8] | None:
        if place < self.num_slots and 0 < self.written[place] <= epoch:
            return self._slot(place)
        return None

    def put(self, place: int, epoch: int, picture: NDArray[np.uint8]) -> None:
        if place < self.num_slots and not self.written[place] and picture.shape == self.shapes[place]:
            self._slot(place)[:] = picture
            self.written[place] = epoch + 1


class Pictures(Dataset):
    """Reads, augments and stacks the pictures of one batch; a key is (epoch, places), as `_Plan` gives them."""

    def __init__(
        self,
        source: Source,
        indices: NDArray[np.int64],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        sizes: Sequence[tuple[int, int]] | None,
        budget_bytes: int,
        may_cache: bool,
        draw_keys: NDArray[np.int64],
    ):
        self.source, self.indices, self.seed, self.draw_keys = source, indices, seed, draw_keys
        self.preprocessing, self.augmentation = preprocessing, augmentation
        self.labels = np.array([source.pictures[i].label for i in indices], np.int64)
        self.whole: NDArray[np.uint8] | None = None
        self.cache: PictureCache | None = None
        self.targets: list[tuple[int, int]] | None = None  # (width, height) before a resized crop
        if sizes is not None and augmentation.crop == "resized":
            self.targets = [_reduced(sizes[i], preprocessing.decode_side) for i in indices]
        size, channels = preprocessing.size, preprocessing.channels
        total_bytes = len(indices) * size * size * channels
        if augmentation.crop != "resized" and size <= WHOLE_SIDE and total_bytes <= budget_bytes:
            self.whole = np.zeros((len(indices), size, size, channels), np.uint8)
            self.bad: dict[int, str] = {}
        elif may_cache and augmentation.crop != "resized":
            self.cache = PictureCache([(size, size, channels)] * len(indices), budget_bytes)
        elif may_cache and self.targets:
            self.cache = PictureCache([(height, width, channels) for width, height in self.targets], budget_bytes)

    def read_all(self, workers: int) -> None:
        """Fills `whole`: small pictures are read once and stay in memory."""
        assert self.whole is not None

        def read(place: int) -> None:
            try:
                self.whole[place] = self._pixels(place)  # type: ignore[index]
            except PictureError as error:
                self.bad[place] = error.reason

        with ThreadPoolExecutor(max(1, workers)) as pool:  # Pillow frees the interpreter while it decodes
            for _ in pool.map(read, range(len(self.indices)), chunksize=256):
                pass

    def _open(self, place: int) -> Image.Image:
        return self.source.open(
            int(self.indices[place]),
            mode=self.preprocessing.mode,
            min_side=self.preprocessing.decode_side,
        )

    def _pixels(self, place: int) -> NDArray[np.uint8]:
        return self.preprocessing.pixels(self._open(place))

    def _cached(self, place: int, epoch: int) -> NDArray[np.uint8]:
        """The picture before augmentation: preprocessed, or for resized crops reduced to a bounded size."""
        picture = self.cache.get(place, epoch) if self.cache else None
        if picture is None:
            if self.augmentation.crop == "resized":
                opened, side = self._open(place), self.preprocessing.decode_side
                target = self.targets[place] if self.targets else _reduced(opened.size, side)
                reduced = opened if target == opened.size else opened.resize(target, Image.Resampling.BOX)
                picture = np.asarray(reduced, np.uint8).reshape(target[1], target[0], -1)
            else:
                picture = self._pixels(place)
            if self.cache:
                self.cache.put(place, epoch, picture)
        return picture

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: tuple[int, NDArray[np.int64]]) -> Batch:
        epoch, places = key
        draws = draw(self.seed, epoch, self.draw_keys[places])
        if self.whole is not None:
            good = np.array([int(place) not in self.bad for place in places], bool)
            skipped = [(int(place), self.bad[int(place)]) for place in places[~good]]
            pixels = self.whole[places[good]]
        else:
            rows, good, skipped = [], np.ones(len(places), bool), []
            for row, place in enumerate(places):
                try:
                    picture = self._cached(int(place), epoch)
                except PictureError as error:
                    good[row] = False
                    skipped.append((int(place), error.reason))
                    continue
                if self.augmentation.crop == "resized":
                    height, width, channels = picture.shape
                    crop = resized_crop(self.augmentation, draws[row], width, height)
                    image = Image.fromarray(picture if channels == 3 else picture[:, :, 0])
                    picture = apply_resized_crop(image, crop, self.preprocessing)
                rows.append(picture)
            shape = (0, self.preprocessing.size, self.preprocessing.size, self.preprocessing.channels)
            pixels = np.stack(rows) if rows else np.zeros(shape, np.uint8)
        if self.augmentation.crop == "padded" or (self.augmentation.crop == "none" and self.augmentation.mirror):
            pixels = padded_crops(self.augmentation, draws[good], pixels, fill_colour(self.preprocessing))
        return Batch(
            torch.from_numpy(np.ascontiguousarray(pixels)),
            torch.from_numpy(self.labels[places[good]]),
            torch.from_numpy(self.indices[places[good]]),
            tuple((self.source.pictures[int(self.indices[p])].name, reason) for p, reason in skipped),
        )


def _reduced(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) with the shorter side brought down to `side`, never up."""
    width, height = size
    short = min(width, height)
    if short <= side:
        return width, height
    return max(1, round(width * side / short)), max(1, round(height * side / short))


class _Plan(Sampler):
    """The keys of one epoch's batches, set anew before each epoch."""

    def __init__(self) -> None:
        self.keys: list[tuple[int, NDArray[np.int64]]] = []

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


class Batches:
    """The batches of one split for one of `world_size` processes.

    Training (`shuffle`): each global batch of `batch_size` pictures is cut into equal parts, one a process.
    Evaluation: every picture comes exactly once, over all processes together, in order.
    `sizes` are the (width, height) of all the source's pictures, where known: they make room in the cache.
    `draw_keys`: what the random numbers of each of `indices` are drawn from; the index itself by default.
    `skipped` gathers the names of pictures that could not be read, with the reason.
    """

    def __init__(
        self,
        source: Source,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        augmentation: Augmentation = NO_AUGMENTATION,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        sizes: Sequence[tuple[int, int]] | None = None,
        memory_share: float = MEMORY_SHARE,
        draw_keys: Sequence[int] | None = None,
    ):
        if not len(indices):
            raise DataError(f"{source.name}: no pictures to make batches from")
        mine = np.asarray(indices, np.int64)
        keys = mine if draw_keys is None else np.asarray(draw_keys, np.int64)
        self.num_pictures = len(mine)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.skipped: dict[str, str] = {}
        if not shuffle:
            mine, keys = mine[rank::world_size], keys[rank::world_size]
        budget_bytes = int(memory_share * free_memory_bytes() / world_size)
        # Workers that are not forked cannot see a common cache.
        may_cache = budget_bytes > 0 and (not workers or multiprocessing.get_start_method() == "fork")
        self.pictures = Pictures(source, mine, preprocessing, augmentation, seed, sizes, budget_bytes, may_cache, keys)
        if self.pictures.whole is not None:
            self.pictures.read_all(os.cpu_count() or 1)
            workers = 0
        self.workers = workers
        self.plan = _Plan()
        self.loader: DataLoader | None = None

    def __len__(self) -> int:
        return len(self._bounds())

    def _bounds(self) -> list[tuple[int, int]]:
        if self.shuffle:
            return plan(self.num_pictures, self.batch_size)
        count = len(self.pictures)
        return [(start, min(start + self.batch_size, count)) for start in range(0, count, self.batch_size)]

    def global_sizes(self) -> list[int]:
        """The number of pictures of each batch, all processes together."""
        return [stop - start for start, stop in self._bounds()]

    def keys(self, epoch: int, start: int = 0) -> list[tuple[int, NDArray[np.int64]]]:
        """What to read for each batch from `start` on: the epoch and places in this process's list."""
        places = np.arange(len(self.pictures))
        if self.shuffle:
            places = order(places, self.seed, epoch)
        keys = []
        for first, last in self._bounds()[start:]:
            batch = places[first:last]
            if self.shuffle:
                batch = np.array_split(batch, self.world_size)[self.rank]
            keys.append((epoch, batch))
        return keys

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on.

        Raises RunError when worker processes keep dying (out of memory, or a picture that crashes its decoder).
        """
        keys = self.keys(epoch, start)
        for batch in self._from_workers(keys) if self.workers else map(self.pictures.__getitem__, keys):
            self.skipped.update(batch.skipped)
            yield batch

    def _from_workers(self, keys: list[tuple[int, NDArray[np.int64]]]) -> Iterator[Batch]:
        done = 0
        for attempt in itertools.count(1):
            self.plan.keys = keys[done:]
            try:
                with warnings.catch_warnings():
                    # Our workers only decode; they take no lock that a thread of the parent may hold.
                    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
                    warnings.filterwarnings("ignore", message=".*worker processes in total", category=UserWarning)
                    iterator = _started(self._started_loader())
                for batch in iterator:
                    yield batch
                    done += 1
                return
            except (RuntimeError, OSError, EOFError) as error:
                if not _tells_of_death(error):
                    raise
                self.close()
                if attempt > WORKER_RESTARTS:
                    raise RunError(
                        f"the processes that read pictures died {attempt} times, last at batch {done}: {error}. "
                        "Try '--workers 0', or fewer workers where memory is short"
                    ) from error

    def _started_loader(self) -> DataLoader:
        if self.loader is None:
            self.loader = DataLoader(
                self.pictures,
                sampler=self.plan,
                batch_size=None,
                num_workers=self.workers,
                persistent_workers=True,
                pin_memory=torch.cuda.is_available(),
                prefetch_factor=4,
                collate_fn=_as_it_is,
                worker_init_fn=_start_worker,
            )
        return self.loader

    def close(self) -> None:
        """Ends the worker processes."""
        self.loader = None


def _tells_of_death(error: Exception) -> bool:
    """Whether an error of the loader means that a worker process is gone, not that its work raised something."""
    text = str(error)
    if isinstance(error, OSError | EOFError):  # of the connection over which batches come
        return not text.startswith("Caught ")
    return "exited unexpectedly" in text or "killed by signal" in text


def _started(loader: DataLoader) -> Iterator[Batch]:
    """The loader's iterator without torch's handler for dead children, which would raise in whatever the main thread
    is doing; the iterator itself notices them when it is asked for a batch."""
    in_main = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    before = signal.getsignal(signal.SIGCHLD) if in_main else None
    iterator = iter(loader)
    if in_main:
        signal.signal(signal.SIGCHLD, before)
    return iterator


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """Worker processes leave Ctrl-C to their parent and keep to one thread each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
