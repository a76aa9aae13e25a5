"""Batches: a source, some of its pictures and a preprocessing -> uint8 batches, the same for any number of workers.

The stream is a pure function of (seed, epoch): which pictures make up a batch, in which order, and how each is
augmented. So a training can be taken up at any batch, by any number of processes, without any loader state.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..augmentation.augment import augment, fill_colour
from ..augmentation.augment_tensors import augment_tensors
from ..augmentation.colour import IMAGENET_COMPONENTS, Components
from ..augmentation.geometry import Geometry, compose, reach
from ..augmentation.mixing import mix, mixing_table
from ..augmentation.policy import Policy
from ..augmentation.sampling import sample
from ..augmentation.threads import one_opencv_thread
from ..device import free_memory_bytes
from ..errors import DataError, PictureError, RunError
from ..preprocessing import Preprocessing
from ..progress import Remark, Reporter, silent
from . import stderr
from .batch_plan import BatchPlan
from .crops import CropSettings, CropSource
from .sources import Source
from .workers import Images, WorkerDied, Workers

Key = tuple[int, NDArray[np.int64]]  # of a batch: epoch, places

UNCHANGED = Policy()
WORKER_RESTARTS = 3
WARNINGS = 20  # pictures of which a decoder's warning is passed on


class Batch(NamedTuple):
    """What a network trains on or is evaluated on in one step."""

    images: Tensor
    """(B, size, size, channels) uint8"""
    labels: Tensor
    """(B,) int64; with several labels a picture (B, K) float32 targets, NaN where unknown"""
    indices: Tensor
    """(B,) int64 into the source"""
    skipped: tuple[tuple[str, str], ...] = ()
    """Pictures that could not be read: name and reason"""
    mixing: Tensor | None = None
    """(B, 5) how the pictures blend, for `mixing.mix`"""
    parameters: NDArray[Any] | None = None
    """(B,) PARAMETERS of an augmentation that is left to the device"""
    warnings: tuple[tuple[str, str], ...] = ()
    """Odd pictures that could be read all the same: name and what the decoder printed"""

    @property
    def is_empty(self) -> bool:
        """Whether none of its pictures could be read: there is nothing to learn from, not even for batch norm."""
        return not len(self.labels)


class Inputs(NamedTuple):
    """One batch as the trainer takes it.

    `inputs` (B, ...) are what the module is called on, `labels` (B,) int64. With mixed pictures, `own_share` (B,) is
    each picture's share of its own label; the rest belongs to `augmentation.mixing.partners(labels)`.
    `indices` (B,) are the pictures' places in their source, where they have one.
    """

    inputs: Tensor
    labels: Tensor
    own_share: Tensor | None = None
    indices: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class AugmentSettings:
    """How training pictures are augmented."""

    policy: Policy = UNCHANGED
    keys: Sequence[int] | None = None
    """What the random numbers of each of the indices depend on, beside seed and epoch; by default the index itself."""
    components: Components = IMAGENET_COMPONENTS
    """The principal colours for the policy's "pca"."""
    on_device: bool = False
    """Leave the augmentation of small pictures to the device that trains."""


class _Sampled(NamedTuple):
    """How some pictures will be augmented."""

    parameters: NDArray[Any]  # (N,) PARAMETERS
    geometry: Geometry
    windows: NDArray[np.int64]  # (N, 4): the boxes that will be read of them


class Pictures(Dataset):
    """Reads, augments and stacks the pictures of one batch; a key is (epoch, places), as `Batches.keys` gives them."""

    def __init__(self, crops: CropSource, settings: AugmentSettings, seed: int):
        self.crops, self.settings, self.seed, self.policy = crops, settings, seed, settings.policy
        self.source, self.indices, self.preprocessing = crops.source, crops.indices, crops.preprocessing
        self.labels = self.source.truth(self.indices)
        self.keys = self.indices if settings.keys is None else np.asarray(settings.keys, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> Batch:
        epoch, places = key
        size, fill = self.preprocessing.size, fill_colour(self.preprocessing)
        sampled = None if self.policy == UNCHANGED else self._sample(epoch, places)
        pictures, good, skipped = self._read(places, epoch, sampled.windows if sampled else None)
        places = places[good]
        mixing = parameters = None
        if not len(places):
            images = np.zeros((0, size, size, len(fill)), np.uint8)
        elif sampled is None:
            images = np.ascontiguousarray(pictures)
        else:
            parameters, geometry = sampled.parameters[good], Geometry._make(part[good] for part in sampled.geometry)
            mixing = mixing_table(parameters) if self.policy.mixes else None
            if self._leaves_to_device:
                images = np.ascontiguousarray(pictures)
            else:
                images, parameters = augment(pictures, parameters, size, fill, geometry), None
        return Batch(
            torch.from_numpy(images),
            torch.from_numpy(self.labels[places]),
            torch.from_numpy(self.indices[places]),
            skipped,
            mixing,
            parameters,
            stderr.take(),
        )

    def _sample(self, epoch: int, places: NDArray[np.int64]) -> _Sampled:
        sizes, size = np.maximum(self.crops.sizes[places], 1), self.preprocessing.size  # 0 x 0 will be refused
        parameters = sample(
            self.policy, self.seed, epoch, self.keys[places], sizes, size, self.settings.components,
            self.preprocessing.resize,
        )  # fmt: skip
        geometry = compose(parameters, sizes, size)
        return _Sampled(parameters, geometry, reach(geometry, parameters, sizes, size))

    def _read(
        self, places: NDArray[np.int64], epoch: int, windows: NDArray[np.int64] | None
    ) -> tuple[Sequence[NDArray[np.uint8]], NDArray[np.bool_], tuple[tuple[str, str], ...]]:
        """The pictures that can be read, which of `places` they are, and the others' names with the reason."""
        whole, bad = self.crops.whole, self.crops.bad
        pictures: list[NDArray[np.uint8]] = []
        if whole is None:
            bad, boxes = {}, [None] * len(places) if windows is None else map(tuple, windows.tolist())
            for place, box in zip(places.tolist(), boxes, strict=True):
                try:
                    pictures.append(self.crops.read(place, epoch, box))
                except PictureError as error:
                    bad[place] = error.reason
        good = np.array([place not in bad for place in places.tolist()], bool)
        skipped = tuple((self.source.pictures[self.indices[p]].name, bad[p]) for p in places[~good].tolist())
        return pictures if whole is None else whole[places[good]], good, skipped  # type: ignore[return-value]

    @property
    def _leaves_to_device(self) -> bool:
        """Pictures of one size that are all in memory are augmented where the network runs, if the settings say so."""
        return self.settings.on_device and self.crops.whole is not None and self.policy != UNCHANGED


class Batches:
    """The batches of some of a source's pictures, epoch after epoch.

    `skipped` collects the names of pictures that could not be read, with the reason. `report` gets a Remark when no
    worker process can be started.
    """

    def __init__(
        self,
        source: Source,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        plan: BatchPlan,
        *,
        augmentation: AugmentSettings = AugmentSettings(),
        crops: CropSettings = CropSettings(),  # noqa: B008
        workers: int = 0,
        device: torch.device | None = None,
    ):
        """`workers` processes read and augment; 0 does it in this one. `device` is where the batches go.

        Raises DataError for no pictures, and where crops are to be cut from files of unknown size.
        """
        if not len(indices):
            raise DataError(f"{source.name}: no pictures to make batches from")
        self.plan, self.num_pictures, self.skipped = plan, len(indices), dict[str, str]()
        share = plan.share(len(indices))
        if augmentation.keys is not None:
            augmentation = dataclasses.replace(augmentation, keys=np.asarray(augmentation.keys, np.int64)[share])
        self.crops = CropSource(
            source, np.asarray(indices, np.int64)[share], preprocessing, crops,
            crops=augmentation.policy.crops_source, shared=workers > 0,
            budget_bytes=int(crops.memory_share * free_memory_bytes() / plan.world_size),
        )  # fmt: skip
        self.pictures = Pictures(self.crops, augmentation, plan.seed)
        self.num_workers = 0 if self.crops.whole is not None else workers
        self.workers: Workers | None = None
        self.pins_memory = device is not None and device.type == "cuda"  # a GPU copies pinned memory while it computes
        self.report: Reporter = silent
        self.warned: set[str] = set()

    def __len__(self) -> int:
        return len(self.global_sizes())

    def global_sizes(self) -> list[int]:
        """The number of pictures of each batch: in all processes together with `shuffle`, else in this one."""
        return [stop - start for start, stop in self.plan.bounds(len(self.pictures))]

    def keys(self, epoch: int, start: int = 0) -> list[Key]:
        """What to read for each batch from `start` on: the epoch, and places in this process's share."""
        return [(epoch, places) for places in self.plan.batches(len(self.pictures), epoch, start)]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on.

        Raises RunError when worker processes keep dying (out of memory, or a picture that crashes its decoder).
        """
        keys = self.keys(epoch, start)
        for batch in self._from_workers(keys) if self._start_workers() else self._from_here(keys):
            self.skipped.update(batch.skipped)
            self._warn(batch.warnings)
            if self.crops.prepared is not None:
                self.crops.prepared.tell()
            yield batch

    def _warn(self, warnings: Sequence[tuple[str, str]]) -> None:
        """Passes on what decoders printed, once for each of the first WARNINGS pictures."""
        for name, text in warnings:
            if name not in self.warned and len(self.warned) < WARNINGS:
                self.report(Remark(f"{name}: the decoder says: {text}"))
                self.warned.add(name)

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
        pictures = -(-self.plan.batch_size // (self.plan.world_size if self.plan.shuffle else 1))
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


class PreparedStream:
    """The batches of a source, such as `Batches`, prepared on the device as they are asked for.

    `prepare` makes the module's input of a batch.
    """

    def __init__(self, batches: Any, prepare: Callable[[Batch], Tensor]):
        self.batches, self.prepare = batches, prepare

    @property
    def skipped(self) -> dict[str, str]:
        return self.batches.skipped

    def global_sizes(self) -> list[int]:
        return self.batches.global_sizes()

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Inputs]:
        for batch in self.batches.epoch(epoch, start):
            inputs, own_share = self.prepare(batch), None
            if batch.mixing is not None:
                inputs, own_share = mix(inputs, batch.mixing.to(inputs.device, non_blocking=True))
            yield Inputs(inputs, batch.labels, own_share, batch.indices)

    def close(self) -> None:
        self.batches.close()


def make_prepare(preprocessing: Preprocessing, device: torch.device, channels_last: bool) -> Callable[[Batch], Tensor]:
    """A function from a batch's (B, H, W, C) uint8 pictures to the network's normalised (B, C, H, W) float32.

    It augments the pictures of which the loader left that to the device.
    """
    fill = fill_colour(preprocessing)

    def prepare(batch: Batch) -> Tensor:
        pixels = batch.images.to(device, non_blocking=True)
        if batch.parameters is not None:
            pixels = augment_tensors(pixels, batch.parameters, preprocessing.size, fill)
        images = preprocessing.normalise_tensor(pixels)  # a channels-last view
        return images if channels_last else images.contiguous()

    return prepare


class _Rest(NamedTuple):
    """A batch without its images, and without tensors, which would be sent through /dev/shm."""

    labels: NDArray[Any]
    indices: NDArray[np.int64]
    skipped: tuple[tuple[str, str], ...]
    mixing: NDArray[Any] | None
    parameters: NDArray[Any] | None
    warnings: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class _PackedBatches:
    """What a worker reads: pictures as arrays."""

    pictures: Pictures

    def __call__(self, key: Key) -> tuple[Images, _Rest]:
        batch = self.pictures[key]
        mixing = None if batch.mixing is None else batch.mixing.numpy()
        labels, indices = batch.labels.numpy(), batch.indices.numpy()
        rest = _Rest(labels, indices, batch.skipped, mixing, batch.parameters, batch.warnings)
        return batch.images.numpy(), rest


def _unpacked(images: Images, rest: _Rest, pins_memory: bool) -> Batch:
    """The batch, with a copy of its images."""
    copy = torch.empty(images.shape, dtype=torch.uint8, pin_memory=pins_memory)
    copy.numpy()[...] = images
    labels, indices = torch.from_numpy(rest.labels), torch.from_numpy(rest.indices)
    mixing = None if rest.mixing is None else torch.from_numpy(rest.mixing)
    return Batch(copy, labels, indices, rest.skipped, mixing, rest.parameters, rest.warnings)
