import json
import os
import subprocess
import sys

import pytest
import torch

import casebook
from casebook.device import environment, prepare_environment, tune_allocator
from casebook.device.environment import BEFORE_TORCH

SHOW = f"import json, os; print(json.dumps({{name: os.environ.get(name) for name in {list(BEFORE_TORCH)!r}}}))"


def started(code: str, **given: str) -> dict[str, str | None]:
    clean = {name: value for name, value in os.environ.items() if name not in BEFORE_TORCH}
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; {SHOW}"],
        env=clean | given,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def test_idle_threads_sleep_when_the_package_starts_torch() -> None:
    code = "from casebook.device import prepare_environment; prepare_environment()"
    assert started(code) == BEFORE_TORCH
    assert started(code, OMP_WAIT_POLICY="ACTIVE")["OMP_WAIT_POLICY"] == "ACTIVE"  # the user's own value wins


def test_the_command_line_prepares_the_environment() -> None:
    code = "import sys; sys.argv = ['casebook', 'recipes']; from casebook.cli import main; "
    code += "exec('try:\\n main()\\nexcept SystemExit: pass')"
    assert started(code) == BEFORE_TORCH


def test_importing_changes_no_environment() -> None:
    assert set(started("import casebook, casebook.device").values()) == {None}


def test_torch_that_is_already_loaded_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BEFORE_TORCH:
        monkeypatch.delenv(name, raising=False)
    prepare_environment()
    assert not set(BEFORE_TORCH) & set(os.environ)


def test_the_allocator_can_be_tuned_twice() -> None:
    before = dict(os.environ)
    tune_allocator()
    tune_allocator()
    assert dict(os.environ) == before


def test_the_environment_names_versions_and_machine() -> None:
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["casebook"] == casebook.__version__
    assert found["cores"] >= 1
