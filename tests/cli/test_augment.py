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


def test_it_draws_a_list_with_the_flags_that_train_takes(command: Command, photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,what,kind\nstripes/00,x,0\nspots/00,x,1\n")
    (tmp_path / "names.txt").write_text("striped\nspotted\n")
    flags = ("--root", photo_folder, "--suffix", ".jpg", "--columns", "file,kind", "--classes", "names.txt")
    arguments = ("augment", "list.csv", "--size", "40", "--per-row", "1", "-o", "sheet.png")
    document = command(*arguments, *flags, "--json").json
    assert [entry["picture"] for entry in document["pictures"]] == ["striped: 00.jpg", "spotted: 00.jpg"]
    assert document["data"] == "list.csv"
    with Image.open("sheet.png") as sheet:
        assert sheet.height > 2 * sheet.width  # one under the other
    one_line(command(*arguments))
    folder = command("augment", photo_folder, "--label-from", "parent", "-n", "2", "-o", "sheet.png", "--json").json
    assert [entry["picture"] for entry in folder["pictures"]] == ["spots: 00.jpg", "stripes: 23.jpg"]


def test_flags_of_a_data_set_need_one(command: Command, photo_folder: Path) -> None:
    picture = photo_folder / "spots" / "00.jpg"
    assert "is a single picture" in one_line(command("augment", picture, "--suffix", ".jpg"))
    assert "--classes needs the data" in one_line(command("augment", "--classes", "names.txt"), code=2)


def test_mistakes_give_errors_of_one_line(command: Command, photo_folder: Path, tmp_path: Path) -> None:
    data, out = str(photo_folder), str(tmp_path / "a.png")
    assert "unknown policy 'strng'; did you mean 'strong'?" in one_line(
        command("augment", data, "-p", "strng", "-o", out)
    )
    assert "augment.rotate is 500, expected a number from 0 to 180" in one_line(
        command("augment", data, "--set", "rotate=500", "-o", out)
    )
    assert "expected a name that ends in .png, .jpg, .jpeg" in one_line(command("augment", data, "-o", "a.gif"))
    assert "there is no folder or list" in one_line(command("augment", "nowhere", "-o", out))
