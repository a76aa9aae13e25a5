"""Converts a network to a Keras model: torch.export records its operators, and each becomes a layer."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...errors import CasebookError, ModelError
from .. import model_card
from ..layers import Network
from .operators import KEEP_NONNEGATIVE, NONNEGATIVE, OPERATORS, Call

__all__ = ["import_keras", "to_keras"]

BATCH = 2  # batch size for the export; the Keras model accepts any


def import_keras() -> Any:
    """Imports Keras 3. It uses PyTorch unless you chose a backend or TensorFlow is installed.

    Raises CasebookError if Keras or its backend is missing.
    """
    if "KERAS_BACKEND" not in os.environ and find_spec("tensorflow") is None:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        keras: Any = import_module("keras")  # by name, because this folder is called keras too
    except ImportError as error:
        raise CasebookError(
            f"cannot import Keras ({error}); install Keras 3.5 or newer with pip install 'casebook[keras]', and set "
            "KERAS_BACKEND=torch to use it with PyTorch"
        ) from error
    if keras.__version__.startswith("2."):
        raise CasebookError(f"Keras is {keras.__version__}, expected 3.5 or newer: pip install 'keras>=3.5'")
    return keras


def to_keras(network: nn.Module, input_size: int | tuple[int, int] | None = None, name: str | None = None) -> Any:
    """A Keras model of the network in evaluation mode: normalised (B, H, W, C) float32 -> logits (B, num_classes).

    The model takes pictures of exactly `input_size`, a side or (height, width); the default is the size on the
    network's card. Its layers have the modules' names and copies of their weights. They are all Keras's own layers, so
    the saved .keras file does not need Casebook. Parts that only training uses, drop-path and auxiliary heads, are left
    out.

    Raises:
        ModelError: for an operator without a counterpart in Keras, or a size that the network does not accept.
        CasebookError: if Keras is missing.
    """
    keras = import_keras()
    weight = next(network.parameters())
    if weight.is_meta:
        raise ModelError("the network is on the meta device and has no weights; create it on the CPU")
    in_channels = network.in_channels if isinstance(network, Network) else 3
    height, width = _sides(network, input_size)
    example = torch.zeros(BATCH, in_channels, height, width, dtype=weight.dtype, device=weight.device)
    with _evaluating(network), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch.export itself
        exported = torch.export.export(network, (example,))
    translation = _Translation(keras, network, exported)
    return translation.run((height, width, in_channels), name or getattr(network, "name", "") or "network")


def _sides(network: nn.Module, input_size: int | tuple[int, int] | None) -> tuple[int, int]:
    if input_size is None:
        if not getattr(network, "name", ""):
            raise ModelError("the network has no card with an input size; give to_keras an input_size")
        input_size = model_card(network.name).input_size  # type: ignore[arg-type]
    return (input_size, input_size) if isinstance(input_size, int) else (input_size[0], input_size[1])


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _room_for_recursion(limit: int) -> Iterator[None]:
    """Raises Python's recursion limit: Keras walks a model's graph recursively, and some have 1202 layers."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class _Translation:
    """Translates an exported graph to a Keras model, node by node."""

    def __init__(self, keras: Any, network: nn.Module, exported: torch.export.ExportedProgram):
        self.keras, self.batch = keras, BATCH
        self.modules = dict(network.named_modules(remove_duplicate=False))
        self.graph = exported.graph
        self.constants = _constants(network, exported)
        self.values: dict[fx.Node, Any] = {}  # Keras tensors; PyTorch tensors for constants
        self.nonnegative: set[fx.Node] = set()
        self.names = {"images"}
        self.layers: dict[int, Any] = {}  # by the id of their first weight

    def run(self, shape: tuple[int, int, int], name: str) -> Any:
        images = self.keras.Input(shape, name="images", dtype="float32")
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self.constants.get(node.name, images)
            elif node.op == "call_function" and node not in self.values:
                self.values[node] = self._call(node)
        (logits,) = self.graph.output_node().args[0]  # pyright: ignore[reportGeneralTypeIssues]
        with _room_for_recursion(20 * len(self.graph.nodes)):
            return self.keras.Model(images, self.values[logits], name=name)  # pyright: ignore[reportArgumentType]

    def _call(self, node: fx.Node) -> Any:
        call = Call(self, node)
        if call.operator not in OPERATORS:
            raise call.error("has no known counterpart in Keras")
        keeps = call.operator in KEEP_NONNEGATIVE and all(input in self.nonnegative for input in node.all_input_nodes)
        if keeps or call.operator in NONNEGATIVE or (call.operator == "hardtanh" and node.args[1] == 0):
            self.nonnegative.add(node)
        return OPERATORS[call.operator](call, **call.arguments())


def _constants(network: nn.Module, exported: torch.export.ExportedProgram) -> dict[str, Tensor]:
    """Placeholder -> the network's own parameter or buffer; shared weights stay one object."""
    signature = exported.graph_signature
    state = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers(remove_duplicate=False))
    keys = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = {placeholder: state[key] for placeholder, key in keys.items()}
    return constants | {
        placeholder: exported.constants[key]  # type: ignore[misc]
        for placeholder, key in signature.inputs_to_lifted_tensor_constants.items()
    }
