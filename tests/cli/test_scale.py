"""casebook scale and casebook profile-device."""

import json
from pathlib import Path

import pytest

from casebook.cli.scale import _number
from casebook.cost.latency_model import DeviceProfile, read_profile
from casebook.workflows import scale as scale_job

from .conftest import Command, one_line

SMALL = ("--family", "mobilenet_v2", "--input-size", "24", "--num-classes", "4", "--threads", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def abacus(made_up_profile, monkeypatch: pytest.MonkeyPatch) -> DeviceProfile:
    """A device that is not measured: a minute is too long for a test, and tests/cost does it with fewer layers."""
    profile = made_up_profile()
    monkeypatch.setattr(scale_job, "cached_profile", lambda *_, **__: profile)
    monkeypatch.setattr(scale_job, "SECONDS", 0.02)
    monkeypatch.setattr(scale_job, "_memory", lambda *_: 7_000_000)  # a process of its own for each network
    return profile


def test_a_table_and_the_command(command: Command) -> None:
    result = command(
        "scale", *SMALL, "--multiply-adds", "4M", "--size-mb", "0.9", "--kind", "compound", "--kind", "width"
    )
    lines = result.out.splitlines()
    assert lines[0].startswith("mobilenet_v2 within 4,000,000 multiply-adds, 0.90 MB of file on ")
    assert lines[1].split()[:6] == ["kind", "width", "depth", "input", "multiply-adds", "ratio"]
    assert [line.split()[0] for line in lines[2:4]] == ["compound", "width"]
    for line in lines[2:4]:
        assert int(line.split()[4].replace(",", "")) <= 4_000_000
        assert float(line.split()[7]) <= 0.9
        assert len(line) <= 120
    assert lines[4].startswith("compound: casebook train DATA --model mobilenet_v2 --set network.width=")
    assert lines[4].endswith("--input-size 24")


def test_the_document_is_the_librarys(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict = {}
    real = scale_job.scale

    def watched(family, **settings):
        seen.update(settings, family=family)
        seen["found"] = real(family, **settings)
        return seen["found"]

    monkeypatch.setattr(scale_job, "scale", watched)
    document = command(
        "scale", *SMALL, "--parameters", "200k", "--memory-mb", "90", "--kind", "compound", "--json"
    ).json
    assert document == json.loads(json.dumps(seen["found"].to_dict()))
    wanted = {"parameters": 2e5, "memory_bytes": 9e7, "latency_ms": None, "input_size": 24, "num_classes": 4}
    assert wanted.items() <= seen.items()
    assert (seen["kinds"], seen["threads"], seen["seeds"], seen["data"]) == (["compound"], 1, (0,), None)


def test_another_devices_profile(command: Command, abacus: DeviceProfile) -> None:
    Path("pi.json").write_text(json.dumps(abacus.to_dict()))
    result = command(
        "scale", "--family", "mobilenet_v2", "--latency-ms", "5", "--kind", "width", "--device-profile", "pi.json"
    )
    assert result.out.startswith("mobilenet_v2 within 5.00 ms on abacus, 1000 classes")
    assert "note: nothing was measured: latencies are predicted for abacus" in result.err


@pytest.mark.slow
def test_trained_with_picture_and_page(command: Command, digit_folder: Path) -> None:
    result = command(
        "scale", "--family", "mobilenet_v2", "--multiply-adds", "3M", "--input-size", "16", "--kind", "compound",
        "--data", digit_folder, "--epochs", "1", "--most-per-class", "4", "--picture", "f.png", "--html", "f.html",
        "--device", "cpu", "--threads", "1", "--out", "checkpoints",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "test error" in result.out
    assert "16 pictures to train on" in result.out
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("f.html").read_text()
    assert any(Path("checkpoints").iterdir())


def test_profile_device(command: Command, abacus: DeviceProfile) -> None:
    document = command("profile-device", "--threads", "1").json
    assert document == json.loads(json.dumps(abacus.to_dict()))
    told = command("profile-device", "--out", "here.json")
    assert "abacus, 1 thread, torch 2: predicts 1 networks it was not fitted to with an error of 20.00 %" in told.out
    assert read_profile("here.json") == abacus
    assert command("profile-device", "--out", "there.json", "--json").json == document


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "no budget came; give one or several of --latency-ms"),
        (["--size-mb", "-3"], 2, "--size-mb is -3, expected a number above 0"),
        (["--latency-ms", "nan"], 2, "--latency-ms is nan, expected"),
        (["--memory-mb", "0"], 2, "--memory-mb is 0, expected"),
        (["--size-mb", "much"], 2, "--size-mb"),
        (["--multiply-adds", "1x"], 2, "--multiply-adds takes a number such as"),
        (["--multiply-adds", "0"], 1, "multiply_adds is 0.0, expected a number above 0"),
        (["--size-mb", "5", "--picture", "f.png"], 2, "--picture is about accuracy, so it needs --data"),
        (["--size-mb", "5", "--grid-search"], 2, "--grid-search is about accuracy, so it needs --data"),
        (["--size-mb", "5", "--data", "x", "--picture", "f.jpg"], 2, "--picture ends in .png or .svg"),
        (["--size-mb", "5", "--data", "gone"], 1, "gone"),
        (["--size-mb", "5", "--kind", "widht"], 1, "unknown kind 'widht'; did you mean 'width'"),
        (["--size-mb", "5", "--input-size", "5"], 1, "input_size is 5, expected 9 to 2048 pixels"),
        (["--size-mb", "5", "--num-classes", "0"], 1, "num_classes is 0"),
        (["--size-mb", "5", "--device", "abacus"], 1, "device is 'abacus'"),
        (["--size-mb", "0.001"], 1, "no mobilenet_v2 keeps 0.00 MB of file: the smallest (width 0.1, depth 0.25"),
        (["--size-mb", "5", "--device-profile", "gone.json"], 1, "gone.json: cannot be read"),
    ],
)
def test_what_cannot_be_asked(command: Command, arguments: list[str], code: int, message: str) -> None:
    assert message in one_line(command("scale", "--family", "mobilenet_v2", *arguments), code)


def test_an_unknown_family_and_a_broken_profile(command: Command) -> None:
    message = one_line(command("scale", "--family", "mobilenet", "--size-mb", "5"))
    assert "unknown family 'mobilenet'; did you mean 'mobilenet_v2'" in message
    Path("odd.json").write_text('{"format": 7}')
    message = one_line(command("scale", *SMALL, "--latency-ms", "5", "--device-profile", "odd.json"))
    assert "format 7, but this version reads format 1" in message
    assert "Missing option" in command("scale", "--size-mb", "5").err


@pytest.mark.parametrize(
    ("given", "number"), [("300000", 3e5), ("300k", 3e5), ("1.5M", 1.5e6), ("4G", 4e9), ("4B", 4e9), ("1,000", 1e3)]
)
def test_numbers_with_signs(given: str, number: float) -> None:
    assert _number("--parameters", given) == number
