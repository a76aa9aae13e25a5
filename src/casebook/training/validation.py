"""Validation: the mean loss and the score of a network on pictures that it does not learn from."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.loader import Inputs
from ..device import autocast
from .distributed import ALONE, World, gather_from_all, has_divided, sum_over_all
from .objective import objective_for
from .ranking import mean_average_precision
from .selection import UNUSABLE_LOSS
from .streams import BatchStream


class Validation(NamedTuple):
    """What a validation found."""

    loss: float
    score: float
    """The share of right answers; with several labels a picture the mean average precision."""
    name: str
    """Of the score, as metrics.jsonl has it: "val_top1" or "val_map"."""


def validate(
    module: Any,
    stream: BatchStream,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    world: World = ALONE,
    epoch: int = 0,
) -> Validation:
    """The mean loss and the score of the pictures of all processes, each counted once."""
    module.eval()
    sum_dtype = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros(3, dtype=sum_dtype, device=device)
    answers: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []  # those that are scored all together
    with torch.inference_mode():
        batches = stream.epoch(epoch)
        for batch in _in_step(batches, len(stream.global_sizes()), world) if has_divided(module) else batches:
            if not len(batch.inputs):
                continue
            labels = batch.labels.to(device, non_blocking=True)
            with autocast(device, dtype):
                logits = module(batch.inputs.to(device, non_blocking=True))
            logits = logits[: len(labels)].float()
            objective = objective_for(labels)
            sums[0] += objective.validation(logits, labels)
            if objective.right is None:
                answers.append((logits.cpu().numpy(), labels.cpu().numpy()))
            else:
                sums[1] += objective.right(logits, labels).sum()
            sums[2] += len(labels)
    loss, correct, count = sum_over_all(sums, world).tolist()
    gathered = [pair for part in gather_from_all(answers, world) for pair in part]
    name = "val_map" if gathered else "val_top1"
    if not count or not math.isfinite(loss):
        return Validation(UNUSABLE_LOSS, 0.0, name)
    if gathered:
        return Validation(loss / count, mean_average_precision(*map(np.concatenate, zip(*gathered, strict=True))), name)
    return Validation(loss / count, correct / count, name)


def _in_step(batches: Iterator[Inputs], count: int, world: World) -> Iterator[Inputs]:
    """As many batches in every process, since all must be there when divided weights are gathered.

    Where a process has fewer than another, or a batch with no readable picture, there is a blank input without a label.
    """
    first = next(batches, None)
    known = gather_from_all((count, first and (first.inputs[:0].cpu(), first.labels[:0].cpu())), world)
    inputs, labels = next(form for _, form in known if form is not None)
    blank = Inputs(inputs.new_zeros((1, *inputs.shape[1:])), labels)
    own = itertools.chain([] if first is None else [first], batches, itertools.repeat(blank))
    for batch in itertools.islice(own, max(number for number, _ in known)):
        yield batch if len(batch.labels) else blank
