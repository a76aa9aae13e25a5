"""Network and pictures -> the probability of each class, each picture counted once however many processes there are."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.loader import Batches
from ..data.sources import Source
from ..device import autocast
from ..errors import DataError
from ..preprocessing import Preprocessing
from ..training.distributed import ALONE, World, gather_from_all
from ..training.plan import make_prepare
from .predictions import Predictions


def predict_probabilities(
    network: nn.Module,
    source: Source,
    indices: Sequence[int],
    preprocessing: Preprocessing,
    classes: Sequence[str],
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 0,
    workers: int = 0,
    world: World = ALONE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Predictions, tuple[int, ...], dict[str, str]]:
    """The predictions for `indices` in their order, the indices that could be read, and the pictures that could not.

    Raises DataError when not one picture can be read.
    """
    batches = Batches(
        source, indices, preprocessing, rank=world.rank, world_size=world.world_size, workers=workers,
        batch_size=batch_size or (32 if device.type == "cpu" else 256), memory_share=0, device=device,
    )  # fmt: skip
    prepare = make_prepare(preprocessing, device, True)
    network = network.to(device).eval()
    rows: dict[int, Any] = {}
    with torch.inference_mode():
        for batch in batches.epoch():
            if len(batch.labels):
                with autocast(device, dtype):
                    logits = network(prepare(batch))
                probabilities = torch.softmax(logits.float(), 1).cpu().numpy()
                rows |= dict(zip(batch.indices.tolist(), probabilities, strict=True))
            progress(len(rows) * world.world_size, len(indices))
    batches.close()
    skipped: dict[str, str] = {}
    merged: dict[int, Any] = {}
    for part, bad in gather_from_all((rows, batches.skipped), world):
        merged |= part
        skipped |= bad
    readable = tuple(index for index in indices if index in merged)
    if not readable:
        reason = next(iter(skipped.items()), ("", "none given"))
        raise DataError(
            f"{source.name}: not one of {len(indices)} pictures could be read; the first: {': '.join(reason)}"
        )
    predictions = Predictions(
        tuple(source.pictures[i].name for i in readable),
        np.array([source.pictures[i].label for i in readable], np.int64),
        np.stack([merged[i] for i in readable]),
        tuple(classes),
    )
    return predictions, readable, skipped
