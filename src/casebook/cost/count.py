"""A network enters, by name or as a module; its costs at one input size leave, layer by layer.

The network runs on the meta device, whose tensors have shapes but no numbers, so nothing is computed.
"""

import copy
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelError, did_you_mean
from ..models import create_model, model_card
from ..models.layers import Network
from .records import LayerCost, MemoryEstimate
from .summary import Summary
from .trace import Trace, saved_bytes

OPTIMISERS = {"sgd": 1, "adamw": 2}  # values per weight: the momentum; the first and second moment


class Prepared(NamedTuple):
    """A network on the meta device, with the shape and dtype of the images that it is counted on."""

    name: str
    module: nn.Module
    shape: tuple[int, int, int]
    dtype: torch.dtype | None

    def refused(self, error: Exception) -> ModelError:
        return ModelError(f"{self.name} does not run on the meta device with images of {self.shape}: {error}")


def prepare(
    network: str | nn.Module,
    input_size: int | tuple[int, int] | None = None,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    **options: Any,
) -> Prepared:
    """A network by name with its options, or a copy of a module, on the meta device. Arguments are those of `count`."""
    if isinstance(network, str):
        name = network
        input_size = input_size if input_size is not None else model_card(name).input_size
        with torch.device("meta"):
            module = create_model(name, in_channels=in_channels, num_classes=num_classes, **options)
        channels = module.in_channels
    else:
        given = list(options) + ["num_classes"] * (num_classes is not None)
        if given:
            raise ModelError(f"{', '.join(given)} needs the name of a network, but got a module")
        name, module = type(network).__name__, _on_meta(network)
        channels = in_channels if in_channels is not None else _in_channels(module)
        if input_size is None:
            raise ModelError("input_size is missing; a module needs the side of its images, or (height, width)")
    height, width = _sides(input_size)
    weight = next((w for w in module.parameters() if w.is_floating_point()), None)
    return Prepared(name, module, (channels, height, width), weight.dtype if weight is not None else None)


def count(
    network: str | nn.Module,
    input_size: int | tuple[int, int] | None = None,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    batch_size: int = 1,
    optimiser: str = "sgd",
    traced: bool = False,
    **options: Any,
) -> Summary:
    """Counts what a network costs: parameters, operations, activations and receptive field of each layer.

    `network` is a name, with `options` such as `small_stem=True`, or any module that takes images; a module is copied
    to the meta device, not changed. `input_size` is a side in pixels or (height, width); for a name it defaults to the
    card's. Memory is for `batch_size` pictures and, in training, for "sgd" (with momentum) or "adamw". `traced` counts
    again with torch's own counter, which takes a second to load.

    Raises:
        ModelError: for an unknown name, option or optimiser, an input that the network does not take, or a module
            that does not run without numbers.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise ModelError(f"batch_size is {batch_size!r}, expected an integer of at least 1")
    if optimiser not in OPTIMISERS:
        suggestion = did_you_mean(optimiser, OPTIMISERS) or ";"
        raise ModelError(f"unknown optimiser {optimiser!r}{suggestion} expected {' or '.join(OPTIMISERS)}")
    ready = prepare(network, input_size, in_channels=in_channels, num_classes=num_classes, **options)
    name, module, shape = ready.name, ready.module, ready.shape
    one, two = (torch.empty(n, *shape, dtype=ready.dtype, device="meta") for n in (1, 2))

    try:
        with torch.no_grad():
            inference = Trace(module.eval(), one)
            inference.run()
        # Two pictures, because batch norm refuses to train on a single value per channel.
        training = Trace(module.train(), two, known=inference.outputs)
        kept = saved_bytes(training)
        torchs = _traced(module.eval(), one) if traced else None
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        if isinstance(network, str):
            raise
        raise ready.refused(error) from error
    peak_bytes, peak_module = inference.peak()
    trainable = sum(weight.nbytes for weight in module.parameters() if weight.requires_grad)
    memory = MemoryEstimate(
        batch_size=batch_size,
        optimiser=optimiser,
        weight_bytes=sum(weight.nbytes for weight in module.parameters()),
        buffer_bytes=sum(buffer.nbytes for buffer in module.buffers()),
        peak_activation_bytes=peak_bytes * batch_size,
        peak_module=peak_module,
        gradient_bytes=trainable,
        optimiser_bytes=trainable * OPTIMISERS[optimiser],
        saved_activation_bytes=kept * batch_size // len(two),
    )
    return Summary(
        network=name,
        input_shape=shape,
        layers=tuple(
            layer._replace(activation_bytes=layer.activation_bytes * batch_size)
            for layer in _in_stages(module, inference, training)
        ),
        not_counted=tuple(sorted(inference.not_counted.values(), key=lambda entry: -entry.results)),
        memory=memory,
        outputs=training.outputs | inference.outputs,
        traced_multiply_adds=torchs,
    )


def _in_stages(module: nn.Module, inference: Trace, training: Trace) -> list[LayerCost]:
    """The layers of inference, then weights outside them, then the layers that only training runs."""
    ran = {layer.name for layer in inference.layers}
    late = [layer._replace(training_only=True) for layer in training.layers]
    ran |= {layer.name for layer in late}
    idle = [
        inference.idle_layer(name, part)
        for name, part in module.named_modules()
        if name not in ran and any(True for _ in part.parameters(recurse=False)) and name
    ]
    is_ours = isinstance(module, Network)
    layers = [*inference.layers, *(layer for layer in idle if layer.parameters), *late]
    return [layer._replace(stage=_stage(layer.name, is_ours)) for layer in layers]


def _stage(name: str, is_ours: bool) -> str:
    """stem, stage 1 and so on, head, auxiliary; for modules from elsewhere, the outermost submodule."""
    parts = name.split(".")
    return f"stage {int(parts[1]) + 1}" if is_ours and parts[0] == "stages" else parts[0]


def _on_meta(network: nn.Module) -> nn.Module:
    """A copy on the meta device, without the hooks of the original."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        parts = vars(module)
        for tensor in (*parts["_parameters"].values(), *parts["_buffers"].values(), *parts.values()):
            if nn.parameter.is_lazy(tensor):
                raise ModelError(f"{type(module).__name__} has no weights yet; give it a batch of images first")
            if isinstance(tensor, Tensor):
                bare = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
                is_weight = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if is_weight else bare
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            memo[id(parts[hooks])] = OrderedDict()
    return copy.deepcopy(network, memo)


def _in_channels(module: nn.Module) -> int:
    """The input channels of a casebook network, or else of the first convolution."""
    if isinstance(module, Network):
        return module.in_channels
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            return part.in_channels
    raise ModelError(f"{type(module).__name__} has no convolution to read in_channels from; give in_channels")


def _sides(input_size: Any) -> tuple[int, int]:
    sides = tuple(input_size) if isinstance(input_size, tuple | list) else (input_size, input_size)
    if len(sides) != 2 or any(type(side) is not int or not 1 <= side <= 1_000_000 for side in sides):
        raise ModelError(f"input_size is {input_size!r}, expected a side in pixels or (height, width)")
    return sides


def _traced(module: nn.Module, images: Tensor) -> int:
    """The multiply-adds by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images)
    return counter.get_total_flops() // 2
