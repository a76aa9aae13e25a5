"""Networks small enough to follow by hand, and proof that nothing of looking into one is left behind."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.overrides import _get_current_function_mode_stack

import casebook
from casebook.models.layers import Network


def with_statistics(name: str, seed: int = 0, **options: object) -> Network:
    """A network with 7 classes and batch-norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    network = casebook.create_model(name, num_classes=7, **options)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            low, high = (4, 8) if name == "resnet1202" else (0.5, 1.5)  # 600 blocks would add up to infinity
            module.running_var.uniform_(low, high)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


def images(network: Network, batch: int = 1, side: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    side = side or network.smallest_input
    return torch.randn(batch, network.in_channels, side, side, generator=generator)


def num_hooks(network: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    own = sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)
    shared = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
    return own + sum(len(getattr(global_hooks, kind)) for kind in shared)


@pytest.fixture
def untouched() -> Iterator[Callable[[nn.Module], None]]:
    """`untouched(network)` notes how a network is; at the end of the test it must be so again."""
    noted: list[tuple[nn.Module, dict, list, int]] = []

    def facts(network: nn.Module) -> list:
        weights = [(name, w.requires_grad, w.grad) for name, w in network.named_parameters()]
        return [weights, [module.training for module in network.modules()], torch.is_grad_enabled()]

    def note(network: nn.Module) -> None:
        noted.append((network, copy.deepcopy(network.state_dict()), facts(network), num_hooks(network)))

    yield note
    assert noted
    assert _get_current_function_mode_stack() == []
    for network, state, before, hooks in noted:
        assert num_hooks(network) == hooks
        assert facts(network) == before
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
