"""What tests of the networks share."""

import pytest
import torch


@pytest.fixture(scope="session")
def operators():
    """The schemas of torchvision's compiled operators, which its wheel lacks next to a CPU-only torch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
