"""How a signal goes down through a network: the rules of the deconvnet and of guided backpropagation.

A convolution passed backwards is its transposed filters; a max pooling passed backwards is unpooling with the recorded
switches. So autograd is the deconvnet of Zeiler and Fergus (ECCV 2014, https://arxiv.org/abs/1311.2901, section 2.1)
but for the activations, whose backward step these modes replace while a network runs. They watch the functions that
are called, not the modules, so shared, in-place and functional activations are all the same to them.

Where the paper is silent, decided once for all networks:

- Overlapping windows of a max pooling (the paper's own are 3x3 with stride 2): a pixel that won several of them gets
  the sum of their signals, as the adjoint has it.
- Every activation with one side (ReLU6, leaky ReLU, ELU, GELU, SiLU, hard swish, softplus, sigmoid) stands for ReLU:
  the signal is rectified, whatever the activation let through on the way up.
- An activation with two sides (tanh, softsign) makes no map positive, so nothing is rectified: the signal passes.
- Batch norm is a part of the filter beside it, as after folding: its scale multiplies the signal, its shift, like every
  bias, is left out.
- What multiplies or divides a map on the way up is recorded like a switch and held fixed on the way down: the gates of
  squeeze-excitation, the divisor of a local response normalisation, the coefficients of LeNet's sub-sampling. No signal
  goes into what computes it.
- Concatenation splits the signal; addition hands it to every branch; where a map was used several times the signals
  add up; average pooling, also global, spreads it evenly; linear layers are transposed; padding is cut off, channels go
  where they came from. All are the adjoints.
- Anything else passes its plain gradient.

Without max pooling there are no switches, and but for what multiplies maps nothing of the picture steers the signal:
what comes down shows a unit's taste more than this picture. Guided backpropagation was made for such networks
(Springenberg et al., "Striving for Simplicity", ICLR 2015 workshop, section 4, https://arxiv.org/abs/1412.6806). It is
the gradient, but each activation with one side, sigmoids apart, passes only positive signals, and only where its own
input is above 0; so a ReLU6 at its ceiling passes them too.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..errors import ModelError

Rule = Literal["deconvnet", "guided", "gradient"]
RULES: tuple[Rule, ...] = ("deconvnet", "guided", "gradient")

ONE_SIDED = frozenset(
    (
        *(functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu6),
        *(functional.leaky_relu, torch.nn.functional.leaky_relu_, functional.elu, functional.elu_, functional.celu),
        *(functional.celu_, functional.selu, functional.selu_, torch.selu, torch.selu_, torch.celu, torch.celu_),
        *(functional.prelu, torch.prelu, Tensor.prelu, functional.rrelu, functional.rrelu_, torch.rrelu, torch.rrelu_),
        *(
            functional.threshold,
            functional.gelu,
            functional.silu,
            functional.mish,
            functional.softplus,
            functional.hardswish,
        ),
    )
)
GATES = frozenset(
    (torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, functional.sigmoid, functional.hardsigmoid)
)
TWO_SIDED = frozenset(
    (torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_, functional.tanh, functional.softsign, functional.tanhshrink)
)
VIEWS = frozenset(
    (Tensor.expand, Tensor.expand_as, Tensor.view, Tensor.view_as, Tensor.reshape, Tensor.unsqueeze, Tensor.__getitem__)
)
CLAMPS = frozenset(
    (
        *(functional.hardtanh, functional.hardtanh_, torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_),
        *(torch.clip, Tensor.clip, torch.clamp_min, Tensor.clamp_min, Tensor.clamp_min_),
    )
)
PRODUCTS = frozenset((torch.mul, torch.multiply, Tensor.mul, Tensor.mul_, Tensor.multiply, Tensor.multiply_))
QUOTIENTS = frozenset(
    (torch.div, torch.divide, torch.true_divide, Tensor.div, Tensor.div_, Tensor.divide, Tensor.true_divide)
)


def descending(rule: str) -> contextlib.AbstractContextManager[Any]:
    """The mode to run a network in whose backward pass shall follow the rule. Raises ModelError for an unknown one."""
    check_rule(rule)
    return Deconvnet() if rule == "deconvnet" else Guided() if rule == "guided" else contextlib.nullcontext()


def check_rule(rule: str) -> None:
    if rule not in RULES:
        raise ModelError(f"the rule is {rule!r}, expected {', '.join(RULES)}")


def has_switches(network: nn.Module) -> bool:
    """Whether max pooling tells the deconvnet where in this picture its signals belong."""
    return any(isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d) for module in network.modules())


class Guided(TorchFunctionMode):
    """Activations with one side pass positive signals alone, where their input is above 0."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in ONE_SIDED or _rectifies(func, args, kwargs):
            return _through(GuidedStep, func, args, kwargs)
        return func(*args, **kwargs)


class Deconvnet(TorchFunctionMode):
    """The rules of this module's first lines."""

    def __init__(self) -> None:
        super().__init__()
        self._gates: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in PRODUCTS or func in QUOTIENTS:
            return func(*self._with_factor_held(func, *args), **kwargs)
        if func is functional.local_response_norm:
            return _response_norm(*args, **kwargs)
        if func in VIEWS and self._is_gate(args[0]):
            self._gates.append(view := func(*args, **kwargs))
            return view
        if func in GATES:
            gate = _through(RectifyingStep, func, args, kwargs)
            self._gates.append(gate)
            return gate
        if func in ONE_SIDED or _rectifies(func, args, kwargs):
            return _through(RectifyingStep, func, args, kwargs)
        if func in TWO_SIDED or func in (functional.hardtanh, functional.hardtanh_):
            return _through(PassingStep, func, args, kwargs)
        return func(*args, **kwargs)

    def _with_factor_held(self, func: Any, x: Any, y: Any = None, *others: Any) -> tuple:
        """Of two tensors the gate, the smaller or the divisor is cut from the graph."""
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            if func in QUOTIENTS or self._is_gate(y) or y.numel() < x.numel():
                y = y.detach()
            elif self._is_gate(x) or x.numel() < y.numel():
                x = x.detach()
        return (x, *((y,) if y is not None else ()), *others)

    def _is_gate(self, x: Tensor) -> bool:
        return any(x is gate for gate in self._gates)


def _rectifies(func: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether it clamps at 0 from below, as ReLU6 does."""
    if func not in CLAMPS:
        return False
    name = "min_val" if func in (functional.hardtanh, functional.hardtanh_) else "min"
    lowest = args[1] if len(args) > 1 else kwargs.get(name)
    return isinstance(lowest, int | float) and lowest == 0


def _through(step: type[torch.autograd.Function], func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What the activation gives, with the step's way back."""
    kwargs = dict(kwargs)
    x, others = (args[0], args[1:]) if args else (kwargs.pop("input"), ())
    if not x.requires_grad:
        return func(x, *others, **kwargs)
    return step.apply(x, lambda x: func(x, *others, **kwargs))


class RectifyingStep(torch.autograd.Function):
    """Forward the activation; backward the positive part of the signal."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        y = activation(x)
        if y is x:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> Any:
        return signals[0].clamp(min=0), None


class PassingStep(RectifyingStep):
    """Forward the activation; backward the signal as it is."""

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> Any:
        return signals[0], None


class GuidedStep(torch.autograd.Function):
    """Forward the activation; backward the positive part of the signal where the input is above 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x > 0)  # before the activation, which may work in place
        y = activation(x)
        if y is x:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> Any:
        (open_,) = ctx.saved_tensors
        return signals[0].clamp(min=0) * open_, None


def _response_norm(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """x / d, where d is as recorded on the way up."""
    with torch.no_grad():
        tiny = input.where(input != 0, 1e-12)  # so that the divisor can be told; its square vanishes
        factor = functional.local_response_norm(tiny, *args, **kwargs) / tiny
    return input * factor
