"""8-bit networks: settings are chosen on training pictures, and the gate is asked on validation pictures."""

from pathlib import Path

import numpy as np
import pytest

import casebook
from casebook.deployment import gate as gate_room
from casebook.deployment.gate import gated, least_drop
from casebook.deployment.quantise import SETTINGS, quantise
from casebook.errors import BundleError
from casebook.runner.bundle import Bundle
from casebook.runner.engine import open_engine
from casebook.runner.verify import golden_pixels


@pytest.fixture(scope="module")
def network(small_bundle: Path) -> bytes:
    return Bundle.open(small_bundle).read("model.onnx")


def test_quantise_makes_a_smaller_network_of_nearly_the_same_answers(small_bundle: Path, network: bytes) -> None:
    import onnx

    _, pixels, _ = golden_pixels(Bundle.open(small_bundle))
    made = quantise(network, pixels[:14], pixels[14:])
    assert made.setting in {setting.name for setting in SETTINGS}
    assert set(made.divergences) == {setting.name for setting in SETTINGS}
    assert len(made.network) < 0.5 * len(network)
    model = onnx.load_from_string(made.network)
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    scales = [w for w in model.graph.initializer if w.name.endswith("weight_scale")]
    assert scales
    assert all(len(scale.dims) == 1 and scale.dims[0] > 1 for scale in scales)  # one for each channel
    ours = open_engine("onnxruntime", made.network, threads=1)(pixels).probabilities
    expected = open_engine("onnxruntime", network, threads=1)(pixels).probabilities
    assert 0 < np.abs(ours - expected).max() < 0.05
    assert quantise(network, pixels[:14], pixels[14:]).network == made.network


def test_least_drop() -> None:
    """Without a difference among n pictures, about two of n remain possible."""
    assert least_drop(0) == float("inf")
    assert least_drop(158) == pytest.approx(200 / 158, abs=0.01)
    assert least_drop(1000) == pytest.approx(0.2, abs=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "ten"
    casebook.train("digits", out=out, epochs=1, warmup_epochs=0, near_duplicates=False)
    return out


@pytest.fixture(scope="module")
def classifier(run: Path) -> casebook.Classifier:
    return casebook.load(run, device="cpu")


def test_too_few_validation_pictures_are_refused_without_work(
    classifier: casebook.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_room, "quantise", lambda *_: pytest.fail("nothing is to be quantised"))
    network, verdict = gated(classifier, b"", max_drop=0.5)
    assert network is None
    assert not verdict.accepted
    assert "validation pictures cannot show that 8 bits cost at most 0.5 points" in verdict.reason


def test_without_a_run_there_is_nothing_to_calibrate_on(classifier: casebook.Classifier) -> None:
    import dataclasses

    network, verdict = gated(dataclasses.replace(classifier, run=None), b"", max_drop=1)
    assert network is None
    assert "only a run has training pictures" in verdict.reason


@pytest.mark.slow
def test_the_gate_compares_both_networks_on_validation_pictures_alone(
    run: Path, classifier: casebook.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    original = gate_room._decoded

    def watched(classifier, source, indices):
        opened.extend(indices)
        return original(classifier, source, indices)

    monkeypatch.setattr(gate_room, "_decoded", watched)
    settings = casebook.ExportSettings(int8="require", max_drop=3)
    bundle = Bundle.open(casebook.export(run, tmp_path / "ten.casebook", settings=settings).path)
    verdict = bundle.manifest["int8"]
    split = gate_room.own_data(classifier.run).split
    assert set(opened) <= {*split.train, *split.val}
    assert set(opened) >= set(split.val)
    assert verdict["accepted"]
    assert verdict["n"] == len(split.val)
    assert verdict["interval"][1] <= 3
    assert verdict["difference"] == pytest.approx(
        100 * (verdict["float32_right"] - verdict["int8_right"]) / verdict["n"]
    )
    assert set(bundle.networks) == {"float32", "int8"}
    assert "It passed its gate" in bundle.read("MODEL_CARD.md").decode()


@pytest.mark.slow
def test_a_worse_network_is_refused_with_the_figures(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from casebook.deployment.quantise import Quantised

    random = casebook.create_model("lenet5", num_classes=10)
    bad = casebook.load(run, device="cpu").with_model(random)
    from casebook.deployment.graph import export_graph

    monkeypatch.setattr(gate_room, "quantise", lambda *_, **__: Quantised(export_graph(bad), "made up", {}))
    settings = casebook.ExportSettings(int8="require", max_drop=3)
    with pytest.raises(BundleError, match=r"no 8-bit network: of \d+ validation pictures float32 has \d+ right"):
        casebook.export(run, tmp_path / "ten.casebook", settings=settings)
    settings = casebook.ExportSettings(max_drop=3)
    bundle = Bundle.open(casebook.export(run, tmp_path / "ten.casebook", settings=settings).path)
    assert set(bundle.networks) == {"float32"}
    assert bundle.manifest["int8"]["accepted"] is False
    assert "There is no 8-bit network: of" in bundle.read("MODEL_CARD.md").decode()


@pytest.mark.parametrize("wrong", [{"int8": "maybe"}, {"max_drop": 0}, {"max_drop": 101}])
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(BundleError, match="expected"):
        casebook.ExportSettings(**wrong)
