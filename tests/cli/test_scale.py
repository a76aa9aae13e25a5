"""casebook scale and casebook profile-device."""

import json
from pathlib import Path

import pytest

from casebook.cli.scale import _number
from casebook.cost.latency_model import LatencyModel, read_latency_model
from casebook.cost.scaling import Budget
from casebook.workflows import scale as scale_job

from .conftest import Command, one_line

SMALL = ("--family", "mobilenet_v2", "--input-size", "24", "--num-classes", "4", "--threads", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def abacus(made_up_model, monkeypatch: pytest.MonkeyPatch) -> LatencyModel:
    """A device that is not measured: a minute is too long for a test, and tests/cost does it with fewer layers."""
    model = made_up_model()
    monkeypatch.setattr(scale_job, "cached_latency_model", lambda *_, **__: model)
    monkeypatch.setattr(scale_job, "SECONDS", 0.02)
    monkeypatch.setattr(scale_job.Bench, "peak_bytes", lambda *_: 7_000_000)  # a process of its own for each network
    return model


def test_a_table_and_the_command(command: Command) -> None:
    result = command(
        "scale", *SMALL, "--multiply-adds", "4M", "--size-mb", "0.9", "--kind", "compound", "--kind", "width", "--wide"
    )
    lines = result.out.splitlines()
    assert lines[0].startswith("mobilenet_v2 within 4,000,000 multiply-adds, 0.90 MB of file on ")
    assert lines[1].split()[:6] == ["kind", "width", "depth", "input", "(px)", "multiply-adds"]
    assert [line.split()[0] for line in lines[2:4]] == ["compound", "width"]
    for line in lines[2:4]:
        assert int(line.split()[4].replace(",", "")) <= 4_000_000
        assert float(line.split()[7]) <= 0.9
    assert lines[5].startswith("compound: casebook train DATA --model mobilenet_v2 --set network.width=")
    assert lines[5].endswith("--input-size 24")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(command: Command, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table = command("scale", *SMALL, "--multiply-adds", "4M", "--kind", "compound").out.split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= width
    assert ("memory" in table) == (width == 120)


def test_the_document_is_the_librarys(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict = {}
    real = scale_job.scale

    def watched(family, budget, **settings):
        seen.update(settings, family=family, budget=budget)
        seen["found"] = real(family, budget, **settings)
        return seen["found"]

    monkeypatch.setattr(scale_job, "scale", watched)
    document = command(
        "scale", *SMALL, "--parameters", "200k", "--memory-mb", "90", "--kind", "compound", "--json"
    ).json
    assert document == json.loads(json.dumps(seen["found"].to_dict()))
    assert seen["budget"] == Budget(parameters=2e5, memory_bytes=9e7)
    assert seen["target"] == scale_job.TargetDevice("cpu", threads=1)
    assert (seen["kinds"], seen["input_size"], seen["num_classes"]) == (["compound"], 24, 4)
    assert seen["training"] is None


def test_another_devices_latency_model(command: Command, abacus: LatencyModel) -> None:
    Path("pi.json").write_text(json.dumps(abacus.to_dict()))
    result = command(
        "scale", "--family", "mobilenet_v2", "--latency-ms", "5", "--kind", "width", "--latency-model", "pi.json"
    )
    assert result.out.startswith("mobilenet_v2 within 5.00 ms on abacus, 1000 classes")
    assert "note: nothing was measured: latencies are predictions for abacus" in result.err


@pytest.mark.slow
def test_trained_with_picture_and_page(command: Command, digit_folder: Path) -> None:
    result = command(
        "scale", "--family", "mobilenet_v2", "--multiply-adds", "3M", "--input-size", "16", "--kind", "compound",
        "--data", digit_folder, "--epochs", "1", "--most-per-class", "4", "--picture", "f.png", "--html", "f.html",
        "--device", "cpu", "--threads", "1", "--out", "checkpoints", "--wide",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "test error (%)" in result.out
    assert "16 for training" in result.out
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/svg+xml" in Path("f.html").read_text()
    assert any(Path("checkpoints").iterdir())


def test_profile_device(command: Command, abacus: LatencyModel) -> None:
    document = command("profile-device", "--threads", "1").json
    assert document == json.loads(json.dumps(abacus.to_dict()))
    printed = command("profile-device", "--out", "here.json")
    assert "abacus, 1 thread, torch 2: error 20.00 % at the median, 20.00 % at worst, over 1 networks" in printed.out
    assert read_latency_model("here.json") == abacus
    assert command("profile-device", "--out", "there.json", "--json").json == document


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "the budget is empty; give at least one of --latency-ms"),
        (["--size-mb", "-3"], 2, "--size-mb is -3, expected a number above 0"),
        (["--latency-ms", "nan"], 2, "--latency-ms is nan, expected"),
        (["--memory-mb", "0"], 2, "--memory-mb is 0, expected"),
        (["--size-mb", "much"], 2, "--size-mb"),
        (["--multiply-adds", "1x"], 2, "--multiply-adds is '1x', expected a number such as"),
        (["--multiply-adds", "0"], 1, "multiply_adds is 0.0, expected a number above 0"),
        (["--size-mb", "5", "--picture", "f.png"], 2, "--picture needs accuracies; add --data"),
        (["--size-mb", "5", "--grid-search"], 2, "--grid-search needs accuracies; add --data"),
        (
            ["--size-mb", "5", "--data", "x", "--picture", "f.jpg"],
            2,
            "--picture is 'f.jpg', expected a name that ends in .png or .svg",
        ),
        (["--size-mb", "5", "--data", "gone"], 1, "gone"),
        (["--size-mb", "5", "--kind", "widht"], 1, "unknown kind 'widht'; did you mean 'width'"),
        (["--size-mb", "5", "--input-size", "5"], 1, "input_size is 5, expected 9 to 2048 pixels"),
        (["--size-mb", "5", "--num-classes", "0"], 1, "num_classes is 0"),
        (["--size-mb", "5", "--device", "abacus"], 1, "device is 'abacus'"),
        (["--size-mb", "0.001"], 1, "no mobilenet_v2 is within 0.00 MB of file: the smallest (width 0.1, depth 0.25"),
        (["--size-mb", "5", "--latency-model", "gone.json"], 1, "gone.json: cannot be read"),
    ],
)
def test_what_cannot_be_asked(command: Command, arguments: list[str], code: int, message: str) -> None:
    assert message in one_line(command("scale", "--family", "mobilenet_v2", *arguments), code)


def test_an_unknown_family_and_a_broken_profile(command: Command) -> None:
    message = one_line(command("scale", "--family", "mobilenet", "--size-mb", "5"))
    assert "unknown family 'mobilenet'; did you mean 'mobilenet_v2'" in message
    Path("odd.json").write_text('{"format": 7}')
    message = one_line(command("scale", *SMALL, "--latency-ms", "5", "--latency-model", "odd.json"))
    assert "format 7, but this version reads format 1" in message
    assert "Missing option" in command("scale", "--size-mb", "5").err


@pytest.mark.parametrize(
    ("given", "number"), [("300000", 3e5), ("300k", 3e5), ("1.5M", 1.5e6), ("4G", 4e9), ("4B", 4e9), ("1,000", 1e3)]
)
def test_numbers_with_signs(given: str, number: float) -> None:
    assert _number("--parameters", given) == number
