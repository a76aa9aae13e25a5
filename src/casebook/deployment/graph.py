"""A classifier -> an ONNX network from pixels to probabilities, the same bytes each time.

The arithmetic of preprocessing is part of the graph; decoding and resizing stay outside, in Pillow, because ONNX's own
resizing gives other pixels.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BundleError
from ..evaluation.classifier import ACTIVATIONS, Classifier, logits_and_features
from ..runner.engine import Outputs

OPSET = 20
EXAMPLES = 2  # pictures in the example batch; with one, a network may be exported for just that number


class PixelNetwork(nn.Module):
    """(B, H, W, C) uint8 pixels -> (B, K) probabilities, (B, K) logits and (B, F) features."""

    offset: Tensor
    scale: Tensor

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.network, self.task = classifier.model, classifier.task
        offset, scale = classifier.preprocessing.offset_and_scale
        self.register_buffer("offset", torch.from_numpy(offset))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images = ((pixels.float() - self.offset) / self.scale).permute(0, 3, 1, 2)
        logits, features = logits_and_features(self.network, images)
        return ACTIVATIONS[self.task](logits), logits, features


class _GlobalMean(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3), keepdim=True)


@contextlib.contextmanager
def _plain_pools(network: nn.Module) -> Iterator[None]:
    """Global average pools as means, for the time of an export.

    The exporter writes torch's own pool as a mean and a gather over computed positions. OpenVINO 2026.4 gives wrong
    answers for an 8-bit network with such a gather, and no engine is faster for it.
    """
    pools = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))
    }
    for name in pools:
        network.set_submodule(name, _GlobalMean())
    try:
        yield
    finally:
        for name, pool in pools.items():
            network.set_submodule(name, pool)


def export_graph(classifier: Classifier) -> bytes:
    """The network as an ONNX file of any batch size. Raises BundleError for one that cannot be exported, with why."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BundleError(f"{error.name} is not installed; pip install 'casebook[export]'") from error
    channels, height, width = classifier.image_shape
    example = torch.from_numpy(np.zeros((EXAMPLES, height, width, channels), np.uint8))
    module = PixelNetwork(classifier).eval()
    try:
        with _quiet(), _plain_pools(module), torch.inference_mode(False), torch.no_grad():
            program = torch.onnx.export(
                module, (example,), dynamo=True, opset_version=OPSET, verbose=False, external_data=False,
                input_names=["pixels"], output_names=list(Outputs._fields),
                dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            )  # fmt: skip
    except Exception as error:  # torch.export and the exporter raise many types
        raise BundleError(f"{classifier.name} cannot be exported: {_first_line(error)}") from error
    assert program is not None
    network = program.model_proto
    _strip(network)
    onnx.checker.check_model(network)
    return network.SerializeToString(deterministic=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's warnings, about its own parts and packages that we do without, from the user."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _first_line(error: BaseException) -> str:
    """The innermost cause, in a line: it names the operator that is missing."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _strip(network: Any) -> None:
    """Takes out what the exporter notes about our source, which names this machine's folders."""
    del network.metadata_props[:]
    network.doc_string = ""
    graphs = [network.graph, *network.functions]
    for graph in graphs:
        graph.doc_string = ""
        del graph.metadata_props[:]
        for part in (*graph.node, *graph.value_info, *getattr(graph, "initializer", ())):
            part.doc_string = ""
            del part.metadata_props[:]
        for value in (*graph.input, *graph.output):
            if not isinstance(value, str):
                value.doc_string = ""
                del value.metadata_props[:]
