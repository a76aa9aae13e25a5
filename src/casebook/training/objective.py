"""Task -> what a training lowers, and by what it chooses: the loss of each picture, and whether its answer is right."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .recipe import Recipe

MOST_WEIGHT = 100.0  # of a class's positive pictures; a class with one picture would drown the others


class Objective(NamedTuple):
    """How answers to one kind of task are judged."""

    losses: Callable[[Tensor, Tensor, Recipe], Tensor]
    """(B, K) float32 logits, labels, recipe -> (B,) or (B, K)"""
    of_pictures: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    """these losses, labels, class weights -> (B,)"""
    weights: Callable[[NDArray[Any], int], Tensor]
    """labels of all training pictures, number of classes -> the class weights called "balanced" """
    validation: Callable[[Tensor, Tensor], Tensor]
    """(B, K) float32 logits, labels -> the sum of the plain losses"""
    right: Callable[[Tensor, Tensor], Tensor] | None
    """(B, K) float32 logits, labels -> (B,) bool; None where the score is the mean average precision of all pictures"""


def objective_for(labels: Tensor) -> Objective:
    """That of labels (B,), one a picture, or of targets (B, K)."""
    return OBJECTIVES["singlelabel" if labels.ndim == 1 else "multilabel"]


def _cross_entropies(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=recipe.label_smoothing)


def _weighted(losses: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return losses if weights is None else losses * weights[labels]


def balanced_weights(labels: NDArray[Any], num_classes: int) -> Tensor:
    """(num_classes,) loss weights inverse to the class counts, whose mean over the pictures is 1."""
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    return torch.tensor(len(labels) / (num_classes * np.maximum(counts, 1)), dtype=torch.float32)


def balanced_pair_weights(targets: NDArray[Any], num_classes: int) -> Tensor:
    """(2, num_classes) loss weights of a class's absence and presence from (N, num_classes) targets.

    Both weigh the same in all of the known pictures, and their mean over these is 1.
    """
    known = np.maximum((~np.isnan(targets)).sum(0), 1)
    positive = np.clip(np.nansum(targets, 0), 0.5, known - 0.5)  # of a class in all pictures or in none
    pair = np.stack([known / (2 * (known - positive)), known / (2 * positive)])
    return torch.tensor(np.minimum(pair, MOST_WEIGHT), dtype=torch.float32)


def binary_losses(logits: Tensor, targets: Tensor, smoothing: float = 0.0, gamma: float = 0.0) -> Tensor:
    """(B, K) logits, (B, K) targets in [0, 1] or NaN for unknown -> (B, K) binary cross-entropies, 0 where unknown.

    `gamma` weighs each by |target - p| ** gamma, which for targets of 0 and 1 is the focal loss (Lin et al., "Focal
    Loss for Dense Object Detection", ICCV 2017, equation 4, without its alpha) and for soft ones the quality focal
    loss (Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 2). `smoothing` moves targets towards 1/2.
    """
    known = ~torch.isnan(targets)
    wanted = torch.nan_to_num(targets) * (1 - smoothing) + smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if gamma:
        losses = losses * (wanted - torch.sigmoid(logits)).abs().clamp_min(1e-12) ** gamma
    return torch.where(known, losses, torch.zeros_like(losses))


def _mean_known(losses: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """(B, K) -> (B,): the mean over the classes that are known of a picture; 0 where none is."""
    if weights is not None:
        present = torch.nan_to_num(targets)
        losses = losses * (present * weights[1] + (1 - present) * weights[0])
    return losses.sum(1) / (~torch.isnan(targets)).sum(1).clamp_min(1)


OBJECTIVES = {
    "singlelabel": Objective(
        losses=_cross_entropies,
        of_pictures=_weighted,
        weights=balanced_weights,
        validation=lambda logits, labels: functional.cross_entropy(logits, labels, reduction="sum"),
        right=lambda logits, labels: logits.argmax(1) == labels,
    ),
    "multilabel": Objective(
        losses=lambda logits, targets, recipe: binary_losses(
            logits, targets, recipe.label_smoothing, recipe.focal_gamma
        ),
        of_pictures=_mean_known,
        weights=balanced_pair_weights,
        validation=lambda logits, labels: _mean_known(binary_losses(logits, labels), labels).sum(),
        right=None,
    ),
}
