"""What travels in a bundle is all that it needs, and nothing that needs torch."""

import subprocess
import sys
from pathlib import Path

from casebook.deployment.parcel import runner_members

WITHOUT = ("torch", "cv2", "rich", "typer", "pydantic", "scipy")


def test_the_closure_is_small_and_has_no_heavy_room() -> None:
    members = runner_members()
    assert {"__main__.py", "casebook/__init__.py", "casebook/data/decode.py", "casebook/preprocessing.py"} <= set(
        members
    )
    assert not [name for name in members if name.startswith(("casebook/models", "casebook/cli", "casebook/training"))]
    assert "casebook/runner/server/static/page.html" in members
    assert sum(map(len, members.values())) < 500_000


def test_a_bundle_runs_where_torch_opencv_and_rich_are_missing(
    small_bundle: Path, digit_folder: Path, tmp_path: Path
) -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r}))"  # None there makes an import fail
    (tmp_path / "sitecustomize.py").write_text(block)
    picture = digit_folder / "digit_1" / "001.png"
    result = subprocess.run(
        [sys.executable, small_bundle, "predict", picture, "--threads", "1"],
        capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{picture}: digit_")
    assert not result.stderr
