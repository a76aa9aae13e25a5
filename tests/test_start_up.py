"""The commands that only tell something start without the engine."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

# Not pydantic itself: newer releases of typer parse with it. Ours is behind casebook.training.
HEAVY = ["torch", "numpy", "PIL", "cv2", "sklearn", "matplotlib", "huggingface_hub", "casebook.training"]
PROGRAM = f"""
import json, sys
from casebook.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["models"], ["models", "resnet50"], ["train", "--help"], ["explain-cost", "chain"]],
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout
    assert json.loads(result.stderr.splitlines()[-1]) == []


def test_help_is_quick() -> None:
    """0.1 s of processor time is usual; the bound only tells a start without torch from one with it."""
    times = []
    for _ in range(3):
        began = children_seconds()
        subprocess.run([sys.executable, "-m", "casebook", "--help"], capture_output=True, timeout=60, check=True)
        times.append(children_seconds() - began)
    assert min(times) < 1


def test_a_training_goes_without_torchs_compiler(tmp_path: Path) -> None:
    """It takes a second to import. The report explains mistakes, of which one epoch on digits makes some."""
    program = f"""
import json, sys
import casebook
run = casebook.train("digits", model="lenet5", epochs=1, out={str(tmp_path / "run")!r})
casebook.train(resume=run.path, epochs=2)
print(json.dumps([name for name in ("torch._dynamo", "sympy") if name in sys.modules]))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path
    )
    assert json.loads(result.stdout.splitlines()[-1]) == []
    assert "occlusion for" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def children_seconds() -> float:
    """Processor time of the subprocesses that have ended; other work on the machine adds nothing to it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
