"""Batches of pictures as a training makes them, with the settings that a test varies as plain arguments."""

from collections.abc import Sequence
from typing import Any

import torch

from casebook.augmentation.policy import Policy
from casebook.data.batch_plan import BatchPlan
from casebook.data.crops import CropSettings
from casebook.data.loader import UNCHANGED, AugmentSettings, Batches
from casebook.data.prepared import PreparedFile, StoredFormat
from casebook.data.scan import scan
from casebook.data.sources import Source
from casebook.preprocessing import Preprocessing


def scanned_sizes(source: Source) -> list[tuple[int, int]]:
    return [(facts.width, facts.height) for facts in scan(source, workers=1).facts]


def make_batches(
    source: Source, indices: Sequence[int], preprocessing: Preprocessing, batch_size: int, *,
    policy: Policy = UNCHANGED, on_device: bool = False, sizes: Sequence[tuple[int, int]] | None = None,
    format: StoredFormat | None = None, prepared: PreparedFile | None = None, memory_share: float = 0.25,
    workers: int = 0, device: torch.device | None = None, **plan: Any,
) -> Batches:  # fmt: skip
    if sizes is None and policy.crops_source and source.arrays is None:
        sizes = scanned_sizes(source)
    return Batches(
        source, indices, preprocessing, BatchPlan(batch_size, **plan),
        augmentation=AugmentSettings(policy, on_device=on_device),
        crops=CropSettings(sizes, format, prepared, memory_share), workers=workers, device=device,
    )  # fmt: skip
