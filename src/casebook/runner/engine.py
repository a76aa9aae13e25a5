"""ONNX networks -> answers for pixels, by onnxruntime, or by OpenVINO where it is installed.

Both read the same files. Every network takes `pixels`, (B, H, W, C) uint8, and gives the three arrays of `Outputs`.
"""

import functools
import sys
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..device.limits import available_cores
from ..errors import BundleError, did_you_mean

ENGINES = ("onnxruntime", "openvino")
DEFAULT_ENGINE = "onnxruntime"


class Outputs(NamedTuple):
    """What a network gives for B pictures; float32."""

    probabilities: NDArray[np.float32]
    """(B, K), rows sum to 1 where a picture has one label."""
    logits: NDArray[np.float32]
    """(B, K), before the softmax, or the sigmoid of several labels a picture."""
    features: NDArray[np.float32]
    """(B, F), what the last layer sees; F is 0 where they are unknown."""


class Engine(Protocol):
    """A network that is loaded. Several threads may ask it at once."""

    name: str
    threads: int

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """(B, H, W, C) uint8 -> what the network gives for them."""
        ...


# One MatMulInteger: a (1, 32) uint8, b (32, 32) int8 -> y (1, 32) int32. The tests make it again, with onnx.
_PROBE = (
    b'\x08\n:\\\n\x18\n\x01a\n\x01b\x12\x01y"\rMatMulInt'
    b"eger\x12\x01pZ\x13\n\x01a\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01\n\x02"
    b"\x08 Z\x13\n\x01b\x12\x0e\n\x0c\x08\x03\x12\x08\n\x02\x08 \n\x02\x08 b\x13\n"
    b"\x01y\x12\x0e\n\x0c\x08\x06\x12\x08\n\x02\x08\x01\n\x02\x08 B\x04\n\x00\x10\x14"
)


@functools.cache
def saturates() -> bool:
    """Whether onnxruntime's products of 8-bit numbers overflow here, as on x86-64 processors without VNNI.

    Such processors add two products in 16 bits. A product of the largest numbers shows it, in a millisecond.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(_PROBE, options, providers=["CPUExecutionProvider"])
    largest = {"a": np.full((1, 32), 255, np.uint8), "b": np.full((32, 32), 127, np.int8)}
    found: Any = session.run(None, largest)[0]
    return bool((found != 255 * 127 * 32).any())


class OnnxRuntime:
    """By onnxruntime, on the CPU.

    `exact` gives an 8-bit network the same answers on a processor that `saturates`. That makes it about half as fast
    there; on other processors the slower instructions are not asked for.
    """

    name = "onnxruntime"

    def __init__(self, network: bytes, threads: int, *, exact: bool):
        try:
            import onnxruntime
        except ImportError as error:
            raise BundleError("onnxruntime is not installed; pip install onnxruntime") from error
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves other programs
        if exact and saturates():
            options.add_session_config_entry("session.x64quantprecision", "1")
        self.threads = threads
        self._outputs = list(Outputs._fields)
        try:
            self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen types of its own
            raise BundleError(f"onnxruntime cannot load the network: {error}") from error

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        try:
            found: Any = self._session.run(self._outputs, {"pixels": pixels})
        except Exception as error:
            raise BundleError(f"onnxruntime cannot compute the network: {error}") from error
        return Outputs(*found)


class OpenVino:
    """By OpenVINO, on the CPU. `exact` computes in float32 where OpenVINO would choose bfloat16."""

    name = "openvino"

    def __init__(self, network: bytes, threads: int, *, exact: bool):
        # Without this package OpenVINO takes a stub that sends nothing.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        try:
            import openvino
        except ImportError as error:
            raise BundleError("OpenVINO is not installed; pip install openvino") from error
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if exact:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        self.threads = threads
        try:
            core = openvino.Core()
            self._network = core.compile_model(core.read_model(network), "CPU", settings)
        except Exception as error:
            raise BundleError(f"OpenVINO cannot load the network: {error}") from error

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        try:
            found = self._network.create_infer_request().infer({"pixels": pixels})
            return Outputs(*(np.array(found[name]) for name in Outputs._fields))
        except Exception as error:
            raise BundleError(f"OpenVINO cannot compute the network: {error}") from error


def ask(engine: Engine, pixels: NDArray[np.uint8], num_classes: int) -> Outputs:
    """What the engine gives for the pixels. Raises BundleError where it is not a row of `num_classes` for each."""
    outputs = engine(pixels)
    expected = (len(pixels), num_classes)
    for name, values in zip(("probabilities", "logits"), outputs, strict=False):
        if values.shape != expected or values.dtype.kind != "f":
            raise BundleError(
                f"the network gives {name} of shape {values.shape} for {len(pixels)} pictures and {num_classes} "
                f"classes, expected {expected}; export the run again"
            )
    return outputs


CLASSES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def open_engine(engine: str, network: bytes, *, threads: int = 0, exact: bool = True) -> Engine:
    """A loaded network; `threads` 0 means the cores that this process may use.

    Unless `exact`, an engine may take a quicker way whose answers differ between machines: instructions that saturate
    for 8 bits, bfloat16 for float32. Raises BundleError.
    """
    if engine not in CLASSES:
        raise BundleError(f"engine is {engine!r}{did_you_mean(engine, ENGINES) or ';'} expected {' or '.join(ENGINES)}")
    return CLASSES[engine](network, threads or available_cores(), exact=exact)
