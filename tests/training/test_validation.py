"""Validation: what it finds, in one process and in several."""

import math

import pytest
import torch
from torch import nn

from casebook.training.streams import PlainStream
from casebook.training.validation import validate


@pytest.mark.parametrize("processes", [1, 2])
def test_several_labels_are_validated_by_mean_average_precision(
    processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All logits are below 0, so no label is given, and yet the ranking is right but for one pair."""
    logits = torch.tensor([[-1.0, -4.0], [-2.0, -3.0], [-3.0, -2.0], [-4.0, -1.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, math.nan], [0.0, 1.0], [0.0, 0.0]])
    halves = [(logits[:2], labels[:2]), (logits[2:], labels[2:])]
    others = [tuple(part.numpy() for part in half) for half in halves]
    if processes == 2:
        monkeypatch.setattr("casebook.training.validation.gather_from_all", lambda mine, _: [mine, others[1:]])
    stream = PlainStream(halves[:1] if processes == 2 else halves)
    found = validate(nn.Identity(), stream, torch.device("cpu"))
    assert found.name == "val_map"
    assert found.score == pytest.approx((1.0 + 0.5) / 2)
