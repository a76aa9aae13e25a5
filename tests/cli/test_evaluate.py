"""casebook evaluate: the run's own test set, other data, class lists."""

import json
import re
import shutil
from pathlib import Path

import pytest

import casebook
from casebook.models.weights import read_weights

from .conftest import Command, one_line
from .test_json import all_keys, check, documented, must


def test_without_data_it_scores_the_locked_test_set(command: Command, small_run: Path) -> None:
    document = command("evaluate", small_run, "--json").json
    before = json.loads((small_run / "evaluation.json").read_text())["test"]
    assert document["split"] == "test"
    assert document["n"] == before["n"]
    assert document["top1"] == before["top1"]
    assert document["confusion"] == before["confusion"]


def test_text(command: Command, small_run: Path) -> None:
    result = command("evaluate", small_run)
    assert result.code == 0
    assert result.out.startswith("top-1 ")
    assert "calibration error" in result.out


def test_fewer_classes_are_scored_against_all(command: Command, small_run: Path, digit_folder: Path) -> None:
    for name in ("digit_3", "digit_1"):
        shutil.copytree(digit_folder / name, Path("part") / name)
    document = command("evaluate", small_run, "part", "--json").json
    assert document["split"] == "all"
    assert document["seen"]["all"]["n"] == 80
    assert document["n"] == 80 - document["seen"]["pictures"]
    assert {row["class"] for row in document["per_class"] if row["n"]} == {"digit_1", "digit_3"}
    assert any("2 of the network's 4 classes" in note for note in document["notes"])


def test_a_named_network_with_weights_and_a_class_list(command: Command, small_run: Path, digit_folder: Path) -> None:
    """Folders are matched by id, which is not the order of the folders."""
    shutil.copytree(digit_folder / "digit_2", "data/n02")
    shutil.copytree(digit_folder / "digit_0", "data/n00")
    Path("classes.csv").write_text("index,wnid,name\n" + "".join(f"{i},n0{i},digit {i}\n" for i in range(4)))
    shutil.copy(small_run / "model.safetensors", "weights.safetensors")
    state, _ = read_weights(Path("weights.safetensors"))
    assert any(value.shape == (4, 84) for value in state.values())
    named = ("lenet5", "data", "--weights", "weights.safetensors", "--classes", "classes.csv", "--json")
    document = command("evaluate", *named).json
    assert {row["class"] for row in document["per_class"] if row["n"]} == {"digit 0", "digit 2"}
    for name in ("digit_0", "digit_2"):
        shutil.copytree(digit_folder / name, Path("same") / name)
    whole = command("evaluate", small_run, "same", "--json").json["seen"]["all"]
    assert (document["n"], document["top1"]) == (whole["n"], whole["top1"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["RUN", "nowhere"], "there is no folder or list 'nowhere'"),
        (["RUN", "other"], "2 classes that "),
        (["RUN", "other", "--split", "tset"], "split is 'tset', expected auto"),
        (["mobilnet_v2", "other"], "did you mean 'mobilenet_v2'?"),
        (["lenet5", "other"], "add --weights"),
        (["other"], "other: no model.json"),
        (["lenet5", "other", "--weights", "RUN", "--classes", "list.csv"], "lists 3 classes, but the weights have 4"),
        (["mobilenet_v2", "other", "--weights", "RUN"], "weights of lenet5, expected weights of mobilenet_v2"),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line(
    command: Command, small_run: Path, digit_folder: Path, arguments: list[str], expected: str
) -> None:
    for name, new in (("digit_0", "null"), ("digit_1", "eins")):
        shutil.copytree(digit_folder / name, Path("other") / new)
    Path("list.csv").write_text("index,name\n0,null\n1,eins\n2,zwei\n")
    given = [str(small_run) if argument == "RUN" else argument for argument in arguments]
    assert expected in one_line(command("evaluate", *given))


@pytest.mark.parametrize("flag", ["--batch-size", "--workers"])
def test_wrong_usage(command: Command, small_run: Path, flag: str) -> None:
    assert flag in one_line(command("evaluate", small_run, flag, "-2"), code=2)


def test_pictures_it_has_learnt_from_are_told_apart(command: Command, small_run: Path, digit_folder: Path) -> None:
    result = command("evaluate", small_run, digit_folder)
    assert "was trained or validated on 136 of these 160 pictures (136 found by name, 136 by content)" in result.err
    first, second, _ = result.out.splitlines()
    assert first.endswith(", 24 pictures")
    assert second.startswith("with the 136 pictures it has learnt from: top-1 ")
    assert second.endswith(", 160 pictures")


def test_the_report_of_an_evaluation(command: Command, small_run: Path) -> None:
    result = command("evaluate", small_run, "--html", "page.html")
    assert result.code == 0
    page = Path("page.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "<script src" not in page


def test_several_runs_are_compared_without_a_flag(command: Command, ten_runs: tuple[Path, Path]) -> None:
    result = command("evaluate", *ten_runs)
    assert result.code == 0
    assert "no detectable difference" in result.out or "better" in result.out or "worse" in result.out


@pytest.fixture(scope="module")
def ten_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs over the ten digits with one split. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    for name, rate in (("one", 0.05), ("two", 0.02)):
        casebook.train(
            "digits", out=folder / name, epochs=1, warmup_epochs=0, learning_rate=rate, near_duplicates=False
        )
    return folder / "one", folder / "two"


def test_protocols_side_by_side(command: Command, small_run: Path) -> None:
    result = command("evaluate", small_run, "--protocol", "flip,10-crop", "-p", "scales=256;crops=corners")
    assert result.code == 0
    assert re.search(r"^10-crop +10 +\d", result.out, re.MULTILINE)
    assert re.search(r"^scales=256;crops=corners +4 ", result.out, re.MULTILINE)
    assert re.search(r"^flip +center +[+-]\d+\.\d\d +[+-]", result.out, re.MULTILINE)
    assert "trained without mirror images" in result.err
    assert result.out.startswith("24 pictures\n")


def test_the_keys_of_comparisons_are_documented(command: Command, ten_runs: tuple[Path, Path], small_run: Path) -> None:
    sections = documented()
    known = sections["casebook evaluate"] | sections["Metrics"] | sections["Comparisons"]
    documents = (
        command("evaluate", *ten_runs, "--ensemble", "--soup", "-p", "10-crop", "--json").json,
        command("evaluate", small_run, "-p", "flip", "--json").json,
        command("evaluate", ten_runs[0], "digits", "--json").json,
    )
    seen = [check(document, known) for document in documents]
    for keys in seen[:2]:
        assert must(known) <= keys
    elsewhere = ("skipped", "unsure", "shift")  # other tests see them
    all_keys({key: kind for key, kind in known.items() if not key.startswith(elsewhere)}, *seen)


def test_the_data_of_an_ensemble_comes_last_or_by_name(
    command: Command, ten_runs: tuple[Path, Path], digit_folder: Path
) -> None:
    shutil.copytree(digit_folder / "digit_0", "data/0")
    shutil.copytree(digit_folder / "digit_1", "data/1")
    last = command("evaluate", *ten_runs, "data", "--ensemble", "--json").json
    named = command("evaluate", *ten_runs, "--data", "data", "--ensemble", "--json").json
    assert last["compared"] == named["compared"]
    assert last["data"] == "data"
    assert last["n"] == 80
    own = command("evaluate", *ten_runs, "--ensemble", "--json").json
    assert own["data"] == "digits"
    one = command("evaluate", ten_runs[0], "--data", "data", "--json").json
    assert one["n"] == 80


def test_saved_predictions_give_the_same_scores(command: Command, ten_runs: tuple[Path, Path]) -> None:
    for name, run in zip("ab", ten_runs, strict=True):
        assert f"predictions: {name}.csv\n" in command("evaluate", run, "--save", f"{name}.csv").err
    command("evaluate", ten_runs[0], "--save", "sub/a.parquet")
    plain = command("evaluate", ten_runs[0], "--json").json
    for file in ("a.csv", "sub/a.parquet"):
        again = command("evaluate", file, "--json").json
        assert again["top1"] == plain["top1"]
        assert again["confusion"] == plain["confusion"]
    asked = command("evaluate", *ten_runs, "--ensemble", "--json", "--save", "both.csv").json
    together = command("evaluate", "a.csv", "b.csv", "--ensemble", "--json").json
    assert together["top1"] == asked["top1"] == command("evaluate", "both.csv", "--json").json["top1"]
    assert together["compared"][-1]["log_loss"] == asked["compared"][-1]["log_loss"]


def test_the_page_of_a_comparison(command: Command, small_run: Path) -> None:
    result = command("evaluate", small_run, "-p", "flip", "--html", "page.html")
    assert "page: page.html" in result.err
    page = Path("page.html").read_text()
    assert page.count("<table") == 2
    assert "no detectable difference" in page


def test_the_report_of_new_data(command: Command, ten_runs: tuple[Path, Path], digit_folder: Path) -> None:
    shutil.copytree(digit_folder / "digit_0", "data/0")
    shutil.copytree(digit_folder / "digit_1", "data/1")
    result = command("evaluate", ten_runs[0], "data", "--html", "new.html", "--save", "new.csv")
    assert "page: new.html" in result.err
    page = Path("new.html").read_text("utf-8")
    assert 'id="confusion"' in page
    assert 'id="mistakes"' in page
    assert 'id="training"' not in page
    assert "data:image/jpeg;base64," in page  # the pictures of the data
    assert '<div class="missing">' not in page
    command("evaluate", "new.csv", "--html", "saved.html")  # saved predictions come without pictures
    assert "data:image/jpeg;base64," not in Path("saved.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["RUN", "RUN2", "--weights", "w.pt"], 2, "--weights and --classes go with one network"),
        (["RUN", "--save", "p.txt"], 1, "saved as .csv or .parquet"),
        (["RUN", "-p", "10crop"], 1, "did you mean '10-crop'?"),
        (["RUN", "-p", "dense"], 1, "takes 32x32 pixels alone"),
        (["RUN", "--ensemble"], 1, "an ensemble or a soup needs at least two runs; got one"),
        (["RUN", "RUN/", "--ensemble"], 1, "is named twice"),
        (["RUN", "--fit-weights"], 2, "add --ensemble"),
        (["gone.csv"], 1, "there is no file of predictions 'gone.csv'"),
        (["RUN", "gone", "--ensemble"], 1, "needs at least two runs; got one"),
        (["RUN", "gone", "RUN2", "--ensemble"], 1, "there is no run folder and no network 'gone'"),
    ],
)
def test_contradictions_are_one_line(
    command: Command, ten_runs: tuple[Path, Path], arguments: list[str], code: int, expected: str
) -> None:
    names = {"RUN": str(ten_runs[0]), "RUN/": f"{ten_runs[0]}/", "RUN2": str(ten_runs[1])}
    assert expected in one_line(command("evaluate", *(names.get(a, a) for a in arguments)), code=code)
