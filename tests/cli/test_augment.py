"""casebook augment"""

from pathlib import Path

from PIL import Image

from casebook.augmentation.policy import POLICIES

from .conftest import Command, one_line


def test_it_lists_the_policies(command: Command) -> None:
    rows = command("augment", "--wide").out.splitlines()
    assert [row.split()[0] for row in rows[1:]] == list(POLICIES)
    document = command("augment", "--json").json["policies"]
    assert document["alexnet"]["laws"]["pca"] == 0.1
    assert document["alexnet"]["source"].startswith("Krizhevsky")


def test_it_draws_a_sheet(command: Command, photo_folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "sheet.png")
    picture = str(photo_folder / "spots" / "00.jpg")
    result = command("augment", picture, "--policy", "none", "--set", "rotate=30", "-n", "3", "--size", "40", "-o", out,
                     "--json")  # fmt: skip
    document = result.json
    assert (document["policy"], document["out"]) == ("none", out)
    angles = [entry["parameters"]["angle"] for entry in document["pictures"]]
    assert len(set(angles)) == 3
    assert max(map(abs, angles)) <= 30
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
    assert "20 pictures in" in command("augment", picture, "--operations", "--size", "40", "-o", out).out


def test_mistakes_are_said_in_one_line(command: Command, photo_folder: Path, tmp_path: Path) -> None:
    data, out = str(photo_folder), str(tmp_path / "a.png")
    assert "unknown policy 'strng'; did you mean 'strong'?" in one_line(
        command("augment", data, "-p", "strng", "-o", out)
    )
    assert "augment.rotate is 500, expected a number from 0 to 180" in one_line(
        command("augment", data, "--set", "rotate=500", "-o", out)
    )
    assert "expected a name that ends in .png, .jpg, .jpeg" in one_line(command("augment", data, "-o", "a.gif"))
    assert "there is no folder or list" in one_line(command("augment", "nowhere", "-o", out))
