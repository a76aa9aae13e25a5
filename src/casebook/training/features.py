"""Cached features: a frozen backbone sees each picture once; its head then trains on what it saw.

The cache is one SQLite file for each backbone (weights, options, preprocessing, arithmetic); a row is keyed by the
picture's content and view, so other trainings, data sets and splits find what they share. A killed process loses at
most the batch under way.
"""

import contextlib
import hashlib
import io
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..augmentation.colour import IMAGENET_COMPONENTS, Components
from ..augmentation.policy import Policy
from ..data.loader import UNCHANGED, Batch, Batches, order, plan
from ..data.prepared import StoredFormat
from ..data.sources import Source
from ..device import autocast
from ..errors import DataError, RunError
from ..files import cache_folder
from ..preprocessing import Preprocessing


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
    """(picture content, view) -> features, on disk.

    Raises RunError when the file cannot be written.
    """

    def __init__(self, key: dict[str, Any], folder: Path | None = None):
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        self.path = (folder or cache_folder() / "features") / f"{name}.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.database = sqlite3.connect(self.path, timeout=60)
            self.database.execute("PRAGMA journal_mode=WAL")
            self.database.execute("PRAGMA synchronous=NORMAL")
            self.database.execute(
                "CREATE TABLE IF NOT EXISTS features (picture TEXT, view INTEGER, sha256 BLOB, value BLOB, "
                "PRIMARY KEY (picture, view)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise RunError(
                f"cannot use the feature cache {self.path}: {error}; delete it, or set CASEBOOK_CACHE to a "
                "folder that can be written"
            ) from error

    def get(self, pictures: Sequence[str], view: int) -> dict[str, NDArray[np.float32]]:
        """What is known of these pictures; a row whose checksum does not fit counts as unknown."""
        known: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(pictures), 500):
            some = list(pictures[start : start + 500])
            marks = ",".join("?" * len(some))
            rows = self.database.execute(
                f"SELECT picture, sha256, value FROM features WHERE view = ? AND picture IN ({marks})", [view, *some]
            )
            for picture, digest, value in rows:
                if hashlib.sha256(value).digest() == digest:
                    known[picture] = np.load(io.BytesIO(value), allow_pickle=False)
        return known

    def put(self, view: int, features: dict[str, NDArray[np.float32]]) -> None:
        rows = []
        for picture, value in features.items():
            content = io.BytesIO()
            np.save(content, value.astype(np.float32, copy=False))  # with its shape: a vector or (C, H, W)
            raw = content.getvalue()
            rows.append((picture, view, hashlib.sha256(raw).digest(), raw))
        try:
            with self.database:
                self.database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise RunError(
                f"cannot write the feature cache {self.path}: {error}; free some space or set CASEBOOK_CACHE "
                "to another folder"
            ) from error

    def close(self) -> None:
        self.database.close()


def compute_features(
    network: nn.Module,
    built_as: dict[str, Any],
    source: Source,
    indices: Sequence[int],
    contents: Sequence[str],
    preprocessing: Preprocessing,
    prepare: Callable[[Batch], Tensor],
    *,
    views: int,
    policy: Policy,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
    workers: int,
    batch_size: int,
    components: Components = IMAGENET_COMPONENTS,
    form: StoredFormat | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, str], int]:
    """`built_as` is the network's name and options, which decide its features as much as its weights do.

    Gives the features of `indices`: (N, views, F) or (N, views, C, H, W) float32, the N indices that could be read, the
    pictures that could not, and how many were computed rather than found.

    `contents` are digests of all the source's pictures. A single view is the centre crop that evaluation sees;
    several are augmented, each drawn from (seed, view, content), so that they do not depend on the data set; crops are
    cut from pictures of this `form`.
    """
    key = {
        "backbone": backbone_digest(network),
        "network": {name: value for name, value in built_as.items() if name != "num_classes"},
        "torch": torch.__version__,
        "preprocessing": preprocessing.to_dict(),
        "dtype": str(dtype),
        "device": device.type,
        "policy": [repr(policy), [part.tolist() for part in components], form, seed] if views > 1 else None,
        "version": 5,
    }
    cache = FeatureCache(key)
    skipped: dict[str, str] = {}
    columns: list[dict[str, NDArray[np.float32]]] = []
    num_computed, total = 0, views * len(indices)
    network.eval()
    with contextlib.closing(cache):
        for view in range(views):
            known = cache.get([contents[i] for i in indices], view)
            wanted = [i for i in indices if contents[i] not in known]
            progress(view * len(indices) + len(indices) - len(wanted), total)
            if wanted:
                batches = Batches(
                    source, wanted, preprocessing, batch_size=batch_size, workers=workers, seed=seed,
                    policy=policy if views > 1 else UNCHANGED, components=components, memory_share=0,
                    sample_keys=[int(contents[i][:15], 16) for i in wanted], form=form,
                )  # fmt: skip
                for batch in batches.epoch(view):
                    if not len(batch.labels):
                        continue
                    count = len(batch.labels)
                    # Always full batches: their size changes the last bits, and features must not depend on
                    # which pictures were in the cache before.
                    padding = (0, 0) * 3 + (0, batch_size - count)
                    full = batch._replace(images=nn.functional.pad(batch.images, padding))
                    with torch.inference_mode(), autocast(device, dtype):
                        x = network.stages(network.stem(prepare(full)))  # type: ignore[operator]
                        values = network.head.features(x)[:count].float().cpu().numpy()  # type: ignore[operator, union-attr]
                    fresh = {contents[int(i)]: v for i, v in zip(batch.indices, values, strict=True)}
                    cache.put(view, fresh)
                    known |= fresh
                    num_computed += len(fresh)
                    progress(min(total, view * len(indices) + len(known)), total)
                skipped |= batches.skipped
                batches.close()
            columns.append(known)
    readable = [i for i in indices if all(contents[i] in known for known in columns)]
    if not readable:
        raise DataError(f"{source.name}: not one of the {len(indices)} pictures could be read")
    values = np.stack([[known[contents[i]] for known in columns] for i in readable])
    return values, np.array(readable, np.int64), skipped, num_computed


class FeatureBatches:
    """Batches of features in place of pictures; the same interface as data.loader.Batches."""

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.features, self.labels = torch.from_numpy(features), torch.from_numpy(labels)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.skipped: dict[str, str] = {}
        self.num_pictures = len(labels)

    def _bounds(self) -> list[tuple[int, int]]:
        if self.shuffle:
            return plan(self.num_pictures, self.batch_size)
        return [(i, min(i + self.batch_size, self.num_pictures)) for i in range(0, self.num_pictures, self.batch_size)]

    def __len__(self) -> int:
        return len(self._bounds())

    def global_sizes(self) -> list[int]:
        return [stop - start for start, stop in self._bounds()]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        places = np.arange(self.num_pictures)
        view = epoch % self.features.shape[1] if self.shuffle else 0
        if self.shuffle:
            places = order(places, self.seed, epoch)
        for first, last in self._bounds()[start:]:
            chosen = torch.from_numpy(np.array_split(places[first:last], self.world_size)[self.rank])
            yield Batch(self.features[chosen, view], self.labels[chosen], chosen)

    def close(self) -> None:
        pass
