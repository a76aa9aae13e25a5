"""The size of the weights' file is exact; measured memory holds what must be in it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from casebook.cost.count import count
from casebook.cost.memory import MemoryMeter, NetworkSpec, file_bytes
from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.weights import save_weights


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5", {}),
        ("mobilenet_v2", {"width": 0.1, "depth": 0.3, "num_classes": 7}),
        ("efficientnet_b0", {"width": 0.2}),
        ("googlenet", {"num_classes": 3}),
    ],
)
def test_the_predicted_file_is_as_long_as_the_saved_one(name: str, options: dict, tmp_path: Path) -> None:
    network = create_model(name, **options)
    save_weights(tmp_path / "model.safetensors", network.state_dict(), {})
    with torch.device("meta"):
        bare = create_model(name, **options)
    assert file_bytes(bare) == (tmp_path / "model.safetensors").stat().st_size


def test_other_types_of_numbers_are_counted_as_they_are(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(5, 3).half(), nn.BatchNorm1d(3), nn.Linear(3, 1).double())
    save_weights(tmp_path / "model.safetensors", network.state_dict(), {})
    assert file_bytes(network) == (tmp_path / "model.safetensors").stat().st_size
    network.register_buffer("phase", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ModelError, match=r"phase is torch.complex64, which the safetensors format lacks"):
        file_bytes(network)


def test_memory_holds_weights_and_activations_and_not_torch() -> None:
    with MemoryMeter() as meter:
        sizes = {side: NetworkSpec("mobilenet_v2", {"width": 1.0, "num_classes": 2}, side) for side in (96, 320)}
        found = {side: meter.peak_bytes(subject) for side, subject in sizes.items()}
        predicted = {side: count("mobilenet_v2", side, num_classes=2).memory.inference_bytes for side in sizes}
        for side in sizes:
            assert 0.95 * predicted[side] < found[side] < 3 * predicted[side] + 20e6
        assert found[320] - found[96] > 0.9 * (predicted[320] - predicted[96])
        with pytest.raises(ModelError, match=r"resnet18 at 10 pixels cannot be measured: images are 10x10"):
            meter.peak_bytes(NetworkSpec("resnet18", {}, 10))
        again = meter.peak_bytes(sizes[96])  # the process lives on, and nothing of the others is left in it
        assert abs(again - found[96]) < 5e6
    with pytest.raises(ModelError, match="is closed; create another"):
        meter.peak_bytes(sizes[96])
