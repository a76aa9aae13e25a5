"""A float32 ONNX network -> one of 8-bit integers, with ranges taken from training pictures.

Weights get 8 bits with a scale for each output channel, activations one range each (static, written as QuantizeLinear
and DequantizeLinear). How a range is found matters: the extremes of a few pictures waste levels, a percentile clips
values. So several settings are tried, and the one that stays closest to the float32 answers on other training pictures
is taken; validation pictures choose nothing. Layers on a single pixel, as in squeeze-and-excitation, stay float32: they
cost nothing, and their channel factors suffer most.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..progress import Advanced, Reporter, silent
from ..runner.engine import open_engine

NUM_PICTURES = 64  # whose ranges are taken
NUM_CHOOSING = 64  # others, on which the settings are compared
SIMILAR = 1.1  # times the least divergence: an earlier setting, which is smaller and faster, is taken up to this
LEAST = 1e-5  # nats; a smaller divergence makes no difference to anyone
AT_ONCE = 8  # pictures; all activations of a batch are in memory together
QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
HEAVY = ("Conv", "Gemm", "MatMul")


class Setting(NamedTuple):
    """How ranges are found, and whether the first and the last layer stay float32."""

    name: str
    percentile: float | None
    """None: the extremes."""
    float_ends: bool = False


SETTINGS = (
    Setting("percentile 99.999", 99.999),
    Setting("extremes", None),
    Setting("percentile 99.999, first and last layer float32", 99.999, float_ends=True),
)


class Quantised(NamedTuple):
    """The 8-bit network of the best setting, and the mean divergence from float32 of each, in nats."""

    network: bytes
    setting: str
    divergences: dict[str, float]


def quantise(
    network: bytes,
    pixels: NDArray[np.uint8],
    choosing: NDArray[np.uint8],
    report: Reporter = silent,
    *,
    many_labels: bool = False,
) -> Quantised:
    """The 8-bit form of a network.

    `pixels`, (N, H, W, C) of training pictures, give the ranges; `choosing`, of others, choose the setting. With
    `many_labels` each class has a probability of its own. Raises BundleError for a network that onnxruntime cannot
    quantise.
    """
    threads = 1
    expected = _probabilities(network, choosing, threads)
    made: dict[str, bytes] = {}
    divergences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        try:
            prepared, ranges = _prepared(network, Path(folder)), {}
            for done, setting in enumerate(SETTINGS):
                report(Advanced("export", done, len(SETTINGS), f"8 bits, {setting.name}"))
                if setting.percentile not in ranges:
                    ranges[setting.percentile] = _ranges(prepared, pixels, setting.percentile)
                made[setting.name] = _quantised(prepared, ranges[setting.percentile], pixels[:1], setting)
                found = _probabilities(made[setting.name], choosing, threads)
                divergences[setting.name] = _divergence(expected, found, many_labels)
        except BundleError:
            raise
        except Exception as error:  # the quantiser raises what it likes
            raise BundleError(f"onnxruntime cannot quantise the network: {error}") from error
    least = min(divergences.values())
    best = next(name for name, divergence in divergences.items() if divergence <= SIMILAR * least + LEAST)
    return Quantised(made[best], best, divergences)


def _probabilities(network: bytes, pixels: NDArray[np.uint8], threads: int) -> NDArray[np.float32]:
    engine = open_engine("onnxruntime", network, threads=threads)
    parts = [engine(pixels[first : first + AT_ONCE]).probabilities for first in range(0, len(pixels), AT_ONCE)]
    return np.concatenate(parts)


def _divergence(expected: NDArray[np.float32], found: NDArray[np.float32], many_labels: bool = False) -> float:
    """The mean Kullback-Leibler divergence of the found from the expected probabilities.

    With `many_labels` a class is there or not by itself, and the divergences of all classes are summed.
    """
    least = np.float32(1e-12)
    terms = expected * np.log((expected + least) / (found + least))
    if many_labels:
        terms += (1 - expected) * np.log((1 - expected + least) / (1 - found + least))
    return max(0.0, float(terms.sum(axis=1).mean()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser speaks to the root logger and to stdout."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _prepared(network: bytes, folder: Path) -> Path:
    """The network with its shapes inferred and its constants folded, as a file."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given, path = folder / "given.onnx", folder / "prepared.onnx"
    given.write_bytes(network)
    quant_pre_process(given, path, skip_symbolic_shape=True)
    return path


class _Reader:
    """Pictures for onnxruntime's calibrator, a batch at a time."""

    def __init__(self, pixels: NDArray[np.uint8]):
        self._batches = iter([pixels])

    def get_next(self) -> Any:
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": batch}


def _ranges(prepared: Path, pixels: NDArray[np.uint8], percentile: float | None) -> dict[str, tuple[float, float]]:
    """(lowest, highest) value of each activation."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    how: dict[str, Any] = {"calibrate_method": CalibrationMethod.MinMax}
    if percentile is not None:
        how = {
            "calibrate_method": CalibrationMethod.Percentile,
            "extra_options": {"percentile": percentile, "symmetric": False},
        }
    calibrator: Any = create_calibrator(
        prepared, list(QUANTISED), augmented_model_path=str(prepared.with_name("augmented.onnx")), **how
    )
    for first in range(0, len(pixels), AT_ONCE):
        calibrator.collect_data(_Reader(pixels[first : first + AT_ONCE]))
    found = calibrator.compute_data().data
    ends = {name: [float(np.ravel(end)[0]) for end in tensor.range_value] for name, tensor in found.items()}
    return {name: (low, high) for name, (low, high) in ends.items()}


def _quantised(
    prepared: Path, ranges: dict[str, tuple[float, float]], pixels: NDArray[np.uint8], setting: Setting
) -> bytes:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    example: Any = _Reader(pixels)
    model, path = onnx.load(prepared), prepared.with_name("quantised.onnx")
    overrides = {
        name: [{"rmin": np.float32(min(low, 0)), "rmax": np.float32(max(high, 0))}]
        for name, (low, high) in ranges.items()
        if max(high, 0) > min(low, 0)
    }
    quantize_static(
        model, path, example, quant_format=QuantFormat.QDQ, op_types_to_quantize=list(QUANTISED),
        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        nodes_to_exclude=_excluded(model, setting.float_ends), calibrate_method=CalibrationMethod.MinMax,
        extra_options={"TensorQuantOverrides": overrides},
    )  # fmt: skip
    result = onnx.load(path)
    del result.metadata_props[:]
    result.producer_name, result.producer_version = "casebook", ""
    return result.SerializeToString(deterministic=True)


def _excluded(model: Any, float_ends: bool) -> list[str]:
    """The names of the nodes that stay float32: layers on a single pixel, and perhaps the first and the last."""
    heavy = [node for node in model.graph.node if node.op_type in HEAVY]
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    single = [
        node.name
        for node in heavy
        if node.op_type == "Conv" and (dims := shapes.get(node.input[0])) and _is_single_pixel(dims)
    ]
    return [*single, heavy[0].name, heavy[-1].name] if float_ends else single


def _is_single_pixel(dims: Sequence[Any]) -> bool:
    return len(dims) == 4 and dims[2].dim_value == dims[3].dim_value == 1
