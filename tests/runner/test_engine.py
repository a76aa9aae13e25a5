"""Both engines give the same answers, and neither sends anything."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from casebook.errors import BundleError
from casebook.runner.bundle import Bundle
from casebook.runner.engine import open_engine


def test_a_file_that_is_no_network_is_refused() -> None:
    with pytest.raises(BundleError, match="onnxruntime cannot load the network"):
        open_engine("onnxruntime", b"no network", threads=1)


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
from casebook.runner.answers import open_answerer
open_answerer({str(small_bundle)!r}, engine="openvino", threads=1)
assert "openvino" in sys.modules
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip() == "[]"
