"""ONNX networks -> answers for pixels, by onnxruntime, or by OpenVINO where it is installed.

Both read the same files. Every network takes `pixels`, (B, H, W, C) uint8, and gives the three arrays of `Outputs`.
"""

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
    """(B, K), rows sum to 1."""
    logits: NDArray[np.float32]
    """(B, K), before the softmax."""
    features: NDArray[np.float32]
    """(B, F), what the last layer sees; F is 0 where they are unknown."""


class Engine(Protocol):
    """A network that is loaded. Several threads may ask it at once."""

    name: str
    threads: int

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """(B, H, W, C) uint8 -> what the network gives for them."""
        ...


class OnnxRuntime:
    """By onnxruntime, on the CPU.

    `exact` makes 8-bit networks give the same answers on x86-64 without VNNI, whose own 8-bit instructions saturate. It
    costs speed there and none elsewhere.
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
        if exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        self.threads = threads
        self._outputs = list(Outputs._fields)
        try:
            self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen types of its own
            raise BundleError(f"onnxruntime cannot load the network: {error}") from error

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        found: Any = self._session.run(self._outputs, {"pixels": pixels})
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
        found = self._network.create_infer_request().infer({"pixels": pixels})
        return Outputs(*(np.array(found[name]) for name in Outputs._fields))


CLASSES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def open_engine(engine: str, network: bytes, *, threads: int = 0, exact: bool = True) -> Engine:
    """A loaded network; `threads` 0 means the cores that this process may use.

    Unless `exact`, an engine may take a quicker way whose answers differ between machines: instructions that saturate
    for 8 bits, bfloat16 for float32. Raises BundleError.
    """
    if engine not in CLASSES:
        raise BundleError(f"engine is {engine!r}{did_you_mean(engine, ENGINES) or ';'} expected {' or '.join(ENGINES)}")
    return CLASSES[engine](network, threads or available_cores(), exact=exact)
