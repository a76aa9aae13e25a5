"""casebook predict: what may be named, what is answered, what the exit code says."""

import os
import shutil
from pathlib import Path

import pytest

from .conftest import Command, one_line


@pytest.fixture
def pictures(digit_folder: Path) -> Path:
    """Three good pictures and three that are none."""
    Path("some").mkdir()
    for number in range(3):
        shutil.copy(digit_folder / "digit_1" / f"{number:03d}.png", f"some/{number}.png")
    Path("some/empty.png").touch()
    Path("some/fake.png").write_text("no picture")
    Path("some/notes.txt").write_text("not named by a folder")
    return Path("some")


def test_a_bad_picture_is_an_error_and_the_others_are_answered(
    command: Command, small_run: Path, pictures: Path
) -> None:
    result = command("predict", small_run, pictures / "0.png", pictures / "fake.png", pictures / "1.png", "gone.png")
    assert result.code == 1
    assert [line.partition(":")[0] for line in result.out.splitlines()] == ["some/0.png", "some/1.png"]
    assert "Error: some/fake.png: is not a picture" in result.err
    assert "Error: gone.png: no such file" in result.err


def test_json_has_every_picture_in_order(command: Command, small_run: Path, pictures: Path) -> None:
    result = command("predict", small_run, pictures, "--json", "--top", "2")
    assert result.code == 1
    document = result.json
    assert document["errors"] == 2
    records = {record["picture"]: record for record in document["pictures"]}
    assert list(records) == [f"some/{name}.png" for name in ("0", "1", "2", "empty", "fake")]
    assert "error" in records["some/empty.png"]
    best, second = records["some/0.png"]["predictions"]
    assert best["probability"] >= second["probability"] > 0
    assert best["class"] in {"digit_0", "digit_1", "digit_2", "digit_3"}


def test_every_class_when_more_are_asked_for_than_there_are(command: Command, small_run: Path, pictures: Path) -> None:
    document = command("predict", small_run, pictures / "0.png", "--json", "--top", "99").json
    predictions = document["pictures"][0]["predictions"]
    assert len(predictions) == 4
    assert sum(p["probability"] for p in predictions) == pytest.approx(1, abs=1e-6)


def test_the_list_on_stdin(command: Command, small_run: Path, pictures: Path) -> None:
    listed = b"some/0.png\r\n\nsome/2.png\n"
    result = command("predict", small_run, "-", "--json", stdin=listed)
    assert result.code == 0
    assert [record["picture"] for record in result.json["pictures"]] == ["some/0.png", "some/2.png"]


def test_an_empty_list_on_stdin_is_reported(command: Command, small_run: Path) -> None:
    result = command("predict", small_run, "-", "--json")
    assert result.code == 0
    assert result.json["pictures"] == []
    assert "no picture is named on stdin" in result.err


def test_patterns(command: Command, small_run: Path, pictures: Path) -> None:
    result = command("predict", small_run, "some/[02].png")
    assert result.code == 0
    assert len(result.out.splitlines()) == 2
    nothing = command("predict", small_run, "some/*.gif")
    assert nothing.code == 1
    assert "Error: some/*.gif: no file fits the pattern" in nothing.err


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_a_file_name_that_is_no_utf8(command: Command, small_run: Path, pictures: Path) -> None:
    odd = os.fsdecode(b"some/\xe9t\xe9.png")
    shutil.copy(pictures / "0.png", odd)
    text = command("predict", small_run, odd)
    assert text.code == 0
    assert text.out.startswith("some/\\udce9t\\udce9.png: ")
    listed = command("predict", small_run, "-", "--json", stdin=b"some/\xe9t\xe9.png\n")
    assert listed.code == 0
    assert listed.json["pictures"][0]["picture"] == odd


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["resnet51", "x.png"], "network 'resnet51'; did you mean"),
        (["resnet18", "x.png"], "add --weights"),
        (["some", "x.png"], "some: no model.json"),
        (["some/notes.txt", "x.png"], "no run folder 'some/notes.txt'"),
    ],
)
def test_no_network(command: Command, pictures: Path, arguments: list[str], expected: str) -> None:
    assert expected in one_line(command("predict", *arguments))


def test_damaged_weights(command: Command, small_run: Path, pictures: Path) -> None:
    shutil.copytree(small_run, "run")
    weights = Path("run/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    assert "damaged" in one_line(command("predict", "run", pictures / "0.png"))
    weights.write_bytes(b"")
    assert "the file is empty (0 bytes)" in one_line(command("predict", "run", pictures / "0.png"))


def test_wrong_usage(command: Command, small_run: Path) -> None:
    one_line(command("predict", small_run), code=2)
    one_line(command("predict", small_run, "x.png", "--top", "0"), code=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--engine", "spark", "--out", "a.csv"), "expected local or ray"),
        (("--engine", "ray"), "add --out"),
        (("--workers", "2", "--out", "a.csv"), "for --engine ray"),
        (("--worker-gpus", "0.5", "--out", "a.csv"), "for --engine ray"),
    ],
)
def test_workers_go_with_ray_and_ray_with_files(command: Command, options: tuple[str, ...], expected: str) -> None:
    result = command("predict", "any.casebook", "x.png", *options)
    assert expected in one_line(result, 2)
