"""The learning rate of each step, as a pure function of the step."""

import math

from .recipe import Recipe


def rate_factor(recipe: Recipe, step: int, steps_per_epoch: int, epochs: int) -> float:
    """What the base learning rate is multiplied by at `step` (from 0) of `steps_per_epoch * epochs`.

    A linear warm-up, then: "cosine" falls to 0 (Loshchilov and Hutter, ICLR 2017, without restarts); "step" falls by
    `gamma` after each milestone; "one-cycle" rises to 1 over the first 30 % and falls to 0 (Smith and Topin, 2018).
    """
    total = max(1, steps_per_epoch * epochs)
    warmup = min(recipe.warmup_epochs * steps_per_epoch, total - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, total - warmup)
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if recipe.schedule == "step":
        return recipe.gamma ** sum(step >= share * total for share in recipe.milestones)
    if recipe.schedule == "one-cycle":
        peak, lowest = 0.3, 0.04
        if progress < peak:
            return lowest + (1 - lowest) * 0.5 * (1 - math.cos(math.pi * progress / peak))
        return 0.5 * (1 + math.cos(math.pi * (progress - peak) / (1 - peak)))
    return 1.0
