"""Cached features: a frozen backbone sees each picture once; its head then trains on what it saw.

A feature is kept under its backbone (weights, options, preprocessing, arithmetic) and the picture's content and view,
so other trainings, data sets and splits find what they share. A killed process loses at most the batch under way.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..augmentation.colour import IMAGENET_COMPONENTS, Components
from ..augmentation.policy import Policy
from ..data.batch_plan import BatchPlan, order
from ..data.crops import CropSettings
from ..data.loader import UNCHANGED, AugmentSettings, Batch, Batches
from ..data.sources import Source
from ..device import autocast
from ..errors import DataError
from ..models.temporary import folding_norms, overwriting_activations
from ..preprocessing import Preprocessing
from ..progress import Advanced, Reporter, silent
from ..store import GIB, Store
from .cores import each_by_one_core

FEATURE_BYTES = 20 * GIB  # of features are kept on disk


def backbone_digest(network: nn.Module) -> str:
    """SHA-256 over the weights and statistics of everything before the classifier."""
    digest = hashlib.sha256()
    head = {id(value) for value in network.head.classifier.state_dict(keep_vars=True).values()}  # type: ignore[union-attr]
    for name, value in network.state_dict(keep_vars=True).items():
        if id(value) not in head:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class FeatureCache:
    """(picture content, view) -> features, in a store that all backbones share; `key` tells them apart."""

    def __init__(self, key: dict[str, Any], folder: Path | None = None):
        self.backbone = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        self.store = Store("features", folder, budget_bytes=FEATURE_BYTES)

    def get(self, pictures: Sequence[str], view: int) -> dict[str, NDArray[np.float32]]:
        """What is known of these pictures."""
        keys = {f"{self.backbone} {view} {picture}": picture for picture in pictures}
        found = self.store.get_many(keys)
        return {keys[key]: np.load(io.BytesIO(value), allow_pickle=False) for key, value in found.items()}

    def put(self, view: int, features: dict[str, NDArray[np.float32]]) -> None:
        values = {}
        for picture, value in features.items():
            content = io.BytesIO()
            np.save(content, value.astype(np.float32, copy=False))  # with its shape: a vector or (C, H, W)
            values[f"{self.backbone} {view} {picture}"] = content.getvalue()
        self.store.put_many(values)

    def close(self) -> None:
        self.store.close()


class Views(NamedTuple):
    """The views of each picture whose features are computed.

    One view is the centre crop that evaluation sees. More are augmented by `policy`: each is sampled from (seed, view,
    content of the picture), so it does not depend on the data set. `crops` says what crops are cut from.
    """

    num_views: int = 1
    policy: Policy = UNCHANGED
    components: Components = IMAGENET_COMPONENTS
    seed: int = 0
    crops: CropSettings = CropSettings(memory_share=0)


class Arithmetic(NamedTuple):
    """Where and how a network computes: the last bits of its features depend on it."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    workers: int = 0

    @property
    def batch_size(self) -> int:
        """Pictures in a batch; on a CPU so few that a layer's outputs stay in the caches (docs/benchmarks.md)."""
        return 16 if self.device.type == "cpu" else 256


class Features(NamedTuple):
    """Features (N, views, F) or (N, views, C, H, W) float32 of the N `indices` that could be read."""

    values: NDArray[np.float32]
    indices: NDArray[np.int64]
    skipped: dict[str, str]
    num_computed: int  # the others were in the cache


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """A frozen backbone whose features are computed once and kept on disk.

    `built_as` is the network's name and options, which decide its features as much as its weights do. `prepare` makes
    the network's input of a batch. On a CPU each thread of torch takes batches of its own: that is faster than all of
    them at one batch, and a feature does not depend on their number.
    """

    network: nn.Module
    built_as: dict[str, Any]
    preprocessing: Preprocessing
    prepare: Callable[[Batch], Tensor]
    views: Views
    arithmetic: Arithmetic
    report: Reporter = silent

    def __call__(self, source: Source, indices: Sequence[int], contents: Sequence[str]) -> Features:
        """The features of these pictures; `contents` are digests of all pictures of the source.

        Raises DataError when not one picture can be read.
        """
        cache = FeatureCache(self._key())
        skipped: dict[str, str] = {}
        columns: list[dict[str, NDArray[np.float32]]] = []
        num_computed, total = 0, self.views.num_views * len(indices)
        self.network.eval()
        with contextlib.closing(cache):
            for view in range(self.views.num_views):
                known = cache.get([contents[i] for i in indices], view)
                wanted = [i for i in indices if contents[i] not in known]
                self.report(Advanced("features", view * len(indices) + len(indices) - len(wanted), total))
                for fresh in self._computed(source, wanted, contents, view, skipped):
                    cache.put(view, fresh)
                    known |= fresh
                    num_computed += len(fresh)
                    self.report(Advanced("features", min(total, view * len(indices) + len(known)), total))
                columns.append(known)
        readable = [i for i in indices if all(contents[i] in known for known in columns)]
        if not readable:
            raise DataError(f"{source.name}: not one of the {len(indices)} pictures could be read")
        values = np.stack([[known[contents[i]] for known in columns] for i in readable])
        return Features(values, np.array(readable, np.int64), skipped, num_computed)

    def _computed(
        self, source: Source, wanted: Sequence[int], contents: Sequence[str], view: int, skipped: dict[str, str]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """The features of one view, by content, a batch at a time; adds to `skipped` what cannot be read."""
        if not wanted:
            return
        views, device, batch_size = self.views, self.arithmetic.device, self.arithmetic.batch_size
        keys = [int(contents[i][:15], 16) for i in wanted]
        augmentation = AugmentSettings(views.policy, keys, views.components)
        batches = Batches(
            source, wanted, self.preprocessing, BatchPlan(batch_size, seed=views.seed), crops=views.crops,
            augmentation=augmentation if views.num_views > 1 else AugmentSettings(),
            workers=self.arithmetic.workers, device=device,
        )  # fmt: skip
        batches.report = self.report
        read = (batch for batch in batches.epoch(view) if not batch.is_empty)
        with overwriting_activations(self.network), folding_norms(self.network):
            for batch, values in each_by_one_core(self._of_batch, read, device):
                yield {contents[int(i)]: v for i, v in zip(batch.indices, values, strict=True)}
        skipped |= batches.skipped
        batches.close()

    def _of_batch(self, batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
        """The batch and the features of its pictures."""
        device, dtype, _ = self.arithmetic
        # Always full batches: their size changes the last bits, and features must not depend on which pictures
        # were in the cache before.
        padding = (0, 0) * 3 + (0, self.arithmetic.batch_size - len(batch.labels))
        full = batch._replace(images=nn.functional.pad(batch.images, padding))
        with torch.inference_mode(), autocast(device, dtype):
            x = self.network.forward_features(self.prepare(full))  # type: ignore[operator]
            values = self.network.head.features(x)[: len(batch.labels)].float()  # type: ignore[operator, union-attr]
        return batch, values.cpu().numpy()

    def _key(self) -> dict[str, Any]:
        """Everything besides the picture and the view that decides a feature."""
        views = self.views
        sampled = [repr(views.policy), [part.tolist() for part in views.components], views.crops.format, views.seed]
        return {
            "backbone": backbone_digest(self.network),
            "network": {name: value for name, value in self.built_as.items() if name != "num_classes"},
            "torch": torch.__version__,
            "preprocessing": self.preprocessing.to_dict(),
            "dtype": str(self.arithmetic.dtype),
            "device": self.arithmetic.device.type,
            "policy": sampled if views.num_views > 1 else None,
            "version": 7,
        }


class FeatureBatches:
    """Batches of features in place of pictures; the same interface as data.loader.Batches."""

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[Any],
        plan: BatchPlan,
    ):
        self.features, self.labels, self.plan = torch.from_numpy(features), torch.from_numpy(labels), plan
        self.skipped: dict[str, str] = {}
        self.num_pictures = len(labels)

    def __len__(self) -> int:
        return len(self.global_sizes())

    def global_sizes(self) -> list[int]:
        return [stop - start for start, stop in self.plan.bounds(self.num_pictures)]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        plan, places = self.plan, np.arange(self.num_pictures)
        view = epoch % self.features.shape[1] if plan.shuffle else 0
        if plan.shuffle:
            places = order(places, plan.seed, epoch)
        for first, last in plan.bounds(self.num_pictures)[start:]:
            chosen = torch.from_numpy(np.array_split(places[first:last], plan.world_size)[plan.rank])
            yield Batch(self.features[chosen, view], self.labels[chosen], chosen)

    def close(self) -> None:
        pass
