"""Weights divided among the processes of torchrun (FSDP), for networks that do not fit one device.

Each process keeps a part of the weights, gradients and optimiser state. For its forward and its backward pass a block
of the network is gathered and then dropped again. What lies in a run folder are whole tensors, so a training that was
divided goes on undivided, and the other way round.
"""

from collections import Counter

import torch
from torch import Tensor, nn

from ..preprocessing import Preprocessing
from .batch_size import MEMORY_SHARE
from .distributed import World
from .recipe import Recipe

BLOCK_SHARE = 1 / 8  # of all weights that are gathered at once, where the network has blocks as small as that
STATES = {"sgd": 1, "adamw": 2}  # numbers that an optimiser keeps for each weight


def divides_weights(recipe: Recipe, network: nn.Module, device: torch.device, world: World) -> bool:
    """Whether the weights of this training are divided.

    "auto" divides them on CUDA if they, their gradients, the optimiser's state and the average would take more than
    MEMORY_SHARE of a device's memory.
    """
    if world.world_size == 1 or recipe.shard_weights == "off":
        return False
    if recipe.shard_weights == "on":
        return True
    if device.type != "cuda":
        return False
    return state_bytes(recipe, network) > MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory


def state_bytes(recipe: Recipe, network: nn.Module) -> int:
    """Of the weights, and of the gradients, optimiser state and average of those that learn."""
    of_each = 1 + STATES[recipe.optimiser]
    size = {weight: weight.numel() * weight.element_size() for weight in network.parameters()}
    learning = sum(size[weight] for weight in size if weight.requires_grad)
    return sum(size.values()) * (2 if recipe.ema_decay else 1) + learning * of_each


def divide(network: nn.Module, preprocessing: Preprocessing, device: torch.device, world: World) -> None:
    """Leaves this process its part of a network's weights. Its optimiser must be made afterwards."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world.world_size,))
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    side = preprocessing.size
    for block in (*blocks_of(network, torch.zeros(1, preprocessing.channels, side, side, device=device)), network):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)


def blocks_of(network: nn.Module, images: Tensor) -> list[nn.Module]:
    """What is gathered at once: the largest modules of at most BLOCK_SHARE of the weights, or the smallest there are.

    Only modules that the network calls, once each, gather their weights at the right time. One pass shows which.
    """
    calls: Counter[nn.Module] = Counter()
    hooks = [m.register_forward_pre_hook(lambda module, _: calls.update([module])) for m in network.modules()]
    was_training = network.training
    with torch.no_grad():
        network.eval()(images)
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    most = BLOCK_SHARE * _count(network)

    def below(module: nn.Module) -> list[nn.Module]:
        found: list[nn.Module] = []
        for child in module.children():
            smaller = below(child)
            is_block = calls[child] == 1 and _count(child) > 0 and (_count(child) <= most or not smaller)
            found += [child] if is_block else smaller
        return found

    return below(network)


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
