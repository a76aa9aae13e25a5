"""How many pictures make a batch on this machine."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..device import autocast
from ..preprocessing import Preprocessing
from .plan import SMALL_INPUT
from .recipe import Recipe

MEMORY_SHARE = 0.8  # of the device's memory; the rest is for momentum and fragmentation
LEAST = 8  # pictures of a chosen batch
# Few steps an epoch waste a small set: at least so many batches, unless that needs batches below so many pictures.
BATCHES_PER_EPOCH = {32: 16, 8: LEAST}
LARGEST_ON_GPU, LARGEST_ON_CPU = {False: 256, True: 1024}, {False: 32, True: 128}  # large pictures, small ones
ON_FEATURES = 64


class DeviceMemory(Protocol):
    """What `step_fits` asks of a device's memory."""

    def peak_bytes(self) -> int: ...
    def total_bytes(self) -> int: ...
    def reset(self) -> None: ...


class CudaMemory:
    """The memory of a CUDA device, with the peak since the last reset."""

    def __init__(self, device: torch.device):
        self.device = device

    def peak_bytes(self) -> int:
        return torch.cuda.max_memory_allocated(self.device)

    def total_bytes(self) -> int:
        return torch.cuda.get_device_properties(self.device).total_memory

    def reset(self) -> None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)


def choose_batch_size(
    recipe: Recipe, small: bool, device_type: str, num_pictures: int, *, on_features: bool, fits: Callable[[int], bool]
) -> int:
    """The recipe's batch size, or one that suits the machine.

    On a CUDA device: the largest power of two up to 256 large or 1024 small pictures for which `fits(size)` holds. On
    other devices: 32 large or 128 small ones. At least 32 batches an epoch, or batches of 16, and
    of fewer pictures where not even eight would come of them.
    """
    if recipe.batch_size:
        return recipe.batch_size
    if on_features:
        size = ON_FEATURES
    elif device_type == "cuda":
        size = LARGEST_ON_GPU[small]
        while size > LEAST and not fits(size):
            size //= 2
    else:
        size = LARGEST_ON_CPU[small]
    for batches, least in BATCHES_PER_EPOCH.items():
        while size > least and num_pictures < batches * size:
            size //= 2
    return size


def is_small(preprocessing: Preprocessing) -> bool:
    return preprocessing.size <= SMALL_INPUT


def sum_of_outputs(outputs: Tensor | tuple[Tensor, list[Tensor]]) -> Tensor:
    """A stand-in for the loss that needs every output: the logits and those of auxiliary heads."""
    logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, [])
    total = logits.float().sum()
    for extra in auxiliary:
        total = total + extra.float().sum()
    return total


def step_fits(
    network: nn.Module,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    *,
    loss: Callable[[Any], Tensor] = sum_of_outputs,
    memory: DeviceMemory | None = None,
) -> bool:
    """Whether the gradients of a batch fit into the device's memory: one is computed. The network is as before then."""
    memory = memory or CudaMemory(device)
    side, was_training = preprocessing.size, network.training
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    try:
        images = torch.randn(max(2, batch_size), preprocessing.channels, side, side, device=device)
        with autocast(device, dtype):
            outputs = network(images.contiguous(memory_format=torch.channels_last))
        loss(outputs).backward()
        return memory.peak_bytes() < MEMORY_SHARE * memory.total_bytes()
    except torch.OutOfMemoryError:
        return False
    finally:
        network.zero_grad(set_to_none=True)
        network.load_state_dict(state)
        network.train(was_training)
        memory.reset()
