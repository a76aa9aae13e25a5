"""Which epoch's weights a training keeps. The trainer, evaluation.json and the report all ask here."""

import math
from collections.abc import Sequence
from typing import Any

UNUSABLE_LOSS = 1e30  # recorded when a validation loss is not a number, which JSON cannot hold


def is_better(score: float, loss: float, best_score: float, best_loss: float) -> bool:
    """Whether weights with these validation results replace the best so far: higher score, then lower loss."""
    return loss < UNUSABLE_LOSS and (score, -loss) > (best_score, -best_loss)


def kept_phase(model: dict[str, Any]) -> str:
    """The phase whose weights a measured choice kept, by a run's model.json; "" where nothing was chosen so."""
    if "tried" not in model:
        return ""
    return "head" if model["transfer"]["strategy"] == "head" else "tune"


def kept_epoch(history: Sequence[dict[str, Any]], phase: str = "") -> int | None:
    """The place in `history` (rows of metrics.jsonl) of the epoch whose weights were kept, None when there is none.

    With a `phase`, only its epochs count.
    """
    kept, best_score, best_loss = None, -1.0, math.inf
    for place, row in enumerate(history):
        if phase and row.get("phase") != phase:
            continue
        score, loss = row.get("val_map", row.get("val_top1")), row.get("val_loss")
        if not isinstance(score, int | float) or not isinstance(loss, int | float):
            continue
        if is_better(score, loss, best_score, best_loss):
            kept, best_score, best_loss = place, score, loss
    return kept
