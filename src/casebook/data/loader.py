"""Batches: a source, some of its pictures and a preprocessing -> uint8 batches, the same for any number of workers.

The stream is a pure function of (seed, epoch): which pictures make up a batch, in which order, and how each is
augmented. So a training can be taken up at any batch, by any number of processes, without any loader state.
"""

import dataclasses
import itertools
import multiprocessing
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..augmentation.augment import augment, fill_colour
from ..augmentation.colour import IMAGENET_COMPONENTS, Components
from ..augmentation.geometry import Geometry, compose, reach
from ..augmentation.mixing import mixing_table
from ..augmentation.policy import Policy
from ..augmentation.sampling import sample
from ..device import available_cores, free_memory_bytes
from ..errors import DataError, PictureError, RunError
from ..preprocessing import Preprocessing
from ..progress import Remark, Reporter, silent
from .crops import CropSettings, CropSource
from .decode import Part
from .prepared import PreparedFile, StoredFormat
from .sources import Source
from .workers import Images, WorkerDied, Workers, one_opencv_thread

Key = tuple[int, NDArray[np.int64]]  # of a batch: epoch, places

UNCHANGED = Policy()
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


class _Sampled(NamedTuple):
    """The augmentation of some pictures, whose (width, height) are `sizes` (N, 2), and what it reads of each."""

    sizes: NDArray[np.int64]
    parameters: NDArray[Any]
    geometry: Geometry
    parts: list[Part]


class Pictures(Dataset):
    """Reads, augments and stacks the pictures of one batch; a key is (epoch, places), as `Batches.keys` gives them."""

    def __init__(
        self,
        crops: CropSource,
        policy: Policy,
        seed: int,
        *,
        sample_keys: NDArray[np.int64],
        components: Components,
        on_device: bool,
    ):
        self.crops, self.policy, self.seed = crops, policy, seed
        self.sample_keys, self.components, self.on_device = sample_keys, components, on_device
        self.source, self.indices, self.preprocessing = crops.source, crops.indices, crops.preprocessing
        self.labels = np.array([self.source.pictures[i].label for i in self.indices], np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> Batch:
        epoch, places = key
        sampled: _Sampled | None = None
        pictures: Sequence[NDArray[np.uint8]]
        crops = self.crops
        if crops.whole is not None:
            good = np.array([int(place) not in crops.bad for place in places], bool)
            skipped = [(int(place), crops.bad[int(place)]) for place in places[~good]]
            pictures = crops.whole[places[good]]  # type: ignore[assignment]
        else:
            pictures, good, skipped = [], np.ones(len(places), bool), []
            if crops.part_sizes is not None:
                sampled = self._sample_ahead(epoch, places, crops.part_sizes[places])
            for row, place in enumerate(places):
                try:
                    pictures.append(crops.read(int(place), epoch, sampled.parts[row] if sampled else None))
                except PictureError as error:
                    good[row] = False
                    skipped.append((int(place), error.reason))
        places = places[good]
        images, parameters = self._augmented(pictures, epoch, places, sampled)
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
        return self.on_device and self.crops.whole is not None and self.policy != UNCHANGED

    def _augmented(
        self, pictures: Sequence[NDArray[np.uint8]], epoch: int, places: NDArray[np.int64], sampled: _Sampled | None
    ) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
        """The pictures as the network sees them, or as they are where that is left to the device."""
        size, fill = self.preprocessing.size, fill_colour(self.preprocessing)
        if self.policy == UNCHANGED or not len(pictures):
            shape = (0, size, size, len(fill))
            return np.ascontiguousarray(pictures if len(pictures) else np.zeros(shape, np.uint8)), None
        sizes = np.array([(picture.shape[1], picture.shape[0]) for picture in pictures])
        if sampled is not None and np.array_equal(sampled.sizes, sizes):
            parameters, geometry = sampled.parameters, sampled.geometry
        else:  # also where one of them could not be read, or is of another size by now
            parameters, geometry = self._sample(epoch, places, sizes), None
        if self._leaves_to_device:
            return np.ascontiguousarray(pictures), parameters
        return augment(pictures, parameters, size, fill, geometry), parameters

    def _sample_ahead(self, epoch: int, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> _Sampled:
        """The augmentation of pictures that are not read yet, if these are their sizes."""
        sizes, size = np.maximum(sizes, 1), self.preprocessing.size  # 0 x 0 is one that could not be scanned
        parameters = self._sample(epoch, places, sizes)
        geometry = compose(parameters, sizes, size)
        boxes = reach(geometry, parameters, sizes, size)
        return _Sampled(sizes, parameters, geometry, list(map(Part, sizes.tolist(), boxes.tolist())))

    def _sample(self, epoch: int, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[Any]:
        size, resize = self.preprocessing.size, self.preprocessing.resize
        return sample(self.policy, self.seed, epoch, self.sample_keys[places], sizes, size, self.components, resize)


class Batches:
    """The batches of one split for one of `world_size` processes.

    Training (`shuffle`): each global batch of `batch_size` pictures is cut into equal parts, one a process.
    Evaluation: every picture comes exactly once, over all processes together, in order.
    `sizes` are the (width, height) of all the source's pictures, where known: they make room in the cache.
    `sample_keys`: what the random numbers of each of `indices` are drawn from; the index itself by default.
    `components`: the principal colours of the policy's "pca". `on_device`: small pictures are augmented by `prepare`.
    `form`: what crops are cut from; by default the pictures themselves, their shorter side brought down to twice the
    size at which evaluation cuts its crop. `prepared`: where they are kept in that form; it changes no pixel.
    `device`: where the batches go. `report` gets a Remark when no worker process can be started.
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
        sample_keys: Sequence[int] | None = None,
        components: Components = IMAGENET_COMPONENTS,
        on_device: bool = False,
        form: StoredFormat | None = None,
        prepared: PreparedFile | None = None,
        device: torch.device | None = None,
    ):
        if not len(indices):
            raise DataError(f"{source.name}: no pictures to make batches from")
        mine = np.asarray(indices, np.int64)
        keys = mine if sample_keys is None else np.asarray(sample_keys, np.int64)
        self.num_pictures = len(mine)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.skipped: dict[str, str] = {}
        if not shuffle:
            mine, keys = mine[rank::world_size], keys[rank::world_size]
        budget_bytes = int(memory_share * free_memory_bytes() / world_size)
        # Workers that are not forked cannot see a common cache.
        may_cache = budget_bytes > 0 and (not workers or multiprocessing.get_start_method() == "fork")
        settings = CropSettings(sizes, form, prepared, memory_share)
        self.crops = CropSource(
            source, mine, preprocessing, cuts_crops=policy.crops_source, settings=settings, budget_bytes=budget_bytes,
            may_cache=may_cache,
        )  # fmt: skip
        self.pictures = Pictures(self.crops, policy, seed, sample_keys=keys, components=components, on_device=on_device)
        if self.crops.whole is not None:
            self.crops.read_all(available_cores())
            workers = 0
        self.num_workers = workers
        self.workers: Workers | None = None
        self.pins_memory = device is not None and device.type == "cuda"  # a GPU copies pinned memory while it computes
        self.report: Reporter = silent

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

    def keys(self, epoch: int, start: int = 0) -> list[Key]:
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
        for batch in self._from_workers(keys) if self._start_workers() else self._from_here(keys):
            self.skipped.update(batch.skipped)
            if self.crops.prepared is not None:
                self.crops.prepared.tell()
            yield batch

    def _from_here(self, keys: list[Key]) -> Iterator[Batch]:
        for key in keys:
            with one_opencv_thread():
                batch = self.pictures[key]
            yield batch

    def _from_workers(self, keys: list[Key]) -> Iterator[Batch]:
        done = 0
        for attempt in itertools.count(1):
            try:
                assert self.workers is not None
                for images, rest in self.workers.batches(keys[done:]):
                    yield _unpacked(images, rest, self.pins_memory)
                    done += 1
                return
            except WorkerDied as error:
                self.close()
                if attempt > WORKER_RESTARTS:
                    raise RunError(
                        f"the processes that read pictures died {attempt} times, last at batch {done}: {error}. "
                        "Try '--workers 0', or fewer workers where memory is short"
                    ) from error
                if not self._start_workers():
                    yield from self._from_here(keys[done:])
                    return
            except GeneratorExit:
                raise
            except BaseException:  # also a signal while a batch was on its way: what the pipes hold is unknown
                self.close()
                raise

    def _start_workers(self) -> bool:
        """Starts the worker processes if there are to be any; whether they run. Where they cannot run, this process
        reads the pictures itself, and a Remark says so."""
        if self.workers is not None or not self.num_workers:
            return self.workers is not None
        pictures = -(-self.batch_size // (self.world_size if self.shuffle else 1))
        size, channels = self.pictures.preprocessing.size, self.pictures.preprocessing.channels
        try:
            self.workers = Workers(_PackedBatches(self.pictures), self.num_workers, pictures * size * size * channels)
        except OSError as error:
            self.num_workers = 0
            self.report(Remark(f"cannot start a process that reads pictures ({error}); training waits for each batch"))
        return self.workers is not None

    def close(self) -> None:
        """Ends the worker processes."""
        if self.workers is not None:
            self.workers.close()
        self.workers = None


class _Rest(NamedTuple):
    """A batch without its images, and without tensors, which would be sent through /dev/shm."""

    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    skipped: tuple[tuple[str, str], ...]
    mixing: NDArray[Any] | None
    parameters: NDArray[Any] | None


@dataclasses.dataclass(frozen=True)
class _PackedBatches:
    """What a worker reads: pictures as arrays."""

    pictures: Pictures

    def __call__(self, key: Key) -> tuple[Images, _Rest]:
        batch = self.pictures[key]
        mixing = None if batch.mixing is None else batch.mixing.numpy()
        rest = _Rest(batch.labels.numpy(), batch.indices.numpy(), batch.skipped, mixing, batch.parameters)
        return batch.images.numpy(), rest


def _unpacked(images: Images, rest: _Rest, pins_memory: bool) -> Batch:
    """The batch, with a copy of its images."""
    copy = torch.empty(images.shape, dtype=torch.uint8, pin_memory=pins_memory)
    copy.numpy()[...] = images
    labels, indices = torch.from_numpy(rest.labels), torch.from_numpy(rest.indices)
    mixing = None if rest.mixing is None else torch.from_numpy(rest.mixing)
    return Batch(copy, labels, indices, rest.skipped, mixing, rest.parameters)
