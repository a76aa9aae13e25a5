"""Batches: a source, some of its pictures and a preprocessing -> uint8 batches, the same for any number of workers.

The stream is a pure function of (seed, epoch): which pictures make up a batch, in which order, and how each is
augmented. So a training can be taken up at any batch, by any number of processes, without any loader state.
"""

import itertools
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..augmentation.augment import augment, fill_colour
from ..augmentation.colour import IMAGENET_COMPONENTS, Components
from ..augmentation.geometry import Geometry, compose, reach
from ..augmentation.mixing import mixing_table
from ..augmentation.policy import Policy
from ..augmentation.sampling import draw
from ..errors import DataError, PictureError, RunError
from ..preprocessing import Preprocessing
from .cache import PictureCache
from .decode import Part, decode_part, read_file, reduced_size
from .jpeg_window import can_decode_windows
from .prepared import Form, PreparedFile, in_memory, picture_and_payload
from .sources import Source

UNCHANGED = Policy()
WHOLE_SIDE = 64  # pictures up to this side are preprocessed once and held in memory as one array
MEMORY_SHARE = 0.25  # of the free memory may be used for pictures
WORKER_RESTARTS = 3


class Batch(NamedTuple):
    """images (B, size, size, channels) uint8; labels and indices (B,) int64; pictures that could not be read; how
    pictures blend (B, 5), as mixing.mix takes it; and (B,) PARAMETERS where the augmentation is still to be done."""

    images: Tensor
    labels: Tensor
    indices: Tensor
    skipped: tuple[tuple[str, str], ...] = ()
    mixing: Tensor | None = None
    parameters: NDArray[Any] | None = None


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


class _Drawn(NamedTuple):
    """The augmentation of some pictures, whose (width, height) are `sizes` (N, 2), and what it reads of each."""

    sizes: NDArray[np.int64]
    parameters: NDArray[Any]
    geometry: Geometry
    parts: list[Part]


class Pictures(Dataset):
    """Reads, augments and stacks the pictures of one batch; a key is (epoch, places), as `_Plan` gives them."""

    def __init__(
        self,
        source: Source,
        indices: NDArray[np.int64],
        preprocessing: Preprocessing,
        policy: Policy,
        seed: int,
        sizes: Sequence[tuple[int, int]] | None,
        budget_bytes: int,
        may_cache: bool,
        draw_keys: NDArray[np.int64],
        components: Components,
        on_device: bool,
        form: Form | None = None,
        prepared: PreparedFile | None = None,
    ):
        self.source, self.indices, self.seed, self.draw_keys = source, indices, seed, draw_keys
        self.preprocessing, self.policy, self.components = preprocessing, policy, components
        self.on_device = on_device
        self.labels = np.array([source.pictures[i].label for i in indices], np.int64)
        self.whole: NDArray[np.uint8] | None = None
        self.cache: PictureCache | None = None
        self.form = form or Form(preprocessing.decode_side, preprocessing.mode)
        self.prepared = prepared if policy.crops_source else None
        reduced_sizes: NDArray[np.int64] | None = None
        if policy.crops_source and sizes is not None:
            reduced_sizes = np.array([reduced_size(sizes[i], self.form.side) for i in indices], np.int64)
        # The sizes of pictures of which only what a crop shows is decoded, unless they are kept.
        may_decode_parts = reduced_sizes is not None and self.prepared is None and self.form.format == "raw"
        self.part_sizes = reduced_sizes if may_decode_parts and can_decode_windows() else None
        size, channels = preprocessing.size, preprocessing.channels
        total_bytes = len(indices) * size * size * channels
        if not policy.crops_source and size <= WHOLE_SIDE and total_bytes <= budget_bytes:
            self.whole = np.zeros((len(indices), size, size, channels), np.uint8)
            self.bad: dict[int, str] = {}
        elif may_cache and not policy.crops_source:
            self.cache = PictureCache([(size, size, channels)] * len(indices), budget_bytes)
        elif may_cache and reduced_sizes is not None and not (self.prepared and self.form.format == "raw"):
            shapes = [(height, width, channels) for width, height in reduced_sizes.tolist()]
            self.cache = PictureCache(shapes, budget_bytes)

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

    def _cached(self, place: int, epoch: int, part: Part | None) -> NDArray[np.uint8]:
        """The picture before augmentation: preprocessed, or where crops are cut from it reduced to a bounded size.

        Of one that is not to be kept no more than `part` need be decoded.
        """
        keep = self.cache is not None and self.cache.has_slot(place)
        picture = self.cache.get(place, epoch) if self.cache is not None and keep else None
        if picture is None:
            if self.policy.crops_source:
                picture = self._reduced(int(self.indices[place]), None if keep else part)
            else:
                picture = self._pixels(place)
            if self.cache is not None and keep:
                self.cache.put(place, epoch, picture)
        return picture

    def _reduced(self, index: int, part: Part | None) -> NDArray[np.uint8]:
        """What crops are cut from: the same pixels whether they are prepared already or not."""
        if self.prepared is not None and (picture := self.prepared.get(index)) is not None:
            return picture
        path, name = self.source.path(index), self.source.pictures[index].name
        if path is None:
            return in_memory(self.source, index, self.form)
        content = read_file(path, name=name)
        if part is not None:
            return decode_part(content, name=name, mode=self.form.mode, side=self.form.side, part=part)
        picture, payload = picture_and_payload(content, name, self.form)
        if self.prepared is not None and picture.shape == self.prepared.layout.shapes[index]:
            self.prepared.put(index, payload, content)
        return picture

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: tuple[int, NDArray[np.int64]]) -> Batch:
        epoch, places = key
        drawn: _Drawn | None = None
        pictures: Sequence[NDArray[np.uint8]]
        if self.whole is not None:
            good = np.array([int(place) not in self.bad for place in places], bool)
            skipped = [(int(place), self.bad[int(place)]) for place in places[~good]]
            pictures = self.whole[places[good]]  # type: ignore[assignment]
        else:
            pictures, good, skipped = [], np.ones(len(places), bool), []
            if self.part_sizes is not None:
                drawn = self._draw_ahead(epoch, places, self.part_sizes[places])
            for row, place in enumerate(places):
                try:
                    pictures.append(self._cached(int(place), epoch, drawn.parts[row] if drawn else None))
                except PictureError as error:
                    good[row] = False
                    skipped.append((int(place), error.reason))
        places = places[good]
        images, parameters = self._augmented(pictures, epoch, places, drawn)
        return Batch(
            torch.from_numpy(images),
            torch.from_numpy(self.labels[places]),
            torch.from_numpy(self.indices[places]),
            tuple((self.source.pictures[int(self.indices[p])].name, reason) for p, reason in skipped),
            mixing_table(parameters) if parameters is not None and self.policy.mixes else None,
            parameters if self._leaves_to_device else None,
        )

    @property
    def _leaves_to_device(self) -> bool:
        """Pictures of one size that are all in memory are augmented where the network runs, if that is asked for."""
        return self.on_device and self.whole is not None and self.policy != UNCHANGED

    def _augmented(
        self, pictures: Sequence[NDArray[np.uint8]], epoch: int, places: NDArray[np.int64], drawn: _Drawn | None
    ) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
        """The pictures as the network sees them, or as they are where that is left to the device."""
        size, fill = self.preprocessing.size, fill_colour(self.preprocessing)
        if self.policy == UNCHANGED or not len(pictures):
            shape = (0, size, size, len(fill))
            return np.ascontiguousarray(pictures if len(pictures) else np.zeros(shape, np.uint8)), None
        sizes = np.array([(picture.shape[1], picture.shape[0]) for picture in pictures])
        if drawn is not None and np.array_equal(drawn.sizes, sizes):
            parameters, geometry = drawn.parameters, drawn.geometry
        else:  # also where one of them could not be read, or is of another size by now
            parameters, geometry = self._draw(epoch, places, sizes), None
        if self._leaves_to_device:
            return np.ascontiguousarray(pictures), parameters
        return augment(pictures, parameters, size, fill, geometry), parameters

    def _draw_ahead(self, epoch: int, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> _Drawn:
        """The augmentation of pictures that are not read yet, if these are their sizes."""
        sizes, size = np.maximum(sizes, 1), self.preprocessing.size  # 0 x 0 is one that could not be scanned
        parameters = self._draw(epoch, places, sizes)
        geometry = compose(parameters, sizes, size)
        boxes = reach(geometry, parameters, sizes, size)
        return _Drawn(sizes, parameters, geometry, list(map(Part, sizes.tolist(), boxes.tolist())))

    def _draw(self, epoch: int, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[Any]:
        size = self.preprocessing.size
        return draw(self.policy, self.seed, epoch, self.draw_keys[places], sizes, size, self.components)


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
    `components`: the principal colours of the policy's "pca". `on_device`: small pictures are augmented by `prepare`.
    `form`: what crops are cut from; by default the pictures themselves, their shorter side brought down to twice the
    size at which evaluation cuts its crop. `prepared`: where they are kept in that form; it changes no pixel.
    `skipped` gathers the names of pictures that could not be read, with the reason.
    """

    def __init__(
        self,
        source: Source,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        policy: Policy = UNCHANGED,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        sizes: Sequence[tuple[int, int]] | None = None,
        memory_share: float = MEMORY_SHARE,
        draw_keys: Sequence[int] | None = None,
        components: Components = IMAGENET_COMPONENTS,
        on_device: bool = False,
        form: Form | None = None,
        prepared: PreparedFile | None = None,
    ):
        if not len(indices):
            raise DataError(f"{source.name}: no pictures to make batches from")
        cv2.setNumThreads(1)  # its threads do not survive the fork of a worker, which then waits for them forever
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
        self.pictures = Pictures(
            source, mine, preprocessing, policy, seed, sizes, budget_bytes, may_cache, keys, components, on_device,
            form, prepared,
        )  # fmt: skip
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
            if self.pictures.prepared is not None:
                self.pictures.prepared.tell()
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
                # Else each epoch would draw from the numbers that dropout draws from, and so would a resumed training
                # in the middle of one.
                generator=torch.Generator(),
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
    if multiprocessing.get_start_method() != "fork":  # a forked one has its parent's setting
        cv2.setNumThreads(1)
