"""The command line that travels inside a bundle."""

import json
from pathlib import Path

import pytest

from casebook.runner.commands import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))


def test_predict(small_bundle: Path, digit_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = digit_folder / "digit_1" / "000.png"
    assert main(["predict", str(picture), "gone.png", "-k", "2", "--threads", "1"], bundle=small_bundle) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{picture}: digit_")
    assert printed.out.count("%") == 2
    assert printed.err == "Error: gone.png: no such file\n"
    assert main(["predict", str(picture), "--json"], bundle=small_bundle) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["errors"] == 0
    assert len(document["pictures"][0]["predictions"]) == 4


def test_verify_info_and_bench(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--threads", "1"], bundle=small_bundle) == 0
    assert capsys.readouterr().out.endswith("verified\n")
    assert main(["verify", "--threads", "1", "--json"], bundle=small_bundle) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    assert main(["info", "--json"], bundle=small_bundle) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["digit_0", "digit_1", "digit_2", "digit_3"]
    assert main(["info"], bundle=small_bundle) == 0
    assert "name: small" in capsys.readouterr().out
    assert main(["bench", "--seconds", "0.01", "--json"], bundle=small_bundle) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["choice"] == {key: document["rows"][0][key] for key in document["choice"]}
    assert Path(document["file"]).is_file()


def test_a_damaged_bundle_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.casebook"
    path.write_bytes(b"PK")
    assert main(["verify"], bundle=path) == 1
    assert capsys.readouterr().err.startswith(f"Error: {path}: is no bundle, or is cut off")
