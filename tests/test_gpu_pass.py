"""The GPU pass as it runs without a GPU: shares of time, what it leaves out, and the one result file."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu_pass(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("gpu_pass")


def options(**changes: Any) -> argparse.Namespace:
    defaults = {"device": "cpu", "tiny": True, "data": "", "timm_python": sys.executable, "batch_size": 0}
    return argparse.Namespace(**defaults | changes)


def run(gpu_pass: Any, monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["gpu_pass.py", "--out", str(out), "--device", "cpu", "--tiny", *arguments])
    gpu_pass.main()
    return json.loads(out.read_text())


def test_parts_share_the_time_and_a_failure_does_not_lose_the_others(
    gpu_pass: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shares = {}

    def speed(seconds: float, *_: Any) -> dict[str, Any]:
        shares["speed"] = seconds
        return {"results": [1]}

    def study(seconds: float, *_: Any) -> None:
        shares["study"] = seconds
        raise OSError("no room")

    monkeypatch.setattr(gpu_pass, "PARTS", gpu_pass.PARTS | {"speed": speed, "study": study})
    found = run(gpu_pass, monkeypatch, tmp_path / "gpu.json", "--minutes", "1")
    assert shares["speed"] == pytest.approx(60 * 0.45 / 0.85, abs=2)  # the tests took no time
    assert shares["study"] == pytest.approx(60, abs=2)  # what is left over goes to the last
    assert found["parts"]["speed"]["results"] == [1]
    assert found["parts"]["study"]["error"] == "OSError: no room"
    assert found["skipped"] == [{"what": "tests", "why": "the gpu tests need a CUDA device"}]
    assert {"torch", "casebook", "python", "numpy"} <= found["versions"].keys()
    assert found["device"] == {"name": "cpu"}
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]


def test_the_batch_size_can_be_chosen(gpu_pass: Any) -> None:
    assert gpu_pass.sizes(options(tiny=False))["batch_size"] == 256
    assert gpu_pass.sizes(options(tiny=False, batch_size=64)) == gpu_pass.FULL_SIZES | {"batch_size": 64}


def test_a_command_is_stopped_with_its_children_when_its_time_is_over(gpu_pass: Any) -> None:
    began = time.monotonic()
    assert gpu_pass.run_for([sys.executable, "-c", "import time; time.sleep(60)"], 1) is None
    assert time.monotonic() - began < 30
    assert gpu_pass.run_for([sys.executable, "-c", "raise SystemExit(3)"], 30) == 3


def test_outcomes_of_tests_are_counted(gpu_pass: Any, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip\ndef test_c(): pass\n"
    )
    found = gpu_pass.pytest([str(tmp_path / "test_some.py"), "-p", "no:cacheprovider"], 60)
    assert (found["finished"], found["passed"], found["skipped"], found["exit_code"]) == (True, 1, 1, 1)
    assert [name.rpartition("::")[2] for name in found["failed"]] == ["test_b"]


def test_the_progress_of_an_unfinished_study_is_read_from_its_folders(gpu_pass: Any, tmp_path: Path) -> None:
    trial = tmp_path / "degradation-full-x" / "runs" / "plain20-0123456789ab"
    trial.mkdir(parents=True)
    rows = [{"val_top1": 0.5, "seconds": 2.0}, {"val_top1": 0.4, "seconds": 4.0}]
    (trial / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = gpu_pass.progress_of(tmp_path)
    assert found == {"arms": [{"network": "plain20", "epochs": 2, "best_val_top1": 0.5, "seconds_per_epoch": 3.0}]}


def test_what_is_missing_is_skipped_with_the_reason(gpu_pass: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped: list[tuple[str, str]] = []
    assert gpu_pass.run_study(1.0, options(tiny=False), lambda *what: skipped.append(what)) is None
    assert skipped == [("study", "CIFAR-10 is not here; give a folder with one folder a class as --data")]
    monkeypatch.setattr(gpu_pass, "has_timm", lambda python: False)
    monkeypatch.setattr(gpu_pass, "measure", lambda *_: [])
    skipped.clear()
    gpu_pass.measure_speed(60.0, options(tiny=False), lambda *what: skipped.append(what))
    assert [what for what, _ in skipped] == ["speed of timm"]
    assert "--timm-python" in skipped[0][1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_told_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu_pass.py", "--device", "cuda:7", "--out", "none.json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--device cpu --tiny" in done.stderr
    assert not Path("none.json").exists()


@pytest.mark.slow
def test_the_speed_of_casebook_is_measured(gpu_pass: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu_pass.measure("mobilenet_v2", "eager", ["casebook"], options(), time.monotonic() + 300)
    (result,) = found
    assert len(result["seconds"]) == gpu_pass.TINY_SIZES["rounds"]
    assert result["images_per_second"]["median"] > 0
    assert result["about"]["parameters"] == 3_504_872  # MobileNet v2 with 1,000 classes
