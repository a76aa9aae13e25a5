"""The commands that only tell something start without the engine."""

import json
import subprocess
import sys
import time

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
    """0.1 s is usual; the bound only tells a start without torch from one with it on a busy machine."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "casebook", "--help"], capture_output=True, timeout=60, check=True)
        times.append(time.perf_counter() - began)
    assert min(times) < 1.5
