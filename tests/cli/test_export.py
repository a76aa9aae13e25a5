"""`casebook export`, and a bundle in place of a run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import casebook

from .conftest import Command, one_line


@pytest.fixture(scope="module")
def exported(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return casebook.export(small_run, tmp_path_factory.mktemp("exported") / "digits.casebook").path


def test_export_writes_a_bundle_with_the_runs_figures(command: Command, small_run: Path) -> None:
    result = command("export", small_run)
    assert result.code == 0
    assert result.out.startswith("small.casebook: ")
    bundle = casebook.load("small.casebook")
    assert bundle.classes == casebook.open_run(small_run).classes
    from casebook.runner.bundle import Bundle

    manifest = Bundle.open("small.casebook").manifest
    assert manifest["metrics"]["test"]["top1"] == casebook.open_run(small_run).test.top1
    card = Bundle.open("small.casebook").read("MODEL_CARD.md").decode()
    assert "locked test pictures, scored once" in card
    assert str(small_run.parent) not in json.dumps(manifest)
    report = (small_run / "report.html").read_text("utf-8")
    assert "as it travels in <b><bdi>small.casebook" in report
    assert "refused, not in the bundle" in report


def test_predict_and_evaluate_take_a_bundle(
    command: Command, exported: Path, small_run: Path, digit_folder: Path
) -> None:
    pictures = sorted((digit_folder / "digit_2").glob("*.png"))[:5]
    ours = command("predict", exported, *pictures, "--json").json
    expected = command("predict", small_run, *pictures, "--json").json
    for one, other in zip(ours["pictures"], expected["pictures"], strict=True):
        assert [said["class"] for said in one["predictions"]] == [said["class"] for said in other["predictions"]]
    np.testing.assert_allclose(
        casebook.load(exported).probabilities(pictures), casebook.load(small_run).probabilities(pictures), atol=1e-6
    )
    scores = [command("evaluate", one, digit_folder, "--split", "all", "--json").json for one in (exported, small_run)]
    assert scores[0]["n"] == 160
    assert scores[0]["top1"] == pytest.approx(scores[1]["seen"]["all"]["top1"], abs=1e-9)


def test_predict_with_a_bundle_imports_no_torch_and_runs_no_code_of_it(
    exported: Path, digit_folder: Path, tmp_path: Path
) -> None:
    code = f"""
import sys, casebook
answers = list(casebook.predict({str(exported)!r}, {str(digit_folder / "digit_1" / "000.png")!r}))
assert answers[0].best
assert not [m for m in sys.modules.values() if ".casebook" in str(getattr(m, "__file__", ""))]
print("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "False"


def test_what_a_bundle_cannot_do_is_reported(command: Command, exported: Path, small_run: Path) -> None:
    assert "has its own weights" in one_line(command("predict", exported, "a.png", "--weights", "x"))
    assert "there is no bundle" in one_line(command("predict", "gone.casebook", "a.png"))
    assert "is a bundle" in one_line(command("explain", exported, "a.png"))
    assert "is a bundle already" in one_line(command("export", exported))
    assert "ends in .casebook" in one_line(command("export", small_run, "--out", "x.zip"))
    Path("broken.casebook").write_bytes(exported.read_bytes()[:-100])
    assert "is no bundle, or is cut off" in one_line(command("predict", "broken.casebook", "a.png"))
