"""casebook explain: what is written, what is said, and careless use."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import casebook

from .conftest import Command, one_line
from .test_json import all_keys, check, documented, must

METHODS = ("grad-cam", "occlusion", "deconvnet", "guided", "gradient", "features")


@pytest.fixture
def picture(digit_folder: Path) -> Path:
    shutil.copy(digit_folder / "digit_1" / "003.png", "one.png")
    return Path("one.png")


def test_everything_about_a_picture(command: Command, small_run: Path, picture: Path) -> None:
    result = command("explain", small_run, picture, "--out", "seen")
    assert result.code == 0
    written = {path.name for path in Path("seen").iterdir()}
    expected = {f"one-{method}.{kind}" for method in METHODS for kind in ("png", "npy")}
    assert written == expected | {"one-all.png", "filters.png", "filters.npy"}
    lines = result.out.splitlines()
    assert len(lines) == len(METHODS) + 2
    assert lines[0] == "filters -> seen/filters.png"
    assert re.fullmatch(r"one\.png: grad-cam digit_\d \d+\.\d\d % -> seen/one-grad-cam\.png", lines[1])
    for path in Path("seen").glob("*.png"):
        image = Image.open(path)
        image.load()
        assert image.mode == "RGB"
        assert min(image.size) >= 200
    shapes = {method: np.load(f"seen/one-{method}.npy", allow_pickle=False).shape for method in METHODS}
    assert shapes == {
        "grad-cam": (32, 32), "occlusion": (32, 32), "deconvnet": (3, 4, 1, 32, 32), "guided": (1, 32, 32),
        "gradient": (1, 32, 32), "features": (16, 5, 5),
    }  # fmt: skip
    assert np.load("seen/filters.npy").shape == (6, 1, 5, 5)


def test_json_is_as_documented_and_predict_agrees(command: Command, small_run: Path, picture: Path) -> None:
    known = documented()["casebook explain"]
    Path("fake.png").write_text("no picture")
    flags = (
        "--method",
        "grad-cam",
        "--method",
        "occlusion",
        "--method",
        "deconvnet",
        "--sanity",
        "--json",
        "--out",
        "x",
    )
    result = command("explain", small_run, picture, "fake.png", *flags)
    assert result.code == 1
    document = result.json
    seen = check(document, known)
    filters = command("explain", small_run, "--method", "filters", "--json", "--out", "x").json
    assert must(known) <= seen
    all_keys(known, seen, check(filters, known))
    assert document["errors"] == 1
    assert "is not a picture" in document["explanations"][-1]["error"]
    best = next(iter(casebook.predict(small_run, [picture]))).to_dict()["predictions"][0]
    for record in document["explanations"][:3]:
        assert record["predicted"] == best["class"]
        assert record["predicted_probability"] == pytest.approx(best["probability"], abs=1e-6)
        assert Path(record["image"]).exists()
        assert list(np.load(record["array"]).shape) == record["shape"]
        assert [step["part"] for step in record["sanity"]] == ["head", "stages.1", "stages.0", "stem"]
        assert Path(record["sanity_image"]).exists()
    assert document["explanations"][2]["class"] is None


def test_the_class_can_be_named(command: Command, small_run: Path, picture: Path) -> None:
    for name in ("digit_2", "2"):
        result = command("explain", small_run, picture, "-m", "gradient", "--class", name, "--json")
        record = result.json["explanations"][0]
        assert record["class"] == "digit_2"
        assert record["probability"] < record["predicted_probability"]
        assert record["image"] == str(small_run / "explanations" / "one-gradient.png")
    shutil.rmtree(small_run / "explanations")
    assert "unknown class 'digit_9'; did you mean 'digit_" in one_line(
        command("explain", small_run, picture, "--class", "digit_9")
    )


def test_layer_and_channel(command: Command, small_run: Path, picture: Path) -> None:
    flags = ("--layer", "stages.0", "--channel", "3", "--out", "x", "--json")
    methods = [flag for method in ("deconvnet", "guided", "features") for flag in ("-m", method)]
    result = command("explain", small_run, picture, *methods, *flags)
    one, two, three = result.json["explanations"]
    assert (one["details"]["layer"], one["details"]["channel"]) == ("stages.0", 3)
    assert one["shape"] == [1, 32, 32]
    assert (two["details"]["layer"], two["details"]["channel"], two["class"]) == ("stages.0", 3, None)
    assert three["details"]["shown"] == [3]
    whole = command("explain", small_run, picture, "-m", "deconvnet", *flags, "--whole-map", "--rule", "guided").json
    assert whole["explanations"][0]["image"] == "x/one-deconvnet-guided.png"
    assert not np.allclose(np.load("x/one-deconvnet-guided.npy"), np.load("x/one-deconvnet.npy"))


def test_the_nine_pictures_of_a_folder(command: Command, small_run: Path, digit_folder: Path) -> None:
    shutil.copytree(digit_folder / "digit_2", "some")
    Path("some/fake.png").write_text("no picture")
    flags = ("-m", "top9", "--layer", "stages.0", "--out", "x", "--channel", "5", "--channel", "1", "--json")
    result = command("explain", small_run, "some", *flags)
    assert result.code == 1
    found, error = result.json["explanations"]
    assert error["picture"] == "some/fake.png"
    assert found["picture"] is None
    assert found["image"] == "x/top9-stages.0.png"
    assert found["shape"] == [2, 9, 1, 32, 32]
    assert found["details"]["pictures"] == 40
    names = found["details"]["channels"]
    assert list(names) == ["5", "1"]
    largest = {}
    for path in sorted(Path("some").glob("0*.png")):
        (record,) = casebook.explain(small_run, path, method="features", layer="stages.0", out="y")
        largest[str(path)] = np.load(record["array"]).max((1, 2))
    for channel in (5, 1):
        best = sorted(largest, key=lambda name: -largest[name][channel])[:9]
        assert sorted(names[str(channel)]) == sorted(best)


@pytest.mark.slow
def test_all_of_many_pictures_has_the_nine_too(command: Command, small_run: Path, digit_folder: Path) -> None:
    names = [digit_folder / "digit_3" / f"{number:03d}.png" for number in range(10)]
    result = command("explain", small_run, *names, "--square", "16", "--out", "x")
    assert result.code == 0
    assert Path("x/top9-stages.1.png").exists()
    assert len(list(Path("x").glob("*-all.png"))) == 10


def test_pictures_of_one_name_keep_files_of_their_own(command: Command, small_run: Path, digit_folder: Path) -> None:
    names = [digit_folder / f"digit_{digit}" / "000.png" for digit in range(3)]
    command("explain", small_run, *names, "-m", "grad-cam", "--out", "x")
    assert sorted(path.name for path in Path("x").glob("*.png")) == [
        "000-2-grad-cam.png", "000-3-grad-cam.png", "000-grad-cam.png",
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_hostile_names(command: Command, small_run: Path, picture: Path) -> None:
    odd = [os.fsdecode(b"\xe9t\xe9.png"), "a\nb\x1b[31m.png", "\N{SNOWMAN}" * 80 + ".png", "-leading.png"]
    for name in odd:
        shutil.copy(picture, name)
    result = command("explain", small_run, *(f"./{name}" for name in odd), "-m", "grad-cam", "--out", "x")
    assert result.code == 0
    assert len(list(Path("x").glob("*.npy"))) == 4
    assert "\x1b" not in result.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["one.png", "-m", "gradcam"], "unknown method 'gradcam'; did you mean 'grad-cam'? expected one of grad-cam,"),
        (["one.png", "--layer", "stages.9"], "has no layer 'stages.9'; did you mean 'stages."),
        (["one.png", "-m", "deconvnet", "--layer", "stages.0", "--channel", "99"], "channel 99 is asked for"),
        (["one.png", "-m", "features", "--channel", "-1"], "channel -1 is asked for"),
        (["one.png", "-m", "occlusion", "--square", "33"], "the square is 33 pixels, expected 1 to 32"),
        (["one.png", "-m", "deconvnet", "--rule", "smooth"], "the rule is 'smooth', expected deconvnet"),
        (["one.png", "-m", "filters", "--layer", "head"], "expected a convolution"),
        ([], "name pictures or a folder"),
        (["one.png", "--out", "one.png"], "cannot write one.png"),
        (["one.png", "--weights", "x"], "is a run folder and has weights of its own"),
    ],
)  # fmt: skip
def test_careless_use(command: Command, small_run: Path, picture: Path, arguments: list[str], expected: str) -> None:
    assert expected in one_line(command("explain", small_run, *arguments))


def test_a_picture_that_cannot_be_read_is_an_error_and_the_others_are_explained(
    command: Command, small_run: Path, picture: Path
) -> None:
    Path("fake.png").write_text("no picture")
    result = command("explain", small_run, "fake.png", picture, "gone.png", "-m", "grad-cam", "--out", "x")
    assert result.code == 1
    assert len(result.out.splitlines()) == 1
    assert "Error: fake.png: is not a picture" in result.err
    assert "Error: gone.png: no such file" in result.err
    nothing = command("explain", small_run, "fake.png", "-m", "top9", "--out", "x")
    assert "there is no picture that could excite a channel" in nothing.err


def test_a_network_by_name_needs_weights(command: Command, picture: Path) -> None:
    assert "add --weights" in one_line(command("explain", "resnet18", picture))


def test_the_library_does_the_same(small_run: Path, picture: Path) -> None:
    records = list(casebook.explain(small_run, picture, method=["grad-cam", "gradient"], class_name="digit_0", out="x"))
    assert [record["method"] for record in records] == ["grad-cam", "gradient"]
    assert all(record["class"] == "digit_0" for record in records)
    with pytest.raises(casebook.CasebookError, match="no method is named"):
        list(casebook.explain(small_run, picture, method=[]))
