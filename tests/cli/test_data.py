"""casebook data check."""

import shutil
from pathlib import Path

import pytest

from .conftest import Command, one_line


@pytest.fixture
def leaking(digit_folder: Path) -> Path:
    """A data set with its own split, in which one training picture is a test picture as well."""
    for split, numbers in (("train", range(10)), ("test", range(9, 15))):
        for name in ("digit_0", "digit_1"):
            Path("split", split, name).mkdir(parents=True)
            for number in numbers:
                file = f"{number:03d}.png"
                shutil.copy(digit_folder / name / file, Path("split", split, name, file))
    return Path("split")


def test_a_clean_folder(command: Command, digit_folder: Path) -> None:
    result = command("data", "check", digit_folder, "--strict")
    assert result.code == 0
    assert "160 pictures in 4 classes" in " ".join(result.out.split())  # a long path wraps the line


def test_leaks_are_reported_and_fatal_when_strict(command: Command, leaking: Path) -> None:
    relaxed = command("data", "check", leaking, "--json")
    assert relaxed.code == 0
    assert relaxed.json["leaks"] == 2
    assert {(pair["first_split"], pair["second_split"]) for pair in relaxed.json["pairs"]} == {("test", "train")} or {
        (pair["first_split"], pair["second_split"]) for pair in relaxed.json["pairs"]
    } == {("train", "test")}
    strict = command("data", "check", leaking, "--strict")
    assert strict.code == 1
    assert "Error: 2 leaks between splits, and --strict is set" in strict.err
    assert command("data", "check", leaking, "--strict", "--json").json["leaks"] == 2


def test_broken_pictures_are_named(command: Command, digit_folder: Path) -> None:
    shutil.copytree(digit_folder, "data")
    Path("data/digit_0/000.png").write_bytes(b"")
    result = command("data", "check", "data")
    assert result.code == 0
    assert "digit_0/000.png is empty (0 bytes)" in result.out


def test_an_error_that_the_user_can_fix_is_one_line(command: Command) -> None:
    assert "there is no folder or list 'nowhere'" in one_line(command("data", "check", "nowhere"))


@pytest.fixture
def years(digit_folder: Path) -> Path:
    """YEAR/CLASS/*: the first 20 pictures of two classes in 2020, the others in 2021."""
    for name in ("digit_0", "digit_1"):
        for path in sorted((digit_folder / name).iterdir()):
            folder = Path("years", "2020" if int(path.stem) < 20 else "2021", name)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
    return Path("years")


def test_years_stop_until_the_classes_are_given(command: Command, years: Path) -> None:
    assert "'2020', '2021' hold no pictures themselves but the same folders" in one_line(
        command("data", "check", years)
    )
    document = command("data", "check", years, "--label-from", "parent", "--json").json
    assert {name: count["pictures"] for name, count in document["classes"].items()} == {"digit_0": 40, "digit_1": 40}
    assert "did you mean 'parent'" in one_line(command("data", "check", years, "--label-from", "parnet"))


def test_a_run_remembers_where_its_classes_come_from(command: Command, years: Path) -> None:
    arguments = ("--model", "lenet5", "--epochs", "1", "--set", "warmup_epochs=0", "--set", "near_duplicates=false")
    one_line(command("train", years, *arguments))
    document = command("train", years, "--label-from", "parent", *arguments, "--out", "run", "--json").json
    assert [row["class"] for row in document["test"]["per_class"]] == ["digit_0", "digit_1"]
    assert command("evaluate", "run", "--json").json["n"] == document["test"]["n"]
    assert "the same folders" in one_line(command("evaluate", "run", years))
    assert command("evaluate", "run", years, "--label-from", "parent", "--json").json["seen"]["all"]["n"] == 80
    assert "--label-from needs the data" in one_line(command("evaluate", "run", "--label-from", "top"), code=2)


@pytest.fixture
def breeds(digit_folder: Path) -> Path:
    """labels.csv with id,breed, the class as an index, and the pictures in train/ID.png."""
    Path("dogs/train").mkdir(parents=True)
    rows = ["id,breed"]
    for label, name in enumerate(("digit_0", "digit_1")):
        for path in sorted((digit_folder / name).iterdir()):
            shutil.copy(path, f"dogs/train/{label}{path.name}")
            rows.append(f"{label}{path.stem},{label}")
    Path("dogs/labels.csv").write_text("\n".join(rows), encoding="utf-16")
    Path("names.txt").write_text("terrier\npug\n")
    return Path("dogs/labels.csv")


def test_a_list_without_folder_and_suffix(command: Command, breeds: Path) -> None:
    assert "they are found with --root dogs/train --suffix .png" in one_line(command("data", "check", breeds))
    flags = ("--root", "dogs/train", "--suffix", ".png", "--classes", "names.txt")
    document = command("data", "check", breeds, *flags, "--json").json
    assert {name: count["pictures"] for name, count in document["classes"].items()} == {"terrier": 40, "pug": 40}
    assert document["notes"] == ["paths are taken from the column 'id', labels from 'breed'"]
    assert "dogs is a folder, not a list; leave out suffix='.png'" in one_line(
        command("data", "check", "dogs", "--suffix", ".png")
    )


def test_a_run_remembers_how_its_list_is_read(
    command: Command, breeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--root", "dogs/train", "--suffix", ".png", "--columns", "id,breed")
    arguments = ("--model", "lenet5", "--epochs", "1", "--set", "warmup_epochs=0", "--set", "near_duplicates=false")
    trained = command("train", breeds, *flags, "--classes", "names.txt", *arguments, "--out", "run", "--json").json
    assert [row["class"] for row in trained["test"]["per_class"]] == ["terrier", "pug"]
    every = command("evaluate", "run", breeds, *flags, "--classes", "names.txt", "--json").json
    assert every["seen"]["all"]["n"] == 80
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # the run has the paths in full
    assert command("evaluate", tmp_path / "run", "--json").json["n"] == trained["test"]["n"]


BREEDS = ("--root", "dogs/train", "--suffix", ".png", "--columns", "id,breed", "--classes", "names.txt")


def test_a_list_is_prepared_with_the_flags_that_train_takes(
    command: Command, breeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", "cache")
    assert "they are found with --root" in one_line(command("data", "prepare", breeds))
    prepared = command("data", "prepare", breeds, *BREEDS, "--model", "resnet18")
    assert "80 pictures, 80 of them new" in prepared.out
    assert f"used by: casebook train dogs/labels.csv {' '.join(BREEDS)} --model resnet18" in prepared.out
    assert "80 pictures, 0 of them new" in command("data", "prepare", "dogs", "--label-from", r"^(\d)").out


def test_a_list_is_profiled_with_the_flags_that_train_takes(
    command: Command, breeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from casebook.workflows import profile

    monkeypatch.setattr(profile, "ROUNDS", 1)
    monkeypatch.setattr(profile, "ROUND_SECONDS", 0.01)
    monkeypatch.setattr(profile, "TOGETHER_SECONDS", 0.01)
    assert "they are found with --root" in one_line(command("data", "profile", breeds, "--model", "lenet5"))
    document = command("data", "profile", breeds, *BREEDS, "--model", "lenet5", "--json").json
    assert (document["data"], document["sample"]) == ("dogs/labels.csv", 80)


def test_terminal_codes_in_names_are_shown_not_obeyed(command: Command, digit_folder: Path) -> None:
    shutil.copytree(digit_folder, "data")
    Path("data/digit_0").rename("data/\x1b[31mred")
    assert "\x1b" not in command("data", "check", "data").out


@pytest.fixture
def photos(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photographs, with a cache folder of the test's own."""
    monkeypatch.setenv("CASEBOOK_CACHE", "cache")
    shutil.copytree(photo_folder, "photos")
    Path("photos/spots/fake.jpg").write_text("no picture")
    return Path("photos")


def test_prepare_prints_the_size_first_and_resumes(command: Command, photos: Path) -> None:
    dry = command("data", "prepare", photos, "--dry-run")
    assert dry.code == 0
    assert "48 pictures would take 1.1 MiB in cache" in dry.out
    assert "48 pictures of at most 512 pixels as raw: 1.1 MiB in cache" in dry.err
    assert not Path("cache/prepared").exists()
    first = command("data", "prepare", photos, "--workers", "1")
    assert "1 pictures could not be read" in first.out
    assert "spots/fake.jpg" in first.out
    assert "48 pictures, 48 of them new, in cache" in first.out
    assert "used by: casebook train photos --model NAME" in first.out
    second = command("data", "prepare", photos)
    assert "48 pictures, 0 of them new" in second.out
    assert "48 are there already" in second.err


def test_prepare_prints_the_settings_for_train(command: Command, photos: Path) -> None:
    result = command("data", "prepare", photos, "--model", "resnet18", "--format", "jpeg", "--side", "256")
    assert "casebook train photos --model resnet18 --set prepared=jpeg --set prepared_side=256" in result.out


def test_an_interrupted_preparation_ends_quietly(
    command: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("casebook.workflows.prepare.fill", interrupt)
    result = command("data", "prepare", photos)
    assert result.code == 130
    assert "interrupted; the same command goes on where it stopped" in result.err


def test_listing_and_removing_prepared_pictures(command: Command, photos: Path) -> None:
    assert "no prepared pictures in cache" in command("data", "prepared").out
    command("data", "prepare", photos)
    command("data", "prepare", photos, "--format", "jpeg")
    listed = command("data", "prepared", "--wide")
    assert listed.out.count(str(photos.resolve())) == 2
    name = next(Path("cache/prepared").iterdir()).stem
    assert "removed" in command("data", "prepared", name, "--remove").out
    assert len(list(Path("cache/prepared").iterdir())) == 1
    assert "no prepared pictures 'nonsense'" in one_line(command("data", "prepared", "nonsense", "--remove"))
    command("data", "prepared", "--remove-all")
    assert not list(Path("cache/prepared").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepare", "photos", "--format", "png"), "--format is 'png', expected raw or jpeg"),
        (("prepared", "--remove"), "--remove takes the names"),
        (("prepared", "name"), "names are for --remove alone"),
        (("prepared", "name", "--remove", "--remove-all"), "contradict each other"),
    ],
)
def test_wrong_usage_of_prepared_pictures(
    command: Command, photos: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in one_line(command("data", *arguments), code=2)


def test_what_cannot_be_prepared_is_one_line(command: Command, photos: Path) -> None:
    assert "digits is held in memory" in one_line(command("data", "prepare", "digits"))
    assert "there is no folder" in one_line(command("data", "prepare", "nowhere"))
    assert "unknown network 'resnet19'" in one_line(command("data", "prepare", photos, "--model", "resnet19"))
    assert "side is 10, expected 224" in one_line(command("data", "prepare", photos, "--side", "10"))
    Path("cache").write_text("a file where the folder should be")
    one_line(command("data", "prepare", photos))
