"""Both engines give the same answers, and neither sends anything."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import casebook
from casebook.errors import BundleError
from casebook.runner import engine
from casebook.runner.bundle import Bundle
from casebook.runner.engine import open_engine


def test_a_file_that_is_no_network_is_refused() -> None:
    with pytest.raises(BundleError, match="onnxruntime cannot load the network"):
        open_engine("onnxruntime", b"no network", threads=1)


def test_the_probe_is_one_product_of_8_bit_matrices() -> None:
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper, onnx.TensorProto
    shapes = {"a": (kinds.UINT8, [1, 32]), "b": (kinds.INT8, [32, 32]), "y": (kinds.INT32, [1, 32])}
    a, b, y = (make.make_tensor_value_info(name, *shape) for name, shape in shapes.items())
    graph = make.make_graph([make.make_node("MatMulInteger", ["a", "b"], ["y"])], "p", [a, b], [y])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)
    assert model.SerializeToString(deterministic=True) == engine._PROBE


@pytest.mark.parametrize("overflows", [False, True])
def test_care_is_asked_for_only_where_products_overflow(
    overflows: bool, small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    asked = []

    class Options(onnxruntime.SessionOptions):
        def add_session_config_entry(self, name: str, value: str) -> None:
            asked.append(name)
            super().add_session_config_entry(name, value)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    monkeypatch.setattr(engine, "saturates", lambda: overflows)
    for exact in (True, False):
        asked.clear()
        open_engine("onnxruntime", Bundle.open(small_bundle).read("model.onnx"), threads=1, exact=exact)
        assert ("session.x64quantprecision" in asked) == (exact and overflows)


def test_openvinos_package_of_telemetry_cannot_be_loaded(tmp_path: Path) -> None:
    """With packages that stand in for the real ones, as not every machine has OpenVINO."""
    (tmp_path / "openvino_telemetry.py").write_text("raise SystemExit('telemetry was loaded')")
    (tmp_path / "openvino.py").write_text(
        "try:\n    import openvino_telemetry\nexcept ImportError:\n    print('kept out')\nraise ImportError"
    )
    code = """
from casebook.errors import BundleError
from casebook.runner.engine import open_engine
try:
    open_engine("openvino", b"")
except BundleError as error:
    print(error)
"""
    folders = os.pathsep.join([str(tmp_path), str(Path(casebook.__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": folders}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert result.stdout.split("\n")[:2] == ["kept out", "OpenVINO is not installed; pip install openvino"]


@pytest.mark.slow
def test_openvino_answers_like_onnxruntime_and_loads_no_telemetry(small_bundle: Path) -> None:
    pytest.importorskip("openvino")
    network = Bundle.open(small_bundle).read("model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 1), np.uint8)
    ours, expected = (open_engine(name, network, threads=1)(pixels) for name in ("openvino", "onnxruntime"))
    for name in ours._fields:
        np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), atol=1e-5, err_msg=name)
    code = f"""
import sys

def watch(event, arguments):
    assert not event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto")), (event, arguments)

sys.addaudithook(watch)
import numpy as np
from casebook.runner.answers import open_answerer
answerer = open_answerer({str(small_bundle)!r}, engine="openvino", threads=1)
answerer.infer(np.zeros((1, 32, 32, 1), np.uint8))
assert "openvino" in sys.modules
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip() == "[]"
